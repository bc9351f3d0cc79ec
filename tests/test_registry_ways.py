"""The registry learns the study, whichever way Kedro is asked."""

import json
import subprocess
import sys

import pytest

from project_copy import ROOT, Project

pytestmark = pytest.mark.project


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    project.add_study("small")
    return project


def in_process(project, script):
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_registry_list_names_the_five_pipelines(copy):
    out = copy.kedro("registry", "list").stdout

    for name in ("ingestion", "processing", "completion", "benchmark", "reporting", "__default__"):
        assert f"- {name}" in out


@pytest.mark.parametrize(("env", "cohort"), [("small", "SMALL"), ("", "SIM_HEX")])
def test_registry_describe_takes_kedro_env(copy, env, cohort):
    out = copy.kedro("registry", "describe", "processing", KEDRO_ENV=env).stdout

    assert f"{cohort}.process" in out
    assert ("SIM_HEX" in out) == (cohort == "SIM_HEX")


def test_catalog_commands_take_the_environment(copy):
    out = copy.kedro("catalog", "describe-datasets", "--env=small").stdout

    assert "SMALL.expression" in out
    assert "SIM_HEX" not in out


def test_run_takes_env_and_namespaces(copy):
    done = copy.kedro(
        "run", "--env=small", "--namespaces=SMALL", "--pipelines=ingestion", check=False
    )

    assert done.returncode == 0, done.stdout[-2000:]
    assert (copy.root / "data/02_intermediate/SMALL/A.h5ad").exists()


def test_two_sessions_in_one_process_each_see_their_study(copy):
    out = in_process(
        copy,
        """
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.framework.project import pipelines
from pathlib import Path
bootstrap_project(Path.cwd())
first = KedroSession.create(env="small").load_context()
names = lambda: sorted({node.namespace for node in pipelines["processing"].nodes})
print("first", names())
second = KedroSession.create(env="real").load_context()
print("second", names())
print("path", first.catalog.get("SMALL.expression")._describe()["filepath"].split("data/")[1])
print("path", second.catalog.get("VLO.expression")._describe()["filepath"].split("data/")[1])
print("first again", "SMALL.source_A" in first.catalog)
""",
    )

    assert "first ['SMALL']" in out
    assert "second ['HER2ST', 'MOB', 'VKO', 'VLMB', 'VLO']" in out
    assert "path 03_primary/small/SMALL/expression.h5ad" in out
    assert "path 03_primary/real/VLO/expression.h5ad" in out
    assert "first again True" in out


def test_viz_shows_the_environment_it_is_given(copy):
    out = in_process(
        copy,
        """
from pathlib import Path
from kedro_viz.integrations.kedro.data_loader import load_data
_, pipelines, *_ = load_data(Path.cwd(), env="small")
print(sorted({node.namespace for node in pipelines["processing"].nodes}))
""",
    )

    assert "['SMALL']" in out


def test_viz_build_takes_kedro_env(copy):
    copy.kedro("viz", "build", KEDRO_ENV="small")

    page = (copy.root / "build" / "api" / "main").read_text()
    assert "SMALL" in page
    assert "SIM_HEX" not in page
    layers = json.loads(page)["layers"]
    assert {"01_raw", "03_primary", "06_models", "08_reporting"} <= set(layers), "a cycle hides all"
    assert layers[0] == "01_raw"
    assert layers[-1] == "08_reporting"


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_the_parallel_runner_run_the_study(copy, context):
    copy.kedro(
        "run",
        "--env=small",
        "--pipelines=ingestion,processing",
        "--runner=ParallelRunner",
        "--runner-params=max_workers=2",
        KEDRO_MP_CONTEXT=context,
    )

    assert (copy.root / "data/03_primary/small/SMALL/expression.h5ad").exists()


def test_dask_workers_run_the_study(copy):
    copy.kedro(
        "run",
        "--env=small",
        "--pipelines=ingestion,processing",
        "--runner=spared_benchmark.runners.DaskRunner",
        "--runner-params=n_workers=2",
    )

    assert (copy.root / "data/03_primary/small/SMALL/expression.h5ad").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["registry", "list"]])
def test_light_commands_import_nothing_heavy(copy, arguments):
    script = f"""
import sys
sys.argv = ["kedro", *{arguments!r}]
from kedro.framework.cli.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {{"torch", "scanpy", "mlflow", "timm", "torchvision", "anndata"}} & set(sys.modules)
assert not heavy, heavy
"""
    in_process(copy, script)


def test_import_of_the_package_is_cheap():
    script = (
        "import sys, spared_benchmark as sb; sb.completers.available(); sb.predictors.available(); "
        "print(sorted({'torch', 'scanpy', 'mlflow', 'kedro'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
