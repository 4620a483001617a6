"""What a format is given, and what it gives back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from ...features.result import Features
from ...settings import as_text
from ..items import VideoItem

PROVENANCE_KEY = "ila_models.extraction"
"""Under which a file of many videos has its provenance, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """A video whose features are all there.

    Attributes:
        item: Which video, or which part of one.
        features: What was taken of it; a video may have no windows.
    """

    item: VideoItem
    features: Features


Write = Callable[[BinaryIO], None]
"""Writes the whole content of a file to a stream, which is empty and can be read and sought too. The same features give
the same bytes, whenever and by whichever process they are written."""

Writer = Callable[[str, Sequence[Extracted], Mapping[str, Any]], Iterator[tuple[str, Write]]]
"""Makes files of videos. It is given

- the name of what holds all of the videos, without an ending;
- the videos, at least one, all of the same levels;
- their provenance: plain JSON values by name;

and yields the path of every file, relative and with forward slashes, and what writes it."""


def arrays_of(features: Features) -> dict[str, np.ndarray]:
    """The levels by name, and ``spans`` and ``frames``; without a copy."""
    named = [*features.values.items(), ("spans", features.spans), ("frames", features.frames)]
    return {name: tensor.contiguous().numpy() for name, tensor in named}


def description(item: VideoItem, provenance: Mapping[str, Any]) -> str:
    """Which video a file or a sample is of and how it was made, as JSON."""
    own = {"file": as_text(item.file), "name": item.name, "start": item.start, "end": item.end}
    return as_json({**provenance, **own})


def as_json(content: Mapping[str, Any]) -> str:
    """JSON that depends on nothing but the content."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False)
