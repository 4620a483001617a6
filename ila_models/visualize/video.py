"""From a video to all of its pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..features import WindowSettings
from ..ila_vit import ILAVisionTransformer
from ..video_model import VideoModel
from ..whole_files import write_atomically
from .animation import animate_points, encode_gif, encode_mp4
from .capture import ClipCapture, capture_clip, choose_blocks, read_footage
from .contact_sheet import draw_contact_sheet
from .rollout import check_is_unfused
from .rollout_sheet import draw_rollout
from .themes import Theme, colours_of
from .timeline import WindowPredictions, class_labels, draw_timeline, predict_windows, predictions_of_clip

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class VideoCapture:
    """All that the pictures of a video show.

    Attributes:
        clip: Points, masks, similarities and roll-out of one clip of the whole video.
        blocks: Those to show, from 0; empty in a form without points.
        predictions: Window by window, or one for the whole video; None without classes.
    """

    clip: ClipCapture
    blocks: tuple[int, ...]
    predictions: WindowPredictions | None


@dataclass(frozen=True, kw_only=True)
class Visualization:
    """Pictures of a video, and the numbers behind them.

    Attributes:
        animation_gif: Points and masks, pair by pair; None in a form without points.
        animation_mp4: The same.
        contact_sheet: All pairs at once, with the similarity of each; None in a form without points.
        rollout: Attention roll-out of the class token; None of an image model with alignment.
        timeline: Probabilities over time; None without classes.
        capture: The numbers.
    """

    animation_gif: Path | None
    animation_mp4: Path | None
    contact_sheet: Path | None
    rollout: Path | None
    timeline: Path | None
    capture: VideoCapture

    @property
    def paths(self) -> tuple[Path, ...]:
        """Those that were written."""
        found = (self.animation_gif, self.animation_mp4, self.contact_sheet, self.rollout, self.timeline)
        return tuple(path for path in found if path is not None)


def visualize_video(
    model: VideoModel,
    source: Any,
    out: str | os.PathLike[str],
    *,
    blocks: Sequence[int] | None = None,
    num_frames: int | None = None,
    theme: Theme = "light",
    topk: int = 5,
    window: float | None = None,
    stride: float | None = None,
    fps: float | None = None,
) -> Visualization:
    """Draws what a model sees of a video: interactive points and masks, attention roll-out, classes over time.

    ::

        model = ila_models.create_model("ila_vit_nano8", pretrained=True)
        pictures = visualize_video(model, "video.mp4", "pictures")
        pictures.animation_gif  # pictures/points_light.gif
        pictures.capture.clip.alignment.points  # [depth, T-1, 4]

    Args:
        model: In evaluation mode, not fused.
        source: What :func:`~ila_models.load_video` takes: a path, URL, bytes, file object or frames.
        out: Folder for the pictures; made if need be. Pictures of the same names are replaced.
        blocks: Whose points to show, from 0; None takes the first, the middle and the last.
        num_frames: Frames of the clip; None takes the model's number.
        theme: Of the page that the pictures are for; it is part of their names.
        topk: Classes of the timeline.
        window: Seconds of a window of the timeline; None makes one of the whole video.
        stride: Seconds from the start of a window to the next; None puts them end to end.
        fps: Frames a second, of frames; a video has time stamps of its own.

    Raises:
        TypeError: The source is of a wrong kind, or it is another kind of model.
        ValueError: An argument is out of range or goes not with the model, or the model is fused or in training mode.
        FileNotFoundError: There is no such file.
        VideoError: The video cannot be used; a subclass of ValueError.
        OSError: The folder cannot be written.
    """
    colours_of(theme)
    if topk < 1:
        raise ValueError(f"topk={topk} is out of range: give at least 1")
    capture = capture_video(model, source, blocks=blocks, num_frames=num_frames, window=window, stride=stride, fps=fps)
    return write_pictures(capture, out, theme=theme, topk=topk)


def capture_video(
    model: VideoModel,
    source: Any,
    *,
    blocks: Sequence[int] | None = None,
    num_frames: int | None = None,
    window: float | None = None,
    stride: float | None = None,
    fps: float | None = None,
) -> VideoCapture:
    """The numbers of :func:`visualize_video`, without a picture; the arguments and errors are its own."""
    chosen = check_choices(model, blocks=blocks, num_frames=num_frames, window=window, stride=stride)
    wanted = model.num_frames if num_frames is None else num_frames
    clip = capture_clip(model, read_footage(source, num_frames=wanted, fps=fps))
    if window is None:
        predictions = predictions_of_clip(clip, class_labels(model))
    else:
        predictions = predict_windows(model, source, window=window, stride=stride, num_frames=num_frames, fps=fps)
    return VideoCapture(clip=clip, blocks=chosen, predictions=predictions)


def check_choices(
    model: VideoModel,
    *,
    blocks: Sequence[int] | None = None,
    num_frames: int | None = None,
    window: float | None = None,
    stride: float | None = None,
) -> tuple[int, ...]:
    """Refuses what does not go with a model, before a video is read; returns the blocks to show.

    Raises:
        TypeError: It is another kind of model.
        ValueError: An argument is out of range or goes not with the model, or the model is fused.
    """
    if not isinstance(model, VideoModel):
        raise TypeError(f"the model is a {type(model).__name__}: those of create_model and add_alignment can be drawn")
    if isinstance(model, ILAVisionTransformer):
        check_is_unfused(model)
    WindowSettings(num_frames=model.num_frames if num_frames is None else num_frames, window=window, stride=stride)
    if window is not None and not model.num_classes:
        raise ValueError(
            f"window={window} is for the classes of the timeline, and the model has none: create it with"
            " class_names=[...], or leave the window out"
        )
    if model.has_points:
        return choose_blocks(blocks, len(model.blocks))
    if blocks is not None and isinstance(model, ILAVisionTransformer):
        raise ValueError(f"blocks={list(blocks)}: blocks of alignment={model.config.alignment!r} predict no points")
    return ()


def write_pictures(
    capture: VideoCapture, out: str | os.PathLike[str], *, theme: Theme = "light", topk: int = 5
) -> Visualization:
    """Draws what was captured and writes it into a folder; see :func:`visualize_video`."""
    folder = Path(out)

    def written(name: str, content: bytes) -> Path:
        stem, dot, suffix = name.partition(".")
        path = folder / f"{stem}_{theme}{dot}{suffix}"
        write_atomically(path, content)
        return path

    clip = capture.clip
    gif = mp4 = sheet = rollout = timeline = None
    if clip.alignment is not None:
        pictures = animate_points(clip, capture.blocks, theme=theme)
        gif, mp4 = written("points.gif", encode_gif(pictures)), written("points.mp4", encode_mp4(pictures))
        sheet = written("contact_sheet.png", as_png(draw_contact_sheet(clip, capture.blocks, theme=theme).figure))
    if clip.rollout is not None:
        rollout = written("rollout.png", as_png(draw_rollout(clip, theme=theme).figure))
    if capture.predictions is not None:
        timeline = written("timeline.png", as_png(draw_timeline(capture.predictions, clip, topk=topk, theme=theme)))
    return Visualization(
        animation_gif=gif,
        animation_mp4=mp4,
        contact_sheet=sheet,
        rollout=rollout,
        timeline=timeline,
        capture=capture,
    )


def as_png(figure: Figure) -> bytes:
    """A figure in its own colours, the same bytes for the same numbers."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return file.getvalue()
