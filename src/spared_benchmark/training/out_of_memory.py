"""Batches that do not fit into memory: how it is noticed, and what a person is told."""

from __future__ import annotations

import gc

import torch

from spared_benchmark.errors import SparedError

# Torch's allocator on the CPU and the libraries on a GPU raise plain RuntimeErrors.
_MARKS = ("DefaultCPUAllocator", "can't allocate memory", "STATUS_ALLOC_FAILED")
_LONGEST = 200


class OutOfMemoryError(SparedError):
    """A trial does not fit into memory, its batch whole or divided."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether ``error`` means that an allocation failed, on the CPU or on a GPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in _MARKS)


def let_go() -> None:
    """Give back what nobody uses any more, so that the next try finds it free."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def not_fitting(title: str, step: int, tried: str, error: str) -> OutOfMemoryError:
    """Return the error of a trial that is given up.

    Args:
        title: What the log calls it.
        step: The last that was kept.
        tried: What was done about it, or why nothing could be.
        error: What the allocator said.
    """
    said = error.strip().partition("\n")[0][:_LONGEST]
    return OutOfMemoryError(
        f"{title}: out of memory after step {step}, {tried}: {said}; give a smaller batch_size in "
        "'budgets', a smaller size in 'sizes', or, for models of whole slides, more 'tiles' or a "
        "'region' in 'settings'; what is finished is kept"
    )
