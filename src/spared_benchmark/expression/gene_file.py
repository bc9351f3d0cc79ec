"""A file of genes that may be chosen: one name a line."""

from __future__ import annotations

import re
from pathlib import Path

from spared_benchmark.errors import InputError

_SEPARATOR = re.compile(r"[\t,]")


def read_gene_file(path: Path) -> tuple[str, ...]:
    """Read names of genes, Ensembl ids or symbols, each once and in the order of the file.

    Blank lines and what follows a ``#`` do not count; of a line with tabs or commas the first
    column is taken.

    Raises:
        InputError: When the file is not there, is no text or names no gene.
    """
    how = "give a text file with one Ensembl id or symbol a line"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        msg = f"the file {path} is not text in UTF-8 (byte {error.start}); {how}"
        raise InputError(msg) from error
    except OSError as error:
        reason = "does not exist" if not path.exists() else f"cannot be read ({error.strerror})"
        msg = f"the file {path} {reason}; {how}"
        raise InputError(msg) from error
    columns = (_SEPARATOR.split(line.partition("#")[0], maxsplit=1)[0] for line in lines)
    names = dict.fromkeys(name for name in (one.strip().strip('"') for one in columns) if name)
    if not names:
        msg = f"the file {path} names no gene; {how}"
        raise InputError(msg)
    return tuple(names)
