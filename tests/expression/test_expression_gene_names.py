"""Genes chosen by a file of names: how the file is read and which genes it means."""

import logging

import numpy as np
import pandas as pd
import pytest

from spared_benchmark.errors import InputError
from spared_benchmark.expression.gene_file import read_gene_file
from spared_benchmark.expression.gene_names import named_genes
from spared_benchmark.expression.genes import CommonGenes

TABLE = pd.DataFrame(
    {
        "gene_id": [f"ENSG0000000000{place}" for place in range(1, 6)],
        "symbol": ["AAA", "NEW", "TWICE", "TWICE", "EEE"],
        "length": [1000, 2000, 3000, 4000, 5000],
    }
)
BY_ID = CommonGenes(
    source=np.array([f"ENSG0000000000{place}" for place in range(1, 7)]),
    symbol=np.array(["AAA", "OLD", "DUP", "DUP", "EEE", "FFF"]),
)
SYMBOLS = np.array(["AAA", "NEW", "TWICE", "RARE"])
BY_SYMBOL = CommonGenes(source=SYMBOLS, symbol=SYMBOLS)


def chosen(genes, names, table=TABLE):
    return genes.source[named_genes(genes, names, table)].tolist()


def test_a_file_is_one_name_a_line(tmp_path):
    path = tmp_path / "genes.csv"
    lines = ["\ufeff# panel of 2026", "ERBB2", "", "  GAPDH \t12", "ENSG00000000003.4,a # best"]
    path.write_text("\n".join([*lines, '"ACTB",1', "ERBB2"]), encoding="utf-8")
    assert read_gene_file(path) == ("ERBB2", "GAPDH", "ENSG00000000003.4", "ACTB")


def test_a_file_that_names_nothing_says_so(tmp_path):
    path = tmp_path / "genes.txt"
    with pytest.raises(InputError, match=r"genes\.txt does not exist; give a text file"):
        read_gene_file(path)
    path.write_text("# nothing\n\n")
    with pytest.raises(InputError, match=r"genes\.txt names no gene"):
        read_gene_file(path)
    path.write_bytes(b"A\n\xff\xfe")
    with pytest.raises(InputError, match=r"not text in UTF-8 \(byte 2\)"):
        read_gene_file(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_gene_file(tmp_path)


def test_no_names_is_no_choice():
    assert named_genes(BY_ID, (), TABLE) is None


def test_ids_are_found_whatever_their_version():
    names = ["ENSG00000000002.11", "ENSG00000000001"]
    assert chosen(BY_ID, names) == ["ENSG00000000001", "ENSG00000000002"]
    assert chosen(BY_SYMBOL, names) == ["AAA", "NEW"]


def test_symbols_are_those_of_the_slides_then_those_of_the_annotation():
    assert chosen(BY_ID, ["OLD", "AAA"]) == ["ENSG00000000001", "ENSG00000000002"]
    assert chosen(BY_ID, ["NEW", "AAA"]) == ["ENSG00000000001", "ENSG00000000002"]
    assert chosen(BY_ID, ["FFF", "EEE"], None) == ["ENSG00000000005", "ENSG00000000006"]
    assert chosen(BY_SYMBOL, ["RARE", "AAA"]) == ["AAA", "RARE"]


def test_names_not_found_and_unclear_ones_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        known = ["AAA", "EEE", "DUP", "TWICE"]
        found = chosen(BY_ID, [*known, *[f"NONE{place}" for place in range(6)]])
    assert found == ["ENSG00000000001", "ENSG00000000005"]
    unknown, unclear = caplog.messages
    assert "6 of 10 genes named are no gene that every choosing slide has: NONE0, NONE1" in unknown
    assert unknown.endswith(", …")
    assert "2 of 10 genes named are the symbols of several genes" in unclear
    assert unclear.endswith("DUP, TWICE")


def test_fewer_than_two_found_is_an_error():
    with pytest.raises(InputError, match=r"none of the 2 genes named \(first: 'Aaa'\).*gene_file"):
        named_genes(BY_ID, ["Aaa", "bbb"], TABLE)
    with pytest.raises(
        InputError, match=r"only one of the 2 genes .* \(first: 'ENSG00000000001'\)"
    ):
        named_genes(BY_ID, ["AAA", "bbb"], TABLE)
    ids = ["ENSG00000000001", "ENSG00000000002"]
    with pytest.raises(InputError, match="no table of gene lengths to map symbols and ids by"):
        named_genes(BY_SYMBOL, ids, None)
