"""The handle to the identities of all cohorts: whatever lies there, whole, when it is loaded."""

import pytest

from spared_benchmark.catalog.files import JsonDataset
from spared_benchmark.catalog.identities import IdentitiesDataset


def save(folder, cohort, slide, digest):
    path = folder / cohort / f"{slide}.identity.json"
    JsonDataset(filepath=str(path)).save({"counts_digest": digest})
    return path


def test_nothing_there_is_an_empty_table(tmp_path):
    handle = IdentitiesDataset(filepath=str(tmp_path / "absent" / "SIM"))

    assert handle.exists()
    assert handle.load().empty
    assert list(handle.load().columns) == ["cohort", "slide"]


def test_every_whole_identity_is_one_row(tmp_path):
    handle = IdentitiesDataset(filepath=str(tmp_path / "SIM"))
    save(tmp_path, "ONE", "A.1", "a")
    save(tmp_path, "TWO", "A.1", "b")
    (tmp_path / "TWO" / "notes.json").write_text("{}")
    broken = save(tmp_path, "TWO", "B", "c")
    broken.write_text(broken.read_text()[:5])

    assert handle.load().to_dict("records") == [
        {"cohort": "ONE", "slide": "A.1", "counts_digest": "a"},
        {"cohort": "TWO", "slide": "A.1", "counts_digest": "b"},
    ]
    save(tmp_path, "TWO", "B", "c")
    assert len(handle.load()) == 3, "read anew at each load"


def test_it_is_not_written_to(tmp_path):
    with pytest.raises(Exception, match="written slide by slide"):
        IdentitiesDataset(filepath=str(tmp_path / "SIM")).save({})
