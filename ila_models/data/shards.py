"""Labelled videos in WebDataset shards: tar files in which members of one name, but for the ending, are one sample.

A sample is a video (``17.mp4``) and its label: ``17.cls`` holds a number or a class name, or ``17.json`` has one under
``"label"``. Shards are read by position, not as a stream: where a sample stands is looked up once, so that a training
run takes the clips of any step in the order that follows from its seed, and goes on there after a stop.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tarfile import TarInfo
from typing import BinaryIO

import numpy as np

from .labels import AnnotationError, Entry, Problems, labels_are_numbers, numbers_of
from .tar_members import members_of
from .video_files import SUFFIXES_IN_WORDS, VIDEO_SUFFIXES

_LONGEST_LABEL = 1 << 20  # bytes of a .cls or a .json


@dataclass(frozen=True, eq=False)
class ShardedVideos:
    """Videos in tar files, and their classes.

    Attributes:
        shards: The tar files.
        places: int64 [videos, 3]: number of the shard, and where in it the video begins and how long it is, in bytes.
        names: Of the videos, within their shards.
        labels: Class numbers from 0, one a video.
        class_names: Names by number; None where the labels are numbers and nobody named them.
    """

    shards: tuple[Path, ...]
    places: np.ndarray
    names: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """How many videos there are."""
        return len(self.names)

    @property
    def num_classes(self) -> int:
        """Classes: as many as have names, else one more than the highest label."""
        return len(self.class_names) if self.class_names is not None else max(self.labels, default=-1) + 1

    def name(self, index: int) -> str:
        """What a video is called in messages."""
        return f"{self.shards[self.places[index, 0]]}:{self.names[index]}"

    def source(self, index: int) -> bytes:
        """A video's bytes."""
        shard, start, size = (int(number) for number in self.places[index])
        with self.shards[shard].open("rb") as stream:
            stream.seek(start)
            return stream.read(size)


def read_shards(pattern: str | os.PathLike[str], *, class_names: Sequence[str] | None = None) -> ShardedVideos:
    """Looks up what stands in shards.

    Args:
        pattern: A tar file, or a wildcard pattern of several: ``"shards/train-*.tar"``. They are not compressed.
        class_names: Names by number; where labels are names, they must be among these, but for capitals and
            underscores.

    Returns:
        The videos, in the order of the shards' names and of their members.

    Raises:
        FileNotFoundError: No file is of this name or pattern.
        AnnotationError: A shard is no tar file, damaged or cut off, a video has no label or a label no video, a sample
            has two videos or two labels, or labels are out of range or unknown. The message tells up to ten problems.
    """
    pattern = os.fspath(pattern)
    shards = tuple(Path(path) for path in ([pattern] if os.path.isfile(pattern) else sorted(glob.glob(pattern))))
    if not shards:
        hint = "; write {000..127} as a wildcard, *" if "{" in pattern else ""
        raise FileNotFoundError(f"no such shards: {pattern} (looked in {Path.cwd()}){hint}")
    names = None if class_names is None else tuple(class_names)
    problems = Problems(Path(pattern))
    entries: list[Entry] = []
    places: list[tuple[int, int, int]] = []
    for number, shard in enumerate(shards):
        for entry, start, size in _samples(shard, problems):
            entries.append(entry)
            places.append((number, start, size))
    problems.raise_any()
    if not entries:
        raise AnnotationError(f"{pattern}: no video in {len(shards)} shards (looked for {SUFFIXES_IN_WORDS})")
    are_numbers = labels_are_numbers(entries, names, problems)
    labels, names = numbers_of(entries, names, problems, are_numbers=are_numbers)
    return ShardedVideos(shards, np.array(places, dtype=np.int64), tuple(each.path for each in entries), labels, names)


def _samples(shard: Path, problems: Problems) -> Iterator[tuple[Entry, int, int]]:
    """The samples of a shard: each with where its video begins, and how long it is."""
    videos: dict[str, TarInfo] = {}
    labels: dict[str, tuple[str, str]] = {}  # with the member that says so
    with shard.open("rb") as stream:
        for member in members_of(shard):
            key, suffix = _split(member.name)
            place = f"{shard.name}:{member.name}"
            if suffix in VIDEO_SUFFIXES:
                first = videos.setdefault(key, member)
                if first is not member:
                    problems.add(place, f"{first.name} is a video of the same sample, {key}: name one of them anew")
            elif suffix in (".cls", ".json"):
                label = _label(stream, member)
                if label is None:
                    problems.add(place, "holds no label")
                    continue
                known, where = labels.setdefault(key, (label, member.name))
                if label != known:
                    problems.add(place, f"label {label!r} of {key}, which is {known!r} by {where}: leave one of them")
    for key in labels.keys() - videos.keys():
        problems.add(f"{shard.name}:{key}", "a label without a video")
    for key, member in videos.items():
        if key in labels:
            yield Entry(f"{shard.name}:{member.name}", member.name, labels[key][0]), member.offset_data, member.size
        else:
            problems.add(f"{shard.name}:{member.name}", f"no label: put {key}.cls beside it")


def _split(name: str) -> tuple[str, str]:
    """A member's sample and its ending: of several endings, the last one tells what it is, as in ``7.left.mp4``."""
    folder, _, file = name.rpartition("/")
    stem, _, endings = file.partition(".")
    return (f"{folder}/{stem}" if folder else stem), f".{endings.rpartition('.')[2].lower()}"


def _label(stream: BinaryIO, member: TarInfo) -> str | None:
    """The label that a ``.cls`` or a ``.json`` holds; None if it holds none."""
    if member.size > _LONGEST_LABEL:
        return None
    stream.seek(member.offset_data)
    try:
        text = stream.read(member.size).decode("utf-8").strip()
        if member.name.lower().endswith(".json"):
            content = json.loads(text)
            found = content.get("label") if isinstance(content, dict) else None
            text = str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
    except ValueError:
        return None
    return text or None
