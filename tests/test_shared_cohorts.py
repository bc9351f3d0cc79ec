"""A cohort within another, under other names: found by content before anything is processed."""

import shutil

import pytest
import yaml

from project_copy import STUDY, Project
from spared_benchmark.simulation import simulate_slide, write_slide
from spared_benchmark.study import Cohort

pytestmark = pytest.mark.project

SIMULATED = yaml.safe_load(STUDY)["SMALL"]
OWN = {key: value for key, value in SIMULATED.items() if key != "simulation"}
RENAMED = {
    "X": {"subject": "Q1", "split": "train"},
    "Y": {"subject": "Q2", "split": "val"},
    "Z": {"subject": "Q3", "split": "val"},
}
FOUND = (
    "same_cohort: 3 of the 3 slides of ONE and 3 of the 3 slides of TWO are the same (the same "
    "files); in another split there: C (test in ONE, val in TWO)"
)


def add_study(project, name, gate):
    one = {**OWN, "organism": "human"}
    study = {**yaml.safe_load(STUDY)["study"], "cohorts": ["ONE", "TWO"], "gate": gate}
    cohorts = {"ONE": one, "TWO": {**one, "slides": RENAMED}}
    project.add_study(name, yaml.safe_dump({"study": study, **cohorts}, sort_keys=False))
    project.write(f"conf/{name}/parameters_processing.yml", "processing: {normalisation: cpm}\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with the studies ``strict`` and ``lenient`` on a cohort and its renamed copy."""
    project = Project(tmp_path_factory.mktemp("project"))
    raw = project.root / "data/01_raw"
    cohort = Cohort.model_validate(SIMULATED)
    for slide, copy in zip(cohort.slides, RENAMED, strict=True):
        write_slide(raw / "ONE" / slide, simulate_slide(cohort, "ONE", slide), cohort)
        shutil.copytree(raw / "ONE" / slide, raw / "TWO" / copy)
    add_study(project, "strict", {"same_cohort": "error"})
    add_study(project, "lenient", {})
    return project


def test_by_rule_the_run_ends_before_processing(project):
    alone = project.kedro("run", "--env=strict", "--pipelines=ingestion", "--namespaces=ONE")
    assert "same_cohort" not in alone.stdout, "a cohort runs without the others"

    stages = "--pipelines=ingestion,processing"
    refused = project.kedro("run", "--env=strict", stages, check=False)

    assert refused.returncode != 0
    assert f"ONE, TWO: {FOUND}" in refused.stdout + refused.stderr
    assert "study.gate: {same_cohort: warning}" in refused.stdout + refused.stderr
    assert "Running node: ONE.process" not in refused.stdout
    assert not list(project.root.glob("data/03_primary/strict/*/expression*"))


def test_by_default_it_is_a_warning_that_the_report_repeats(project):
    done = project.kedro(
        *("run", "--env=lenient", "--pipelines=ingestion,reporting", "--only-missing-outputs")
    )

    assert f"ONE, TWO: {FOUND}" in done.stdout
    page = (project.root / "data/08_reporting/lenient/report.html").read_text()
    assert "3 of the 3 slides of ONE and 3 of the 3 slides of TWO are the same" in page
