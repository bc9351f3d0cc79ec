"""The package without a study."""

import numpy as np
import pytest

import spared_benchmark as sb
from spared_benchmark.errors import ConfigurationError, InputError
from spared_benchmark.simulation import simulate_slide, simulated_gene_lengths, write_slide
from spared_benchmark.study import Cohort, GateSettings, ProcessingSettings

COHORT = Cohort.model_validate(
    {
        "title": "x",
        "organism": "simulated",
        "tissue": "x",
        "lattice": "hexagonal",
        "format": "space_ranger",
        "licence": "CC0",
        "citation": "x",
        "simulation": {"spots": 60, "genes": 40, "spot_diameter_px": 8},
        "slides": {name: {"subject": name, "split": "train"} for name in ("A1", "B1")},
    }
)
LENGTHS = simulated_gene_lengths(COHORT, "SIM")


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for name in COHORT.slides:
        write_slide(folder / name / "outs", simulate_slide(COHORT, "SIM", name), COHORT)
    return [sb.read_slide(folder / name / "outs") for name in COHORT.slides]


def test_a_slide_is_named_by_its_folder(slides):
    assert [slide.uns["slide"]["slide"] for slide in slides] == ["A1", "B1"]


def test_splits_reach_the_cohort(slides):
    cohort = sb.process(slides, genes=8, gene_lengths=LENGTHS, splits={"B1": "test"})

    assert cohort.n_vars == 8
    assert dict(zip(cohort.obs["slide"], cohort.obs["split"], strict=True)) == {
        "A1": "train",
        "B1": "test",
    }


def test_one_slide_in_two_splits_is_refused(slides):
    twin = slides[0].copy()
    twin.uns["slide"] = {**slides[0].uns["slide"], "slide": "A2"}
    splits = {"A2": "test"}
    with pytest.raises(InputError, match=r"same_slide: A1 \(train\), A2 \(test\) have the same"):
        sb.process([*slides, twin], genes=8, gene_lengths=LENGTHS, splits=splits)
    twins = [slides[0], twin]
    meant = {"gate": GateSettings(same_slide="warning"), "genes": 8, "gene_lengths": LENGTHS}
    assert (
        sb.process(twins, splits=splits, **meant).n_obs == 2 * sb.process(slides[:1], **meant).n_obs
    )


def test_an_unknown_slide_in_splits_is_named(slides):
    with pytest.raises(ConfigurationError, match="no slide 'B2'; there are A1, B1"):
        sb.process(slides, gene_lengths=LENGTHS, splits={"B2": "test"})


def test_without_gene_lengths_both_ways_are_named(slides, monkeypatch):
    monkeypatch.delenv("SPARED_GENE_LENGTHS", raising=False)
    with pytest.raises(InputError, match=r"gene_lengths .*SPARED_GENE_LENGTHS"):
        sb.process(slides)


def test_genes_may_be_named_in_a_file(slides, tmp_path):
    named = LENGTHS["symbol"].iloc[:5].tolist()
    file = tmp_path / "panel.txt"
    file.write_text("\n".join([*named, "NOT_THERE"]))

    cohort = sb.process(slides, genes=None, gene_file=file, gene_lengths=LENGTHS)

    assert sorted(cohort.var["symbol"]) == sorted(named)
    with pytest.raises(InputError, match=r"panel2\.txt does not exist"):
        sb.process(slides, gene_file=tmp_path / "panel2.txt", gene_lengths=LENGTHS)


def test_counts_per_million_need_no_gene_lengths(slides, monkeypatch, tmp_path):
    settings = ProcessingSettings(normalisation="cpm")
    monkeypatch.delenv("SPARED_GENE_LENGTHS", raising=False)

    cohort = sb.process(slides, genes=8, settings=settings)

    assert set(cohort.var["gene_length"]) == {1}
    monkeypatch.setenv("SPARED_GENE_LENGTHS", str(tmp_path))
    assert sb.process(slides, genes=8, settings=settings).var_names.equals(cohort.var_names)


def test_an_annotation_is_measured(slides, tmp_path):
    row = 'chr1\t.\texon\t1\t{}\t.\t+\t.\tgene_id "{}"; gene_name "{}";\n'
    genes = LENGTHS[["length", "gene_id", "symbol"]].itertuples(index=False)
    annotation = tmp_path / "mine.gtf"
    annotation.write_text("".join(row.format(*gene) for gene in genes))

    measured = sb.process(slides, genes=8, gene_lengths=annotation)

    assert measured.var.equals(sb.process(slides, genes=8, gene_lengths=LENGTHS).var)


def test_scores_count_measured_entries_only():
    truth = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    measured = np.array([[True, True], [True, False], [True, True]])
    prediction = np.where(measured, truth + 1, np.nan)

    scores = sb.evaluate(truth, prediction, measured).set_index(["slide", "metric"])

    assert scores.loc[("", "mse"), "value"] == pytest.approx(1)
    assert scores.loc[("", "mse"), "n"] == 5


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'compleaters'"):
        _ = sb.compleaters
