"""Gene lengths of an organism: which source is taken, what is kept, and what a run is told."""

import gzip
import json
import logging
import os
from pathlib import Path

import pandas as pd
import pytest
from kedro.io.core import DatasetError

from spared_benchmark.catalog.gene_lengths import GeneLengthsDataset
from spared_benchmark.errors import MissingInputError

GTF = (
    "\n".join(
        f'chr1\tX\texon\t{start}\t{end}\t.\t+\t.\tgene_id "{gene}"; gene_name "{name}";'
        for start, end, gene, name in [
            (1, 100, "ENSG00000000001.4", "AAA"),
            (51, 150, "ENSG00000000001.4", "AAA"),
            (500, 501, "ENSG00000000002.1", "BBB"),
        ]
    )
    + "\n"
).encode()
ROWS = {
    "gene_id": ["ENSG00000000001", "ENSG00000000002"],
    "symbol": ["AAA", "BBB"],
    "length": [150, 2],
}
OWN = pd.DataFrame({"gene_id": ["ENSG00000000007"], "symbol": ["OWN"], "length": [7]})


@pytest.fixture(autouse=True)
def _no_folder_named(monkeypatch):
    monkeypatch.delenv("SPARED_GENE_LENGTHS", raising=False)


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "01_raw"


@pytest.fixture
def address(server):
    server.files |= {"/v1.gtf.gz": gzip.compress(GTF), "/v1.gtf": GTF}
    return f"{server.url}/v1.gtf.gz"


def lengths(raw, source=None, attempts=3, *, optional=False):
    return GeneLengthsDataset(
        filepath=str(raw / "gene_lengths_human.tsv.gz"),
        source=source,
        network={"pause": 0.01, "timeout": 5.0, "attempts": attempts},
        optional=optional,
    )


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".gene"))


def put(folder, table=OWN):
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "gene_lengths_human.tsv.gz", sep="\t", index=False)


@pytest.mark.parametrize("name", ["v1.gtf.gz", "v1.gtf"])
def test_an_annotation_is_fetched_and_measured_once(raw, server, address, name):
    source = f"{server.url}/{name}"
    before = lengths(raw, source).fingerprint()
    assert lengths(raw, source).problem() is None
    assert lengths(raw, source).load().to_dict("list") == ROWS
    assert visible(raw) == ["gene_lengths_human.json", "gene_lengths_human.tsv.gz"]
    assert lengths(raw, source).load().to_dict("list") == ROWS
    assert lengths(raw, source).exists()
    assert lengths(raw, source).problem() is None
    assert server.requests == [("HEAD", f"/{name}"), ("GET", f"/{name}")]
    assert lengths(raw, source).fingerprint() == before, "results of the first run stay valid"
    card = json.loads((raw / "gene_lengths_human.json").read_text())
    assert (card["source"], card["genes"], len(card["annotation_sha256"])) == (source, 2, 64)


def test_another_source_is_fetched_again(raw, server, address):
    first = lengths(raw, address)
    first.load()
    server.files["/v2.gtf.gz"] = gzip.compress(GTF.replace(b"\t501", b"\t599"))
    second = lengths(raw, f"{server.url}/v2.gtf.gz")
    assert second.fingerprint() != first.fingerprint()
    assert not second.exists()
    assert second.load()["length"].tolist() == [150, 100]
    assert server.gets() == 2


def test_a_table_may_be_the_source(raw, server):
    server.files["/lengths.tsv"] = OWN.to_csv(sep="\t", index=False).encode()
    for _ in range(2):
        assert lengths(raw, f"{server.url}/lengths.tsv").load().equals(OWN)
    assert server.gets() == 1


def test_a_download_that_breaks_leaves_nothing_and_the_next_run_starts_again(raw, server, address):
    server.breaks = 2
    with pytest.raises(DatasetError, match=r"v1\.gtf\.gz could not be fetched \(the line broke"):
        lengths(raw, address, attempts=2).load()
    assert list(raw.iterdir()) == []
    server.breaks = 1
    assert lengths(raw, address, attempts=2).load().to_dict("list") == ROWS


def test_an_annotation_cut_off_on_the_server_is_not_kept(raw, server):
    server.files["/v1.gtf.gz"] = gzip.compress(GTF)[:-9]
    with pytest.raises(DatasetError, match=r"v1\.gtf\.gz: not a whole GTF file"):
        lengths(raw, f"{server.url}/v1.gtf.gz").load()
    assert list(raw.iterdir()) == []


def test_what_a_server_lacks_refuses_the_run_in_one_message(raw, server):
    source = f"{server.url}/none.gtf.gz"
    problem = lengths(raw, source).problem()
    with pytest.raises(DatasetError) as failed:
        lengths(raw, source).load()
    assert isinstance(failed.value.__cause__, MissingInputError)
    for message in (problem, str(failed.value.__cause__)):
        assert message.count(source) == 1
        assert "404 Not Found" in message
        assert f"{raw / 'gene_lengths_human.tsv.gz'} does not exist" in message
        assert "SPARED_GENE_LENGTHS" in message
        assert "gencode_human.gtf.gz" in message


def test_without_a_source_both_ways_are_named(raw):
    problem = lengths(raw).problem()
    assert problem.startswith(f"{raw / 'gene_lengths_human.tsv.gz'} does not exist: put that table")
    assert "SPARED_GENE_LENGTHS" in problem
    assert "None" not in problem
    with pytest.raises(DatasetError, match="SPARED_GENE_LENGTHS"):
        lengths(raw).load()
    absent = lengths(raw, str(raw / "mine.gtf")).problem()
    assert f"the source {raw / 'mine.gtf'} cannot be used (no such file)" in absent


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_table_of_ones_own_comes_first_and_no_server_is_asked(
    raw, server, address, monkeypatch, elsewhere
):
    folder = raw.parent / "elsewhere" if elsewhere else raw
    if elsewhere:
        monkeypatch.setenv("SPARED_GENE_LENGTHS", str(folder))
    put(folder)
    (folder / "gencode_human.gtf").write_bytes(GTF)
    dataset = lengths(raw, address)
    assert dataset.problem() is None
    assert dataset.load().equals(OWN)
    assert server.requests == []
    assert pd.read_csv(folder / "gene_lengths_human.tsv.gz", sep="\t").equals(OWN)


def test_a_table_put_over_the_measured_one_is_the_users(raw, server, address):
    lengths(raw, address).load()
    put(raw)
    for source in (address, f"{server.url}/v2.gtf.gz"):
        assert lengths(raw, source).load().equals(OWN)


@pytest.mark.parametrize("name", ["gencode_human.gtf.gz", "gencode_human.gtf"])
def test_an_annotation_beside_the_raw_data_is_measured_once(raw, server, address, name, caplog):
    raw.mkdir()
    file = raw / name
    file.write_bytes(gzip.compress(GTF) if name.endswith("gz") else GTF)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert lengths(raw, address).load().to_dict("list") == ROWS
    assert caplog.text.count("measuring the genes of") == 1
    assert server.requests == []
    first = lengths(raw, address).fingerprint()

    file.write_bytes(GTF.replace(b"\t501", b"\t599"))
    os.utime(file, (1, 1))
    assert lengths(raw, address).load()["length"].tolist() == [150, 100]
    changed = lengths(raw, address).fingerprint()
    assert changed != first

    file.unlink()
    assert lengths(raw, address).load()["length"].tolist() == [150, 100]
    assert lengths(raw, address).fingerprint() == changed, "it counts as it last was"
    assert server.requests == []


def test_a_file_may_be_the_source(raw, tmp_path):
    annotation, table = tmp_path / "mine.gtf", tmp_path / "mine.tsv"
    annotation.write_bytes(GTF)
    assert lengths(raw, str(annotation)).load().to_dict("list") == ROWS
    table.write_text(OWN.to_csv(sep="\t", index=False))
    assert lengths(raw, str(table)).load().equals(OWN)
    assert lengths(raw, str(table)).fingerprint() != lengths(raw, str(annotation)).fingerprint()


def test_results_outlive_a_table_on_a_disk_that_is_away(raw, address, tmp_path, monkeypatch):
    folder = tmp_path / "disk"
    put(folder)
    monkeypatch.setenv("SPARED_GENE_LENGTHS", str(folder))
    first = lengths(raw, address).fingerprint()
    folder.rename(tmp_path / "away")
    assert lengths(raw, address).fingerprint() == first
    lengths(raw, address).load()
    assert lengths(raw, address).fingerprint() != first, "the annotation has taken its place"


def test_optional_lengths_are_taken_where_they_are_and_never_asked_for(raw, server, address):
    optional = lengths(raw, address, optional=True)
    assert optional.load() is None
    absent = optional.fingerprint()
    assert server.requests == []

    lengths(raw, address).load()
    asked = list(server.requests)
    assert optional.load().to_dict("list") == ROWS, "what another study has fetched"
    assert server.requests == asked
    fetched = optional.fingerprint()
    assert fetched == lengths(raw, address).fingerprint() != absent

    put(raw)
    assert optional.load().equals(OWN)
    assert optional.fingerprint() not in (absent, fetched)
    (raw / "gene_lengths_human.tsv.gz").unlink()
    assert optional.fingerprint() == absent, "a run would do without them now"


def test_two_cohorts_at_once_fetch_once(raw, server, address):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: lengths(raw, address).load(), range(4)))
    assert all(table.to_dict("list") == ROWS for table in tables)
    assert server.gets() == 1


def test_the_shipped_sources_are_the_published_annotations(project):
    import yaml

    entries = yaml.safe_load((project / "conf/base/catalog_slides.yml").read_text())
    names = {
        organism: Path(entries[f"gene_lengths_{organism}"]["source"]).name
        for organism in ("human", "mouse")
    }
    assert names == {
        "human": "gencode.v43.basic.annotation.gtf.gz",
        "mouse": "gencode.vM33.basic.annotation.gtf.gz",
    }
