"""The shim works in a fresh process, and only there where it is needed."""

import subprocess
import sys
import textwrap

import pytest
import torch


def run(script):
    command = [sys.executable, "-c", textwrap.dedent(script)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_timm_imports_in_a_fresh_process_and_builds_a_network():
    out = run(
        """
        import gc
        from spared_benchmark.compat.torchvision import ensure_torchvision, import_timm
        timm = import_timm()
        ensure_torchvision()  # twice does no harm
        gc.collect()
        import torch
        from torchvision.transforms import v2
        network = timm.create_model("resnet18", num_classes=3).eval()
        print(tuple(network(v2.functional.horizontal_flip(torch.zeros(1, 3, 64, 64))).shape))
        """
    )
    assert out.strip() == "(1, 3)"


def test_a_healthy_installation_is_left_alone():
    out = run(
        """
        import torch
        healthy = torch.library.Library("torchvision", "DEF")
        healthy.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from spared_benchmark.compat import torchvision as shim
        shim.ensure_torchvision()
        print(shim._library)
        """
    )
    assert out.strip() == "{}"


def test_only_a_library_that_does_not_load_counts_as_broken(monkeypatch):
    from spared_benchmark.compat import torchvision as shim

    if hasattr(torch.ops.torchvision, "nms"):
        pytest.skip("torchvision is already loaded in this process")
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    assert not shim._is_broken()

    def refuse(path):
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(torch.ops, "load_library", refuse)
    assert shim._is_broken()
