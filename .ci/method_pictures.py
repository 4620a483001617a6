"""Draws the pictures of docs/method.md and docs/index.md, each for light and for dark pages; with --check, compares.

The masks in them are computed by the package; the scenes and the places of the points are made up.

python .ci/method_pictures.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from ila_models.alignment import MASK_FLAT, MASK_SLOPE, POINT_RANGE, axis_weights, soft_masks
from ila_models.visualize.themes import EARLIER, LATER, OUTLINE

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"
GRID = 8
"""Tokens along a side of a drawn frame."""
MINUS = "\N{MINUS SIGN}"

Colours = dict[str, str]
SCHEMES: dict[str, Colours] = {
    "light": {
        "ink": "#1f2933",
        "soft": "#5b6773",
        "line": "#6b7783",
        "box": "#f4f6f8",
        "sky": "#e4ebf2",
        "ground": "#c9d3c4",
        "ball": "#d6455d",
        "tree": "#8aa384",
        "grid": "#ffffff",
        "mask": "#7a4df0",
        "earlier": "#b35900",
        "later": "#0b6fb8",
        "page": "#ffffff",
    },
    "dark": {
        "ink": "#e6edf3",
        "soft": "#a3aebb",
        "line": "#8b97a5",
        "box": "#2a303a",
        "sky": "#39424e",
        "ground": "#4a5648",
        "ball": "#e8697e",
        "tree": "#6c8a66",
        "grid": "#1e2129",
        "mask": "#9b7dff",
        "earlier": "#ff9f1c",
        "later": "#3fc1ff",
        "page": "#1e2129",
    },
}


@dataclass
class Drawing:
    """An SVG that grows: what is drawn, in the colours of one scheme.

    Attributes:
        title: What the picture shows, for those who cannot see it.
        size: Width and height.
        colours: Names to colours.
    """

    title: str
    size: tuple[int, int]
    colours: Colours
    shapes: list[str] = field(default_factory=list)

    def rect(
        self, x: float, y: float, width: float, height: float, colour: str, *, opacity: float = 1, more: str = ""
    ) -> None:
        """A filled rectangle."""
        seen = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
        fill = self.colours.get(colour, colour)
        self.shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}"{seen}{more}/>'
        )

    def disc(self, x: float, y: float, radius: float, colour: str) -> None:
        """A filled circle."""
        self.shapes.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{self.colours[colour]}"/>')

    def box(self, x: float, y: float, width: float, height: float, *lines: str, colour: str = "line") -> None:
        """A rounded box with centred lines of text, the first of them bold."""
        more = f' rx="7" stroke="{self.colours[colour]}" stroke-width="1.4"'
        self.rect(x, y, width, height, "box", more=more)
        top = y + height / 2 - 9 * (len(lines) - 1) + 5
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 18 * number, line, bold=number == 0)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        colour: str = "ink",
        anchor: str = "middle",
        size: int = 14,
        bold: bool = False,
    ) -> None:
        """A line of text."""
        look = f'font-size="{size}" fill="{self.colours[colour]}"' + (' font-weight="bold"' if bold else "")
        self.shapes.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" {look}>{words}</text>')

    def line(self, *corners: tuple[float, float], colour: str = "line", width: float = 1.8, dashes: str = "") -> None:
        """A line through corners."""
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in corners)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.shapes.append(
            f'<path d="{path}" fill="none" stroke="{self.colours[colour]}" stroke-width="{width:g}"{dashed}/>'
        )

    def arrow(self, *corners: tuple[float, float], colour: str = "line") -> None:
        """A line whose last, straight piece ends in a head."""
        (x0, y0), (x, y) = corners[-2:]
        dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
        self.line(*corners[:-1], (x - 6 * dx, y - 6 * dy), colour=colour)
        left, right = (x - 9 * dx - 5 * dy, y - 9 * dy - 5 * dx), (x - 9 * dx + 5 * dy, y - 9 * dy + 5 * dx)
        head = " ".join(f"{a:g},{b:g}" for a, b in ((x, y), left, right))
        self.shapes.append(f'<polygon points="{head}" fill="{self.colours[colour]}"/>')

    def frame(
        self, x: float, y: float, side: float, ball: tuple[float, float], *, kept: torch.Tensor | None = None
    ) -> None:
        """A frame with a tree that stands and a ball that moves, under the grid of tokens.

        Args:
            x: Left.
            y: Top.
            side: Its width and height.
            ball: Centre of the ball, in [-1, 1].
            kept: [h, w], how much of every token remains; None for all.
        """
        self.rect(x, y, side, side, "sky")
        self.rect(x, y + 0.78 * side, side, 0.22 * side, "ground")
        self.rect(x + 0.83 * side, y + 0.5 * side, 0.04 * side, 0.3 * side, "tree")
        self.disc(x + 0.85 * side, y + 0.42 * side, 0.12 * side, "tree")
        self.disc(place(ball[0], x, side), place(ball[1], y, side), 0.13 * side, "ball")
        step = side / GRID
        if kept is not None:
            for row in range(GRID):
                for column in range(GRID):
                    hidden = 1 - float(kept[row, column])
                    self.rect(x + column * step, y + row * step, step, step, "page", opacity=hidden)
        for number in range(1, GRID):
            self.line((x + number * step, y), (x + number * step, y + side), colour="grid", width=0.8)
            self.line((x, y + number * step), (x + side, y + number * step), colour="grid", width=0.8)
        self.rect(x, y, side, side, "none", more=f' stroke="{self.colours["line"]}"')

    def masked(self, x: float, y: float, side: float, weights: torch.Tensor) -> None:
        """Tokens [h, w] in the colour of masks, the stronger the more they weigh."""
        step = side / weights.shape[0]
        for row, values in enumerate(weights.tolist()):
            for column, weight in enumerate(values):
                if weight > 0:
                    left, top = x + column * step, y + row * step
                    self.rect(left + 0.5, top + 0.5, step - 1, step - 1, "mask", opacity=0.64 * weight)

    def point(self, x: float, y: float, of: Literal["earlier", "later"]) -> None:
        """An interactive point, marked as in the pictures of ``ila_models.visualize``."""
        edge = f'stroke="{OUTLINE}" stroke-width="1.5"'
        if of == "earlier":
            self.shapes.append(f'<circle cx="{x:g}" cy="{y:g}" r="8" fill="{EARLIER}" {edge}/>')
        else:
            corners = f"{x:g},{y - 10:g} {x + 10:g},{y:g} {x:g},{y + 10:g} {x - 10:g},{y:g}"
            self.shapes.append(f'<polygon points="{corners}" fill="{LATER}" {edge}/>')

    def svg(self) -> str:
        """The file."""
        width, height = self.size
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' font-family="Helvetica, Arial, sans-serif">\n<title>{self.title}</title>\n'
            + "\n".join(self.shapes)
            + "\n</svg>\n"
        )


def place(value: float, start: float, side: float, *, tokens: int = GRID) -> float:
    """Where a coordinate in [-1, 1] is drawn: -1 and 1 are the centres of the first and the last token."""
    return start + side / tokens * (0.5 + (value + 1) / 2 * (tokens - 1))


class Half(NamedTuple):
    """One frame of the drawn pair.

    Attributes:
        of: Which.
        name: What is written beside it.
        ball: Where the ball is.
        point: Its interactive point: where one would help.
    """

    of: Literal["earlier", "later"]
    name: str
    ball: tuple[float, float]
    point: tuple[float, float]


PAIR = (
    Half("earlier", "frame t", (-0.5, 0.42), (-0.44, 0.36)),
    Half("later", "frame t + 1", (0.1, -0.3), (0.16, -0.24)),
)


def alignment(colours: Colours) -> Drawing:
    """All of it at a glance: pair, points, masks, aligned frames, block."""
    drawing = Drawing("How ILA aligns two neighbouring frames", (820, 430), colours)
    side, tops = 138, (64, 226)
    headings = ((92, "1", "a pair of frames"), (356, "2", "points and masks"), (550, "3", "what the masks keep"))
    for left, number, words in headings:
        drawing.text(left + side / 2, 34, f"{number}. {words}", bold=True, size=15)
    for top, (of, name, ball, point) in zip(tops, PAIR, strict=True):
        middle = top + side / 2
        mask = soft_masks(torch.tensor(point), (GRID, GRID))
        drawing.text(82, middle + 5, name, anchor="end")
        drawing.frame(92, top, side, ball)
        drawing.line((236, middle), (256, middle), (256, 196), (270, 196))
        drawing.line((326, 196), (338, 196), (338, middle))
        drawing.arrow((338, middle), (354, middle))
        drawing.frame(356, top, side, ball)
        drawing.masked(356, top, side, mask)
        drawing.point(place(point[0], 356, side), place(point[1], top, side), of)
        drawing.arrow((500, middle), (546, middle))
        drawing.frame(550, top, side, ball, kept=mask)
        drawing.arrow((694, middle), (716, middle))
    drawing.box(262, 172, 64, 48, "convo-", "lutions")
    drawing.box(
        718, 64, 92, 300, "4. block", "adds it to", "the frame's", "tokens; then", "CLIP's own", "spatial", "attention"
    )
    drawing.point(84, 396, "earlier")
    drawing.point(106, 396, "later")
    drawing.text(126, 401, "interactive points: one place a frame, predicted from the pair", anchor="start")
    drawing.rect(556, 386, 20, 20, "mask", opacity=0.64)
    drawing.text(586, 401, "soft mask round it, 1 to 0", anchor="start")
    return drawing


def alignment_narrow(colours: Colours) -> Drawing:
    """The same from top to bottom, for a telephone."""
    drawing = Drawing("How ILA aligns two neighbouring frames", (380, 800), colours)
    side, lefts, tops = 150, (25, 205), (52, 286, 494)
    drawing.text(190, 20, "1. a pair of frames", bold=True, size=16)
    drawing.text(190, 278, "2. points and masks", bold=True, size=16)
    drawing.text(190, 486, "3. what the masks keep", bold=True, size=16)
    for left, (of, name, ball, point) in zip(lefts, PAIR, strict=True):
        centre = left + side / 2
        weights = soft_masks(torch.tensor(point), (GRID, GRID))
        drawing.text(centre, 43, name)
        drawing.frame(left, tops[0], side, ball)
        drawing.line((centre, 206), (centre, 228), (150 if left < 100 else 230, 228))
        drawing.frame(left, tops[1], side, ball)
        drawing.masked(left, tops[1], side, weights)
        drawing.point(place(point[0], left, side), place(point[1], tops[1], side), of)
        drawing.arrow((centre, 438), (centre, 466))
        drawing.frame(left, tops[2], side, ball, kept=weights)
        drawing.arrow((centre, 648), (centre, 670))
    drawing.box(130, 211, 120, 34, "convolutions")
    drawing.arrow((190, 245), (190, 264))
    drawing.box(25, 672, 330, 54, "4. block", "adds it to the tokens; then CLIP's attention")
    drawing.point(18, 752, "earlier")
    drawing.point(39, 752, "later")
    drawing.text(58, 757, "interactive points, predicted from the pair", anchor="start")
    drawing.rect(28, 772, 20, 20, "mask", opacity=0.64)
    drawing.text(58, 787, "soft mask round it, from 1 to 0", anchor="start")
    return drawing


def pair(colours: Colours) -> Drawing:
    """From two maps of tokens to four numbers."""
    drawing = Drawing("From a pair of frames to two interactive points", (800, 236), colours)
    for number, (frame, colour) in enumerate((("t", "earlier"), ("t+1", "later"))):
        for sheet in range(4):
            left, top = 46 + 26 * number + 6 * sheet + 24 * number, 66 + 6 * sheet
            drawing.rect(left, top, 64, 64, "box", more=f' stroke="{colours[colour]}" stroke-width="1.6"')
        name = f'm<tspan font-size="10" dy="4">{frame}</tspan>'
        drawing.text(78 + 50 * number, 52, name, colour=colour, bold=True, size=16)
    drawing.text(118, 188, "side by side on channels:")
    drawing.text(118, 207, "h \N{MULTIPLICATION SIGN} w tokens, 2D channels")
    drawing.arrow((190, 110), (226, 110))
    drawing.box(228, 78, 132, 64, "interactive block", "convolutions")
    drawing.arrow((364, 110), (392, 110))
    for sheet in range(6):
        colour = "earlier" if sheet < 3 else "later"
        edge = f' stroke="{colours[colour]}" stroke-width="1.6"'
        drawing.rect(398 + 8 * sheet, 62 + 6 * sheet, 64, 64, "box", more=edge)
    drawing.text(450, 188, "pair features, 256 channels:")
    drawing.text(450, 207, "half of them for each frame")
    drawing.arrow((510, 110), (542, 110))
    drawing.box(546, 78, 132, 64, "prediction block", "pools all space")
    drawing.arrow((682, 110), (704, 110))
    for number, name in enumerate(("x", "y", "x", "y")):
        colour = "earlier" if number < 2 else "later"
        drawing.rect(
            708, 56 + 27 * number, 34, 24, "box", more=f' rx="4" stroke="{colours[colour]}" stroke-width="1.6"'
        )
        drawing.text(725, 73 + 27 * number, name, colour=colour, bold=True)
    drawing.text(725, 207, "0.75 tanh")
    drawing.text(725, 188, "two points:")
    return drawing


def mask(colours: Colours) -> Drawing:
    """The weight of tokens along an axis, and the mask of both axes."""
    drawing = Drawing("The soft mask of a point, along one axis and over the frame", (800, 370), colours)
    tokens, left, top, width, height = 14, 70, 84, 330, 190
    point = (-0.15, -0.3)

    def across(value: float) -> float:
        return left + (value + 1) / 2 * width

    def up(weight: float) -> float:
        return top + height - weight * height

    centres = torch.linspace(-1, 1, tokens)
    for centre, weight in zip(centres.tolist(), axis_weights(torch.tensor(point[0]), tokens).tolist(), strict=True):
        drawing.rect(across(centre) - 8, up(weight), 16, height * weight, "mask", opacity=0.5)
    drawing.line((left - 12, up(0)), (left + width + 12, up(0)))
    drawing.line((left - 12, up(0)), (left - 12, top - 10))
    reach = MASK_FLAT + 1 / MASK_SLOPE
    profile = [(-1.0, float(1 - MASK_SLOPE * max(0.0, abs(-1 - point[0]) - MASK_FLAT)))]
    profile += [(point[0] - MASK_FLAT, 1), (point[0] + MASK_FLAT, 1), (point[0] + reach, 0), (1, 0)]
    drawing.line(*((across(x), up(weight)) for x, weight in profile), colour="mask", width=2.6)
    for value in (-1, 0, 1):
        drawing.text(across(value), up(0) + 22, f"{MINUS if value < 0 else ''}{abs(value)}", colour="soft")
    for weight in (0, 1):
        drawing.text(left - 22, up(weight) + 5, str(weight), anchor="end", colour="soft")
    drawing.line((across(point[0]), up(0)), (across(point[0]), up(1)), colour="earlier", dashes="5 4")
    drawing.point(across(point[0]), up(0), "earlier")
    drawing.text(across(point[0]), up(0) + 26, "p", colour="earlier", bold=True)
    drawing.line((across(point[0]), top - 14), (across(point[0] + MASK_FLAT), top - 14), colour="ink")
    drawing.text(across(point[0]) + 4, top - 22, "0.25", anchor="start")
    drawing.text(across(0.5), up(0.7), "falls by 1.5", anchor="start")
    drawing.text(across(0.5), up(0.7) + 18, "per unit of distance", anchor="start")
    drawing.text(left + width / 2, 322, "one axis: bars are the token centres of a row of 14", colour="soft")
    drawing.text(left + width / 2, 26, "weight of a token at distance d from the point", bold=True)

    left, top, side = 500, 60, 238
    drawing.text(left + side / 2, 26, "both axes multiplied", bold=True)
    drawing.rect(left, top, side, side, "box")
    drawing.masked(left, top, side, soft_masks(torch.tensor(point), (tokens, tokens)))
    low, high = (place(value * POINT_RANGE, 0, side, tokens=tokens) for value in (-1, 1))
    drawing.rect(
        left + low,
        top + low,
        high - low,
        high - low,
        "none",
        more=f' stroke="{colours["soft"]}" stroke-dasharray="5 4"',
    )
    drawing.point(place(point[0], left, side, tokens=tokens), place(point[1], top, side, tokens=tokens), "earlier")
    drawing.text(left + side / 2, 322, "dashed: where points can be, 0.75 from the centre", colour="soft")
    drawing.text(left + side / 2, 341, "x runs right, y runs down", colour="soft")
    return drawing


def frames(colours: Colours) -> Drawing:
    """Which masks a frame gets of the pairs that it stands in."""
    drawing = Drawing("Four frames make three pairs; every frame takes the mean over its pairs", (800, 340), colours)
    side, top, lefts = 96, 20, (70, 266, 462, 658)
    for number, left in enumerate(lefts):
        drawing.frame(left, top, side, (-0.6 + 0.4 * number, 0.45 - 0.3 * number))
        drawing.text(left - 8, top + side / 2 + 5, f"{number}", anchor="end", bold=True)
    for number in range(3):
        first, second = lefts[number] + side / 2, lefts[number + 1] + side / 2
        middle = (first + second) / 2
        drawing.box(middle - 40, 150, 80, 34, f"pair {number}")
        drawing.line((first + 10, top + side + 4), (first + 10, 167), (middle - 42, 167))
        drawing.line((second - 10, top + side + 4), (second - 10, 167), (middle + 42, 167))
        drawing.arrow((middle - 20, 186), (middle - 20, 216), (first + 14, 216), (first + 14, 240), colour="earlier")
        drawing.arrow((middle + 20, 186), (middle + 20, 216), (second - 14, 216), (second - 14, 240), colour="later")
    words = ("earlier mask of pair 0", "mean of two", "mean of two", "later mask of pair 2")
    for number, (left, what) in enumerate(zip(lefts, words, strict=True)):
        drawing.box(left - 32, 242, side + 64, 50, f"aligned frame {number}", what)
    drawing.text(400, 326, "orange: the mask of a pair's earlier frame; blue: of its later frame", colour="soft")
    return drawing


def block(colours: Colours) -> Drawing:
    """The two forms of the block."""
    drawing = Drawing("How aligned features enter the block: released form and paper's form", (800, 436), colours)
    drawing.text(190, 28, "residual: the released code", bold=True, size=15)
    drawing.text(610, 28, "token: the paper", bold=True, size=15)
    for left in (0, 420):
        drawing.text(left + 100, 58, "tokens of frame t")
        drawing.line((left + 100, 66), (left + 100, 84))
        drawing.line((left + 100, 84), (left + 280, 84))
        drawing.arrow((left + 280, 84), (left + 280, 98))
        drawing.box(left + 200, 100, 160, 48, "alignment", "points and masks", colour="mask")
        drawing.box(left + 12, 264, 176, 46, "spatial attention", "among a frame's tokens")
        drawing.box(left + 12, 344, 176, 40, "MLP")
        drawing.arrow((left + 100, 384), (left + 100, 416))
    drawing.line((100, 84), (100, 164))
    drawing.arrow((240, 150), (240, 176), (112, 176))
    drawing.arrow((320, 150), (320, 218), (112, 218))
    drawing.text(140, 169, "aligned u", anchor="start", colour="mask", bold=True)
    drawing.text(140, 211, "interactive v", anchor="start", colour="mask", bold=True)
    for top in (176, 218):
        drawing.shapes.append(
            f'<circle cx="100" cy="{top}" r="11" fill="{colours["box"]}" stroke="{colours["line"]}"/>'
        )
        drawing.text(100, top + 5, "+", bold=True)
    drawing.line((100, 187), (100, 207))
    drawing.arrow((100, 229), (100, 262))
    drawing.arrow((100, 310), (100, 342))
    drawing.text(206, 283, "both start at zero: a fresh model", anchor="start", colour="soft")
    drawing.text(206, 301, "is CLIP, frame by frame", anchor="start", colour="soft")

    drawing.line((520, 84), (520, 196))
    drawing.arrow((700, 150), (700, 172))
    drawing.box(620, 174, 160, 40, "mean over space", colour="mask")
    drawing.line((700, 216), (700, 240), (560, 240))
    drawing.arrow((560, 240), (560, 262), colour="mask")
    drawing.arrow((520, 196), (520, 262))
    drawing.text(572, 256, "one token more", anchor="start", colour="mask", bold=True)
    drawing.arrow((520, 310), (520, 342))
    drawing.arrow((560, 310), (560, 326), (620, 326), colour="mask")
    drawing.text(626, 331, "dropped", anchor="start", colour="mask", bold=True)
    return drawing


PICTURES: dict[str, Callable[[Colours], Drawing]] = {
    "alignment": alignment,
    "alignment_narrow": alignment_narrow,
    "pair": pair,
    "mask": mask,
    "frames": frames,
    "block": block,
}


def files() -> dict[Path, str]:
    """Every file with its content."""
    return {
        FOLDER / f"{name}_{scheme}.svg": draw(colours).svg()
        for name, draw in PICTURES.items()
        for scheme, colours in SCHEMES.items()
    }


def main() -> int:
    """Writes, or compares: 1 if a file differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a picture is out of date")
    check = parser.parse_args().check
    outdated = [
        path for path, content in files().items() if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]
    if check and outdated:
        names = ", ".join(str(path.relative_to(ROOT)) for path in outdated)
        sys.stderr.write(f"out of date: {names}; run: python .ci/method_pictures.py\n")
        return 1
    for path in outdated:
        path.write_text(files()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
