"""What the documentation says is there."""

import re
from pathlib import Path

import pytest

import spared_benchmark as sb
from spared_benchmark.completion import completers
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.prediction import predictors
from spared_benchmark.simulation import simulate_slide, simulated_gene_lengths, write_slide
from spared_benchmark.study import Cohort

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    ("page", "layer"), [("README.md", "additive"), ("docs/completion.md", "ppca")]
)
def test_the_library_examples_run(page, layer, tmp_path, monkeypatch):
    slides = {name: {"subject": name, "split": "train"} for name in ("A1", "B1", "C1", "D1")}
    cohort = Cohort.model_validate(
        {
            "title": "x",
            "organism": "simulated",
            "tissue": "x",
            "lattice": "hexagonal",
            "format": "space_ranger",
            "licence": "CC0",
            "citation": "x",
            "simulation": {"spots": 60, "genes": 40, "spot_diameter_px": 8},
            "slides": slides,
        }
    )
    for name in slides:
        write_slide(tmp_path / name / "outs", simulate_slide(cohort, "SIM", name), cohort)
    lengths = simulated_gene_lengths(cohort, "SIM")
    lengths.to_csv(tmp_path / "gene_lengths_human.tsv.gz", sep="\t", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARED_GENE_LENGTHS", str(tmp_path))
    text = (ROOT / page).read_text(encoding="utf-8")
    example, three_lines = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names, new_slide = {}, {}

    exec(compile(example, page, "exec"), names)
    exec(compile(three_lines, page, "exec"), new_slide)

    completed = names["cohort"]
    measured = completed.layers["measured"]
    assert completed.n_obs == sum(slide.n_obs for slide in names["slides"])
    assert (completed.layers[layer][measured] == completed.layers["log_tpm"][measured]).all()
    assert sum(bool(line) for line in three_lines.splitlines()) == 3
    assert list(new_slide["completed"].var_names) == list(completed.var_names)
    assert (new_slide["completed"].layers[layer] > 0).all()
    with pytest.raises(ConfigurationError, match="slides have 1 name"):
        sb.process([names["slides"][0]] * 2)


def table_of(registry):
    """Return the rows of the table of methods as the cards tell them."""
    cards = [registry.card(name) for name in registry.available()]
    ordered = sorted(cards, key=lambda card: (card.kind != "method", card.name))
    return "\n".join(
        f"| `{card.name}` | {card.kind} | {card.summary} | {card.source} |" for card in ordered
    )


@pytest.mark.parametrize(
    ("page", "registry"),
    [("docs/completion.md", completers), ("docs/prediction.md", predictors)],
    ids=["completers", "predictors"],
)
def test_the_table_of_methods_is_that_of_their_cards(page, registry):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert table_of(registry) in text, f"put these rows into the page:\n{table_of(registry)}"


def test_the_examples_of_completion_are_those_of_the_readme():
    page = (ROOT / "docs/completion.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    three_lines = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    assert three_lines in page
