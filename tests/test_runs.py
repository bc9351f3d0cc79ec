"""Whole runs of a small study: what exists is not made again, and what is stale is."""

import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml

from project_copy import BENCHMARK, STUDY, Project, files

pytestmark = pytest.mark.project


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project in which the study ``small`` has run from end to end."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.add_study("small")
    done = project.kedro("run", "--env=small")
    assert "The report is ready" in done.stdout
    return project


def ran(done):
    """Return the names of the nodes that ran."""
    marker = "Completed node: "
    return {line.split(marker)[1].strip() for line in done.stdout.splitlines() if marker in line}


def again(project, env="small"):
    return project.kedro("run", f"--env={env}", "--only-missing-outputs")


REPORTING = {
    "collect_cohorts",
    "collect_ingestion",
    "collect_completion_scores",
    "collect_prediction_scores",
    "collect_gene_scores",
    "collect_comparisons",
    "collect_training",
    "find_shared",
    "draw_completion_figures",
    "draw_figures",
    "write_report",
}


# What depends on the settings of small_cnn.
CONSUMERS = {
    *("train-raw-small_cnn", "train-spackle-small_cnn"),
    *("score_predictions", "compare_predictions", "tabulate_training", "draw_maps"),
}


def test_the_report_and_its_tables_are_there(finished):
    reporting = finished.root / "data/08_reporting/small"

    page = (reporting / "report.html").read_text()
    scores = pd.read_parquet(reporting / "prediction_scores.parquet")
    completion = pd.read_parquet(reporting / "completion_scores.parquet")

    assert "SMALL" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    fitted = scores[scores["target"] != "truth"]
    assert {"train_mean", "feature_ridge", "small_cnn"} == set(fitted["predictor"])
    assert {"raw", "spackle"} == set(fitted["target"])
    assert {"gene_mean", "slide_gene_mean", "spackle"} <= set(completion["completer"])
    assert {"log_tpm", "combat"} == set(completion["space"])
    true = completion[completion["metric"] == "true_mse"]
    assert {"gene_mean", "slide_gene_mean", "spackle", "measured"} <= set(true["completer"])
    assert "Against the true expression" in page


def test_nothing_but_the_report_is_made_again(finished):
    assert ran(again(finished)) == REPORTING


def test_a_changed_parameter_reruns_exactly_its_consumers(finished):
    path = "conf/small/parameters_benchmark.yml"
    settings = yaml.safe_load(BENCHMARK)
    settings["benchmark"]["budgets"]["small_cnn"] = {
        "steps": 6,
        "batch_size": 16,
        "learning_rates": [0.001],
        "validate_every": 2,
    }
    finished.write(path, yaml.safe_dump(settings))
    try:
        nodes = ran(again(finished))
    finally:
        finished.write(path, BENCHMARK)

    cohort = {name.removeprefix("SMALL.") for name in nodes - REPORTING}
    assert cohort == CONSUMERS


def test_back_at_the_old_settings_the_changed_nodes_run_again(finished):
    cohort = {name.removeprefix("SMALL.") for name in ran(again(finished)) - REPORTING}

    assert cohort == CONSUMERS


def test_an_impossible_setting_ends_the_run_before_its_first_node(finished):
    path = "conf/small/parameters_benchmark.yml"
    settings = yaml.safe_load(BENCHMARK)
    settings["benchmark"]["settings"] = {"small_cnn": {"widht": 3}}
    finished.write(path, yaml.safe_dump(settings))
    try:
        done = finished.kedro("run", "--env=small", check=False)
    finally:
        finished.write(path, BENCHMARK)

    assert done.returncode != 0
    assert "unknown setting (did you mean 'widths'?)" in done.stdout + done.stderr
    assert "Running node" not in done.stdout + done.stderr


def test_a_predictor_that_fails_stops_nothing_and_is_tried_again(finished):
    path = "conf/small/parameters_benchmark.yml"
    settings = yaml.safe_load(BENCHMARK)
    settings["benchmark"]["settings"] = {"small_cnn": {"widths": [7]}}  # no four groups in seven
    finished.write(path, yaml.safe_dump(settings))
    reporting = finished.root / "data/08_reporting/small"
    try:
        first = again(finished)
        page = (reporting / "report.html").read_text()
        second = ran(again(finished))
    finally:
        finished.write(path, BENCHMARK)

    assert "small_cnn on raw failed; the others go on" in first.stdout + first.stderr
    assert "num_channels (7) must be divisible by num_groups (4)" in page
    scored = set(pd.read_parquet(reporting / "prediction_scores.parquet")["predictor"])
    assert {"train_mean", "feature_ridge"} <= scored
    assert "small_cnn" not in scored
    assert {"SMALL.train-raw-small_cnn", "SMALL.train-spackle-small_cnn"} <= second
    # What was made from the failure is made again with it, though no setting has changed.
    assert {"SMALL.score_predictions", "SMALL.tabulate_training"} <= second
    assert "SMALL.train-raw-feature_ridge" not in second
    again(finished)
    assert "small_cnn" in set(pd.read_parquet(reporting / "prediction_scores.parquet")["predictor"])


def test_a_new_title_reruns_the_report_alone(finished):
    path = "conf/small/study.yml"
    finished.write(path, STUDY.replace("title: Small simulated tissue", "title: Renamed"))
    try:
        nodes = ran(again(finished))
    finally:
        finished.write(path, STUDY)

    assert nodes == REPORTING


def test_a_truncated_file_is_rebuilt(finished):
    masks = finished.root / "data/05_model_input/small/SMALL/masks.npz"
    whole = masks.read_bytes()
    masks.write_bytes(whole[: len(whole) // 2])

    nodes = ran(again(finished))

    assert "SMALL.draw_masks" in nodes
    assert masks.read_bytes() == whole


def test_two_studies_never_touch_each_others_files(finished):
    before = files(finished.root / "data")
    finished.add_study("other", STUDY.replace("protocol: inductive", "protocol: transductive"))

    nodes = ran(again(finished, "other"))

    after = files(finished.root / "data")
    assert {name: after[name] for name in before} == before
    added = set(after) - set(before)
    assert added
    assert not [name for name in added if "other" not in name], "each lies under its study"
    features = {name for name in before if name.startswith("04_feature") and "random" in name}
    assert len(features) == 3
    assert not [name for name in nodes if "encode" in name], "features are of both studies"


def test_another_setting_of_an_encoder_leaves_the_others_features_alone(finished):
    before = files(finished.root / "data/04_feature")
    encoder = "random: {image_size: 16, window: 1.5d}"
    finished.add_study("wider")
    finished.write(
        "conf/wider/parameters_benchmark.yml",
        BENCHMARK.replace("random: {image_size: 16}", encoder),
    )

    nodes = [*(f"cut_1.5d-{slide}" for slide in "AB"), *(f"encode-random-{s}" for s in "AB")]
    wanted = ",".join(f"SMALL.{name}" for name in nodes)
    finished.kedro("run", "--env=wider", f"--nodes={wanted}")

    after = files(finished.root / "data/04_feature")
    assert {name: after[name] for name in before} == before
    added = {name.removeprefix("SMALL/") for name in set(after) - set(before)}
    arrays = {name.rsplit("-", 1)[0] for name in added if name.endswith(".npy") and "-" in name}
    assert arrays == {"A.1.5d.random", "B.1.5d.random"}
    assert {"A.1.5d.json", "A.1.5d.patches/patches.npy"} < added
    assert not ran(
        finished.kedro("run", "--env=wider", f"--nodes={wanted}", "--only-missing-outputs")
    )


def test_a_partial_run_on_stale_inputs_is_refused(finished):
    finished.write("conf/small/parameters_processing.yml", "processing: {median_hops: 2}\n")
    try:
        done = finished.kedro("run", "--env=small", "--pipelines=completion", check=False)
    finally:
        finished.write("conf/small/parameters_processing.yml", "processing: {}\n")

    assert done.returncode == 1
    assert "expression.h5ad was made by other settings" in done.stderr
    assert "kedro run --env=small --pipelines=ingestion,processing" in done.stderr


def test_on_a_fresh_clone_the_benchmark_says_what_is_missing(tmp_path):
    project = Project(tmp_path)

    for option in ("--pipeline=benchmark", "--pipelines=benchmark"):
        done = project.kedro("run", option, "--namespaces=SIM_HEX", check=False)
        assert done.returncode == 1
        assert "expression.h5ad does not exist" in done.stderr
        command = "kedro run --namespaces=SIM_HEX --pipelines=ingestion,processing,completion"
        assert command in done.stderr
        assert "Traceback" not in done.stderr
        assert not ran(done)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("study: {protocl: inductive}", "study.protocl: unknown key (did you mean 'protocol'?)"),
        ("study: {cohorts: [VLOO]}", "no cohort 'VLOO' (did you mean 'VLO'?)"),
        (
            STUDY.replace("A: {subject: P1, split: train}", "A: {subject: P1}"),
            "SMALL.slides.A: the slide is in no split",
        ),
        ("study: [", "cannot be read"),
        ("study: [VLO]", "cannot be read"),
    ],
)
def test_a_wrong_study_is_one_clear_error(tmp_path, study, message):
    project = Project(tmp_path)
    project.add_study("wrong", study)

    done = project.kedro("run", "--env=wrong", check=False)

    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_folder_is_one_clear_error(tmp_path):
    project = Project(tmp_path)
    (tmp_path / "empty").mkdir()

    done = project.kedro(
        *("run", "--env=real", "--namespaces=VLO"),
        check=False,
        SPARED_RAW_ROOT=str(tmp_path / "empty"),
    )

    assert done.returncode == 1
    assert "villacampa_lung_organoid" in done.stderr
    assert "SPARED_RAW_ROOT" in done.stderr
    assert "Traceback" not in done.stderr
    assert not ran(done)


def test_ones_own_cohort_is_one_file(finished):
    """The steps of docs/own-cohort.md, on the files that the simulation wrote."""
    definition = STUDY.split("SMALL:")[1]
    lines = [line for line in definition.splitlines() if "simulation" not in line]
    own = "\n".join(lines).replace("organism: simulated", "organism: human\n  folder: SMALL")
    study = STUDY.split("SMALL:")[0].replace("[SMALL]", "[MINE]")
    finished.write("conf/local/study.yml", f"{study}\nMINE:{own}\n")
    lengths = pd.read_parquet(finished.root / "data/02_intermediate/SMALL/gene_lengths.parquet")
    lengths.to_csv(finished.root / "data/01_raw/gene_lengths_human.tsv.gz", sep="\t", index=False)

    finished.kedro("run", "--pipelines=ingestion,processing")

    mine = finished.root / "data/03_primary/base/MINE/expression.h5ad"
    assert mine.exists()
    raw, aside = finished.root / "data/01_raw/SMALL", finished.root / "aside"
    raw.rename(aside)
    try:
        finished.kedro("run", "--pipelines=reporting")
    finally:
        aside.rename(raw)
    cohorts = pd.read_parquet(finished.root / "data/08_reporting/base/cohorts.parquet")
    assert set(cohorts["cohort"]) == {"MINE"}, "results outlive the disk with the raw data"


def test_a_slide_in_two_splits_ends_the_run_before_processing(finished):
    """One section's folder under two names, as after a slip of the hand."""
    raw, twins = finished.root / "data/01_raw/SMALL", finished.root / "data/01_raw/TWINS"
    for source, name in (("A", "A"), ("B", "B"), ("A", "C")):
        shutil.copytree(raw / source, twins / name)
    study = STUDY.replace("SMALL", "TWINS").replace("organism: simulated", "organism: human")
    lines = [line for line in study.splitlines() if "simulation:" not in line]
    finished.add_study("twins", "\n".join(lines))
    finished.write("conf/twins/parameters_processing.yml", "processing: {normalisation: cpm}\n")

    refused = finished.kedro("run", "--env=twins", "--pipelines=ingestion,processing", check=False)

    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert "TWINS: same_slide: A (train), C (test) have the same files" in said
    assert "TWINS: same_image: A (train), C (test) have the same pixels" in said
    assert "study.gate: {same_slide: warning, same_image: warning}" in said
    assert not list(finished.root.glob("data/03_primary/twins/TWINS/expression*"))
    gate = "  gate: {same_slide: warning, same_image: warning}"
    finished.add_study("twins", "\n".join(lines).replace("\nTWINS:", f"\n{gate}\nTWINS:"))
    allowed = finished.kedro("run", "--env=twins", "--pipelines=ingestion,reporting")
    assert "TWINS: same_slide: A (train), C (test) have the same files" in allowed.stdout
    page = (finished.root / "data/08_reporting/twins/report.html").read_text()
    assert "TWINS: A (train), C (test) have the same files." in page


def in_training(log, trials):
    """Say whether a small_cnn is being trained and has saved a checkpoint."""
    running = log.rsplit("Running node: ", 1)[-1].split("\n")[0]
    return "small_cnn" in running and any(trials.glob("*/checkpoint.pt"))


def test_interrupted_and_continued(tmp_path):
    """Ctrl-C in a training; the same command with --only-missing-outputs goes on."""
    project = Project(tmp_path)
    project.add_study("small")
    project.write(
        "conf/small/parameters_benchmark.yml", BENCHMARK.replace("steps: 4", "steps: 800")
    )
    log = tmp_path / "log.txt"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", "--env=small"],
            cwd=project.root,
            env=project.environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
            # A shell's background jobs ignore Ctrl-C, and so would their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    trials = project.root / "data/06_models/small/SMALL/trials"
    deadline = time.monotonic() + 300
    while not in_training(log.read_text(), trials):
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert not (project.root / "data/08_reporting/small/report.html").exists()
    made = files(project.root / "data")
    before = {name: time for name, time in made.items() if not name.startswith("08_reporting")}

    done = project.kedro("run", "--env=small", "--only-missing-outputs")

    assert "goes on from step" in done.stdout
    after = files(project.root / "data")
    assert {name: after[name] for name in before} == before, "finished work was not done again"
    assert (project.root / "data/08_reporting/small/report.html").exists()
    hidden = [path.name for path in (project.root / "data").rglob(".*") if path.is_file()]
    assert not [name for name in hidden if not name.endswith(".json")], "nothing half-written"
