import gzip

import numpy as np
import pandas as pd
import pytest

from spared_benchmark.errors import InputError
from spared_benchmark.expression.gene_lengths import (
    lengths_of,
    measure_gtf,
    read_lengths,
    without_version,
)

TABLE = pd.DataFrame(
    {
        "gene_id": ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003", "ENSG00000000004"],
        "symbol": ["AAA", "TWICE", "TWICE", ""],
        "length": [1000, 2000, 3000, 4000],
    }
)

EXONS = [
    ("chr1", 100, 199, "ENSG00000000001.4", "AAA"),
    ("chr1", 300, 399, "ENSG00000000001.4", "AAA"),
    ("chr1", 150, 249, "ENSG00000000001.4", "AAA"),
    ("chr1", 310, 320, "ENSG00000000001.4", "AAA"),
    ("chr1", 250, 250, "ENSG00000000001.4", "AAA"),
    ("chr2", 5, 5, "ENSG00000000002.1", ""),
    ("chrX", 1, 10, "ENSG00000000003.1", "PAR"),
    ("chrY", 1, 30, "ENSG00000000003.1_PAR_Y", "PAR"),
    ("chrM", 1, 10, "ENSG00000000009.1", "MT-X"),
]


def gtf():
    lines = ["#!genome", 'chr1\t.\tgene\t1\t900\t.\t+\t.\tgene_id "ENSG00000000001.4";']
    for chromosome, start, end, gene, symbol in EXONS:
        attributes = f'gene_id "{gene}"; transcript_id "T";'
        attributes += f' gene_name "{symbol}";' if symbol else ""
        lines.append(f"{chromosome}\t.\texon\t{start}\t{end}\t.\t+\t.\t{attributes}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["made.gtf", "made.gtf.gz"])
def test_overlapping_exons_count_once(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(gtf().encode()) if name.endswith("gz") else gtf().encode())
    table = measure_gtf(path)
    assert table.to_dict("list") == {
        "gene_id": ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003"],
        "symbol": ["AAA", "", "PAR"],
        "length": [251, 1, 10],
    }


def test_a_file_without_exons_is_refused(tmp_path):
    path = tmp_path / "empty.gtf"
    path.write_text(gtf().splitlines()[0])
    with pytest.raises(InputError, match=r"empty\.gtf: no exon of a nuclear gene"):
        measure_gtf(path)


def test_genes_are_found_by_id_without_version():
    found = lengths_of(["ENSG00000000004.7", "ENSG00000000001", "ENSG00000000099"], None, TABLE)
    assert found.values[:2].tolist() == [4000, 1000]
    assert np.isnan(found.values[2])
    assert found.missing == ("ENSG00000000099",)
    assert found.ambiguous == ()


def test_an_unknown_id_is_not_replaced_by_its_symbol():
    assert lengths_of(["ENSG00000000099"], ["AAA"], TABLE).missing == ("ENSG00000000099",)


def test_symbols_are_found_unless_they_name_several_genes():
    found = lengths_of(["AAA", "TWICE", "RP11-34P13.7", ""], None, TABLE)
    assert found.values[0] == 1000
    assert np.isnan(found.values[1:]).all()
    assert found.missing == ("TWICE", "RP11-34P13.7", "")
    assert found.ambiguous == ("TWICE",)


def test_names_of_simulated_genes_are_ids_too():
    table = pd.DataFrame({"gene_id": ["GENE1.2"], "symbol": ["S1"], "length": [500]})
    assert lengths_of(["GENE1.2"], ["S1"], table).values.tolist() == [500]


def test_only_versions_are_cut():
    assert without_version("ENSMUSG00000102693.2") == "ENSMUSG00000102693"
    assert without_version("ENSG00000182378.15_PAR_Y") == "ENSG00000182378"
    assert without_version("RP11-34P13.7") == "RP11-34P13.7"


def test_a_table_comes_back_as_written(tmp_path):
    path = tmp_path / "gene_lengths_human.tsv.gz"
    versioned = TABLE.assign(gene_id=TABLE["gene_id"] + ".3")
    doubled = pd.concat([versioned, versioned.iloc[:1].assign(length=7)])
    doubled.to_csv(path, sep="\t", index=False)
    table = read_lengths(path)
    assert table["gene_id"].tolist() == TABLE["gene_id"].tolist()
    assert table["symbol"].tolist() == ["AAA", "TWICE", "TWICE", ""]
    assert table["length"].tolist() == [1000, 2000, 3000, 4000]


def test_a_gene_called_na_is_a_symbol(tmp_path):
    path = tmp_path / "lengths.tsv"
    path.write_text("gene_id\tsymbol\tlength\nENSG00000000001\tNA\t5\n")
    assert read_lengths(path)["symbol"].tolist() == ["NA"]


def test_bad_tables_say_what_is_wrong(tmp_path):
    path = tmp_path / "lengths.tsv"
    path.write_text("gene\tsymbol\tlength\nx\ty\t5\n")
    with pytest.raises(InputError, match="column 'gene_id' is missing; found gene, symbol, length"):
        read_lengths(path)
    path.write_text("gene_id\tsymbol\tlength\nx\ty\t-5\n")
    with pytest.raises(InputError, match=r"gene x has length.*positive"):
        read_lengths(path)
    path.write_text("gene_id\tsymbol\tlength\nx\ty\tlong\n")
    with pytest.raises(InputError, match="'long'"):
        read_lengths(path)
