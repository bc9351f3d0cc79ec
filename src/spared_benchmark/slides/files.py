"""Opening files from outside with errors that say what the file really is."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from spared_benchmark.atomic import digest_of, file_digest
from spared_benchmark.errors import InputError

_HTML = re.compile(rb"\s*<(!doctype|html|head|\?xml)", re.IGNORECASE)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_GZIP = b"\x1f\x8b"
_SHOWN = 8


def need_folder(path: Path, what: str) -> None:
    """Check that ``path`` is a folder.

    Raises:
        InputError: When it is not there, or is a file.
    """
    if not path.exists():
        msg = f"{path}: no such folder; a folder in the layout of {what} is needed here"
        raise InputError(msg)
    if not path.is_dir():
        msg = f"{path}: is a file; a folder in the layout of {what} is needed here"
        raise InputError(msg)


def need_file(path: Path, what: str) -> Path:
    """Return ``path`` when it is a file with content.

    Raises:
        InputError: When it is missing, a folder or empty; a missing one names what lies beside.
    """
    if path.is_dir():
        msg = f"{path}: is a folder; {what} is a file"
        raise InputError(msg)
    if not path.exists():
        msg = f"{path}: {what} is missing; {_beside(path.parent)}"
        raise InputError(msg)
    if path.stat().st_size == 0:
        msg = f"{path}: {what} is empty (0 bytes); copy or download it again"
        raise InputError(msg)
    return path


def one_file(folder: Path, candidates: Sequence[Path], what: str, patterns: str) -> Path:
    """Return the only one of ``candidates``.

    Raises:
        InputError: When none fits, or several do.
    """
    if not candidates:
        msg = f"{folder}: no {what} ({patterns}); {_beside(folder)}"
        raise InputError(msg)
    if len(candidates) > 1:
        names = ", ".join(sorted(path.name for path in candidates))
        msg = f"{folder}: {len(candidates)} files could be the {what}: {names}; keep one of them"
        raise InputError(msg)
    return need_file(candidates[0], f"the {what}")


@contextmanager
def open_hdf5(path: Path, what: str) -> Iterator[h5py.File]:
    """Open an HDF5 file; a failure to read within the block is told as one of the file.

    Raises:
        InputError: When the file is missing, empty, a web page, truncated or something else.
    """
    need_file(path, what)
    with path.open("rb") as stream:
        head = stream.read(512)
    if _HTML.match(head):
        msg = (
            f"{path}: {what} is a web page, not HDF5: the server sent a page (an error or a "
            "log-in) in place of the file; download it again and look at its size"
        )
        raise InputError(msg)
    if not head.startswith(_HDF5):
        msg = f"{path}: {what} is not HDF5 (it starts with {head[:8]!r}); take the file ending .h5"
        raise InputError(msg)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        msg = (
            f"{path}: {what} is truncated or damaged ({path.stat().st_size:,} bytes: {error}); "
            "copy or download it again"
        )
        raise InputError(msg) from error


def read_text(path: Path, what: str) -> io.StringIO:
    """Return the text of a file, unpacked when its content (not its name) is gzip.

    Raises:
        InputError: When it is missing, empty, a web page, damaged or not text.
    """
    content = need_file(path, what).read_bytes()
    try:
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
    except (EOFError, OSError, UnicodeDecodeError) as error:
        msg = f"{path}: {what} cannot be read as text ({error}); copy or download it again"
        raise InputError(msg) from error
    if _HTML.match(content):
        msg = f"{path}: {what} is a web page, not a table; download it again"
        raise InputError(msg)
    return io.StringIO(text)


def read_numbers(path: Path, what: str, keys: Sequence[str]) -> dict[str, float]:
    """Return positive numbers from a JSON file.

    Raises:
        InputError: When the file is no JSON object, or a key is missing or not above 0.
    """
    try:
        content: Any = json.load(read_text(path, what))
    except json.JSONDecodeError as error:
        msg = f"{path}: {what} is not JSON ({error}); copy it again from Space Ranger's output"
        raise InputError(msg) from error
    numbers = {}
    for key in keys:
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, (int, float)) or not value > 0:
            msg = f"{path}: {key!r}: found {value!r}; a number above 0 is needed"
            raise InputError(msg)
        numbers[key] = float(value)
    return numbers


def digest_of_files(files: Sequence[Path], folder: Path) -> str:
    """Return one digest of the names and contents of all files that were read."""
    return digest_of({path.relative_to(folder).as_posix(): file_digest(path) for path in files})


def _beside(folder: Path) -> str:
    if not folder.is_dir():
        return f"the folder {folder} is missing too"
    names = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"the folder holds {shown}" if names else "the folder is empty"
