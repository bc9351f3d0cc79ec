"""A study on a published file, from its slides to the report, with nothing processed."""

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml

from project_copy import Project
from spared_samples import CODE, SIDE, as_published, definition, make_sample, write_published

pytestmark = pytest.mark.project

STUDY = {
    "title": "Published",
    "cohorts": [CODE],
    "protocol": "transductive",
    "completers": ["gene_mean", "additive", "spackle"],
    "targets": ["raw", "additive"],
    "controls": ["train_mean"],
    "predictors": ["feature_ridge"],
}


def ran(done):
    marker = "Completed node: "
    return {line.split(marker)[1].strip() for line in done.stdout.splitlines() if marker in line}


@pytest.fixture(scope="module")
def sample():
    return make_sample()


@pytest.fixture(scope="module")
def project(tmp_path_factory, sample):
    """A project with a study on the published file."""
    project = Project(tmp_path_factory.mktemp("project"))
    cohort = definition().model_dump(mode="json", exclude_defaults=True)
    project.add_study("pub", yaml.safe_dump({"study": STUDY, CODE: cohort}, sort_keys=False))
    write_published(project.root / "data/01_raw" / CODE, as_published(sample))
    return project


def test_a_published_file_goes_through_to_the_report(project, sample):
    done = project.kedro("run", "--env=pub")

    nodes = ran(done)
    assert {f"{CODE}.adopt", f"{CODE}.cut-V1_A"} <= nodes
    assert f"{CODE}.process" not in nodes
    expression = anndata.read_h5ad(project.root / "data/03_primary/pub" / CODE / "expression.h5ad")
    before = sample.processed.expression
    assert np.array_equal(expression.layers["combat"], before.layers["combat"])
    reporting = project.root / "data/08_reporting/pub"
    scores = pd.read_parquet(reporting / "completion_scores.parquet")
    assert {"gene_mean", "additive", "spackle"} <= set(scores["completer"])
    assert {"log_tpm", "combat"} == set(scores["space"])
    assert set(pd.read_parquet(reporting / "prediction_scores.parquet")["cohort"]) == {CODE}
    ingested = pd.read_parquet(project.root / "data/03_primary/pub" / CODE / "ingestion.parquet")
    assert set(ingested["patch_side_px"]) == {SIDE}
    assert CODE in (reporting / "report.html").read_text()


def test_another_file_in_the_folder_changes_nothing_and_another_cohort_file_all(project):
    folder = project.root / "data/01_raw" / CODE
    (folder / "adata_raw.h5ad").write_bytes(b"not read")
    again = ("run", "--env=pub", "--pipelines=ingestion,processing", "--only-missing-outputs")
    assert not ran(project.kedro(*again))

    (folder / "adata.h5ad").touch()
    assert {f"{CODE}.adopt", f"{CODE}.ingest-V1_A", f"{CODE}.cut-V1_A"} <= ran(
        project.kedro(*again)
    )


def test_the_inductive_protocol_is_refused_before_anything_runs(project):
    cohort = definition().model_dump(mode="json", exclude_defaults=True)
    study = {"study": {**STUDY, "protocol": "inductive"}, CODE: cohort}
    project.add_study("wrong", yaml.safe_dump(study))

    done = project.kedro("run", "--env=wrong", check=False)

    assert done.returncode != 0
    assert "study.protocol: 'inductive' cannot be kept by PUB" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_named_before_anything_runs(project):
    file = project.root / "data/01_raw" / CODE / "adata.h5ad"
    aside = file.rename(file.with_suffix(".aside"))
    (file.parent / "adata_raw.h5ad").unlink(missing_ok=True)
    try:
        done = project.kedro("run", "--env=pub", "--pipelines=processing", check=False)
    finally:
        aside.rename(file)

    assert done.returncode == 1
    assert f"{file.parent} lacks adata.h5ad" in done.stderr
    assert "Traceback" not in done.stderr
