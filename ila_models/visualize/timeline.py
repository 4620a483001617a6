"""What a model says along a video: the likeliest classes, window by window.

Shapes: W windows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..features import FeatureExtractor
from ..predict import Prediction
from ..video_model import VideoModel
from .capture import ClipCapture
from .themes import Colours, colours_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 200
_MOST_LINES = 80
"""Between windows; more would leave nothing of what is between them."""


@dataclass(frozen=True, kw_only=True)
class WindowPredictions:
    """Probabilities of every window of a video.

    Attributes:
        spans: Seconds from the first frame to the start and the end of every window, float64 [W, 2]. Frames whose rate
            nobody told are taken as a second each.
        probabilities: [W, C]; each row sums to one.
        labels: C names, or numbers as text where the model does not know names.
    """

    spans: Tensor
    probabilities: Tensor
    labels: tuple[str, ...]

    def top(self, topk: int) -> list[list[Prediction]]:
        """The likeliest classes of each window, best first; no more than there are."""
        best = self.probabilities.topk(min(topk, len(self.labels)), dim=1)
        return [
            [Prediction(self.labels[index], index, value) for value, index in zip(values, indices, strict=True)]
            for values, indices in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def leading(self, topk: int) -> list[int]:
        """Numbers of the classes with the highest peaks, in the order of these in time; in a window, highest first."""
        peaks, windows = self.probabilities.max(dim=0)
        best: list[int] = peaks.topk(min(topk, len(peaks))).indices.tolist()
        return sorted(best, key=lambda index: int(windows[index]))


def predict_windows(
    model: VideoModel,
    source: Any,
    *,
    window: float,
    stride: float | None = None,
    num_frames: int | None = None,
    fps: float | None = None,
) -> WindowPredictions:
    """Classifies a video window by window, each of its frames decoded once.

    Args:
        model: With classes; it is put into evaluation mode.
        source: What :func:`~ila_models.load_video` takes.
        window: Seconds.
        stride: Seconds from the start of a window to the next; None puts them end to end.
        num_frames: Frames that the model sees of a window; None takes the model's number.
        fps: Frames a second, of frames; a video has time stamps of its own.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: An argument is out of range, or the model has no classes.
        VideoError: The video cannot be used; a subclass of ValueError.
    """
    extractor = FeatureExtractor(model, levels="logits", window=window, stride=stride, num_frames=num_frames)
    features = extractor(source, fps=fps)
    return WindowPredictions(
        spans=features.spans, probabilities=features["logits"].softmax(dim=-1), labels=class_labels(model)
    )


def predictions_of_clip(clip: ClipCapture, labels: tuple[str, ...]) -> WindowPredictions | None:
    """The whole video as one window, of a clip that is at hand; None without classes."""
    if clip.logits is None:
        return None
    spans = torch.tensor([[0.0, clip.footage.duration]], dtype=torch.float64)
    return WindowPredictions(spans=spans, probabilities=clip.logits.softmax(dim=-1)[None], labels=labels)


def class_labels(model: VideoModel) -> tuple[str, ...]:
    """Names of a model's classes; where it does not know them, their numbers as text."""
    return model.class_names or tuple(map(str, range(model.num_classes)))


def draw_timeline(predictions: WindowPredictions, clip: ClipCapture, *, topk: int = 5, theme: str = "light") -> Figure:
    """Draws the video's frames over time, and below them a row of bars for each of the likeliest classes.

    Args:
        predictions: One window or several.
        clip: Whose frames are shown above.
        topk: Classes, those with the highest peaks first.
        theme: Of the page that it is for.

    Raises:
        ValueError: ``topk`` is below 1, or there is no such theme.
    """
    # Not through pyplot, which would choose a window system and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if topk < 1:
        raise ValueError(f"topk={topk} is out of range: give at least 1")
    colours = colours_of(theme)
    chosen = predictions.leading(topk)
    is_single = len(predictions.spans) == 1
    height, width = clip.footage.frames.shape[-2:]
    strip_height = min(max(8.2 / len(clip.footage.frames) * height / width, 0.4), 1.6)
    row_height = 0.36 if is_single else 0.62
    figure = Figure(figsize=(10, strip_height + row_height * len(chosen) + 1.0), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor(colours.paper)
    if is_single:
        strip, bars = figure.subplots(2, 1, height_ratios=[strip_height, row_height * len(chosen)])
        probabilities = predictions.probabilities[0]
        draw_bars(bars, [(predictions.labels[each], float(probabilities[each])) for each in chosen], colours)
    else:
        strip, *rows = figure.subplots(
            1 + len(chosen), 1, sharex=True, height_ratios=[strip_height, *[row_height] * len(chosen)]
        )
        _draw_rows(rows, predictions, chosen, colours)
    _draw_strip(strip, clip, float(predictions.spans.max()))
    return figure


def draw_bars(axes: Axes, shown: list[tuple[str, float]], colours: Colours, *, right: str | None = None) -> None:
    """Draws probabilities of classes, the first one on top.

    Args:
        axes: Where to draw.
        shown: (label, probability).
        colours: Of the theme.
        right: A class whose bar is to stand out; None has all alike.
    """
    labels = [label for label, _ in shown]
    fills = [colours.accent if right in (None, label) else colours.muted for label in labels]
    places = range(len(shown))
    drawn = axes.barh(places, [probability for _, probability in shown], color=fills, height=0.7)
    axes.set_yticks(places, [_short(label) for label in labels])
    axes.invert_yaxis()
    axes.bar_label(drawn, [f"{probability:.1%}" for _, probability in shown], padding=4, color=colours.ink)
    axes.set_xlim(0, 1.1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
    axes.set_xlabel("probability", color=colours.ink)
    _style(axes, colours)


def _draw_rows(rows: list[Axes], predictions: WindowPredictions, chosen: list[int], colours: Colours) -> None:
    """A row of bars for each class, over time."""
    starts, ends = predictions.spans.unbind(dim=1)
    middles = (starts + ends) / 2
    # Windows may overlap: a bar reaches halfway to the neighbours' middles, and for windows end to end that is theirs.
    between = (middles[:-1] + middles[1:]) / 2
    edges = torch.cat([starts[:1], between, ends[-1:]]).tolist()
    best = predictions.probabilities.argmax(dim=1)
    for axes, index in zip(rows, chosen, strict=True):
        heights = predictions.probabilities[:, index]
        # One shape for all windows: of a day of video, bars by themselves would take minutes to draw.
        axes.stairs(heights.tolist(), edges, fill=True, color=colours.muted)
        axes.stairs((heights * (best == index)).tolist(), edges, fill=True, color=colours.accent)
        if len(heights) <= _MOST_LINES:
            axes.vlines(edges[1:-1], 0, 1, color=colours.paper, linewidth=0.8)
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1], ["0", "", "100%"], fontsize=7)
        axes.grid(axis="y", color=colours.muted, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        _style(axes, colours)
        axes.set_ylabel(
            _short(predictions.labels[index]), rotation=0, ha="right", va="center", color=colours.ink, labelpad=6
        )
    length = float((ends - starts).median())
    rows[-1].set_xlabel(
        f"seconds; bars are probabilities of {len(best)} windows of {length:.3g} s, in colour where the class is the"
        " likeliest",
        color=colours.ink,
    )


def _draw_strip(axes: Axes, clip: ClipCapture, duration: float) -> None:
    """The frames of the clip over the whole time, each in the middle of its equal segment and in its own shape."""
    frames = clip.footage.frames
    axes.set_xlim(0, duration)
    axes.set_ylim(0, 1)
    axes.set_axis_off()
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # so that the layout is known
    place = axes.get_window_extent()
    across = place.width / len(frames) * 0.97
    down = min(place.height, across * frames.shape[2] / frames.shape[3])
    across = down * frames.shape[3] / frames.shape[2]
    half, top = across / place.width * duration / 2, down / place.height
    for number, frame in enumerate(frames):
        middle = (number + 0.5) * duration / len(frames)
        axes.imshow(
            frame.permute(1, 2, 0).numpy(),
            extent=(middle - half, middle + half, 0, top),
            aspect="auto",
            interpolation="antialiased",
        )
    axes.set_xlim(0, duration)
    axes.set_ylim(0, 1)


def _style(axes: Axes, colours: Colours) -> None:
    axes.set_facecolor(colours.paper)
    axes.tick_params(colors=colours.ink, labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(colours.muted)


def _short(label: str) -> str:
    return label if len(label) <= 26 else f"{label[:25]}\N{HORIZONTAL ELLIPSIS}"
