"""Frames with masks and points on them, and the legend that says how to read them.

Shapes: H x W pixels of a frame, h x w patches of the crop that the model sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from .canvas import Canvas, text_width
from .capture import AlignmentCapture, ClipCapture
from .themes import EARLIER, LATER, OUTLINE, Colours

ARROW = "\N{RIGHTWARDS ARROW}"
TIMES = "\N{MULTIPLICATION SIGN}"
_LINE = 21

_FOG, _THROUGH_FOG = 62.0, 0.33
"""What is added to a patch of mask weight 0, and what is left of its grey: it is told from a dark picture as well."""
_SCALE_COLOURS = ((226.0, 92.0, 78.0), (92.0, 176.0, 92.0), (84.0, 132.0, 220.0))
_OUTSIDE = 0.3
"""What is left of a frame outside the crop; the rest is paper."""


@dataclass(frozen=True)
class Panel:
    """A rectangle of a canvas that shows a whole frame, in the canvas' pixels."""

    left: float
    top: float
    width: float
    height: float

    def place(self, clip: ClipCapture, x: float, y: float) -> tuple[float, float]:
        """Where a point in [-1, 1] lies on the canvas."""
        return self.scaled(clip, *clip.place(x, y))

    def scaled(self, clip: ClipCapture, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the frame lies on the canvas."""
        height, width = clip.footage.frames.shape[-2:]
        return self.left + x / width * self.width, self.top + y / height * self.height


def panel_size(clip: ClipCapture, *, area: float, most: float) -> tuple[int, int]:
    """(width, height) of a panel in a frame's shape, of about so many pixels, its sides ``most`` at most."""
    height, width = clip.footage.frames.shape[-2:]
    scale = min((area / (width * height)) ** 0.5, most / width, most / height)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def spotlight(clip: ClipCapture, number: int, weights: Tensor, size: tuple[int, int], colours: Colours) -> np.ndarray:
    """A frame under a mask: from its colours to grey fog as a patch counts less; what the model does not see is faded.

    A thin line goes round the patches that count more than half, which in a dark picture are darker than the fog.

    Args:
        clip: Where the frame and its crop are.
        number: The frame's, from 0.
        weights: Mask [h, w], in [0, 1].
        size: (width, height) of the picture.
        colours: Of the theme.

    Returns:
        uint8 [height, width, 3].
    """
    picture = resized(clip.footage.frames[number], size)
    weight = _on_pixels(clip, weights, size)[..., None]
    fog = _THROUGH_FOG * picture.mean(axis=-1, keepdims=True) + _FOG
    shown = weight * picture + (1 - weight) * fog
    edge = _edge(weight[..., 0] > 0.5)
    shown[edge] = 0.35 * shown[edge] + 0.65 * 255
    return _inside_crop(clip, shown, picture, colours)


def _edge(inside: np.ndarray) -> np.ndarray:
    """The pixels [height, width] of a region that touch others, outside the picture excepted."""
    padded = np.pad(inside, 1, mode="edge")
    around = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: np.ndarray = inside & ~around
    return edge


def heat(
    clip: ClipCapture, number: int, values: Tensor, size: tuple[int, int], colours: Colours, *, highest: float
) -> np.ndarray:
    """A grey frame under a map of heat.

    Args:
        clip: Where the frame and its crop are.
        number: The frame's, from 0.
        values: [h, w], from 0.
        size: (width, height) of the picture.
        colours: Of the theme.
        highest: The value that has the last colour.

    Returns:
        uint8 [height, width, 3].
    """
    picture = resized(clip.footage.frames[number], size).mean(axis=-1, keepdims=True)
    share = (_on_pixels(clip, values, size) / highest)[..., None]
    tint = heat_colours()(share[..., 0])[..., :3] * 255
    # The hotter, the less of the frame, so that colours of the upper half are those of the scale.
    opacity = 0.4 + 0.5 * share.clip(0, 1)
    return _inside_crop(clip, 0.7 * (1 - opacity) * picture + opacity * tint, picture, colours)


def heat_colours() -> Any:
    """The colours of heat, from the least to the most."""
    from matplotlib import colormaps

    return colormaps["inferno"]


def resized(frame: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A frame, uint8 [3, H, W], as floats in [0, 255], [height, width, 3]."""
    from PIL import Image

    picture = Image.fromarray(frame.permute(1, 2, 0).numpy())
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)


def _on_pixels(clip: ClipCapture, values: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Patch values [h, w] on the pixels of a picture [height, width]: a patch has one value, nothing is smoothed."""
    frame_height, frame_width = clip.footage.frames.shape[-2:]
    left, top, right, bottom = clip.box
    columns = _patches(size[0], frame_width, left, right, clip.grid[1])
    rows = _patches(size[1], frame_height, top, bottom, clip.grid[0])
    spread: np.ndarray = values.numpy()[rows[:, None], columns[None]]
    return spread


def _patches(pixels: int, length: int, start: float, stop: float, count: int) -> np.ndarray:
    """The number of the patch that each pixel of a side lies on; outside the crop, of the nearest one."""
    centres = (np.arange(pixels) + 0.5) / pixels * length
    return np.clip(np.floor((centres - start) / (stop - start) * count), 0, count - 1).astype(int)


def _inside_crop(clip: ClipCapture, shown: np.ndarray, plain: np.ndarray, colours: Colours) -> np.ndarray:
    """What is shown of the crop in a plain picture that is faded to paper, both [height, width, 3]."""
    from matplotlib.colors import to_rgb

    (height, width), (down, across) = clip.footage.frames.shape[-2:], plain.shape[:2]
    left, top, right, bottom = clip.box
    xs, ys = (np.arange(across) + 0.5) / across * width, (np.arange(down) + 0.5) / down * height
    inside = ((ys >= top) & (ys < bottom))[:, None] & ((xs >= left) & (xs < right))[None]
    paper = 255 * np.array(to_rgb(colours.paper))
    faded = _OUTSIDE * plain.mean(axis=-1, keepdims=True) + (1 - _OUTSIDE) * paper
    return np.where(inside[..., None], shown, faded).round().clip(0, 255).astype(np.uint8)


def draw_crop(canvas: Canvas, clip: ClipCapture, panel: Panel) -> None:
    """Outlines what the model sees of a frame."""
    left, top = panel.scaled(clip, clip.box.left, clip.box.top)
    right, bottom = panel.scaled(clip, clip.box.right, clip.box.bottom)
    outline = {"xs": [left, right, right, left, left], "ys": [top, top, bottom, bottom, top]}
    canvas.line(**outline, color=OUTLINE, linewidth=1.2, zorder=2)
    canvas.line(**outline, color="white", linewidth=1.2, linestyle=(0, (3, 3)), zorder=2)


def draw_point(canvas: Canvas, x: float, y: float, *, of_earlier: bool, size: float = 9.0) -> Any:
    """Marks an interactive point; returns what ``set_data`` moves.

    Args:
        canvas: Where to draw.
        x: On the canvas.
        y: On the canvas.
        of_earlier: Whether its frame is the earlier one of its pair.
        size: In points.
    """
    # Where both fall together, the smaller one lies on the larger one.
    marker, colour, factor = ("o", EARLIER, 1.0) if of_earlier else ("D", LATER, 0.7)
    return canvas.line(
        [x],
        [y],
        marker=marker,
        markersize=size * factor,
        markerfacecolor=colour,
        markeredgecolor="white",
        markeredgewidth=1.4,
        linestyle="none",
        zorder=4 if of_earlier else 5,
    )


class _LegendLine(NamedTuple):
    """What a line of a legend says, and how far from the left: before it stands a sign of what is meant."""

    indent: int
    said: str


_OF_POINTS = _LegendLine(40, "the interactive point of a pair's earlier frame, and of its later frame")
_OF_MASKS = _LegendLine(
    132, "the soft mask round it, from grey to a patch's own colours: how much it counts (line: half)"
)


def _all_lines(clip: ClipCapture, more: Sequence[str]) -> list[_LegendLine]:
    """The lines of a legend from top to bottom."""
    lines = [_OF_POINTS, _OF_MASKS]
    if clip.is_cropped:
        seen = f"{clip.img_size[1]} {TIMES} {clip.img_size[0]}"
        lines.append(_LegendLine(40, f"what the model sees: this part of the frame, resized to {seen} pixels"))
    return lines + [_LegendLine(2, said) for said in more]


def legend_height(clip: ClipCapture, *, more: Sequence[str] = ()) -> int:
    """Pixels that :func:`draw_legend` takes from top to bottom."""
    return _LINE * len(_all_lines(clip, more)) + 14


def legend_width(clip: ClipCapture, *, more: Sequence[str] = (), scale: int = 1) -> float:
    """Pixels that :func:`draw_legend` takes from left to right, on a canvas of that scale."""
    return max(indent + text_width(said, scale=scale) for indent, said in _all_lines(clip, more))


def draw_legend(canvas: Canvas, clip: ClipCapture, left: float, top: float, *, more: Sequence[str] = ()) -> None:
    """Says what points, grey and outline are, with the scale of the masks.

    Args:
        canvas: Where to draw.
        clip: What is shown.
        left: Of the legend.
        top: Of the legend.
        more: Lines about what else the picture shows.
    """
    line = top + _LINE / 2
    draw_point(canvas, left + 8, line, of_earlier=True, size=8)
    draw_point(canvas, left + 25, line, of_earlier=False, size=8)
    line += _LINE
    canvas.picture(fog_scale(96, 12), left + 14, line - 6, 96, 12)
    canvas.text(left + 2, line, "0")
    canvas.text(left + 115, line, "1")
    if clip.is_cropped:
        line += _LINE
        canvas.line(
            [left + 2, left + 30], [line, line], color=canvas.colours.muted, linewidth=1.4, linestyle=(0, (3, 2.2))
        )
    for number, (indent, said) in enumerate(_all_lines(clip, more)):
        canvas.text(left + indent, top + (number + 0.5) * _LINE, said)


def fog_scale(width: int, height: int) -> np.ndarray:
    """How colours come out of the fog as a mask's weight goes from 0 to 1, uint8 [height, width, 3]."""
    weight = np.linspace(0, 1, width)[None, :, None].repeat(height, axis=0)
    rows = np.arange(height) * len(_SCALE_COLOURS) // height
    colours = np.array(_SCALE_COLOURS)[rows][:, None]
    grey = _THROUGH_FOG * colours.mean(axis=-1, keepdims=True) + _FOG
    return (weight * colours + (1 - weight) * grey).round().astype(np.uint8)


def frame_label(clip: ClipCapture, number: int, *, between: str = " · ") -> str:
    """A frame's number as people count, with its time where it is known."""
    seconds = clip.footage.seconds
    return f"frame {number + 1}" if seconds is None else f"frame {number + 1}{between}{seconds[number]:.2f} s"


UNTRAINED = "this alignment was never trained: all points lie in the middle, and the masks and numbers mean nothing"
"""Said in the pictures of such a model, frozen CLIP among them."""


def legend_lines(clip: ClipCapture, lines: Sequence[str]) -> tuple[str, ...]:
    """What a legend says besides, of a model that was never trained first of all that."""
    return (UNTRAINED, *lines) if clip.require_alignment().is_untrained else tuple(lines)


def similarity_text(clip: AlignmentCapture, block: int, pair: int, *, between: str = " ") -> str:
    """How alike a pair's frames are, before and after the masks."""
    before, after = clip.similarity_before[block, pair].item(), clip.similarity_after[block, pair].item()
    return f"{before:.4f}{between}{ARROW} {after:.4f}"


SIMILARITY_LINE = f"numbers: cosine similarity of the pair's summed features, as they are {ARROW} under the masks"
"""The legend of :func:`similarity_text`."""
