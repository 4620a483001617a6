"""Training data in a few words, by which a run that goes on knows them again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from ..data.annotations import LabelledVideos
from ..data.shards import ShardedVideos
from ..settings import as_text


def describe_data(
    class_names: Sequence[str], samples: int, videos: LabelledVideos | ShardedVideos | None = None
) -> dict[str, Any]:
    """Class names, samples, and a hash of all paths and labels in their order; None for clips that are made."""
    return {
        "class_names": [as_text(name) for name in class_names],
        "samples": samples,
        "sha256": None if videos is None else _sha256(videos),
    }


def _sha256(videos: LabelledVideos | ShardedVideos) -> str:
    # Paths within the folder, and names within the shards: a data set that was moved is the same.
    if isinstance(videos, ShardedVideos):
        shards = [videos.shards[number].name for number in videos.places[:, 0]]
        paths = [f"{shard}:{name}" for shard, name in zip(shards, videos.names, strict=True)]
    else:
        paths = list(videos.paths)
    digest = hashlib.sha256()
    for path, label in zip(paths, videos.labels, strict=True):
        digest.update(f"{as_text(path)}\t{label}\n".encode())
    return digest.hexdigest()
