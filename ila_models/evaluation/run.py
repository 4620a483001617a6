"""Evaluates a model on labelled videos, alone or with other processes, from the start or from where a run stopped.

The videos are cut into parts of a fixed size, and a part is what a process takes, runs, and writes. Batches never reach
across parts. So the batches, and with them the last bit of every probability, depend neither on the number of processes
nor on where a run was stopped, and no video is counted twice.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from ..data.annotations import LabelledVideos
from ..data.transforms import create_transform
from ..settings import Settings, differences
from ..video_model import VideoModel
from .answers import answers, as_prediction
from .classes import with_model_labels
from .decoding import DecodedVideos, FolderSource, Views, ViewsMode, decode
from .predictions import PredictionFolder, open_folder
from .processes import Processes, join_processes
from .progress import Progress
from .report import Report, report_from
from .settings import describe_settings

VIDEOS_PER_PART = 16
"""Videos that a process runs before it writes; at most so many of each process are run again after a stop."""

# A run that was killed leaves decoding processes behind for some seconds, and they hold its lock.
_LOCK_SECONDS = 20


def evaluate(
    model: VideoModel,
    videos: LabelledVideos,
    *,
    clips: int = 1,
    crops: Literal[1, 3] = 1,
    views_mode: ViewsMode = "deterministic",
    seed: int = 0,
    batch_size: int = 8,
    num_workers: int = 2,
    output: str | os.PathLike[str] | None = None,
    save_probabilities: bool = False,
    show_progress: bool = False,
    source: Callable[[str], Any] | None = None,
) -> Report:
    """Runs a model on videos and counts how often it is right.

    Under ``torchrun`` or ``accelerate launch`` every process calls this with the same arguments, and all get the same
    report. A video that cannot be decoded is reported, and does not end the run.

    Args:
        model: With classes, on its device. It is run in evaluation mode and left in the mode that it was in.
        videos: See :func:`~ila_models.data.annotations.read_annotations`.
        clips: Clips along time of every video.
        crops: Crops of every clip: 1 or 3.
        views_mode: "deterministic", or "random": frames drawn inside their segments, as the released code does.
        seed: Of the random draws; a video's draw depends on the seed and its path alone.
        batch_size: Views that go through the model at once, of one video or several.
        num_workers: Processes that decode, for every process that runs a model; 0 decodes in that one.
        output: Folder for ``predictions.parquet``. A run that was stopped goes on where it was. With several machines,
            one that they share. None keeps nothing.
        save_probabilities: Keep those of all classes, not of the five likeliest alone.
        show_progress: Show a bar with the accuracy so far on stderr.
        source: Makes of a video's path what :func:`~ila_models.load_video` takes; None opens the file in the videos'
            folder. Workers get a copy.

    Raises:
        ValueError: An argument is out of range, the labels do not fit the model's classes, or ``output`` holds the
            predictions of other settings, or is in use.
        OSError: ``output`` cannot be written.
        RuntimeError: A decoding process died.
    """
    if batch_size < 1 or num_workers < 0:
        raise ValueError(
            f"batch_size={batch_size} and num_workers={num_workers}: give a batch of at least 1, and 0 or more workers"
        )
    if not len(videos):
        raise ValueError("there are no videos to evaluate on")
    views = Views(clips, crops, views_mode, seed)
    videos = with_model_labels(videos, num_classes=model.num_classes, class_names=model.class_names)
    transform = create_transform(model, crops=crops)
    settings = describe_settings(
        model, videos, views, transform, videos_per_part=VIDEOS_PER_PART, save_probabilities=save_probabilities
    )
    decoded = DecodedVideos(videos.paths, source or FolderSource(videos.root), views, transform, model.num_frames)
    parts = [
        range(start, min(start + VIDEOS_PER_PART, len(videos))) for start in range(0, len(videos), VIDEOS_PER_PART)
    ]
    with ExitStack() as stack:
        processes = stack.enter_context(join_processes())
        location = _choose_folder(output, processes, stack)
        common = processes.first(lambda: _open(location, settings, len(parts), stack))
        if different := differences(common, settings):
            raise ValueError(f"process {processes.rank} does not do the same as the first: {'; '.join(different)}")
        folder = PredictionFolder(location, settings, parts=len(parts))
        finished = processes.first(folder.finished)
        share = sorted(set(range(len(parts))) - finished)[processes.rank :: processes.count]
        indices = [index for part in share for index in parts[part]]
        items = stack.enter_context(closing(decode(decoded, indices, num_workers=num_workers)))
        stack.enter_context(_evaluation_mode(model))
        is_shown = show_progress and processes.is_first
        with Progress(len(videos), is_shown=is_shown) as progress:
            counted: set[int] = set()
            for part in share:
                if is_shown:
                    _count_finished(folder, counted, progress)
                predictions = {}
                for index, answer in answers(model, islice(items, len(parts[part])), batch_size):
                    predictions[index] = as_prediction(
                        answer,
                        file=videos.paths[index],
                        label=videos.labels[index],
                        save_probabilities=save_probabilities,
                    )
                    progress.count(predictions[index])
                folder.write_part(part, [predictions[index] for index in parts[part]])
                counted.add(part)
            processes.wait()
            if is_shown:
                _count_finished(folder, counted, progress)
        processes.first(folder.merge)
        report = report_from(folder.table)
        processes.wait()  # before a folder that is not kept vanishes
    return report


def _count_finished(folder: PredictionFolder, counted: set[int], progress: Progress) -> None:
    """Counts parts that an earlier run or another process has written."""
    if folder.table.exists():
        return
    for part in folder.finished() - counted:
        progress.count(*folder.read_part(part))
        counted.add(part)


def _choose_folder(output: str | os.PathLike[str] | None, processes: Processes, stack: ExitStack) -> Path:
    """The output folder, or one that vanishes with the stack."""
    if output is not None:
        return Path(output)
    if processes.count > int(os.environ.get("LOCAL_WORLD_SIZE", processes.count)):
        raise ValueError("several machines evaluate together by a folder that they share: give output (--out)")
    return Path(
        processes.first(lambda: stack.enter_context(tempfile.TemporaryDirectory(prefix="ila_models_evaluation_")))
    )


def _open(location: Path, settings: Settings, parts: int, stack: ExitStack) -> Settings:
    """Takes the folder for this run alone, and returns the settings to which all processes must agree."""
    location.mkdir(parents=True, exist_ok=True)
    lock = FileLock(location / ".lock", timeout=_LOCK_SECONDS)
    try:
        stack.enter_context(lock)
    except Timeout:
        raise ValueError(
            f"{location} is in use by another run of ila-models evaluate: wait for it, or end it"
        ) from None
    open_folder(location, settings, parts=parts)
    return settings


@contextmanager
def _evaluation_mode(model: VideoModel) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training
