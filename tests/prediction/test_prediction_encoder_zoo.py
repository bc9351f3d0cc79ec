"""Known encoders: built as published without a download, fetched from a hub, never half loaded."""

import json
import subprocess
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from spared_benchmark.compat.torchvision import import_timm
from spared_benchmark.errors import MissingInputError
from spared_benchmark.prediction.encoder_zoo import (
    ZOO,
    KnownEncoder,
    available_encoders,
    known_encoder,
)
from spared_benchmark.prediction.encoders import PatchEncoder
from spared_benchmark.prediction.image_networks import ClassAndMean
from spared_benchmark.prediction.images import normalised
from spared_benchmark.study import EncoderSettings

PAGE = Path(__file__).parents[2] / "docs" / "encoders.md"
# Parameters in millions and features, of the models' cards and papers.
PUBLISHED = {
    "resnet50": (23.5, 2048),
    "vit_b16": (85.8, 768),
    "kaiko_vits8": (21.7, 384),
    "kaiko_vitb16": (85.8, 768),
    "lunit_vits8": (21.7, 384),
    "uni": (303.4, 1024),
    "uni2_h": (681.4, 1536),
    "virchow": (631.2, 2560),
    "virchow2": (631.2, 2560),
    "h0_mini": (85.7, 768),
    "h_optimus_0": (1134.8, 1536),
    "h_optimus_1": (1134.8, 1536),
    "gigapath": (1135.0, 1536),
}
TINY = {"depth": 1, "embed_dim": 32, "num_heads": 2, "reg_tokens": 2}


@pytest.mark.parametrize("name", ZOO)
def test_each_is_built_as_published_without_its_weights(name):
    # Only shapes are looked at, so nothing is computed; what forbids autocast cannot run so.
    with torch.device("cpu" if name == "random_conv" else "meta"):
        encoder = PatchEncoder(EncoderSettings(network=name))
        pixels = torch.zeros((2, 3, encoder.side, encoder.side), dtype=torch.uint8)
        features = encoder(pixels)
    count, known = sum(one.numel() for one in encoder.parameters()), ZOO[name]
    assert (count, features.shape) == (known.parameters, (2, known.width))
    millions, width = PUBLISHED.get(name, (round(count / 1e6, 1), known.width))
    assert (round(count / 1e6, 1), known.width) == (millions, width)


def test_a_hub_id_is_its_short_name():
    assert known_encoder("hf-hub:MahmoodLab/UNI2-h") is ZOO["uni2_h"]
    assert known_encoder("hf_hub:mahmoodlab/uni2-h") is ZOO["uni2_h"]
    assert known_encoder("hf-hub:nobody/nothing") is None
    assert known_encoder("resnet18") is None


def test_registers_do_not_count():
    network = import_timm().create_model("vit_tiny_patch16_224", img_size=32, num_classes=0, **TINY)
    images = torch.randn(3, 3, 32, 32)
    tokens = network.eval().forward_features(images)
    assert tokens.shape == (3, 1 + 2 + 4, 32)  # class, registers, patches
    features = ClassAndMean(network)(images)
    assert torch.equal(features[:, :32], tokens[:, 0])
    assert torch.allclose(features[:, 32:], tokens[:, 3:].mean(dim=1))


def test_one_works_without_any_download():
    access = {row["name"]: row["access"] for row in available_encoders()}
    assert [name for name, who in access.items() if who == "offline"] == ["random_conv"]
    assert access["uni2_h"] == "gated"
    assert access["kaiko_vits8"] == "open"


def test_the_table_of_the_page_is_that_of_the_code():
    rows = [
        f"| `{row['name']}` | {row['label']} | {row['parameters'] / 1e6:,.1f} M | {row['width']} "
        f"| {row['licence']} | {row['access']} |"
        for row in available_encoders()
    ]
    table = "\n".join(rows)
    assert table in PAGE.read_text(encoding="utf-8"), f"put these rows into the page:\n{table}"


def test_listing_them_loads_no_framework():
    script = (
        "import sys; from spared_benchmark.prediction.encoder_zoo import available_encoders; "
        "available_encoders(); print(sorted({'torch', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


class Hub(BaseHTTPRequestHandler):
    """A hub on this machine: what it holds is in ``files``, and ``gated`` repositories refuse."""

    files: dict[str, bytes] = {}  # noqa: RUF012 - one hub per test
    gated: set[str] = set()  # noqa: RUF012

    def do_GET(self):
        self._answer(body=True)

    def do_HEAD(self):
        self._answer(body=False)

    def _answer(self, *, body):
        content = self.files.get(self.path.removeprefix("/"))
        refused = any(self.path.startswith(f"/{name}/") for name in self.gated)
        self.send_response(403 if refused else 404 if content is None else 200)
        if refused or content is None:
            self.send_header("X-Error-Code", "GatedRepo" if refused else "EntryNotFound")
            content = b""
        self.send_header("X-Repo-Commit", "1" * 40)
        self.send_header("ETag", f'"{zlib.crc32(self.path.encode())}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    served = type("ServedHub", (Hub,), {"files": {}, "gated": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), served)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["open", "gated"])
def tiny(monkeypatch, request):
    """A small encoder of the zoo."""
    entry = KnownEncoder(
        label="Tiny",
        architecture="vit_tiny_patch16_224",
        parameters=0,
        width=64,
        licence="none",
        access=request.param,
        hub="someone/tiny",
        options=TINY,
        pooling="class_and_mean",
        side=32,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    monkeypatch.setitem(ZOO, "tiny", entry)
    return entry


def wanted(**changes):
    return EncoderSettings(**{"network": "tiny", "weights": "pretrained", **changes})


WEIGHTS = "someone/tiny/resolve/main/model.safetensors"
PIXELS = torch.arange(2 * 3 * 32 * 32, dtype=torch.int64).reshape(2, 3, 32, 32).byte()


def published(**more):
    """The tensors of a trained network, its classifier among them, as a file of weights."""
    source = PatchEncoder(wanted(weights="none", seed=7))
    state = {**source.network.network.state_dict(), "head.weight": torch.zeros(5, 32), **more}
    return source, save(state)


def test_weights_come_from_the_hub(hub, tiny):
    source, hub.files[WEIGHTS] = published()
    fetched = PatchEncoder(wanted())
    assert torch.equal(fetched.encode(PIXELS), source.encode(PIXELS))
    assert (fetched.side, fetched.mean, fetched.std) == (32, tiny.mean, tiny.std)
    by_hub_id = PatchEncoder(wanted(network="hf-hub:someone/tiny"))
    assert torch.equal(by_hub_id.encode(PIXELS), source.encode(PIXELS))


def test_another_image_size_resamples_the_positions(hub, tiny):
    source, hub.files[WEIGHTS] = published()
    larger = PatchEncoder(wanted(image_size=48))
    own, given = larger.network.network.pos_embed, source.network.network.pos_embed
    assert (own.shape[1], given.shape[1]) == (3 + 9, 3 + 4)
    assert torch.equal(own[:, :3], given[:, :3])  # class and registers have no place
    assert torch.isfinite(larger.encode(torch.zeros((1, 3, 48, 48), dtype=torch.uint8))).all()


def test_a_fetch_that_fails_says_what_access_is_needed(hub, tiny):
    if tiny.access == "gated":
        hub.gated.add("someone/tiny")
    how = {
        "open": r"it is open: allow access to https://huggingface\.co/someone/tiny",
        "gated": r"Cannot access gated repo.*it is gated: accept its terms at "
        r"https://huggingface\.co/someone/tiny with an account there.*HF_TOKEN",
    }[tiny.access]
    with pytest.raises(
        MissingInputError, match=rf"(?s)'tiny' cannot be fetched.*{how}.*safetensor"
    ):
        PatchEncoder(wanted())
    assert PatchEncoder(wanted(weights="none")).encode(PIXELS).shape == (2, 64)


@pytest.mark.parametrize(
    ("architecture", "arguments", "fixed"),
    [("vit_tiny_patch16_224", {**TINY, "img_size": 32}, True), ("resnet10t", {}, False)],
)
def test_any_network_of_the_hub_is_built_as_the_hub_says(hub, architecture, arguments, fixed):
    source = import_timm().create_model(architecture, num_classes=0, **arguments).eval()
    shown = {"input_size": [3, 32, 32], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2]}
    told = {
        "architecture": architecture,
        "num_classes": 0,
        "model_args": arguments,
        "pretrained_cfg": {**shown, "num_classes": 0, "fixed_input_size": fixed},
    }
    files = {
        "config.json": json.dumps(told).encode(),
        "model.safetensors": save(source.state_dict()),
    }
    hub.files |= {f"someone/other/resolve/main/{name}": file for name, file in files.items()}
    encoder = PatchEncoder(EncoderSettings(network="hf-hub:someone/other", weights="pretrained"))
    assert (encoder.side, encoder.mean) == (32, (0.4, 0.5, 0.6))
    images = normalised(PIXELS, encoder.mean, encoder.std)
    with torch.inference_mode():
        assert torch.equal(encoder.encode(PIXELS), source(images))


def test_a_network_that_the_hub_does_not_have_is_one_clear_error(hub):
    with pytest.raises(MissingInputError, match="'hf-hub:someone/none' cannot be fetched"):
        PatchEncoder(EncoderSettings(network="hf-hub:someone/none", image_size=32))
