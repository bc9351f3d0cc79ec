"""What the documentation says is there."""

import re
from pathlib import Path

import pytest

import spared_benchmark as sb
from spared_benchmark.errors import ConfigurationError
from spared_benchmark.simulation import simulate_slide, simulated_gene_lengths, write_slide
from spared_benchmark.study import Cohort

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_library_example_of_the_readme_runs(tmp_path, monkeypatch):
    slides = {name: {"subject": name, "split": "train"} for name in ("A1", "B1", "C1")}
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
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL).group(1)
    names = {}

    exec(compile(example, "README.md", "exec"), names)

    completed = names["cohort"]
    measured = completed.layers["measured"]
    assert completed.n_obs == sum(slide.n_obs for slide in names["slides"])
    assert (completed.layers["additive"][measured] == completed.layers["log_tpm"][measured]).all()
    with pytest.raises(ConfigurationError, match="slides have 1 name"):
        sb.process([names["slides"][0]] * 2)
