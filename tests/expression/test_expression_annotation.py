"""Genes by their Ensembl ids: by id without version, by symbol, and what is ambiguous."""

import numpy as np
import pandas as pd

from spared_benchmark.expression.annotation import annotate, ids_by_symbol, without_version

TABLE = pd.DataFrame(
    {
        "gene_id": ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003", "ENSG00000000004"],
        "symbol": ["AAA", "TWICE", "TWICE", ""],
        "length": [1000, 2000, 3000, 4000],
    }
)


def test_genes_are_found_by_id_without_version():
    known = annotate(["ENSG00000000004.7", "ENSG00000000001", "ENSG00000000099.1"], None, TABLE)
    assert known.id.tolist() == ["ENSG00000000004", "ENSG00000000001", "ENSG00000000099"]
    assert known.length[:2].tolist() == [4000, 1000]
    assert np.isnan(known.length[2])
    assert not known.ambiguous.any()


def test_an_unknown_id_is_not_replaced_by_its_symbol():
    known = annotate(["ENSG00000000099", "ENSG00000000098"], ["AAA", "TWICE"], TABLE)
    assert known.id.tolist() == ["ENSG00000000099", "ENSG00000000098"]
    assert np.isnan(known.length).all()
    assert not known.ambiguous.any()


def test_symbols_are_found_unless_they_name_several_genes():
    known = annotate(["AAA", "TWICE", "RP11-34P13.7", ""], None, TABLE)
    assert known.id.tolist() == ["ENSG00000000001", "TWICE", "RP11-34P13.7", ""]
    assert known.length[0] == 1000
    assert np.isnan(known.length[1:]).all()
    assert known.ambiguous.tolist() == [False, True, False, False]


def test_names_of_simulated_genes_are_ids_too():
    table = pd.DataFrame({"gene_id": ["GENE1.2"], "symbol": ["S1"], "length": [500]})
    known = annotate(["GENE1.2"], ["S1"], table)
    assert known.id.tolist() == ["GENE1.2"]
    assert known.length.tolist() == [500]


def test_without_a_table_only_versions_are_cut():
    known = annotate(["ENSG00000000001.3", "AAA"], None, None)
    assert known.id.tolist() == ["ENSG00000000001", "AAA"]
    assert np.isnan(known.length).all()


def test_only_versions_are_cut():
    assert without_version("ENSMUSG00000102693.2") == "ENSMUSG00000102693"
    assert without_version("ENSG00000182378.15_PAR_Y") == "ENSG00000182378"
    assert without_version("RP11-34P13.7") == "RP11-34P13.7"


def test_one_gene_listed_twice_is_not_ambiguous():
    ids, several = ids_by_symbol(pd.concat([TABLE, TABLE.iloc[:1]]))
    assert ids.to_dict() == {"AAA": "ENSG00000000001"}
    assert several == {"TWICE"}
