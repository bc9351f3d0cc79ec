"""The types that nodes pass on.

Kedro reads the annotations of nodes to build typed parameters. It needs names that exist at run
time, but the real classes would cost every command seconds of imports.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from pandas import DataFrame

    from spared_benchmark.completion.masks import Masks
    from spared_benchmark.simulation.slide import SimulatedSlide
    from spared_benchmark.slides.raw import RawSlide
    from spared_benchmark.tissue.patches import PatchStore
    from spared_benchmark.training.trials import TrialStore

    Array = NDArray[Any]
else:
    AnnData = DataFrame = Masks = SimulatedSlide = RawSlide = PatchStore = TrialStore = Array = Any

__all__ = [
    "AnnData",
    "Array",
    "DataFrame",
    "Masks",
    "PatchStore",
    "RawSlide",
    "SimulatedSlide",
    "TrialStore",
]
