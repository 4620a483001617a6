"""The clips as real video files, for what reads files rather than tensors."""

from __future__ import annotations

import io
import json
import logging
import operator
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from ...whole_files import write_atomically
from .classes import MOTION_CLASSES
from .dataset import check_clip_arguments, motion_clips
from .scenes import label_of

_logger = logging.getLogger(__name__)

# A video of exactly T frames would lose some: the rules that choose T frames take the first of two alike (8 of 8 are
# 0 1 2 3 4 4 5 6 by the evaluation's). With every picture held for two frames they choose each picture once.
_HELD = 2
_QUALITY = "18"  # libx264's constant rate factor: hardly to be told from the original
_SETTINGS = "settings.json"


def write_motion_videos(
    folder: str | os.PathLike[str],
    *,
    count: int,
    seed: int,
    num_frames: int = 8,
    img_size: int = 64,
    frame_rate: int = 8,
) -> Path:
    """Writes the clips 0 to count - 1 of a seed as h264 videos, sorted into a folder per class.

    The folder then holds `moving_left/000007.mp4` and so on, `annotations.txt` (a line `path label` per video, in the
    order of the clips), `classes.txt` (a line per label) and `settings.json` (of what the videos were made). Every
    picture is shown for two frames of the video, so that every deterministic rule of `ila_models.data` that picks
    `num_frames` of them gets each picture once.

    A file is whole or not there. Stopped in between, the same call goes on with what is missing; `count` may then be
    another. Let one process at a time write to a folder.

    Args:
        folder: where to; made if it is not there.
        count: how many videos, at least 1; a multiple of ten holds every class equally often.
        seed: as for `motion_clips`.
        num_frames: T, pictures of a clip, at least 2.
        img_size: 32 to 256 pixels, even.
        frame_rate: pictures per second, at least 1; the video has twice as many frames.

    Returns:
        The path of `annotations.txt`, which is written last. The paths in it are relative to the folder.

    Raises:
        ValueError: an argument is out of its range, or the folder holds videos made of other arguments.
        OSError: the folder cannot be written to.
    """
    for name, value in (("count", count), ("frame_rate", frame_rate)):
        if operator.index(value) < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1.")
    seed, num_frames, img_size = check_clip_arguments(seed, num_frames, img_size)
    if img_size % 2:
        raise ValueError(f"img_size is {img_size}; a video's must be even.")
    folder = Path(folder)
    settings = {"seed": seed, "num_frames": num_frames, "img_size": img_size, "frame_rate": operator.index(frame_rate)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _claim(folder, settings)
        return _write_all(folder, count, settings)
    except OSError as error:
        why = error.strerror or str(error)
        raise OSError(error.errno, f"cannot write motion videos ({why}); choose another folder", str(folder)) from error


def _claim(folder: Path, settings: dict[str, int]) -> None:
    """Says of what the folder's videos are made, or checks that it is the same as before."""
    path = folder / _SETTINGS
    if not path.exists():
        write_atomically(path, json.dumps(settings, indent=2).encode() + b"\n")
        return
    try:
        before: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON; choose another folder.") from error
    if before != settings:
        raise ValueError(f"{folder} holds videos made of {before}, not of {settings}; choose another folder.")


def _write_all(folder: Path, count: int, settings: dict[str, int]) -> Path:
    lines = []
    for index in range(count):
        label = label_of(settings["seed"], index)
        name = f"{MOTION_CLASSES[label].replace(' ', '_')}/{index:06}.mp4"
        lines.append(f"{name} {label}\n")
        path = folder / name
        if not path.exists():
            clips, _ = motion_clips(
                [index], seed=settings["seed"], num_frames=settings["num_frames"], img_size=settings["img_size"]
            )
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, encode_clip(clips[0], settings["frame_rate"]))
    write_atomically(folder / "classes.txt", "".join(f"{name}\n" for name in MOTION_CLASSES).encode())
    annotations = folder / "annotations.txt"
    write_atomically(annotations, "".join(lines).encode())
    _logger.info("%s: %d videos", folder, count)
    return annotations


def encode_clip(clip: Tensor, frame_rate: int) -> bytes:
    """A clip, uint8 [T, 3, H, W] of even height and width, as an h264 mp4 that shows each picture for two frames."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_HELD * frame_rate, options={"crf": _QUALITY})
        stream.height, stream.width = clip.shape[-2:]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # so small a video is encoded before threads have started
        for picture in clip.permute(0, 2, 3, 1).numpy():
            for _ in range(_HELD):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()
