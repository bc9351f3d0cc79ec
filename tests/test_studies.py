"""The studies and the catalog as they are shipped."""

from pathlib import Path

import pytest
import yaml
from kedro.framework.project import settings
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from spared_benchmark.completion import completers
from spared_benchmark.prediction import predictors
from spared_benchmark.prediction.cards import kind_of
from spared_benchmark.prediction.names import method_of
from spared_benchmark.reporting.ablations import CONTEXT, HOPS, IMAGE, MEASURED, NO_MEDIAN
from spared_benchmark.variant_checks import impossible_variants

ROOT = Path(__file__).parents[1]
STUDIES = (
    *("base", "real", "real_inductive", "completion", "ablations", "models", "downstream"),
    "all_tiny",
)
LAYERS = {path.name for path in (ROOT / "data").iterdir() if path.is_dir()}


def open_study(name):
    from kedro.framework.project import pipelines

    bootstrap_project(ROOT)
    # conf/local is the developer's own and no part of what is shipped.
    session = KedroSession.create(project_path=ROOT, env=name)
    context = session.load_context()
    return context, dict(pipelines)["__default__"], context.catalog


@pytest.fixture(scope="module", params=STUDIES)
def study(request):
    return request.param, *open_study(request.param)


def dataset_names(pipeline):
    return {name for name in pipeline.datasets() if not name.startswith("params:")}


def test_every_dataset_of_the_graph_is_on_disk_at_a_place_of_its_own(study):
    _, _, pipeline, catalog = study
    places = {}
    for name in dataset_names(pipeline):
        assert name in catalog, f"{name} would stay in memory"
        places.setdefault(str(catalog.get(name)._describe()["filepath"]), []).append(name)

    assert [names for names in places.values() if len(names) > 1] == []


def test_places_follow_study_and_cohort(study):
    name, context, pipeline, catalog = study
    codes = set(context.config_loader.configuration.cohorts)
    for dataset in dataset_names(pipeline):
        code = dataset.split(".")[0]
        path = Path(catalog.get(dataset)._describe()["filepath"])
        if code in codes and "source_" not in dataset:
            folder = path.relative_to(ROOT / "data").parts
            own = folder[0] in ("02_intermediate", "04_feature")
            assert folder[1:3] == (code, *folder[2:3]) if own else (name, code), dataset


def test_layers_are_known(study):
    _, _, pipeline, catalog = study
    for name in dataset_names(pipeline):
        metadata = catalog.get(name).metadata
        assert name.endswith(".trials") or metadata["kedro-viz"]["layer"] in LAYERS


def test_simulated_cohorts_alone_are_scored_against_a_truth(study):
    _, context, pipeline, _ = study
    inputs = {node.name: set(node.inputs) for node in pipeline.nodes}
    for code, cohort in context.config_loader.configuration.cohorts.items():
        truth = f"{code}.true_expression"
        starts = (f"{code}.complete-", f"{code}.score_completion_controls")
        scorers = {name for name in inputs if name.startswith(starts)}
        readers = {name for name, needed in inputs.items() if truth in needed}
        assert scorers
        assert readers == (scorers if cohort.simulation is not None else set())
        if readers:
            assert {f"{code}.truth-{slide}" for slide in cohort.slides} < inputs[
                f"{code}.gather_truth"
            ]


def test_the_graph_stays_small_enough_to_look_at(study):
    _, _, pipeline, _ = study
    assert len(pipeline.nodes) < 1000


def test_no_catalog_entry_is_unused():
    import parse

    _, pipeline, _ = open_study("base")
    names = dataset_names(pipeline) | dataset_names(open_study("real")[1])
    for file in sorted((ROOT / "conf/base").glob("catalog*.yml")):
        for entry in yaml.safe_load(file.read_text()):
            assert any(parse.parse(entry, name) for name in names), entry


def test_all_tiny_runs_every_method():
    context, *_ = open_study("all_tiny")
    study = context.config_loader.configuration.study

    assert sorted(study.completers) == completers.available()
    names = {method_of(name) for name in [*study.controls, *study.predictors]}
    assert sorted(names) == predictors.available()


def test_controls_are_controls_and_predictors_are_not(study):
    name, context, *_ = study
    configuration = context.config_loader.configuration.study
    settings = context.config_loader.configuration.benchmark
    controls = {kind_of(one, settings) for one in configuration.controls}
    methods = {kind_of(one, settings) for one in configuration.predictors}

    predicts_nothing = name in ("completion", "ablations")
    assert controls == (set() if predicts_nothing else {"control"})
    assert methods == (set() if predicts_nothing else {"method"})


def test_real_and_real_inductive_differ_in_protocol_alone():
    real = open_study("real")[0].config_loader.configuration
    inductive = open_study("real_inductive")[0].config_loader.configuration

    assert real.cohorts == inductive.cohorts
    assert real.benchmark == inductive.benchmark
    assert real.completion == inductive.completion
    assert real.study.model_copy(update={"protocol": "inductive"}) == inductive.study


def test_the_tag_of_ablations_runs_the_variants_and_what_they_need():
    context, pipeline, catalog = open_study("ablations")
    configuration = context.config_loader.configuration
    assert impossible_variants(configuration) == []
    tagged = pipeline.only_nodes_with_tags("ablation")
    names = {node.name.split(".", 1)[1] for node in tagged.nodes}
    trained = {name for name in names if name.startswith("complete-")}
    assert trained == {f"complete-{name}" for name in configuration.variants}
    assert {*HOPS, NO_MEDIAN, MEASURED, CONTEXT, IMAGE} <= set(configuration.study.completers)
    # What is read is made by the same run, or by nothing: sources, parameters and handles.
    assert tagged.inputs() <= pipeline.inputs()
    assert not {name for name in names if name.startswith(("draw_completion", "report"))}
    shown = {node.name: set(node.inputs) for node in tagged.nodes}
    assert "VLO.context" in shown["VLO.complete-spackle_context"]
    assert sum("features-" in name for name in shown["VLO.complete-spackle_image"]) == 4
    assert "VLO.context" not in shown["VLO.complete-spackle_image"]
    assert "VLO.completed-spackle_context" in catalog


def test_studies_without_variants_have_no_tag_of_ablations(study):
    name, _, pipeline, _ = study
    tagged = pipeline.only_nodes_with_tags("ablation").nodes
    assert bool(tagged) == (name in ("ablations", "completion"))


def test_settings_are_light():
    assert settings.CONFIG_LOADER_CLASS.__name__ == "StudyConfigLoader"


@pytest.mark.parametrize("code", ["SIM_HEX", "SIM_SQUARE"])
def test_the_demonstration_misses_as_much_as_real_sections_do(code):
    """With hardly anything missing, all targets would be the same and nothing would be shown."""
    from spared_benchmark.expression.process import process
    from spared_benchmark.simulation.genes import simulated_gene_lengths
    from spared_benchmark.simulation.slide import simulate_slide
    from spared_benchmark.study import Cohort, ProcessingSettings

    text = (ROOT / "conf/base/cohorts" / f"{code}.yml").read_text()
    cohort = Cohort.model_validate(yaml.safe_load(text)[code])
    slides = {
        name: (lambda name=name: simulate_slide(cohort, code, name).raw.adata)
        for name in cohort.slides
    }
    lengths = simulated_gene_lengths(cohort, code)
    done = process(slides, cohort, code, "inductive", ProcessingSettings(), lengths)
    statistics = done.statistics.set_index("statistic")["value"]

    assert statistics["genes"] == cohort.genes
    assert 0.2 < statistics["missing_after"] < 0.35
