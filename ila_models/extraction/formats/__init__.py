"""How features are kept: the formats by name, and the functions that write them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Literal, get_args

from ...features.levels import VECTOR_LEVELS, Level
from .actionformer import actionformer_files
from .extracted import Extracted, Write, Writer
from .hdf5 import hdf5_files
from .npy import npy_files
from .parquet import parquet_files
from .safetensors import safetensors_files
from .webdataset import webdataset_files

__all__ = ["FORMATS", "SHARDED", "Extracted", "Format", "Write", "Writer", "check_format", "writer"]

Format = Literal["npy", "safetensors", "parquet", "webdataset", "hdf5", "actionformer"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""By name, with what is written:

- ``npy``: for every video a file of each level, ``NAME.LEVEL.npy``, and ``NAME.spans.npy`` and ``NAME.frames.npy``.
- ``safetensors``: for every video ``NAME.safetensors``, with the same as tensors.
- ``parquet``: a table of all videos, a row for every window.
- ``webdataset``: a tar file of all videos, each a sample of WebDataset's.
- ``hdf5``: a file of all videos, each a group.
- ``actionformer``: for every video ``NAME.npy``, the rows of one level, as code for ActivityNet reads them.
"""

SHARDED: tuple[Format, ...] = ("parquet", "webdataset", "hdf5")
"""Those whose files are of several videos."""

_WRITERS: dict[Format, Writer] = {
    "npy": npy_files,
    "safetensors": safetensors_files,
    "parquet": parquet_files,
    "webdataset": webdataset_files,
    "hdf5": hdf5_files,
    "actionformer": actionformer_files,
}
_PACKAGES: dict[Format, str] = {"parquet": "pyarrow", "hdf5": "h5py"}


def writer(format: Format) -> Writer:
    """The function that writes a format."""
    return _WRITERS[format]


def check_format(format: str, levels: Sequence[Level]) -> Format:
    """Refuses what could not be written in the end, before anything is extracted.

    Args:
        format: One of :data:`FORMATS`.
        levels: What is extracted.

    Returns:
        The format.

    Raises:
        ValueError: The format is not known, or cannot hold these levels.
        RuntimeError: A package is not installed that it takes.
    """
    if format not in FORMATS:
        raise ValueError(f"format={format!r} is not known: use one of {', '.join(FORMATS)}")
    if format == "actionformer" and (len(levels) != 1 or levels[0] not in VECTOR_LEVELS):
        raise ValueError(
            f"format 'actionformer' holds a vector for every window, not {', '.join(levels)}: extract one of"
            f" {', '.join(VECTOR_LEVELS)}, or use another format"
        )
    package = _PACKAGES.get(format)
    if package is not None and importlib.util.find_spec(package) is None:
        raise RuntimeError(f"format {format!r} takes {package}: pip install 'ila-models[extract]'")
    return format
