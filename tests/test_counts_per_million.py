"""A study of counts per million whose slides name genes by symbols only."""

import anndata
import pytest
import yaml

from project_copy import Project
from spared_benchmark.simulation import simulate_slide, simulated_gene_lengths
from spared_benchmark.study import Cohort

pytestmark = pytest.mark.project

CODE = "SYMBOLS"
SPLITS = {"A": "train", "B": "val", "C": "test"}
STUDY = {
    "title": "Counts per million",
    "cohorts": [CODE],
    "protocol": "transductive",
    "completers": ["gene_mean"],
    "targets": ["raw"],
}
COHORT = {
    "title": "Symbols",
    "organism": "human",
    "tissue": "made",
    "lattice": "hexagonal",
    "format": "anndata",
    "genes": 8,
    "licence": "CC0-1.0",
    "citation": "none",
    "slides": {
        slide: {"subject": slide, "split": split, "source": f"{slide}.h5ad", "image": None}
        for slide, split in SPLITS.items()
    },
}
# Nobody listens there: a run that asked would end.
SOURCE = "http://127.0.0.1:9/annotation.gtf.gz"


@pytest.fixture(scope="module")
def made():
    simulation = {"spots": 50, "genes": 40, "median_counts": 2000, "spot_diameter_px": 8}
    slides = {
        slide: {key: one[key] for key in ("subject", "split")}
        for slide, one in COHORT["slides"].items()
    }
    content = {**COHORT, "organism": "simulated", "simulation": simulation, "slides": slides}
    return Cohort.model_validate(content)


@pytest.fixture(scope="module")
def project(tmp_path_factory, made):
    project = Project(tmp_path_factory.mktemp("project"))
    project.add_study("cpm", yaml.safe_dump({"study": STUDY, CODE: COHORT}))
    project.write("conf/cpm/parameters_processing.yml", "processing: {normalisation: cpm}\n")
    entry = {
        "type": "spared_benchmark.catalog.gene_lengths.GeneLengthsDataset",
        "filepath": "data/01_raw/gene_lengths_human.tsv.gz",
        "source": SOURCE,
    }
    project.write("conf/cpm/catalog_slides.yml", yaml.safe_dump({"gene_lengths_human": entry}))
    folder = project.root / "data/01_raw" / CODE
    folder.mkdir(parents=True)
    for slide in SPLITS:
        adata = simulate_slide(made, CODE, slide).raw.adata
        adata.var_names = adata.var["symbol"].astype(str).tolist()
        del adata.uns["slide"]
        adata.write_h5ad(folder / f"{slide}.h5ad")
    return project


def lengths(made):
    """Return the annotation with Ensembl ids."""
    table = simulated_gene_lengths(made, CODE)
    return table.assign(gene_id=[f"ENSG{place:011d}" for place in range(len(table))])


def process(project, *options, **more):
    return project.kedro("run", "--env=cpm", "--pipelines=ingestion,processing", *options, **more)


def genes(project):
    path = project.root / "data/03_primary/cpm" / CODE / "expression.h5ad"
    return anndata.read_h5ad(path).var_names


def test_without_a_table_symbols_stay_and_with_one_they_are_mapped(project, made):
    done = process(project)
    assert not genes(project).str.startswith("ENSG").any()
    assert "filtered genes have no Ensembl id" in " ".join((done.stdout + done.stderr).split())

    table = lengths(made)
    file = project.root / "data/01_raw/gene_lengths_human.tsv.gz"
    table.to_csv(file, sep="\t", index=False)
    project.write("panel.txt", "\n".join(table["gene_id"]))
    named = {**COHORT, "gene_file": "panel.txt"}
    project.write("conf/cpm/study.yml", yaml.safe_dump({"study": STUDY, CODE: named}))
    process(project, "--only-missing-outputs")
    assert genes(project).str.startswith("ENSG").all()


def test_tpm_is_refused_before_anything_runs(project):
    (project.root / "data/01_raw/gene_lengths_human.tsv.gz").unlink(missing_ok=True)
    project.write("conf/cpm/parameters_processing.yml", "processing: {normalisation: tpm}\n")
    done = process(project, check=False)
    assert done.returncode == 1
    assert SOURCE in done.stderr
    assert "Running node" not in done.stdout
