"""The overlay shows every spot at its true size on the tissue."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.collections import EllipseCollection

from spared_benchmark.simulation import SimulatedSlide
from spared_benchmark.slides.overlay import NO_IMAGE, draw_overlay
from spared_benchmark.slides.raw import RawSlide


def circles_of(figure):
    return next(c for c in figure.axes[0].collections if isinstance(c, EllipseCollection))


def test_circles_lie_on_the_spots(visium_slide: SimulatedSlide) -> None:
    raw = visium_slide.raw
    figure = draw_overlay(raw)
    circles = circles_of(figure)
    assert np.allclose(circles.get_offsets(), raw.centres())
    assert circles.get_widths() == pytest.approx(8)
    assert figure.axes[0].images[0].get_array().shape == raw.image.shape


def test_large_images_are_reduced(visium_slide: SimulatedSlide) -> None:
    large = np.repeat(np.repeat(visium_slide.raw.image, 12, axis=0), 12, axis=1)
    raw = RawSlide(visium_slide.raw.adata, large, 3.0)
    figure = draw_overlay(raw)
    shown = figure.axes[0].images[0].get_array().shape
    assert max(shown) <= 1200
    factor = -(-max(large.shape) // 1200)
    assert np.allclose(circles_of(figure).get_offsets(), raw.centres() / factor)


def test_without_image_it_says_so(visium_slide: SimulatedSlide) -> None:
    figure = draw_overlay(RawSlide(visium_slide.raw.adata, None))
    assert NO_IMAGE in figure.axes[0].get_title()
    assert not figure.axes[0].images
    low, high = figure.axes[0].get_ylim()
    assert low > high  # y grows downwards, as in an image
    figure.savefig(io.BytesIO(), format="png", dpi=20)
