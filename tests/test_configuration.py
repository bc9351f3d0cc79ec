"""A study's YAML: typed, every problem told at once, each with the nearest known word."""

from copy import deepcopy

import pytest

from spared_benchmark.configuration import Configuration
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.study import Cohort

STUDY = {
    "title": "A study",
    "cohorts": ["MINE"],
    "protocol": "inductive",
    "completers": ["gene_mean", "additive"],
    "controls": ["train_mean"],
    "predictors": ["feature_ridge"],
    "targets": ["raw", "measured", "additive"],
}
COHORT = {
    "title": "Mine",
    "organism": "human",
    "tissue": "skin",
    "lattice": "hexagonal",
    "format": "space_ranger",
    "licence": "CC-BY-4.0",
    "citation": "Me",
    "slides": {
        "A": {"subject": "P1", "split": "train"},
        "B": {"subject": "P2", "split": "val"},
        "C": {"subject": "P3", "split": "test", "image": None},
    },
}
PARAMETERS = {
    "processing": {},
    "completion": {"budgets": {"additive": {"steps": 3}}},
    "benchmark": {
        "encoders": {"random": {"network": "random_conv"}},
        "features": {"feature_ridge": "random"},
        "budgets": {"default": {"steps": 5}, "small_cnn": {"steps": 7}},
    },
    "reporting": {},
}


def parse(study=None, cohort=None, **parameters):
    files = {"study": {**STUDY, **(study or {})}, "MINE": {**COHORT, **(cohort or {})}}
    return Configuration.parse("base", files, {**deepcopy(PARAMETERS), **parameters})


def problems(*args, **kwargs):
    with pytest.raises(ConfigurationError) as error:
        parse(*args, **kwargs)
    return str(error.value)


def test_a_good_study_is_read():
    configuration = parse()

    assert list(configuration.cohorts) == ["MINE"]
    assert configuration.cohorts["MINE"].slides["C"].image is None
    assert configuration.encoders() == ["random"]


def test_every_problem_is_told_at_once():
    message = problems(
        study={"protocl": "inductive", "completers": ["gene_mean", "aditive"]},
        cohort={"latice": "square"},
        processing={"median_hop": 2},
    )

    assert "study.protocl: unknown key (did you mean 'protocol'?)" in message
    assert "MINE.latice" not in message, "cohorts are read once the study itself is readable"
    assert "processing.median_hop: unknown key (did you mean 'median_hops'?)" in message


def test_unknown_names_suggest_the_nearest():
    message = problems(study={"completers": ["gene_mean", "aditive"], "targets": ["rwa"]})

    assert "study.completers: unknown name 'aditive' (did you mean 'additive'?)" in message
    assert "study.targets: unknown name 'rwa' (did you mean 'raw'?)" in message


def test_a_predictor_with_other_settings_is_known_by_them():
    given = {
        "encoders": {"random": {"network": "random_conv"}},
        "features": {"feature_knn": "random"},
        "settings": {"feature_knn-few": {}, "feature_kn-few": {}},
    }
    study = {"predictors": ["feature_knn", "feature_knn-few"]}
    with pytest.raises(ConfigurationError) as error:
        parse(study=study, benchmark=given)
    assert "benchmark.settings.feature_kn-few: unknown method" in str(error.value)
    del given["settings"]["feature_kn-few"]
    names = parse(study=study, benchmark=given).parameters()["predictors"]
    told = names["feature_knn-few"]["settings"]
    assert told["features"] == {"feature_knn": "random"}
    assert list(told["settings"]) == ["feature_knn-few"]
    misspelt = [
        {"settings": {"feature_knn-Few": {}}},
        {"settings": {"feature_knn-few_smoothed": {}, "feature_knn-a-b": {}}},
        *({key: {"feature_knn-fw": value}} for key, value in (("sizes", "tiny"), ("budgets", {}))),
        {"smoothed": ["feature_knn-fw"]},
        {"contaminated": ["feature_knn-fw"]},
    ]
    for wrong in misspelt:
        (key,) = wrong
        message = problems(study=study, benchmark={**given, **wrong})
        assert f"benchmark.{key}" in message
        assert "feature_knn-" in message
    message = problems(study={"predictors": ["feature_knn-fev"]}, benchmark=given)
    assert "unknown name 'feature_knn-fev' (did you mean 'feature_knn-few'?)" in message


def test_problems_of_study_cohort_and_parameters_come_together():
    message = problems(
        study={"cohorts": ["MINE", "MIEN"]},
        cohort={"latice": "square"},
        benchmark={"budgets": {"default": {}, "vit_c": {}}, "features": {"feature_ridge": "x"}},
    )

    assert "no cohort 'MIEN' (did you mean 'MINE'?)" in message
    assert "MINE.latice: unknown key (did you mean 'lattice'?)" in message
    assert "benchmark.budgets.vit_c: unknown method" in message
    assert "benchmark.features.feature_ridge: no encoder 'x'" in message


def test_a_slide_in_no_split_is_one_clear_error():
    slides = {**COHORT["slides"], "D": {"subject": "P4"}}

    message = problems(cohort={"slides": slides})

    assert "MINE.slides.D: the slide is in no split" in message


def test_a_cohort_needs_train_and_val():
    slides = {"A": {"subject": "P1", "split": "train"}}

    assert "no slide has the split 'val'" in problems(cohort={"slides": slides})


def test_slides_left_out_are_gone_and_unknown_ones_are_told():
    assert list(parse(study={"leave_out": {"MINE": ["C"]}}).cohorts["MINE"].slides) == ["A", "B"]
    assert "no slide 'Z'" in problems(study={"leave_out": {"MINE": ["Z"]}})


def test_a_completer_sees_only_its_own_settings():
    parameters = parse().parameters()

    assert parameters["completers"]["gene_mean"]["settings"]["budgets"] == {}
    assert parameters["completers"]["additive"]["settings"]["budgets"]["additive"]["steps"] == 3
    assert parameters["predictors"]["feature_ridge"]["settings"]["budgets"] == {
        "feature_ridge": parse().benchmark.budgets["default"].model_dump(mode="json")
    }


def test_a_simulated_cohort_says_how():
    message = problems(cohort={"organism": "simulated"})

    assert "'simulation' belongs to the organism 'simulated'" in message


@pytest.mark.parametrize("slide", ["../../etc", "a b", "", "x/y"])
def test_slide_names_are_safe_as_file_names(slide):
    slides = {**COHORT["slides"], slide: {"subject": "P4", "split": "train"}}

    assert "MINE.slides" in problems(cohort={"slides": slides})


def test_a_source_belongs_to_one_slide():
    slides = {**COHORT["slides"], "D": {"subject": "P1", "split": "test", "source": "A"}}

    assert "two slides have the same source: A" in problems(cohort={"slides": slides})


def in_two_cohorts(gate=None):
    named = {f"V10S29-134_{place}": COHORT["slides"][place] for place in "AB"}
    study = {**STUDY, "cohorts": ["MINE", "PART"], "gate": gate or {}}
    files = {"study": study, "MINE": {**COHORT, "slides": {**COHORT["slides"], **named}}}
    part = {**COHORT, "folder": "elsewhere", "slides": named}
    return Configuration.parse("base", {**files, "PART": part}, deepcopy(PARAMETERS))


def test_a_cohort_within_another_is_a_warning(caplog):
    assert list(in_two_cohorts().cohorts) == ["MINE", "PART"]

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "2 of the 5 slides of MINE and 2 of the 2 slides of PART are the same" in caplog.text


def test_a_cohort_within_another_is_an_error_by_rule():
    with pytest.raises(ConfigurationError, match=r"study\.gate\.same_cohort: 2 of the 5 slides"):
        in_two_cohorts(gate={"same_cohort": "error"})


def test_the_gate_knows_two_severities():
    message = problems(study={"gate": {"same_slide": "note", "same_subjects": "error"}})

    assert "study.gate.same_slide: Input should be 'error' or 'warning'" in message
    assert "study.gate.same_subjects: unknown key (did you mean 'same_subject'?)" in message


def test_a_study_among_the_parameters_is_not_passed_over():
    files = {"study": STUDY, "MINE": COHORT}
    parameters = {**PARAMETERS, "study": {"protocol": "transductive"}}
    with pytest.raises(ConfigurationError) as error:
        Configuration.parse("base", files, parameters)
    message = str(error.value)

    assert "parameters.study: unknown key; it belongs into study.yml" in message


def test_words_for_readers_are_no_part_of_what_nodes_get():
    before, after = parse(), parse(cohort={"title": "Other", "citation": "Another"})

    assert before.parameters()["curated"] == after.parameters()["curated"]
    assert before.parameters()["cohorts"] != after.parameters()["cohorts"]


def test_a_slide_depends_on_its_own_definition_alone():
    slides = {**COHORT["slides"], "C": {"subject": "P9", "split": "test", "image": "scan.jpg"}}
    before, after = parse().cohorts["MINE"], parse(cohort={"slides": slides}).cohorts["MINE"]

    assert before.of_slide("A") == after.of_slide("A")
    assert before.of_slide("C") != after.of_slide("C")


def test_weights_of_an_encoder_are_known_by_their_content(tmp_path):
    file = tmp_path / "weights.safetensors"
    encoders = {"random": {"network": "resnet18", "weights": str(file)}}
    benchmark = {**PARAMETERS["benchmark"], "encoders": encoders}
    assert "does not exist" in problems(benchmark=benchmark)

    digests = set()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        parameters = parse(benchmark=benchmark).parameters()
        digests.add(parameters["encoders"]["random"]["weights_digest"])

    assert len(digests) == 2


def encoding(study=None, **settings):
    encoders = {"random": {"network": "random_conv", **settings}}
    configuration = parse(study, benchmark={**PARAMETERS["benchmark"], "encoders": encoders})
    return configuration.encoding("random")


def test_features_are_shared_by_studies_that_say_the_same_of_an_encoder():
    own = encoding()
    assert own.startswith("1d-random-")
    assert own == encoding({"title": "Other", "protocol": "transductive", "window": "1d"})
    assert own == encoding({"window": "2d"}, window="1d")
    others = [
        encoding(seed=1),
        encoding(tiles=2),
        encoding(image_size=32),
        encoding({"window": "2d"}),
    ]
    assert len({own, *others}) == 5


def test_patches_are_cut_of_the_windows_of_the_study_and_of_its_encoders():
    assert parse().windows() == {"1d": "params:study.window"}
    encoders = {"random": {"network": "random_conv", "window": "1.5d"}}
    wider = parse(benchmark={**PARAMETERS["benchmark"], "encoders": encoders})
    assert wider.windows() == {
        "1d": "params:study.window",
        "1.5d": "params:encoders.random.window",
    }
    assert wider.parameters()["encoders"]["random"]["window"] == "1.5d"
    assert parse().parameters()["encoders"]["random"]["window"] == "1d"


def test_exchanged_labels_take_the_features_of_their_method():
    study = {"predictors": [], "controls": ["feature_ridge_shuffled"]}
    assert parse(study).encoders() == ["random"]
    assert parse(study).encoders(["train_mean"]) == []


def test_names_and_windows_of_encoders_are_checked():
    encoders = {"a-b": {"network": "random_conv"}, "c": {"network": "uni", "window": "3"}}
    message = problems(benchmark={**PARAMETERS["benchmark"], "encoders": encoders})
    assert "benchmark.encoders.a-b" in message
    assert "benchmark.encoders.c.window: String should match pattern" in message


def test_a_gene_file_is_read_and_processing_follows_its_content(tmp_path):
    file, moved = tmp_path / "panel.txt", tmp_path / "lists" / "moved.csv"
    moved.parent.mkdir()
    file.write_text("# ours\nERBB2\n\nENSG00000000003.4\n")
    moved.write_text("ERBB2,oncogene\nENSG00000000003.4,other\n")
    first = parse(cohort={"gene_file": str(file)})
    second = parse(cohort={"gene_file": str(moved)})

    assert first.cohorts["MINE"].gene_names == ("ERBB2", "ENSG00000000003.4")
    assert first.parameters()["curated"] == second.parameters()["curated"]
    assert first.cohorts["MINE"].of_slide("A") == parse().cohorts["MINE"].of_slide("A")
    file.write_text("ERBB2\n")
    third = parse(cohort={"gene_file": str(file)})
    assert first.parameters()["curated"] != third.parameters()["curated"]


def test_a_gene_file_is_relative_to_the_project(tmp_path):
    (tmp_path / "panel.txt").write_text("ERBB2\n")
    files = {"study": STUDY, "MINE": {**COHORT, "gene_file": "panel.txt"}}
    configuration = Configuration.parse("base", files, deepcopy(PARAMETERS), tmp_path)

    assert configuration.cohorts["MINE"].gene_names == ("ERBB2",)


def test_bad_gene_files_are_problems_of_the_configuration(tmp_path):
    absent = tmp_path / "absent.txt"

    message = problems(
        cohort={"gene_file": str(absent), "gene_names": ["ERBB2"]}, completion={"asays": 3}
    )
    assert f"MINE.gene_file: the file {absent} does not exist; give a text file" in message
    assert "MINE.gene_names: is filled in from a file" in message
    assert "completion.asays" in message, "told with the other problems"
    absent.write_text("# none\n")
    assert "names no gene" in problems(cohort={"gene_file": str(absent)})


PUBLISHED = {**COHORT, "format": "spared"}


def test_published_files_are_transductive_and_hold_tpm():
    message = problems(cohort=PUBLISHED, processing={"normalisation": "cpm"})

    assert "study.protocol: 'inductive' cannot be kept by MINE" in message
    assert "processing.normalisation: 'cpm' cannot be kept by MINE" in message
    assert parse(cohort=PUBLISHED, study={"protocol": "transductive"}).cohorts["MINE"]


def test_published_slides_have_no_source_and_are_not_simulated():
    slides = {**COHORT["slides"], "A": {"subject": "P1", "split": "train", "source": "a"}}
    study = {"protocol": "transductive"}
    assert "have no 'source'" in problems(study, {**PUBLISHED, "slides": slides})
    simulated = {**PUBLISHED, "organism": "simulated", "simulation": {}}
    assert "'spared' is read and not written" in problems(study, simulated)


def test_what_a_published_file_has_settled_may_not_be_set(tmp_path):
    file = tmp_path / "panel.txt"
    file.write_text("ERBB2\nGAPDH\n")
    own = {"genes": 128, "gene_file": str(file), "filter": {"rule": "thresholds"}}
    message = problems({"protocol": "transductive"}, {**PUBLISHED, **own})

    for key in own:
        assert f"MINE.{key}: a file of the format 'spared' holds the genes and spots" in message
    assert parse(cohort=own).cohorts["MINE"].gene_names == ("ERBB2", "GAPDH")


def test_the_slides_of_a_published_file_may_be_defined_anew():
    cohort = parse({"protocol": "transductive"}, PUBLISHED).cohorts["MINE"].of_slide("A")

    assert Cohort.model_validate(cohort.model_dump(mode="json")) == cohort


def test_settings_that_published_files_do_not_follow_are_told(caplog):
    study = {"protocol": "transductive"}
    parse(study, PUBLISHED)
    assert not caplog.records
    parse(study, PUBLISHED, processing={"rank_on": "log_tpm", "median_hops": 2})

    assert "MINE: files of the format 'spared' are taken over as they are, without" in caplog.text
    assert "processing.median_hops: 2, processing.rank_on: log_tpm" in caplog.text


TRANSDUCTIVE = {"protocol": "transductive"}


def test_parity_is_with_the_published_library_alone():
    processing = {
        "published": "old", "normalisation": "cpm", "rank_on": "log_tpm", "median_hops": 3
    }  # fmt: skip
    message = problems(cohort={"filter": {"rule": "thresholds"}}, processing=processing)

    assert "processing.published: 'old' cannot be kept by an inductive study" in message
    for line in (
        "processing.normalisation: 'cpm' cannot be kept with processing.published: old: the publ",
        "processing.rank_on: 'log_tpm' cannot be kept",
        "processing.median_hops: 3 cannot be kept",
        "MINE.filter.rule: 'thresholds' cannot be kept",
    ):
        assert line in message
    assert parse(TRANSDUCTIVE, processing={"published": "old"}).processing.published == "old"


def test_parity_needs_two_batches():
    slides = {slide: {**one, "subject": "P1"} for slide, one in COHORT["slides"].items()}
    single = {"slides": slides, "batch_key": "subject"}
    message = problems(TRANSDUCTIVE, single, processing={"published": "new"})

    assert "MINE.batch_key: by 'subject' its 3 slide(s) are one batch (P1)" in message
    assert parse(TRANSDUCTIVE, {"slides": slides}, processing={"published": "new"})
    assert parse(TRANSDUCTIVE, single), "without parity ComBat is skipped"
