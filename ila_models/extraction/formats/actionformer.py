"""Features as ActionFormer and other code for ActivityNet reads them: one array of vectors for every video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .extracted import Extracted, Write
from .npy import write_npy


def actionformer_files(
    stem: str, videos: Sequence[Extracted], provenance: Mapping[str, Any]
) -> Iterator[tuple[str, Write]]:
    """Yields ``NAME.npy``, float32 [W, E], of the one level that there is."""
    for video in videos:
        (rows,) = video.features.values.values()
        yield f"{video.item.name}.npy", partial(write_npy, array=rows.contiguous().numpy())
