"""Variants of completers in a study: what may be written, and what each node is given."""

from copy import deepcopy
from dataclasses import replace

import pytest

from spared_benchmark.configuration import Configuration
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.variant_checks import impossible_variants
from test_configuration import COHORT, PARAMETERS, STUDY

VARIANTS = {
    "bold": {"of": "additive", "settings": {"residual_weight": 1.0}},
    "near": {"of": "spackle", "settings": {"hops": 1}},
    "more": {"of": "spackle", "context": True},
    "seen": {"of": "spackle", "features": "random"},
}
WITH_IMAGES = {"slides": {name: {**COHORT["slides"][name], "image": "hires"} for name in "ABC"}}


def parse(variants=VARIANTS, listed=None, cohort=WITH_IMAGES, **completion):
    names = ["gene_mean", "spackle", *(variants if listed is None else listed)]
    study = {**STUDY, "completers": names, "targets": ["raw", *names[2:3]]}
    parameters = deepcopy(PARAMETERS)
    parameters["completion"] = {**completion, "variants": variants}
    return Configuration.parse("x", {"study": study, "MINE": {**COHORT, **cohort}}, parameters)


def problems(*args, **kwargs):
    with pytest.raises(ConfigurationError) as error:
        parse(*args, **kwargs)
    return str(error.value)


def test_a_variant_has_size_and_budget_of_what_it_is_of_unless_it_has_its_own():
    sizes = {"spackle": "tiny", "more": "paper"}
    budgets = {"spackle": {"steps": 3}, "near": {"steps": 5}}
    tasks = parse(sizes=sizes, budgets=budgets).parameters()["completers"]

    def told(name):
        settings = tasks[name]["settings"]
        return settings["sizes"].get(name), settings["budgets"].get(name, {}).get("steps")

    assert {name: told(name) for name in ("spackle", "near", "more", "bold")} == {
        "spackle": ("tiny", 3),
        "near": ("tiny", 5),
        "more": ("paper", 3),
        "bold": (None, None),
    }
    unsaid = {"context": False, "features": None}
    assert tasks["near"]["variant"] == {"of": "spackle", "settings": {"hops": 1}, **unsaid}


def test_a_variant_changes_nothing_of_what_the_other_nodes_are_given():
    with_variants, without = parse().parameters(), parse({}).parameters()
    for name in ("gene_mean", "spackle"):
        assert with_variants["completers"][name] == without["completers"][name]
    assert with_variants["masks"] == without["masks"]
    assert "variants" not in without["masks"]


def test_a_variant_that_the_study_does_not_list_is_not_run():
    configuration = parse(listed=["near"])
    assert list(configuration.variants) == ["near"]
    assert set(configuration.parameters()["completers"]) == {"gene_mean", "spackle", "near"}


def test_the_encoder_of_a_variant_is_among_those_of_the_study():
    def encoders(*variants):
        configuration = parse(listed=variants)
        alone = configuration.study.model_copy(update={"predictors": (), "controls": ()})
        return replace(configuration, study=alone).encoders()

    assert encoders("seen") == ["random"]
    assert encoders("near", "more") == []


@pytest.mark.parametrize(
    ("name", "variant", "told"),
    [
        ("x", {"of": "spakle"}, "variants.x.of: no completer 'spakle' (did you mean 'spackle'?)"),
        ("x", {"of": "near"}, "no completer 'near'; a variant of a variant repeats its settings"),
        ("ppca", {"of": "spackle"}, "variants.ppca: is the name of a registered completer"),
        ("controls", {"of": "spackle"}, "variants.controls: is the name of something else"),
        ("a-b", {"of": "spackle"}, "String should match pattern"),
        ("x", {"of": "spackle", "setings": {}}, "unknown key (did you mean 'settings'?)"),
        ("x", {}, "variants.x.of: required key is missing"),
        ("x", {"of": "spackle", "features": "rnd"}, "no encoder 'rnd'"),
    ],
)
def test_what_cannot_be_is_told_by_every_command(name, variant, told):
    assert told in problems({**VARIANTS, name: variant})


def test_an_unknown_name_among_the_completers_suggests_a_variant():
    message = problems(listed=["naer"])
    assert "study.completers: unknown name 'naer' (did you mean 'near'?)" in message


def test_slides_without_an_image_have_no_features():
    told = "completion.variants.seen.features: MINE has no image of C"
    assert told in problems(cohort={})


@pytest.mark.parametrize(
    ("variant", "told"),
    [
        ({"of": "spackle", "settings": {"hop": 1}}, "has no hyper-parameter 'hop' (did you mean"),
        ({"of": "spackle", "settings": {"loss": "all"}}, "loss is 'all'"),
        ({"of": "additive", "features": "random"}, "additive makes nothing of images"),
    ],
)
def test_hyper_parameters_that_cannot_be_are_told_before_a_run(variant, told):
    (problem,) = impossible_variants(parse({"x": variant}))
    assert problem.startswith("completion.variants.x")
    assert told in problem


def test_what_is_shipped_can_be():
    assert impossible_variants(parse()) == []
