"""Writing so that a file is either whole or not there, and digests of what was written."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a hidden sibling of ``target``; it replaces ``target`` only when the block succeeds.

    Works for files and folders. The sibling keeps the suffixes of ``target``, because writers
    choose their format by them. What an earlier, killed writer left behind is never read: it has
    another name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.{target.name}")
    try:
        yield temporary
        for path in [*temporary.rglob("*"), temporary] if temporary.is_dir() else [temporary]:
            _flush(path)
        _replace(temporary, target)
        _flush(target.parent)
    finally:
        _remove(temporary)


def abandoned(path: Path) -> bool:
    """Say whether ``path`` was left behind by a writer that is no longer there.

    Of writers on another machine that share the folder this cannot be told; they are taken for
    gone.
    """
    writer = path.name.removeprefix(".").partition("-")[0]
    if not path.name.startswith(".") or not writer.isdigit():
        return False
    try:
        os.kill(int(writer), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def write_json(target: Path, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically."""
    with atomic_path(target) as path:
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def digest_of(content: Any) -> str:
    """Return the SHA-256 (first 16 hex digits) of the canonical JSON of ``content``."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 (first 16 hex digits) of a file, or of a folder's names and files."""
    digest = hashlib.sha256()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_dir():
            continue
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Path):
        return value.as_posix()
    msg = f"no digest for a {type(value).__name__}: {value!r}"
    raise TypeError(msg)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(source: Path, target: Path) -> None:
    if source.is_dir() and target.exists():
        aside = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
        target.replace(aside)
        source.replace(target)
        _remove(aside)
    else:
        source.replace(target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
