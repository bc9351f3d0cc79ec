"""Images of every kind become RGB uint8."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spared_benchmark.errors import InputError
from spared_benchmark.slides.images import read_image


@pytest.fixture
def gradient() -> np.ndarray:
    return np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)


def test_grey(tmp_path: Path, gradient: np.ndarray) -> None:
    grey = (gradient % 256).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert pixels.shape == (20, 30, 3)
    assert (pixels == grey[..., None]).all()


def test_sixteen_bit_keeps_its_range(tmp_path: Path, gradient: np.ndarray) -> None:
    values = gradient * 100
    values[0, :2] = 0, 65_535
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[0, 1].tolist() == [255, 255, 255]
    assert pixels[10, 5, 0] == values[10, 5] // 257


def test_transparency_is_white(tmp_path: Path, gradient: np.ndarray) -> None:
    pixels = np.zeros((20, 30, 4), dtype=np.uint8)
    pixels[..., 0], pixels[:10, :, 3] = 200, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    result = read_image(tmp_path / "a.png")
    assert result[0, 0].tolist() == [200, 0, 0]
    assert result[15, 0].tolist() == [255, 255, 255]


def test_cmyk(tmp_path: Path, gradient: np.ndarray) -> None:
    image = Image.new("CMYK", (30, 20), (0, 255, 255, 0))
    image.paste((0, 0, 0, 0), (0, 0, 10, 20))
    image.save(tmp_path / "a.tif")
    result = read_image(tmp_path / "a.tif")
    assert result[0, 0].tolist() == [255, 255, 255]
    assert result[0, 20].tolist() == [255, 0, 0]


def test_exif_orientation_is_told_and_not_applied(
    tmp_path: Path, gradient: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray((gradient % 256).astype(np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    with caplog.at_level(logging.WARNING):
        assert read_image(tmp_path / "a.jpg").shape == (20, 30, 3)
    assert "EXIF orientation is not applied" in caplog.text


def test_the_cap_is_kept_and_the_guard_restored(tmp_path: Path, gradient: np.ndarray) -> None:
    Image.fromarray((gradient % 256).astype(np.uint8)).save(tmp_path / "a.png")
    before = Image.MAX_IMAGE_PIXELS
    for cap in (599, 100):
        with pytest.raises(InputError, match=f"more pixels than the {cap} allowed"):
            read_image(tmp_path / "a.png", pixel_cap=cap)
    assert read_image(tmp_path / "a.png", pixel_cap=600).shape == (20, 30, 3)
    assert before == Image.MAX_IMAGE_PIXELS


def test_floating_point_pixels(tmp_path: Path, gradient: np.ndarray) -> None:
    Image.fromarray(gradient.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="floating point"):
        read_image(tmp_path / "a.tif")
