import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from spared_benchmark.expression.held import HeldCounts


@pytest.mark.parametrize("largest", [1, 255, 256, 65_535, 65_536, 2**31 - 1])
@pytest.mark.parametrize("genes", [3, 256, 257, 70_000])
def test_counts_come_back_whatever_their_size(largest, genes):
    counts = np.zeros((4, genes), dtype=np.int32)
    counts[0, 0], counts[2, -1], counts[3, 1] = 1, largest, 7
    back = HeldCounts.of(sparse.csr_matrix(counts)).matrix()
    assert back.shape == counts.shape
    assert back.dtype == np.int32
    assert np.array_equal(back.toarray(), counts)


@given(st.integers(0, 2**32 - 1))
def test_any_matrix_comes_back(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(0, 12, 2)
    counts = sparse.csr_matrix(rng.poisson(0.5, shape).astype(np.int32))
    assert (HeldCounts.of(counts).matrix() != counts).nnz == 0


def test_it_is_smaller_than_what_scipy_holds():
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(1, (200, 300)).astype(np.int32))
    held = HeldCounts.of(counts)
    own = held.values.nbytes + held.columns.nbytes
    assert own * 2 < counts.data.nbytes + counts.indices.nbytes
