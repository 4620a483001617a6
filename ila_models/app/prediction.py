"""What the page shows of a video: the likeliest classes, the same over time, and the interactive points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..data.video import VideoError
from ..visualize import (
    Theme,
    VideoCapture,
    WindowPredictions,
    animate_points,
    capture_video,
    draw_contact_sheet,
    encode_mp4,
    predict_windows,
)
from ..visualize.video import as_png
from .limits import Limits, check_video
from .models import LoadedModel
from .refusal import gone, unreadable

_SHORTEST_WINDOW = 2.0  # seconds: most actions are seen in them
_MOST_WINDOWS = 20  # so that a long video does not take long


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model says of a video.

    Attributes:
        probabilities: Of each class by its label, of the whole video.
        over_time: The same window by window; None of a video that is too short for two windows.
        capture: Frames, points and masks, and the blocks to show: the first, the middle and the last.
    """

    probabilities: dict[str, float]
    over_time: WindowPredictions | None
    capture: VideoCapture


class PointPictures(NamedTuple):
    """Where the points of a clip are shown; None in a form that predicts none."""

    animation: Path | None
    contact_sheet: Path | None


def answer(loaded: LoadedModel, path: Path, *, class_names: Sequence[str], limits: Limits) -> Answer:
    """Asks a model about a video, as :func:`~ila_models.predict_video` does with one view.

    Args:
        loaded: The model.
        path: The video.
        class_names: To choose among; empty for the model's own classes.
        limits: Of the video.

    Raises:
        RefusedError: The video is gone, too large or cannot be read, or the model cannot choose among these classes.
    """
    check_video(path, limits)
    loaded.choose_classes(class_names)
    try:
        capture = capture_video(loaded.model, path)
        duration = capture.clip.footage.duration
        over_time = None
        if duration >= 2 * _SHORTEST_WINDOW:
            window = max(_SHORTEST_WINDOW, duration / _MOST_WINDOWS)
            over_time = predict_windows(loaded.model, path, window=window)
    except VideoError as error:
        raise unreadable(path, error) from error
    except FileNotFoundError as error:  # deleted since the check: the model may have been loaded meanwhile
        raise gone(path) from error
    whole = capture.predictions
    assert whole is not None, "choose_classes refuses a model without classes"
    probabilities = dict(zip(whole.labels, whole.probabilities[0].tolist(), strict=True))
    return Answer(probabilities=probabilities, over_time=over_time, capture=capture)


def draw_points(capture: VideoCapture, folder: Path, *, theme: Theme) -> PointPictures:
    """Draws points and masks: of the middle block pair by pair, and all pairs of all captured blocks at once."""
    if capture.clip.alignment is None:
        return PointPictures(None, None)
    animation, sheet = folder / "points.mp4", folder / "points.png"
    middle = capture.blocks[len(capture.blocks) // 2]
    animation.write_bytes(encode_mp4(animate_points(capture.clip, [middle], theme=theme)))
    sheet.write_bytes(as_png(draw_contact_sheet(capture.clip, capture.blocks, theme=theme).figure))
    return PointPictures(animation, sheet)
