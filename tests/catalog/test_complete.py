"""Exists means present, whole and made by these settings."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from spared_benchmark.catalog.files import JsonDataset, ModelDataset, PageDataset, TableDataset
from spared_benchmark.model import Model


@pytest.fixture
def dataset(tmp_path):
    dataset = JsonDataset(filepath=str(tmp_path / "folder" / "thing.json"))
    dataset.expected = "settings-1"
    return dataset


def test_a_saved_file_exists_and_loads(dataset):
    assert not dataset.exists()

    dataset.save({"a": 1})

    assert dataset.exists()
    assert dataset.load() == {"a": 1}


def test_other_settings_make_it_absent(dataset):
    dataset.save({"a": 1})

    dataset.expected = "settings-2"

    assert not dataset.exists()
    with pytest.raises(DatasetError, match="made by other settings"):
        dataset.load()


def test_a_truncated_file_is_absent(dataset):
    dataset.save({"a": list(range(100))})
    path = dataset._filepath
    path.write_bytes(path.read_bytes()[:-20])

    assert not dataset.exists()
    with pytest.raises(DatasetError, match="truncated or was changed"):
        dataset.load()


def test_a_file_without_its_record_was_not_finished(dataset):
    dataset.save({"a": 1})
    dataset._sidecar.unlink()

    assert not dataset.exists()
    with pytest.raises(DatasetError, match="was not finished"):
        dataset.load()


def test_a_failing_write_leaves_what_was_there(dataset):
    dataset.save({"a": 1})

    with pytest.raises(DatasetError):
        dataset.save({"a": object()})

    assert json.loads(dataset._filepath.read_text()) == {"a": 1}
    assert not dataset.exists(), "the interrupted save may not pass for the new content"
    assert [path.name for path in dataset._filepath.parent.iterdir()] == ["thing.json"]


def test_a_crash_between_file_and_record_is_absent(dataset, monkeypatch):
    dataset.save({"a": 1})

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("spared_benchmark.catalog.complete.write_json", crash)
    with pytest.raises(KeyboardInterrupt):
        dataset.save({"a": 2})

    assert not dataset.exists()


def test_an_optional_dataset_gives_none(tmp_path):
    dataset = TableDataset(filepath=str(tmp_path / "table.parquet"), optional=True)
    assert dataset.load() is None

    dataset.save(pd.DataFrame({"a": [1]}))
    assert dataset.load()["a"].tolist() == [1]

    dataset.expected = "other settings"
    assert dataset.load() is None, "a stale table must not enter a report"


def test_a_rebuilt_dataset_never_exists_but_loads(tmp_path):
    dataset = PageDataset(filepath=str(tmp_path / "page.html"), rebuilt=True)
    dataset.save("<p>")

    assert not dataset.exists()
    assert dataset.load() == "<p>"


def test_a_model_is_a_folder_that_loads_its_weights_one_by_one(tmp_path):
    dataset = ModelDataset(filepath=str(tmp_path / "models" / "additive"))
    dataset.save(Model({"method": "additive"}, {"mean": np.arange(3.0)}))

    model = dataset.load()

    assert model.card == {"method": "additive"}
    assert model.weights["mean"].tolist() == [0, 1, 2]
    assert sorted(path.name for path in dataset._filepath.iterdir()) == [
        "card.json",
        "weights.safetensors",
    ]


def test_a_model_with_a_lost_file_is_absent(tmp_path):
    dataset = ModelDataset(filepath=str(tmp_path / "additive"))
    dataset.save(Model({"method": "additive"}, {}))
    (tmp_path / "additive" / "weights.safetensors").unlink()

    assert not dataset.exists()


def test_previews_are_what_kedro_viz_asks_for(tmp_path):
    table = TableDataset(filepath=str(tmp_path / "table.parquet"))
    assert table.preview() == {}, "an absent file is no reason for a warning"

    table.save(pd.DataFrame({"a": [1, 2]}))

    assert table.preview()["data"] == [[1], [2]]
    assert inspect.signature(table.preview).return_annotation == "TablePreview"
