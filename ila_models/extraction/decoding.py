"""The decoding half of an extraction: from a part's videos to chunks of clips, in a process of its own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..data.decoders import Decoder
from ..data.pool import Note
from ..data.sources import VideoError
from ..data.tar_members import stands_there
from ..data.transforms import VideoTransform
from ..features.decoding import Chunk, decode_video, or_failure, reason_of
from ..features.windows import WindowSettings
from .index import Fingerprint
from .items import VideoItem


@dataclass(frozen=True, kw_only=True)
class PartTask:
    """Videos of a part that are to be decoded.

    Attributes:
        part: Number of the part.
        items: All its videos.
        first: Number of the first one that is wanted; the others follow.
        given_up: Videos that are not to be touched, by number, and why.
    """

    part: int
    items: tuple[VideoItem, ...]
    first: int = 0
    given_up: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """A video's turn has come.

    Attributes:
        source: Its number within the part.
        fingerprint: Of its file.
    """

    source: int
    fingerprint: Fingerprint


@dataclass(frozen=True, kw_only=True)
class PartDecoder:
    """Decodes the videos of parts, one after the other.

    Attributes:
        settings: How they are cut.
        transform: Resizes and crops.
        decoder: What decodes.
    """

    settings: WindowSettings
    transform: VideoTransform
    decoder: Decoder

    def __call__(self, task: PartTask) -> Iterator[Note | Chunk]:
        """For each video, a note of its turn, and its chunks; one that cannot be used is a chunk that says why."""
        for number in range(task.first, len(task.items)):
            item = task.items[number]
            yield Note(Begun(number, Fingerprint()))  # before its file is touched: that alone can hang
            try:
                content = _content(item)
            except (OSError, VideoError, MemoryError) as error:
                yield Chunk.failed(number, reason_of(error))
                continue
            yield Note(Begun(number, _fingerprint(item, content)))
            if number in task.given_up:
                yield Chunk.failed(number, task.given_up[number])
                continue
            for chunk in or_failure(number, self._chunks(number, item, content)):
                # Not every error can be sent, and its reason is there. A video in a tar file has no name of its own.
                reason = chunk.failure and chunk.failure.replace("<bytes>", item.file)
                yield Chunk.failed(number, reason) if reason is not None else chunk

    def _chunks(self, number: int, item: VideoItem, content: bytes | None) -> Iterator[Chunk]:
        return decode_video(
            item.file if content is None else content,
            number=number,
            settings=self.settings,
            transform=self.transform,
            start=item.start,
            end=item.end,
            decoder=self.decoder,
        )


def _content(item: VideoItem) -> bytes | None:
    """The bytes of a video in a tar file; None for another, which is read as it is decoded.

    Raises:
        OSError: The tar file cannot be read.
        VideoError: It has changed since the video was found in it.
    """
    if item.tar is None:
        return None
    name = item.file.removeprefix(f"{item.tar}:")
    with open(item.tar, "rb") as stream:
        if stands_there(stream, name=name, offset=item.offset, size=item.size):
            stream.seek(item.offset)
            content = stream.read(item.size)
            if len(content) == item.size:
                return content
    raise VideoError(f"{item.file} is not where it was when {item.tar} was listed: give another output folder")


def _fingerprint(item: VideoItem, content: bytes | None = None) -> Fingerprint:
    """What can be said of a file; nothing of one that is not there or has an address."""
    if content is not None:
        return Fingerprint(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    try:
        found: Any = os.stat(item.file)
    except (OSError, ValueError):
        return Fingerprint()
    return Fingerprint(size=found.st_size, mtime_ns=found.st_mtime_ns)
