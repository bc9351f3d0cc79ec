"""What a completer gave the hidden entries of the first assay is kept for pictures."""

from __future__ import annotations

import numpy as np
import pytest

from spared_benchmark.completion import completers
from spared_benchmark.completion.masks import Masks
from spared_benchmark.completion.protocol import run_completer
from spared_benchmark.completion.setting import Setting
from spared_benchmark.study import CompletionSettings


@pytest.mark.parametrize("regimes", [{"entries": (0.3,)}, {"spots": (0.3,), "entries": (0.1, 0.3)}])
def test_examples_are_the_headline_s_first_assay(expression, training, regimes):
    settings = CompletionSettings(assays=2, regimes=regimes)
    masks = Masks.draw(expression, settings)
    done = run_completer("additive", expression, masks, settings, training)
    setting = Setting(expression, masks, "log_tpm")
    completer = completers.create("additive")
    completer.fit(setting.train(), setting.selection(), training)
    hidden = masks.reported(0)
    assert done.examples.dtype == np.float32
    assert np.array_equal(done.examples, setting.completed(completer, hidden)[hidden])
    truth = np.asarray(expression.layers["log_tpm"])[hidden]
    mse = done.scores.query(
        "metric == 'mse' and slide == '' and regime == 'entries' and hidden_fraction == 0.3 "
        "and assay == 0 and space == 'log_tpm'"
    )
    errors = (done.examples - truth) ** 2
    assert errors.mean() == pytest.approx(np.average(mse["value"], weights=mse["n"]), rel=1e-5)
