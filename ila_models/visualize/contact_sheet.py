"""All pairs of a clip at once: a row for each block, a column for each frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil
from statistics import mean

import torch

from .canvas import Canvas, text_width
from .capture import AlignmentCapture, ClipCapture, choose_blocks
from .drawing import (
    SIMILARITY_LINE,
    Panel,
    draw_crop,
    draw_legend,
    draw_point,
    frame_label,
    legend_height,
    legend_lines,
    legend_width,
    panel_size,
    similarity_text,
    spotlight,
)
from .themes import colours_of

_SCALE = 2
_FRAMES_A_LINE = 8
_GAP = 8
"""Pixels between frames, and between the texts above and below them."""
_NUMBER_SIZE = 8
"""Of the similarities, in points."""
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
    alignment = clip.require_alignment()
    blocks = choose_blocks(blocks, len(alignment.points))
    colours = colours_of(theme)
    frames = len(clip.footage.frames)
    lines = ceil(frames / _FRAMES_A_LINE)
    columns = ceil(frames / lines)
    width, height = panel_size(clip, area=24_000, most=200)
    # Texts in two lines where the frames are narrower than one, and frames further apart where they are narrower still.
    is_narrow = width < max(_widest_name(clip, between=" · "), _widest_numbers(alignment, blocks, between=" "))
    name_break, number_break = ("\n", "\n") if is_narrow else (" · ", " ")
    numbers_width = _widest_numbers(alignment, blocks, between=number_break)
    step_across = max(width, _widest_name(clip, between=name_break), numbers_width) + _GAP
    # Beside the numbers before it, which stand in the middle of a step.
    number_end = max(width, (width - step_across) / 2 + 1.5 * numbers_width + _GAP)
    margin, label, header, below = 16, 62, 52 if is_narrow else 42, 36 if is_narrow else 24
    # One line has the frames' names above all blocks, several have them above each line.
    names_above = range(len(blocks)) if lines > 1 else (0,)
    first, above = (0, header) if lines > 1 else (header, 0)
    line_down = above + height + below + 6
    end = first + len(blocks) * lines * line_down
    more = legend_lines(clip, (_LINES, SIMILARITY_LINE))
    canvas = Canvas(
        max(
            label + (columns - 1) * step_across + max(step_across, number_end),
            legend_width(clip, more=more, scale=_SCALE),
        )
        + 2 * margin,
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
                said = frame_label(clip, number, between=name_break)
                canvas.text(panels[-1].left, top - 6, said, color=colours.muted, va="bottom")
        canvas.text(margin, panels[0].top + height / 2, f"block {block}")
        draw_block(canvas, clip, block, panels)
        _write_similarities(canvas, clip, block, panels, between=number_break, end=number_end)
    draw_legend(canvas, clip, margin, end + 2, more=more)
    return canvas


def _widest_name(clip: ClipCapture, *, between: str) -> float:
    names = (frame_label(clip, number, between=between) for number in range(len(clip.footage.frames)))
    return max(text_width(name, scale=_SCALE) for name in names)


def _widest_numbers(alignment: AlignmentCapture, blocks: Sequence[int], *, between: str) -> float:
    pairs = range(len(alignment.pairs))
    texts = (similarity_text(alignment, block, pair, between=between) for block in blocks for pair in pairs)
    return max(text_width(text, fontsize=_NUMBER_SIZE, scale=_SCALE) for text in texts)


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
    canvas: Canvas, clip: ClipCapture, block: int, panels: Sequence[Panel], *, between: str, end: float
) -> None:
    """Below the gap between neighbours; with a frame that all are aligned with, below the other frame.

    Where the later neighbour begins a new line, they end so many pixels from the left of the earlier one.
    """
    alignment, muted = clip.require_alignment(), canvas.colours.muted
    stands = Counter(frame for pair in alignment.pairs for frame in pair)
    for number, pair in enumerate(alignment.pairs):
        below = pair if alignment.are_neighbours else [frame for frame in pair if stands[frame] == 1]
        first = panels[below[0]]
        x, side = mean(panels[frame].left + panels[frame].width / 2 for frame in below), "center"
        if any(panels[frame].top != first.top for frame in below):
            x, side = first.left + end, "right"
        said = similarity_text(alignment, block, number, between=between)
        canvas.text(x, first.top + first.height + 6, said, ha=side, va="top", fontsize=_NUMBER_SIZE, color=muted)
