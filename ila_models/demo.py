"""A video made on the spot, what the shipped checkpoint says of it, and a picture of both: no network, no data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from torch import Tensor

from .data.motion import MOTION_CLASSES, TEST_SEED, encode_clip, motion_clips
from .factory import create_model
from .predict import Prediction, predict_video
from .visualize.canvas import Canvas
from .visualize.capture import ClipCapture, capture_clip, read_footage
from .visualize.contact_sheet import draw_block
from .visualize.drawing import Panel, draw_legend, legend_height
from .visualize.themes import THEMES
from .visualize.timeline import draw_bars
from .visualize.video import as_png
from .whole_files import write_atomically

DEMO_MODEL = "ila_vit_nano8"
DEMO_SEED = TEST_SEED + 1
"""Of a clip that the checkpoint gets right, as it does not always: the manifest says how often."""

_FRAME_RATE = 8  # per second, as slow as the motion can be followed
_BLOCK = 1  # of three, the one whose points move most


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What :func:`run_demo` made.

    Attributes:
        video: The mp4.
        picture: The PNG.
        shown: The class of the motion that the video shows.
        predictions: The likeliest classes, best first.
    """

    video: Path
    picture: Path
    shown: str
    predictions: tuple[Prediction, ...]


def run_demo(folder: str | os.PathLike[str], *, motion: str | None = None, seed: int = DEMO_SEED) -> Demo:
    """Makes a video of a moving shape that no model was trained on, classifies it, and draws what came of it.

    Args:
        folder: Where to; made if need be. Files of an earlier demo are replaced.
        motion: One of :data:`~ila_models.data.motion.MOTION_CLASSES`; None takes what the seed's first clip shows.
        seed: Of the clip, see :class:`~ila_models.data.motion.MotionDataset`; another one shows another shape.

    Raises:
        ValueError: There is no such motion, or the seed is out of range.
        CheckpointError: The checkpoint is damaged; a subclass of ValueError.
        OSError: The folder cannot be written.
    """
    if motion is not None and motion not in MOTION_CLASSES:
        raise ValueError(f"motion={motion!r} is not known: there are {', '.join(MOTION_CLASSES)}")
    model = create_model(DEMO_MODEL, pretrained=True)
    clip, shown = _first_clip(motion, seed=seed, num_frames=model.num_frames, img_size=model.config.img_size[0])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    video, picture = folder / f"{shown.replace(' ', '_')}.mp4", folder / "demo.png"
    write_atomically(video, encode_clip(clip, _FRAME_RATE))
    predictions = tuple(predict_video(model, video))
    captured = capture_clip(model, read_footage(video, num_frames=model.num_frames))
    write_atomically(picture, draw_demo(captured, shown=shown, predictions=predictions))
    return Demo(video=video, picture=picture, shown=shown, predictions=predictions)


def draw_demo(clip: ClipCapture, *, shown: str, predictions: Sequence[Prediction]) -> bytes:
    """Draws the frames in a row, with points and masks of one block, and below them the likeliest classes: a PNG.

    Args:
        clip: What the model saw.
        shown: The right class.
        predictions: The likeliest classes, best first.
    """
    frames, top, side, margin = len(clip.footage.frames), 62, 150, 16
    below = top + side + 8
    chart = below + legend_height(clip) + 16
    canvas = Canvas(frames * (side + 8) + 2 * margin, chart + 220, THEMES["light"])
    canvas.text(margin, 20, f"The video shows a shape that is {shown}", fontsize=13, fontweight="bold")
    canvas.text(margin, 46, f"its frames, and what block {_BLOCK} aligns of each pair of neighbours", fontsize=10)
    draw_block(canvas, clip, _BLOCK, [Panel(margin + number * (side + 8), top, side, side) for number in range(frames)])
    draw_legend(canvas, clip, margin, below)
    bars = canvas.figure.add_axes((0.16, 50 / canvas.height, 0.8, 170 / canvas.height))
    draw_bars(bars, [(each.label, each.probability) for each in predictions], canvas.colours, right=shown)
    bars.set_xlabel("probability that the model gives; in colour, the right class")
    return as_png(canvas.figure)


def _first_clip(motion: str | None, *, seed: int, num_frames: int, img_size: int) -> tuple[Tensor, str]:
    """The first clip of a seed that shows a motion; there is one among every ten."""
    for index in count():
        clips, labels = motion_clips([index], seed=seed, num_frames=num_frames, img_size=img_size)
        shown = MOTION_CLASSES[int(labels[0])]
        if motion in (None, shown):
            break
    return clips[0], shown
