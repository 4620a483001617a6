"""A video made on the spot, what the shipped checkpoint says of it, and a picture of both: no network, no data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from .data import create_transform, load_video
from .data.motion import MOTION_CLASSES, TEST_SEED, encode_clip, motion_clips
from .factory import create_model
from .ila_vit import ILAVisionTransformer
from .predict import Prediction, predict_video

DEMO_MODEL = "ila_vit_nano8"
DEMO_SEED = TEST_SEED + 1
"""Of a clip that the checkpoint gets right, as it does not always: the manifest says how often."""

_FRAME_RATE = 8  # per second, as slow as the motion can be followed
_RIGHT, _OTHER, _POINT = "#1a7f37", "#8c959f", "#d1242f"


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
    video.write_bytes(encode_clip(clip, _FRAME_RATE))
    predictions = tuple(predict_video(model, video))
    frames = load_video(video, num_frames=model.num_frames)
    draw_demo(picture, frames, _points(model, frames), shown=shown, predictions=predictions)
    return Demo(video=video, picture=picture, shown=shown, predictions=predictions)


def draw_demo(path: Path, frames: Tensor, points: Tensor, *, shown: str, predictions: Sequence[Prediction]) -> None:
    """Draws the frames in a row, their points on them, and below them the likeliest classes.

    Args:
        path: The PNG to write.
        frames: uint8 [T, 3, H, W].
        points: (x, y) in [-1, 1] of every frame but the last, [T-1, 2].
        shown: The right class.
        predictions: The likeliest classes, best first.
    """
    # Not through pyplot, which would choose a window system and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = frames.shape[-2:]
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"The video shows a shape that is {shown}")
    grid = figure.add_gridspec(2, len(frames), height_ratios=[1.0, 1.3])
    pictures = [figure.add_subplot(grid[0, number]) for number in range(len(frames))]
    for number, (axes, frame) in enumerate(zip(pictures, frames, strict=True)):
        axes.imshow(frame.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(f"frame {number + 1}", fontsize=9)
        axes.set_axis_off()
    for axes, (x, y) in zip(pictures[:-1], points.tolist(), strict=True):
        # -1 and 1 are the centres of the outermost patches; over a whole frame, half a patch makes no difference.
        axes.scatter((x + 1) / 2 * (width - 1), (y + 1) / 2 * (height - 1), s=60, c=_POINT, edgecolors="white")
    bars = figure.add_subplot(grid[1, :])
    best_last = list(reversed(predictions))
    colours = [_RIGHT if each.label == shown else _OTHER for each in best_last]
    drawn = bars.barh([each.label for each in best_last], [each.probability for each in best_last], color=colours)
    bars.bar_label(drawn, [f"{each.probability:.1%}" for each in best_last], padding=4)
    bars.set_xlim(0, 1.1)
    bars.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
    bars.set_xlabel("probability (green: the right class; red above: the last block's interactive points)")
    bars.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _first_clip(motion: str | None, *, seed: int, num_frames: int, img_size: int) -> tuple[Tensor, str]:
    """The first clip of a seed that shows a motion; there is one among every ten."""
    for index in count():
        clips, labels = motion_clips([index], seed=seed, num_frames=num_frames, img_size=img_size)
        shown = MOTION_CLASSES[int(labels[0])]
        if motion in (None, shown):
            break
    return clips[0], shown


@torch.inference_mode()
def _points(model: ILAVisionTransformer, frames: Tensor) -> Tensor:
    """The last block's point of every frame as the earlier one of its pair, [T-1, 2]."""
    _, maps = model(create_transform(model)(frames)[None], return_points=True)
    points: Tensor = maps.points[-1, 0, :, :2]
    return points
