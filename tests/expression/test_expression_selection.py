import numpy as np

from spared_benchmark.expression.selection import mean_over_slides, rank_genes


def test_means_are_over_the_slides_where_a_gene_is_defined():
    slides = [np.array([0.2, np.nan, np.nan]), np.array([0.4, 0.1, np.nan])]
    assert np.array_equal(mean_over_slides(slides).round(6), [0.3, 0.1, np.nan], equal_nan=True)


def test_ranking_is_descending_ties_by_name_undefined_last():
    scores = np.array([0.1, np.nan, 0.5, 0.5, -0.9])
    genes = np.array(["a", "b", "d", "c", "e"])
    assert genes[rank_genes(scores, genes)].tolist() == ["c", "d", "a", "e", "b"]
