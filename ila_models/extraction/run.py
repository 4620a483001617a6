"""Extracts features of videos into a folder, by one process or several, from the start or from where a run stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..features.ahead import PATIENCE
from ..parquet import read_table, require_pyarrow
from .folder import INDEX, SETTINGS, FeatureFolder
from .inputs import find_videos
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
    if num_workers < 1:
        raise ValueError(
            f"num_workers={num_workers} is out of range: a process that decodes is needed, give at least 1"
        )
    share = share or Share()
    require_pyarrow("indexes of features", extra="extract")
    if resume:
        require_earlier_run(output)
    videos = list(find_videos(inputs))  # before a model is fetched, for what is wrong with them
    extractor, settings = job.prepare()
    folder = FeatureFolder(Path(output), settings)
    folder.add(videos)
    is_first = share.number == 0
    if retry_failed and is_first:
        folder.add_failed_again()
    with (
        Progress(folder, is_shown=show_progress and is_first) as progress,
        PartExtractor(folder, extractor, num_workers=num_workers, patience=patience, report=progress.count) as parts,
    ):
        parts.run(share.of(len(folder.plan)))
        while not folder.write_index():  # others have added videos
            parts.run(share.of(len(folder.plan)))
    return summary_of(folder)


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


def require_earlier_run(output: str | os.PathLike[str]) -> None:
    """Refuses a folder that holds no run to go on with.

    Raises:
        FileNotFoundError: It does not.
    """
    if not Path(output, SETTINGS).exists():
        raise FileNotFoundError(f"{os.fspath(output)} holds no features to go on with: give the folder of a run")
