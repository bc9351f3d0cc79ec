"""From the filter to genes with an id and a length: what stays, what leaves and why."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from spared_benchmark.errors import InputError
from spared_benchmark.expression.filter import GeneFilter
from spared_benchmark.expression.genes import CommonGenes, count_slides, with_length

TABLE = pd.DataFrame(
    {
        "gene_id": [f"ENSG0000000000{place}" for place in range(1, 6)],
        "symbol": ["AAA", "BBB", "TWICE", "TWICE", "EEE"],
        "length": [1000, 2000, 3000, 4000, 5000],
    }
)


def common(*names):
    return CommonGenes(source=np.array(names), symbol=np.array(names))


def passing(totals, limits=(), narrow=()):
    size = len(totals)
    out, thin = np.isin(np.arange(size), limits), np.isin(np.arange(size), narrow)
    fractions = np.linspace(0.9, 0.5, size)
    return GeneFilter(~out & ~thin, out, thin, fractions, fractions + 0.05, np.array(totals))


def fates(filtered):
    return dict(zip(filtered.common["source"], filtered.common["fate"], strict=True))


def test_symbols_become_ids_and_every_gene_has_a_fate():
    genes = common("ENSG00000000005.3", "AAA", "TWICE", "BBB", "OLD", "EEE", "ENSG00000000009")
    kept = passing([70, 60, 50, 40, 30, 20, 10], limits=[3], narrow=[5])
    filtered = with_length(genes, kept, TABLE)
    assert filtered.id.tolist() == ["ENSG00000000005", "ENSG00000000001"]
    assert filtered.source.tolist() == ["ENSG00000000005.3", "AAA"]
    assert filtered.lengths.tolist() == [5000, 1000]
    assert filtered.fraction_min.tolist() == kept.fraction_min[:2].tolist()
    assert filtered.place.tolist() == [0, 1]
    assert fates(filtered) == {
        "ENSG00000000005.3": "passed",
        "AAA": "passed",
        "TWICE": "ambiguous",
        "BBB": "limits",
        "OLD": "no_length",
        "EEE": "narrow",
        "ENSG00000000009": "no_length",
    }
    assert (filtered.missing, filtered.ambiguous) == (3, 1)
    rows = filtered.common.set_index("source")
    assert rows["gene"]["BBB"] == "ENSG00000000002", "genes that leave have their id too"
    assert rows["gene_length"]["EEE"] == 5000
    assert rows["total"].tolist() == [70, 60, 50, 40, 30, 20, 10]


def test_of_two_names_of_one_gene_the_one_with_more_counts_stays():
    genes = common("AAA", "ENSG00000000001", "BBB")
    filtered = with_length(genes, passing([5, 9, 7]), TABLE)
    assert filtered.source.tolist() == ["ENSG00000000001", "BBB"]
    assert fates(filtered)["AAA"] == "ambiguous"
    assert with_length(genes, passing([9, 5, 7]), TABLE).source.tolist() == ["AAA", "BBB"]
    assert with_length(genes, passing([9, 9, 7]), TABLE).source.tolist() == ["AAA", "BBB"]
    alone = with_length(genes, passing([9, 5, 7], narrow=[0]), TABLE)
    assert alone.source.tolist() == ["ENSG00000000001", "BBB"], "only genes of the filter compete"


def test_named_genes_alone_may_be_chosen_and_stay_before_others_of_their_id():
    genes = common("AAA", "ENSG00000000001", "BBB", "EEE")
    kept = replace(passing([5, 9, 7, 3]), named=np.array([True, False, True, False]))
    filtered = with_length(genes, kept, TABLE)
    assert filtered.source.tolist() == ["AAA", "BBB", "EEE"]
    assert filtered.may_be_chosen.tolist() == [True, True, False]
    lost = replace(kept, named=np.array([True, False, False, False]))
    with pytest.raises(InputError, match=r"1 of the 1 named genes .* can be used, 2 are needed"):
        with_length(genes, lost, TABLE)


def test_the_losses_are_logged(caplog):
    with caplog.at_level(logging.WARNING):
        with_length(common("AAA", "TWICE", "OLD", "OLDER"), passing([9, 8, 7, 6]), TABLE)
    assert "3 of 4 filtered genes are left out: 2 have no length, 1 are ambiguous" in caplog.text
    assert "TWICE, OLD, OLDER" in caplog.text


def test_no_gene_with_a_length_is_an_error():
    with pytest.raises(InputError, match=r"none of 2 filtered genes has a length \(first: 'OLD'\)"):
        with_length(common("AAA", "OLD", "OLDER"), passing([9, 8, 7], limits=[0]), TABLE)
    with pytest.raises(InputError, match=r"there are none.*normalisation to cpm"):
        with_length(common("AAA"), passing([9]), None)


def test_counts_per_million_lose_no_gene_for_want_of_a_length(caplog):
    genes = common("ENSG00000000009.2", "AAA", "TWICE", "OLD")
    filtered = with_length(genes, passing([9, 8, 7, 6]), TABLE, lengths_needed=False)
    assert filtered.id.tolist() == ["ENSG00000000009", "ENSG00000000001", "TWICE", "OLD"]
    assert filtered.lengths.tolist() == [1, 1, 1, 1]
    assert filtered.missing == 0
    assert filtered.common["gene_length"].notna().tolist() == [False, True, False, False]
    assert "to map them by" not in caplog.text
    with caplog.at_level(logging.WARNING):
        bare = with_length(genes, passing([9, 8, 7, 6]), None, lengths_needed=False)
    assert "3 of 4 filtered genes have no Ensembl id (first: AAA)" in caplog.text
    assert bare.id.tolist() == ["ENSG00000000009", "AAA", "TWICE", "OLD"]


def slide(counts, names):
    adata = AnnData(sparse.csr_matrix(np.array(counts, dtype=np.int32)))
    adata.var_names = names
    adata.var["symbol"] = [name.lower() for name in names]
    return lambda: adata


def test_the_common_genes_are_those_of_the_choosing_slides():
    loaders = {
        "test": slide([[1, 2]], ["B", "Z"]),
        "one": slide([[1, 0, 3], [4, 5, 6]], ["A", "B", "C"]),
        "two": slide([[7, 8, 9]], ["C", "D", "B"]),
    }
    genes, tallies = count_slides(loaders, ["one", "two"], (0, 100))
    assert genes.source.tolist() == ["B", "C"]
    assert genes.symbol.tolist() == ["b", "c"]
    assert list(tallies) == ["test", "one", "two"]
    assert tallies["one"].totals.tolist() == [5, 9]
    assert tallies["two"].totals.tolist() == [9, 7]
    assert tallies["test"].totals.tolist() == [1, 0]
