"""Attention roll-out as heat over the frames."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, text_width
from .capture import ClipCapture
from .drawing import TIMES, Panel, draw_crop, frame_label, heat, heat_colours, panel_size, resized
from .themes import colours_of

_FRAMES_A_LINE = 8
_SCALE = 2
_SCALE_WIDTH = 200  # pixels of the colours
_MEANING = "attention roll-out: each patch's share in its frame's class token"
_MEANING_LEFT = _SCALE_WIDTH + 36


def draw_rollout(clip: ClipCapture, *, theme: str = "light") -> Canvas:
    """Draws each frame, and below it how much of each of its patches there is in its class token in the end.

    The scale is in times an even share: 1 is what a patch would have if all counted alike. It ends where one patch of a
    hundred lies beyond it, and at twice the even share at least, so that nothing is made of mere noise.

    Raises:
        ValueError: There is no such theme, or no roll-out of this kind of model.
    """
    colours = colours_of(theme)
    if clip.rollout is None:
        raise ValueError("there is no roll-out of an image model with alignment: points and timeline can be drawn")
    frames = len(clip.footage.frames)
    columns = min(frames, _FRAMES_A_LINE)
    lines = -(-frames // columns)
    width, height = panel_size(clip, area=24_000, most=200)
    # Of tall frames, the names are wider.
    widest_name = max(text_width(frame_label(clip, number), scale=_SCALE) for number in range(frames))
    margin, step_across, header = 16, max(width + 8, widest_name + 14), 26
    step_down = header + 2 * height + 14
    widest = max(columns * step_across, _MEANING_LEFT + text_width(_MEANING, scale=_SCALE)) + 2 * margin
    canvas = Canvas(widest, lines * step_down + 66, colours, scale=_SCALE)
    shares = clip.rollout * clip.grid[0] * clip.grid[1]
    highest = max(float(shares.flatten().quantile(0.99)), 2.0)
    size = (width * _SCALE, height * _SCALE)
    for number in range(frames):
        line, column = divmod(number, columns)
        left, top = margin + column * step_across, 8 + line * step_down
        canvas.text(left, top + header - 14, frame_label(clip, number), color=colours.muted)
        plain = resized(clip.footage.frames[number], size).round().clip(0, 255).astype(np.uint8)
        canvas.picture(plain, left, top + header, width, height)
        warm = heat(clip, number, shares[number], size, colours, highest=highest)
        below = Panel(left, top + header + height + 4, width, height)
        canvas.picture(warm, below.left, below.top, below.width, below.height)
        if clip.is_cropped:
            draw_crop(canvas, clip, below)
    _draw_scale(canvas, margin, lines * step_down + 18, highest)
    return canvas


def _draw_scale(canvas: Canvas, left: float, middle: float, highest: float) -> None:
    width = _SCALE_WIDTH
    ramp = (heat_colours()(np.linspace(0, 1, width))[None, :, :3] * 255).round().astype(np.uint8)
    canvas.picture(ramp.repeat(12, axis=0), left, middle - 6, width, 12)
    for value in (0.0, 1.0, highest):
        x = left + value / highest * width
        canvas.line([x, x], [middle + 6, middle + 10], color=canvas.colours.muted, linewidth=1)
        said = {0.0: "0", 1.0: f"1{TIMES}"}.get(value, f"{value:.2g}{TIMES} or more")
        # The number of the even share makes room where it lies close to the other ones.
        if value != 1 or 0.1 < 1 / highest < 0.7:
            canvas.text(x, middle + 18, said, ha="left" if not value else "center", fontsize=8)
    canvas.text(left + _MEANING_LEFT, middle - 2, _MEANING)
    canvas.text(left + width + 52, middle + 18, "as a multiple of an even share", color=canvas.colours.muted)
