"""The pairs of a clip one after the other, as pictures that move."""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from .canvas import Canvas, text_width
from .capture import ClipCapture, choose_blocks
from .drawing import (
    SIMILARITY_LINE,
    Panel,
    draw_crop,
    draw_legend,
    draw_point,
    fog_scale,
    frame_label,
    legend_height,
    legend_lines,
    legend_width,
    panel_size,
    similarity_text,
    spotlight,
)
from .themes import EARLIER, LATER, colours_of

if TYPE_CHECKING:
    from PIL import Image

SECONDS_PER_PAIR = 0.6
"""How long a pair stands: as long as two points take to be found."""
MOST_GIF_BYTES = 3_000_000
"""A GIF has fewer colours where it would be larger."""

_PIXELS = 440_000
_FRAME_RATE = 10  # of the video; players stumble over two pictures a second
_ROWS = 4
_LABEL_HEIGHT = 54
"""Pixels that a block's name takes with the two numbers below it."""
_SIDES = ("earlier", "later")
_MORE = ("white line: where the point was in the pairs before", SIMILARITY_LINE)


def animate_points(clip: ClipCapture, blocks: Sequence[int], *, theme: str = "light") -> list[np.ndarray]:
    """Draws every pair: its earlier frame and its later one side by side, for each block, with points and masks.

    Args:
        clip: With points.
        blocks: Which blocks, from 0.
        theme: Of the page that it is for.

    Returns:
        A picture for each pair, uint8 [height, width, 3], both even.

    Raises:
        ValueError: The clip has no points, or there is no such block or theme.
    """
    alignment = clip.require_alignment()
    blocks, colours = choose_blocks(blocks, len(alignment.points)), colours_of(theme)
    more = legend_lines(clip, _MORE)
    columns = ceil(len(blocks) / _ROWS)
    rows = ceil(len(blocks) / columns)
    width, height = panel_size(clip, area=_PIXELS / (2 * rows * columns), most=320)
    margin, between, label, header = 16, 6, 72, 62
    names = (_side_label(clip, frame, side) for pair in alignment.pairs for side, frame in enumerate(pair))
    step = max(width + between, max(map(text_width, names)) + 2 * between)  # of tall frames, the names are wider
    cell_width, row_height = label + step + max(width, step - 2 * between) + margin, max(height, _LABEL_HEIGHT)
    cell_height = row_height + 10
    canvas = Canvas(
        max(columns * cell_width + margin, legend_width(clip, more=more) + 2 * margin),
        header + rows * cell_height + legend_height(clip, more=more),
        colours,
    )
    left = (canvas.width - columns * cell_width - margin) / 2 + margin
    title = canvas.text(margin, 20, "", fontsize=11, fontweight="bold")
    titles, numbers, moving = [], [], []
    for place, block in enumerate(blocks):
        column, row = divmod(place, rows)
        cell_left, top = left + column * cell_width, header + row * cell_height + (row_height - height) / 2
        canvas.text(cell_left, top + height / 2 - 22, f"block {block}")
        numbers.append((block, canvas.text(cell_left, top + height / 2 + 8, "", color=colours.muted, fontsize=8)))
        for side in (0, 1):
            panel = Panel(cell_left + label + side * step, top, width, height)
            if row == 0:
                titles.append((side, canvas.text(panel.left, header - 14, "", color=colours.muted)))
            image = canvas.picture(np.zeros((height, width, 3), np.uint8), panel.left, panel.top, width, height)
            if clip.is_cropped:
                draw_crop(canvas, clip, panel)
            path = canvas.line([], [], color="white", alpha=0.7, linewidth=1.2)
            moving.append((block, side, panel, image, path, draw_point(canvas, 0, 0, of_earlier=side == 0)))
    draw_legend(canvas, clip, margin, header + rows * cell_height + 2, more=more)
    pictures = []
    for number, pair in enumerate(alignment.pairs):
        title.set_text(f"pair {number + 1} of {len(alignment.pairs)}")
        for side, text in titles:
            text.set_text(_side_label(clip, pair[side], side))
        for block, text in numbers:
            text.set_text(similarity_text(alignment, block, number, between="\n"))
        for block, side, panel, image, path, mark in moving:
            image.set_data(spotlight(clip, pair[side], alignment.masks[block, number, side], (width, height), colours))
            places = [panel.place(clip, *alignment.point(block, each, side)) for each in range(number + 1)]
            path.set_data(*zip(*places, strict=True))
            mark.set_data(*([each] for each in places[-1]))
        pictures.append(canvas.pixels())
    return pictures


def _side_label(clip: ClipCapture, frame: int, side: int) -> str:
    return f"{_SIDES[side]}: {frame_label(clip, frame)}"


def encode_gif(pictures: Sequence[np.ndarray], *, seconds: float = SECONDS_PER_PAIR) -> bytes:
    """Encodes pictures, uint8 [height, width, 3], as a GIF that goes round and round.

    All share one palette, so that what stands still does not flicker; it has fewer colours where the file would be
    larger than :data:`MOST_GIF_BYTES`, and 64 at least.
    """
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    for colours in (256, 128, 64):
        palette = _shared_palette(pictures, colours)
        first, *others = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
        file = io.BytesIO()
        options = {"save_all": True, "append_images": others, "duration": round(1000 * seconds), "loop": 0}
        first.save(file, format="GIF", optimize=False, **options)
        if file.tell() <= MOST_GIF_BYTES:
            break
    return file.getvalue()


def _shared_palette(pictures: Sequence[np.ndarray], colours: int) -> Image.Image:
    """A palette for all pictures. Marks are small, and would be left without a colour of their own by its makers."""
    from PIL import Image

    marks = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in (EARLIER, LATER)])
    kept = np.concatenate([marks, fog_scale(4, 3).reshape(-1, 3)]).astype(np.uint8)
    together = Image.fromarray(np.concatenate([picture[::2, ::2] for picture in pictures]))
    found = together.quantize(colours - len(kept), method=Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette(found[: 3 * (colours - len(kept))] + kept.flatten().tolist())
    return palette


def encode_mp4(pictures: Sequence[np.ndarray], *, seconds: float = SECONDS_PER_PAIR) -> bytes:
    """Encodes pictures, uint8 [height, width, 3] of even sides, as an h264 mp4 that any browser plays."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_FRAME_RATE, options={"crf": "20"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            for _ in range(round(seconds * _FRAME_RATE)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()
