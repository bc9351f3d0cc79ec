"""One training step's loss of every network, as it is; what a run prints when a change is meant."""

from unittest.mock import patch

import torch
from every_predictor import create, fitted
from prediction_samples import cohort

from spared_benchmark.prediction.methods.bleep import MCLSTEXP
from spared_benchmark.prediction.sampling import draw
from spared_benchmark.prediction.staged import Staged
from spared_benchmark.training.seeds import isolated, torch_generator

_DROPOUTS = ("torch.nn.functional", "spared_benchmark.prediction.methods.hggep")
FAULTS = {"faithful": True}
WAYS = {
    "small_cnn": ("small_cnn", {}),
    "shufflenet": ("shufflenet", {}),
    "stnet": ("stnet", {}),
    "stnet, faithful": ("stnet", FAULTS),
    "vit_b": ("vit_b", {}),
    "vit_b_delta": ("vit_b_delta", {}),
    "vit_b_bias": ("vit_b_bias", {}),
    "histogene": ("histogene", {}),
    "histogene, faithful": ("histogene", FAULTS),
    "hist2st": ("hist2st", {}),
    "hist2st, faithful": ("hist2st", FAULTS),
    "hist2st, neighbours alone": ("hist2st", {"own_token": False}),
    "hggep": ("hggep", {"copies": 2}),
    "hggep, faithful": ("hggep", FAULTS),
    "bleep": ("bleep", {}),
    "bleep, faithful": ("bleep", FAULTS),
    "mclstexp": ("bleep", MCLSTEXP),
    "mclstexp, faithful": ("bleep", {**MCLSTEXP, **FAULTS}),
    "sepal": ("sepal", {}),
    "sepal, faithful": ("sepal", FAULTS),
    "sepal, st": ("sepal", {"variant": "st"}),
    "sepal, st, faithful": ("sepal", {"variant": "st", **FAULTS}),
    "egn": ("egn", {}),
    "egn, faithful": ("egn", FAULTS),
    "eggn": ("eggn", {}),
    "eggn, faithful": ("eggn", FAULTS),
    "deepspot": ("deepspot", {}),
    "triplex": ("triplex", {}),
    "triplex, faithful": ("triplex", FAULTS),
    "stflow": ("stflow", {}),
    "stflow, faithful": ("stflow", FAULTS),
}


def _dropout(values, p=0.5, training=True, inplace=False):
    """Torch's own draws are not the same on every processor."""
    if not training or not p:
        return values
    kept = (torch.rand(values.shape) >= p) / (1 - p)
    return values.mul_(kept) if inplace else values * kept


def terms_of(way, train=None):
    """The terms of one loss in training, with missing entries and, where it can, two slides.

    Every weight is moved a little: heads that start at zero would hide what is before them.
    """
    name, settings = WAYS[way]
    train = train or cohort(target="measured").of("train")
    predictor = create(name, **settings)
    if isinstance(predictor, Staged):
        predictor.take(fitted(predictor.first, train, steps=0))
    with isolated(0, "network"):
        predictor.prepare(train)
    with isolated(1, "moved"), torch.no_grad():
        for weight in predictor.module.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    predictor.module.train()
    (batch,) = draw(predictor.resident(train), 16, torch_generator(2))
    of_torch, of_hggep = (patch(f"{place}.dropout", _dropout) for place in _DROPOUTS)
    with isolated(3, "loss"), torch.no_grad(), of_torch, of_hggep:
        terms = predictor.loss(batch)
    return {term: round(float(value), 5) for term, value in terms.items()}


if __name__ == "__main__":
    for one in WAYS:
        print(f"    {one!r}: {terms_of(one)},".replace("'", '"'))
