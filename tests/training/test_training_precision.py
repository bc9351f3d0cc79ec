import pytest
import torch

from spared_benchmark.errors import ConfigurationError
from spared_benchmark.training import precision
from spared_benchmark.training.precision import product_type

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"avx2", "avx512_bf16"}, torch.bfloat16),
        ({"amx_bf16"}, torch.bfloat16),
        ({"avx2", "avx512f"}, torch.float32),
        (set(), torch.float32),
    ],
)
def test_auto_is_bfloat16_where_the_cpu_multiplies_it(monkeypatch, flags, wanted):
    monkeypatch.setattr(precision, "_cpu_flags", lambda: frozenset(flags))
    assert product_type("auto", CPU) == wanted
    assert product_type("float32", CPU) == torch.float32
    assert product_type("bfloat16", CPU) == torch.bfloat16


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigurationError, match=r"float16.*allowed: auto, float32, bfloat16"):
        product_type("float16", CPU)
