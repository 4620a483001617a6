"""All pairs of a clip at once: a row for each block, a column for each frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil
from statistics import mean

import torch

from .canvas import Canvas
from .capture import ClipCapture, choose_blocks
from .drawing import (
    LEGEND_WIDTH,
    SIMILARITY_LINE,
    Panel,
    draw_crop,
    draw_legend,
    draw_point,
    frame_label,
    legend_height,
    legend_lines,
    panel_size,
    similarity_text,
    spotlight,
)
from .themes import colours_of

_SCALE = 2
_FRAMES_A_LINE = 8
_LABEL_WIDTH = 122
"""Pixels from frame to frame below which their labels take two lines."""
_LINES = "white line: joins the points of a pair; a frame in several pairs shows the mean of their masks"


def draw_contact_sheet(clip: ClipCapture, blocks: Sequence[int], *, theme: str = "light") -> Canvas:
    """Draws every frame with the points that its pairs give it, for each block, and the pairs' similarity below.

    Up to eight frames stand in a line, more in several. A frame is shown under the mean of its masks, by which the
    model weighs its patches; neighbours' points are joined.

    Args:
        clip: With points.
        blocks: Which blocks, from 0.
        theme: Of the page that it is for.

    Raises:
        ValueError: The clip has no points, or there is no such block or theme.
    """
    blocks = choose_blocks(blocks, len(clip.require_alignment().points))
    colours = colours_of(theme)
    frames = len(clip.footage.frames)
    lines = ceil(frames / _FRAMES_A_LINE)
    columns = ceil(frames / lines)
    width, height = panel_size(clip, area=24_000, most=200)
    step_across = width + 8
    is_narrow = step_across < _LABEL_WIDTH
    margin, label, header, below = 16, 62, 52 if is_narrow else 42, 36 if is_narrow else 24
    # One line has the frames' names above all blocks, several have them above each line.
    names_above = range(len(blocks)) if lines > 1 else (0,)
    first, above = (0, header) if lines > 1 else (header, 0)
    line_down = above + height + below + 6
    end = first + len(blocks) * lines * line_down
    more = legend_lines(clip, (_LINES, SIMILARITY_LINE))
    canvas = Canvas(
        max(label + columns * step_across + 2 * margin, LEGEND_WIDTH + 2 * margin),
        end + legend_height(clip, more=more) + 4,
        colours,
        scale=_SCALE,
    )
    for row, block in enumerate(blocks):
        panels = []
        for number in range(frames):
            line, column = divmod(number, columns)
            top = first + (row * lines + line) * line_down + above
            panels.append(Panel(margin + label + column * step_across, top, width, height))
            if row in names_above:
                said = frame_label(clip, number, between="\n" if is_narrow else " · ")
                canvas.text(panels[-1].left, top - 6, said, color=colours.muted, va="bottom")
        canvas.text(margin, panels[0].top + height / 2, f"block {block}")
        draw_block(canvas, clip, block, panels)
        _write_similarities(canvas, clip, block, panels, between="\n" if is_narrow else " ")
    draw_legend(canvas, clip, margin, end + 2, more=more)
    return canvas


def draw_block(canvas: Canvas, clip: ClipCapture, block: int, panels: Sequence[Panel]) -> None:
    """Draws the frames of a clip, each in its panel, with the points and masks of a block."""
    alignment = clip.require_alignment()
    stand_in: list[list[tuple[int, int]]] = [[] for _ in panels]
    for number, pair in enumerate(alignment.pairs):
        for side, frame in enumerate(pair):
            stand_in[frame].append((number, side))
    for frame, panel in enumerate(panels):
        mask = torch.stack([alignment.masks[block, number, side] for number, side in stand_in[frame]]).mean(dim=0)
        size = (round(panel.width * canvas.scale), round(panel.height * canvas.scale))
        canvas.picture(
            spotlight(clip, frame, mask, size, canvas.colours), panel.left, panel.top, panel.width, panel.height
        )
        if clip.is_cropped:
            draw_crop(canvas, clip, panel)
    for number, pair in enumerate(alignment.pairs):
        places = [panels[pair[side]].place(clip, *alignment.point(block, number, side)) for side in (0, 1)]
        if alignment.are_neighbours and panels[pair[0]].top == panels[pair[1]].top:
            canvas.line(*map(list, zip(*places, strict=True)), color="white", linewidth=1.3, alpha=0.85, zorder=3)
        for side, (x, y) in enumerate(places):
            draw_point(canvas, x, y, of_earlier=side == 0, size=8)


def _write_similarities(
    canvas: Canvas, clip: ClipCapture, block: int, panels: Sequence[Panel], *, between: str
) -> None:
    """Below the gap between neighbours; with a frame that all are aligned with, below the other frame.

    Where the later neighbour begins a new line, below the end of the earlier one.
    """
    alignment, muted = clip.require_alignment(), canvas.colours.muted
    stands = Counter(frame for pair in alignment.pairs for frame in pair)
    for number, pair in enumerate(alignment.pairs):
        below = pair if alignment.are_neighbours else [frame for frame in pair if stands[frame] == 1]
        first = panels[below[0]]
        x, side = mean(panels[frame].left + panels[frame].width / 2 for frame in below), "center"
        if any(panels[frame].top != first.top for frame in below):
            x, side = first.left + first.width, "right"
        said = similarity_text(alignment, block, number, between=between)
        canvas.text(x, first.top + first.height + 6, said, ha=side, va="top", fontsize=8, color=muted)
