"""A figure whose coordinates are pixels, so that pictures stand exactly where they are put."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .themes import Colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure

_DPI = 100
FONT_SIZE = 9.0
"""Of most text, in points: a seventy-second of an inch, of which a canvas has a hundred pixels."""


class Canvas:
    """Pixels from the left upper corner, x to the right and y down.

    Attributes:
        width: In pixels.
        height: In pixels.
        scale: How many pixels are made of each.
        colours: Of the theme.
        figure: matplotlib's.
        axes: One pair, over the whole figure.
    """

    def __init__(self, width: float, height: float, colours: Colours, *, scale: int = 1) -> None:
        """Makes an empty canvas; its sides are rounded to even numbers, as video needs them."""
        # Not through pyplot, which would choose a window system and keep the figure.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = 2 * round(width / 2), 2 * round(height / 2)
        self.scale = scale
        self.colours = colours
        self.figure: Figure = Figure(figsize=(self.width / _DPI, self.height / _DPI), dpi=_DPI * scale)
        self._agg = FigureCanvasAgg(self.figure)
        self.figure.set_facecolor(colours.paper)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set_xlim(0, self.width)
        self.axes.set_ylim(self.height, 0)

    def picture(self, pixels: np.ndarray, left: float, top: float, width: float, height: float) -> Any:
        """Puts uint8 [h, w, 3] into a rectangle; returns what ``set_data`` changes."""
        image = self.axes.imshow(
            pixels, extent=(left, left + width, top + height, top), interpolation="antialiased", aspect="auto", zorder=1
        )
        # imshow would make the axes as large as its picture.
        self.axes.set_xlim(0, self.width)
        self.axes.set_ylim(self.height, 0)
        return image

    def text(self, x: float, y: float, said: str, **options: Any) -> Any:
        """Writes text; the options are matplotlib's."""
        options = {"fontsize": FONT_SIZE, "color": self.colours.ink, "va": "center", **options}
        return self.axes.text(x, y, said, zorder=6, **options)

    def line(self, xs: list[float], ys: list[float], **options: Any) -> Any:
        """Draws a line; the options are matplotlib's."""
        return self.axes.plot(xs, ys, **{"zorder": 3, "solid_capstyle": "round", **options})[0]

    def pixels(self) -> np.ndarray:
        """What is drawn, uint8 [height, width, 3]."""
        self._agg.draw()
        drawn: np.ndarray = np.asarray(self._agg.buffer_rgba())[..., :3].copy()
        return drawn


def text_width(said: str, *, fontsize: float = FONT_SIZE, scale: int = 1) -> float:
    """Pixels of a canvas that a text takes from left to right, its longest line if there are several.

    Args:
        said: The text.
        fontsize: In points.
        scale: Of the canvas: letters are fitted to the pixels that they are drawn with.
    """
    from matplotlib.font_manager import FontProperties

    measure, font = _renderer(scale).get_text_width_height_descent, FontProperties(size=fontsize)
    return max(float(measure(line, font, ismath=False)[0]) for line in said.split("\n")) / scale


@lru_cache
def _renderer(scale: int) -> RendererAgg:
    """Draws nothing: measures text before there is a canvas, whose size depends on it."""
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, _DPI * scale)
