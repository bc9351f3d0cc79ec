"""Targets of a study that weigh what was completed: their names, their wiring, what is refused."""

import pytest
import yaml

from project_copy import BENCHMARK, COMPLETION, STUDY
from spared_benchmark.completion import completers
from spared_benchmark.completion.methods.gene_mean import GeneMean
from spared_benchmark.configuration import Configuration
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.pipelines.benchmark.pipeline import create_pipeline
from spared_benchmark.predictor_checks import impossible_predictors


def configuration(targets, predictors="[feature_ridge, small_cnn]"):
    study = STUDY.replace("[raw, spackle]", targets)
    study = study.replace("[feature_ridge, small_cnn]", predictors)
    parameters = {**yaml.safe_load(BENCHMARK), **yaml.safe_load(COMPLETION)}
    parameters["benchmark"]["encoders"] = {"random": {"network": "random_conv"}}
    features = {"feature_ridge": "random", "feature_knn": "random"}
    parameters["benchmark"]["features"] = features
    return Configuration.parse("x", yaml.safe_load(study), parameters)


@pytest.fixture
def sure(monkeypatch):
    """The mean of genes tells how sure it is."""
    told = type("Told", (GeneMean,), {"tells_uncertainty": True})
    plain = completers.get
    monkeypatch.setattr(
        completers, "get", lambda name: told if name == "gene_mean" else plain(name)
    )


def test_names_that_are_no_target_are_told():
    with pytest.raises(ConfigurationError, match=r"'gene_mean_weigthed' \(did you mean 'gene_mean"):
        configuration("[raw, gene_mean_weigthed]")
    with pytest.raises(ConfigurationError, match="unknown name 'raw_weighted'"):
        configuration("[raw_weighted]")
    with pytest.raises(ConfigurationError, match="unknown name 'ppca_weighted'"):
        configuration("[ppca_weighted]")


def test_both_forms_are_trained_on_the_file_of_one_completer():
    graph = create_pipeline(configuration("[gene_mean, gene_mean_weighted]"))
    names = [f"SMALL.train-{target}-small_cnn" for target in ("gene_mean", "gene_mean_weighted")]
    for name in names:
        (node,) = [one for one in graph.nodes if one.name == name]
        assert "SMALL.completed-gene_mean" in node.inputs


def test_a_completer_that_is_sure_can_weigh(sure):
    assert impossible_predictors(configuration("[raw, gene_mean, gene_mean_weighted]")) == []


def test_a_completer_that_does_not_tell_cannot(sure):
    (problem,) = impossible_predictors(configuration("[raw, spackle_weighted]"))
    assert problem == (
        "study.targets: 'spackle_weighted': spackle does not tell how sure it is of what it "
        "completes, so nothing can be weighted by it; of the study's completers do: gene_mean"
    )


def test_predictors_that_cannot_weigh_are_told_with_those_that_can(sure):
    found = configuration("[raw, gene_mean_weighted]", "[feature_knn, small_cnn]")
    (problem,) = impossible_predictors(found)
    assert problem.startswith(
        "study.targets: feature_knn cannot be trained on 'gene_mean_weighted': "
    )
    assert "take one of" in problem
    assert "small_cnn" in problem
