"""What tests of whole-slide predictors share: prepared networks, batches, costs."""

import torch
from every_predictor import create
from prediction_samples import cohort
from torch.utils.flop_counter import FlopCounterMode

from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.sampling import batches
from spared_benchmark.training.seeds import isolated
from spared_benchmark.training.sweep import parameter_counts


def prepared(name, data, **settings):
    """A predictor as training starts with it, in evaluation mode."""
    predictor = create(name, **settings)
    with isolated(0, "network"):
        predictor.prepare(data.of("train"))
    predictor.module.eval()
    return predictor


def batch_of(predictor, slide):
    """The batches of one slide, which is a single one unless it is cut."""
    (batch,) = batches(predictor.resident([slide]), 512)
    return batch


def first_prediction(name, **settings):
    """Before any training: two spots of val, all genes.

    Batch norms have seen the slide once, without which they would hardly let an image through.
    """
    data = cohort()
    predictor = prepared(name, data, **settings)
    batch = batch_of(predictor, data.of("val")[0].blind())
    norms = [one for one in predictor.module.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        predictor.predict(batch)
        predictor.module.eval()
        return predictor.predict(batch)[:2]


def paper_parameters(name, **settings):
    """Parameters of the published network, 128 genes, without memory for them."""
    with torch.device("meta"):
        module = predictors.create(name, size="paper", **settings).build(128)
    return parameter_counts(module)[1]


def small_cost(name):
    """Parameters, and floating-point operations of a spot view, at size small."""
    data = cohort(rows=8, columns=8)
    predictor = predictors.create(name, size="small")
    predictor.prepare(data.of("train"))
    predictor.module.eval()
    slide = data.of("val")[0].blind()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        predictor.predict(batch_of(predictor, slide))
    return parameter_counts(predictor.module)[1], counter.get_total_flops() / slide.n_spots


def gradients(predictor, batch):
    """Loss, gradients and buffers of one step, drawn alike each time."""
    predictor.module.train()
    predictor.module.zero_grad()
    torch.manual_seed(3)
    loss = predictor.loss(batch)["loss"]
    loss.backward()
    found = {name: weight.grad for name, weight in predictor.module.named_parameters()}
    return loss.detach(), found, {k: v.clone() for k, v in predictor.module.named_buffers()}


def assert_checkpoints_change_nothing(name, **settings):
    """Activations computed again give the loss, gradients and running averages of kept ones."""
    data = cohort()
    results, passes = [], []
    for checkpoint in (False, True):
        predictor, counter = prepared(name, data, checkpoint=checkpoint, **settings), []
        for layer in predictor.module.modules():
            layer.register_forward_hook(lambda *_, counter=counter: counter.append(1))
        results.append(gradients(predictor, batch_of(predictor, data.of("train")[0])))
        passes.append(len(counter))
    torch.testing.assert_close(*results)
    assert passes[1] > 1.3 * passes[0]
