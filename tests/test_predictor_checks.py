"""What cannot be among the settings of predictors is told before the first node."""

import pytest
import yaml

from project_copy import BENCHMARK, COMPLETION, STUDY
from spared_benchmark.configuration import Configuration
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction.cards import kind_of
from spared_benchmark.predictor_checks import impossible_predictors
from spared_benchmark.study import BenchmarkSettings


def problems(study=STUDY, **benchmark):
    parts = yaml.safe_load(study)
    settings = yaml.safe_load(BENCHMARK)["benchmark"]
    settings["encoders"] = {"random": {"network": "random_conv"}, "other": {"network": "resnet50"}}
    settings.setdefault("features", {"feature_ridge": "random"})
    parameters = {"benchmark": {**settings, **benchmark}, **yaml.safe_load(COMPLETION)}
    return impossible_predictors(Configuration.parse("x", parts, parameters))


def test_what_is_shipped_can_be():
    assert problems() == []


@pytest.mark.parametrize(
    ("benchmark", "told"),
    [
        (
            {"settings": {"small_cnn": {"widht": 3}}},
            "benchmark.settings.small_cnn.widht: unknown setting (did you mean 'widths'?)",
        ),
        ({"features": {}}, "benchmark.features.feature_ridge: needs one encoder; found none"),
        (
            {"features": {"feature_ridge": ["random", "other"]}},
            "benchmark.features.feature_ridge: needs one encoder; found random, other",
        ),
        (
            {"features": {"feature_ridge": "random", "small_cnn": "random"}},
            "benchmark.features.small_cnn: it works on no frozen features; found random",
        ),
    ],
)
def test_what_cannot_be_is_told(benchmark, told):
    (problem,) = problems(**benchmark)
    assert problem.startswith(told)


def test_weights_that_are_not_there_are_told():
    study = STUDY.replace("predictors: [feature_ridge, small_cnn]", "predictors: [vit_b]")
    (problem,) = problems(study, settings={"vit_b": {"weights": "nowhere.safetensors"}})
    told = "benchmark.settings.vit_b.weights: the file nowhere.safetensors does not exist"
    assert problem == told


def test_a_predictor_may_take_the_features_of_several_encoders():
    parts = yaml.safe_load(STUDY)
    encoders = {name: {"network": "random_conv", "seed": n} for n, name in enumerate("abc")}
    settings = {"encoders": encoders, "features": {"feature_ridge": ["c", "a"]}}
    configuration = Configuration.parse("x", parts, {"benchmark": settings})
    assert configuration.encoders() == ["a", "c"]
    assert configuration.benchmark.encoders_of("feature_ridge") == ("c", "a")


def test_a_file_of_weights_is_known_by_its_content(tmp_path):
    path = tmp_path / "weights.safetensors"
    parts, seen = yaml.safe_load(STUDY), []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        settings = yaml.safe_load(BENCHMARK)["benchmark"]
        settings["encoders"] = {"random": {"network": "random_conv"}}
        settings["settings"] = {"small_cnn": {"weights": str(path)}}
        parameters = {"benchmark": settings, **yaml.safe_load(COMPLETION)}
        configuration = Configuration.parse("x", parts, parameters)
        seen.append(configuration.parameters()["predictors"])
    assert seen[0]["small_cnn"] != seen[1]["small_cnn"]
    assert seen[0]["feature_ridge"] == seen[1]["feature_ridge"]


@pytest.mark.parametrize("told", [{"contaminated": ["mine"]}, {}])
def test_a_training_node_is_told_which_predictors_are_contaminated(told):
    """It does not see the encoders: another setting of one must not train all others again."""
    network = "resnet50" if told else "hf-hub:someone/OmiCLIP"
    settings = {
        "encoders": {"mine": {"network": network}, "random": {"network": "random_conv"}},
        "features": {"feature_ridge": "mine", "nearest_slide": "random"},
        **told,
    }
    parts = yaml.safe_load(STUDY)
    configuration = Configuration.parse("x", parts, {"benchmark": settings})
    tasks = configuration.parameters()["predictors"]
    kinds = {
        name: kind_of(name, BenchmarkSettings.model_validate(tasks[name]["settings"]))
        for name in ("feature_ridge", "small_cnn")
    }
    assert kinds == {"feature_ridge": "contaminated", "small_cnn": "method"}


def test_a_contaminated_thing_that_there_is_not_is_told():
    with pytest.raises(ConfigurationError, match=r"benchmark\.contaminated: 'feature_rigde'"):
        problems(contaminated=["feature_rigde"])
