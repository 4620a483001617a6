"""One video, or a part of one, that features are wanted of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class VideoItem:
    """A video or a segment of one.

    Attributes:
        file: Its path or address, as it was given or found; of one in a tar file ``TAR:MEMBER``.
        name: What its outputs are to be called: a relative path with forward slashes and without an ending.
        start: Seconds from the first frame at which the segment starts; None at the first frame.
        end: Seconds from the first frame at which it ends; None at the end of the video.
        tar: The tar file that holds it; None for a video that is a file of its own.
        offset: Where in the tar file the video begins, in bytes.
        size: How long it is in the tar file, in bytes.
    """

    file: str
    name: str
    start: float | None = None
    end: float | None = None
    tar: str | None = None
    offset: int = 0
    size: int = 0
