"""Extracts features of videos into a folder, by one process or several, from the start or from where a run stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.pool import PATIENCE
from ..parquet import read_table, require_pyarrow
from .folder import INDEX, SETTINGS, FeatureFolder
from .inputs import find_videos
from .item_names import is_address
from .items import VideoItem
from .job import ExtractionJob
from .parts import PartExtractor
from .progress import Progress
from .shares import Share


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a folder of features holds.

    Attributes:
        index: The table that tells of every video.
        videos: How many there are, those that failed included.
        rows: Windows of all videos.
        failed: Videos that could not be used, and why, in the order of the index.
    """

    index: Path
    videos: int
    rows: int
    failed: tuple[tuple[str, str], ...]


def extract(
    job: ExtractionJob,
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    share: Share | None = None,
    num_workers: int = 2,
    patience: float = PATIENCE,
    resume: bool = False,
    retry_failed: bool = False,
    show_progress: bool = False,
) -> Summary:
    """Does a share of the work, and what others leave of theirs.

    Several processes, on one machine or many, call this with the same arguments and shares of their own. They agree by
    the folder alone, and none waits for another but for the last parts: so one that dies is no harm, and what it had
    begun another does. A second run into a folder adds to the first.

    Args:
        job: What to extract.
        inputs: Of which videos; see :func:`~ila_models.extraction.inputs.find_videos`. Those that are done are left
            alone.
        output: Folder for features and index; with several machines, one that they share.
        share: Of this process; None is all.
        num_workers: Processes that decode, at least 1. A script that calls this must do so under ``if __name__ ==
            "__main__":``, since they import it.
        patience: Seconds in which nothing comes of a video after which it is given up.
        resume: Insist that ``output`` holds an earlier run.
        retry_failed: Do those again that failed; the first share alone looks for them.
        show_progress: Show a bar on stderr; the first share alone does.

    Returns:
        What the folder holds.

    Raises:
        FileNotFoundError: There is no such input, or nothing to resume.
        ValueError: An argument is out of range, or the folder holds features of other settings.
        OSError: The folder cannot be written. What was finished is kept.
        RuntimeError: A package is missing, or the model fails.
    """
    share = share or Share()
    is_first = share.number == 0
    videos = check_run(inputs, output, num_workers=num_workers, patience=patience, resume=resume)
    extractor, settings = job.prepare()
    with FeatureFolder(Path(output), settings) as folder:
        folder.add(videos)
        if retry_failed and is_first:
            folder.add_failed_again(videos)
        with (
            Progress(folder, is_shown=show_progress and is_first) as progress,
            PartExtractor(
                folder, extractor, num_workers=num_workers, patience=patience, report=progress.count
            ) as parts,
        ):
            parts.run(share.of(len(folder.plan)))
            while (summary := folder.finish(summary_of)) is None:  # others have added videos
                parts.run(share.of(len(folder.plan)))
        return summary


def check_run(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    num_workers: int,
    patience: float,
    resume: bool,
) -> list[VideoItem]:
    """Finds the videos, and refuses what can be wrong with a run before a model is fetched.

    Paths become absolute: the same file is the same video, wherever the command is run.

    Raises:
        FileNotFoundError: There is no such input, or nothing to resume.
        ValueError: An argument is out of range.
        RuntimeError: A package is missing.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers={num_workers} (--workers): decoding takes a process, give at least 1")
    if not patience > 0:
        raise ValueError(f"patience={patience} (--timeout): give a number of seconds above 0")
    if not inputs:
        raise ValueError("there are no inputs: give files, folders, patterns, lists or tar files")
    require_pyarrow("indexes of features", extra="extract")
    if resume and not Path(output, SETTINGS).exists():
        raise FileNotFoundError(f"{os.fspath(output)} holds no features to go on with: give the folder of a run")
    # Those below the output too: no file that an extraction writes is called as a video is.
    return [_absolute(item) for item in find_videos(inputs)]


def _absolute(item: VideoItem) -> VideoItem:
    if item.tar is not None:  # a member's name is no path: what it says of folders stays as it is
        tar = os.path.abspath(item.tar)
        return replace(item, tar=tar, file=tar + item.file.removeprefix(item.tar))
    return item if is_address(item.file) else replace(item, file=os.path.abspath(item.file))


def summary_of(folder: FeatureFolder) -> Summary:
    """Counts what a folder holds whose index is written."""
    table = read_table(folder.root / INDEX)
    reasons = zip(*(table.column(name).to_pylist() for name in ("file", "reason")), strict=True)
    return Summary(
        index=folder.root / INDEX,
        videos=len(table),
        rows=sum(table.column("rows").to_pylist()),
        failed=tuple((file, reason) for file, reason in reasons if reason is not None),
    )
