"""The smaller formats: tables, JSON, pictures, pages, arrays, models, masks and patches."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from kedro_datasets._typing import ImagePreview, JSONPreview, TablePreview
from numpy.typing import NDArray

from spared_benchmark.catalog.complete import CompleteDataset
from spared_benchmark.model import Model

if TYPE_CHECKING:
    from spared_benchmark.completion.masks import Masks
    from spared_benchmark.tissue.patches import PatchStore


class TableDataset(CompleteDataset[pd.DataFrame]):
    """A tidy table in Parquet (``.tsv.gz`` and ``.csv`` by their suffix)."""

    def read(self, path: Path) -> pd.DataFrame:
        """Return the table."""
        return pd.read_parquet(path)

    def write(self, path: Path, content: pd.DataFrame) -> None:
        """Write the table without its index."""
        content.to_parquet(path, index=False)

    def preview(self, nrows: int = 40) -> TablePreview:
        """Return the first rows in the form in which kedro-viz shows tables."""
        if self.problem():
            return TablePreview({})
        return TablePreview(self.read(self._filepath).head(nrows).to_dict(orient="split"))


class JsonDataset(CompleteDataset[Any]):
    """A JSON document."""

    def read(self, path: Path) -> Any:
        """Return the document."""
        return json.loads(path.read_text(encoding="utf-8"))

    def write(self, path: Path, content: Any) -> None:
        """Write the document, indented."""
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def preview(self) -> JSONPreview:
        """Return the document as kedro-viz shows it."""
        return JSONPreview("" if self.problem() else json.dumps(self.read(self._filepath)))


class PictureDataset(CompleteDataset[bytes]):
    """A PNG."""

    def read(self, path: Path) -> bytes:
        """Return the PNG's bytes."""
        return path.read_bytes()

    def write(self, path: Path, content: bytes) -> None:
        """Write the PNG's bytes."""
        path.write_bytes(content)

    def preview(self) -> ImagePreview:
        """Return the picture as kedro-viz shows it."""
        if self.problem():
            return ImagePreview("")
        return ImagePreview(base64.b64encode(self.read(self._filepath)).decode())


class PageDataset(CompleteDataset[str]):
    """A text, such as an HTML page."""

    def read(self, path: Path) -> str:
        """Return the text."""
        return path.read_text(encoding="utf-8")

    def write(self, path: Path, content: str) -> None:
        """Write the text."""
        path.write_text(content, encoding="utf-8")


class ArrayDataset(CompleteDataset[NDArray[Any]]):
    """One array in npy, memory-mapped on load."""

    def read(self, path: Path) -> NDArray[Any]:
        """Return the array, read only and not yet in memory."""
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array

    def write(self, path: Path, content: NDArray[Any]) -> None:
        """Write the array."""
        with path.open("wb") as stream:
            np.save(stream, content, allow_pickle=False)


class ModelDataset(CompleteDataset[Model]):
    """A fitted method: a folder with its card and its weights."""

    def read(self, path: Path) -> Model:
        """Return the model; its weights are read when they are asked for."""
        return Model.load(path)

    def write(self, path: Path, content: Model) -> None:
        """Write card and weights."""
        content.save(path)

    def failed(self, content: Model) -> bool:
        """Say whether a method of the card failed."""
        cards = content.card.get("predictors", {"": content.card}).values()
        return any(card.get("status") == "failed" for card in cards)

    def preview(self) -> JSONPreview:
        """Return the card as kedro-viz shows it."""
        return JSONPreview("" if self.problem() else json.dumps(self.read(self._filepath).card))


class MasksDataset(CompleteDataset[Any]):
    """The hidden entries of a cohort, drawn once."""

    def read(self, path: Path) -> Masks:
        """Return the masks."""
        from spared_benchmark.completion.masks import Masks

        return Masks.load(path)

    def write(self, path: Path, content: Masks) -> None:
        """Write the masks."""
        content.save(path)


class PatchesDataset(CompleteDataset[Any]):
    """A slide's patches; loading maps them and reads no pixel."""

    def read(self, path: Path) -> PatchStore:
        """Return the patches, memory-mapped."""
        from spared_benchmark.tissue.patches import PatchStore

        return PatchStore.load(path)

    def write(self, path: Path, content: PatchStore) -> None:
        """Write the patches."""
        content.save(path)
