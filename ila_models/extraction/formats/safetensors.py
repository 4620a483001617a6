"""Safetensors: a file for every video, whose header says what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

from safetensors.numpy import save

from .extracted import Extracted, Write, arrays_of, description


def safetensors_files(
    stem: str, videos: Sequence[Extracted], provenance: Mapping[str, Any]
) -> Iterator[tuple[str, Write]]:
    """Yields ``NAME.safetensors``: a tensor for every level, ``spans`` and ``frames``."""
    for video in videos:
        yield f"{video.item.name}.safetensors", partial(_write, video=video, provenance=provenance)


def _write(stream: BinaryIO, video: Extracted, provenance: Mapping[str, Any]) -> None:
    # One entry, as the order of several is random. The library writes to paths and to memory, not to a stream.
    metadata = {"ila_models": description(video.item, provenance)}
    stream.write(save(arrays_of(video.features), metadata))
