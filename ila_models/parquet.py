"""Parquet files, whole or not at all."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from .whole_files import write_atomically

if TYPE_CHECKING:
    import pyarrow

_ROWS_PER_GROUP = 8192


def require_pyarrow(what: str, *, extra: str) -> None:
    """Checks that parquet can be written.

    Args:
        what: What is kept so, for the message.
        extra: The optional part of this package that brings it.

    Raises:
        RuntimeError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise RuntimeError(f"{what} are kept as parquet, which takes pyarrow: pip install 'ila-models[{extra}]'")


def table_bytes(table: pyarrow.Table) -> bytes:
    """A table as the content of a file."""
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, row_group_size=_ROWS_PER_GROUP)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def write_table(path: Path, table: pyarrow.Table) -> None:
    """Writes a table.

    Raises:
        OSError: It cannot be written; what stood there is untouched.
    """
    write_atomically(path, table_bytes(table))


def read_table(path: Path) -> pyarrow.Table:
    """Reads a table.

    Raises:
        OSError: The file is not there or cannot be read.
        ValueError: It is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            # Without threads of its own, which a process that is forked afterwards would not have.
            return pyarrow.parquet.ParquetFile(file).read(use_threads=False)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: not a parquet file, or damaged ({error}): delete it and run again") from error
