"""Every registered predictor and the smallest of each family, ready to be tested alike."""

import atexit
import re
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.fit import Task, fit_predictor
from spared_benchmark.prediction.predictor import Predictor
from spared_benchmark.prediction.sampling import draw
from spared_benchmark.prediction.selection import predict_all
from spared_benchmark.prediction.staged import Staged
from spared_benchmark.registry import Card, Registry
from spared_benchmark.study import Budget
from spared_benchmark.training.seeds import isolated, torch_generator
from spared_benchmark.training.sweep import Training
from spared_benchmark.training.trials import TrialStore

families: Registry[Predictor] = Registry(
    "families", Path(__file__).parent / "families", "predictor"
)


def _example() -> Registry[Predictor]:
    """The predictor of docs/adding-a-model.md, as a reader would save it."""
    page = (Path(__file__).parents[2] / "docs" / "adding-a-model.md").read_text(encoding="utf-8")
    name, code = re.search(r"block as (\w+)\.py -->\n```python\n(.*?)```", page, re.DOTALL).groups()
    folder = Path(tempfile.mkdtemp()) / "adding_a_model"
    folder.mkdir()
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    (folder / "__init__.py").touch()
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    sys.path.append(str(folder.parent))
    return Registry("adding_a_model", folder, "predictor")


example = _example()
NAMES = [*predictors.available(), *families.available(), *example.available()]
# The settings of tests: frozen features are the mean colours of the samples.
EXTRA = {
    name: {"feature": "colours"}
    for name in predictors.available()
    if "feature" in predictors.card(name).sizes.get("tiny", {})
}
# Variants that publish a fault: what else they break is no excuse to break the rest.
FAITHFUL = [
    name
    for name in predictors.available()
    if "faithful" in predictors.card(name).sizes.get("tiny", {})
]


def registry_of(name: str) -> Registry[Predictor]:
    return next(one for one in (predictors, families, example) if name in one.available())


def card(name: str) -> Card:
    return registry_of(name).card(name)


def create(name: str, **settings) -> Predictor:
    return registry_of(name).create(name, size="tiny", **{**EXTRA.get(name, {}), **settings})


def fitted(name, train, steps=12, rate=1e-2, batch=16, **settings):
    """Fit on train slides alone, without any selection."""
    predictor = create(name, **settings)
    if isinstance(predictor, Staged):
        predictor.take(fitted(predictor.first, train, steps, rate, batch))
    with isolated(0, "network"):
        predictor.prepare(train)
        if predictor.trained:
            _train(predictor, train, steps, rate, batch)
    return predictor


def _train(predictor, train, steps, rate, batch):
    resident = predictor.resident(train)
    optimiser = torch.optim.Adam(predictor.module.parameters(), lr=rate)
    # The end at a lower rate: running averages of batch norm come to rest.
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [2 * steps // 3])
    generator = torch_generator(0)
    predictor.module.train()
    for _ in range(steps):
        (drawn,) = draw(resident, batch, generator)
        loss = predictor.loss(drawn)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    predictor.module.eval()


def predict(predictor, slides):
    return predict_all(predictor, predictor.resident(slides)).numpy()


# One candidate each: val has nothing to decide.
SINGLE = {"penalties": (0.1,), "neighbours": (2,)}


def selected(name, assembled, folder, steps=2, **settings):
    """Fit as a study does, with selection on val."""
    return fit_predictor(task_of(name, assembled, folder, steps, **settings))


def task_of(name, assembled, folder, steps=2, rates=(1e-3,), **settings):
    """The task of fitting a predictor at size tiny."""
    budget = Budget(steps=steps, batch_size=8, learning_rates=rates, validate_every=1)
    training = Training(budget, 42, TrialStore(folder))
    return _Task(name, assembled, training, "tiny", settings)


class _Task(Task):
    def create(self):
        return create(self.name, **self.settings)
