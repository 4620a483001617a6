"""What a clip shows, drawn at random: a shape, its motion, a background.

Lengths are fractions of the picture's side, angles are radians, clockwise on the screen (x to the right, y downwards).
Times run from -1 (the first frame) to 1 (the last one).

A scene says how its pair of twins looks when played forwards; its label says in which direction it is played. Nothing
else of a scene depends on which of the two twins it is, so twins differ in the order of their frames and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .classes import MOTION_CLASSES
from .randomness import Draws, order

Motion = Literal["left", "up", "turn", "grow", "appear"]
MOTIONS: tuple[Motion, ...] = ("left", "up", "turn", "grow", "appear")

Outline = Literal["rectangle", "ellipse", "triangle", "pentagon", "star", "cross", "ring"]
OUTLINES: tuple[Outline, ...] = ("rectangle", "ellipse", "triangle", "pentagon", "star", "cross", "ring")

Pattern = Literal["stripes", "checks", "gradient", "blobs"]
PATTERNS: tuple[Pattern, ...] = ("stripes", "checks", "gradient", "blobs")

Colour = tuple[float, float, float]

# Chosen so that a person who sees a clip names its motion at once, and for no model. In a picture of 64 pixels and 8
# frames, a shape of 17 to 33 pixels travels 13 to 28 pixels, about its own width, by 2 to 4 pixels per frame; it turns
# by 7 to 16 degrees per frame, too little for a pattern to be taken for turning the other way; its largest size is
# clearly not its smallest. Radii differ by more than one shape's size does, so that what grows may well begin larger
# than what shrinks.
RADIUS = (0.13, 0.26)
TRAVEL = (0.20, 0.44)
TURN = (math.radians(50), math.radians(110))
SIZE_RATIO = (1.5, 2.2)
# Half of the motions change their speed, but none so much that its first and last steps cannot be seen.
EASING = (0.0, 0.7)
# How much of a shape may leave the picture.
OVERHANG = 0.04
# Half of the backgrounds drift, at most half as far as the slowest shape travels.
DRIFT = (0.03, 0.10)
DISTRACTOR_RADIUS = (0.06, 0.11)
NOISE = (0.0, 0.05)
CONTRAST = (0.8, 1.15)
BRIGHTNESS = (-0.08, 0.08)

_PALETTES = 8  # the clearest of so many is taken
_LUMA = np.array([0.30, 0.59, 0.11])


@dataclass(frozen=True)
class Wave:
    """A triangle wave in the plane: `frequency` periods per unit along `angle`, starting at `phase` periods."""

    angle: float
    frequency: float
    phase: float


@dataclass(frozen=True)
class Texture:
    """Two colours in a pattern: stripes and gradients of one wave, checks of two, blobs of three.

    Attributes:
        pattern: what is made of the waves.
        waves: in units of the textured thing's radius; the background's is the picture's side.
        colours: RGB in [0, 1], a little beyond where contrast or brightness takes them there.
    """

    pattern: Pattern
    waves: tuple[Wave, ...]
    colours: tuple[Colour, Colour]


@dataclass(frozen=True)
class Shape:
    """A textured outline, as it is at time 0.

    Attributes:
        outline: its form.
        slimness: the height of a rectangle or an ellipse over its width; a cross's bars and a ring's band are as much
            wider; nothing to the other outlines.
        x: of its centre.
        y: of its centre.
        radius: from its centre to its farthest point.
        angle: by which it is turned.
        texture: fixed to the shape: it turns and grows along.
    """

    outline: Outline
    slimness: float
    x: float
    y: float
    radius: float
    angle: float
    texture: Texture


@dataclass(frozen=True)
class Scene:
    """Everything that decides a clip, but for the frames' number and size.

    Attributes:
        label: of the clip: an even one plays the scene forwards, its odd twin backwards.
        amount: how far the motion goes from the first frame to the last: length, angle or ratio of sizes; 1 for
            "appear".
        easing: 0 for constant speed; 1 would begin and end at rest. Alike at both ends.
        shape: what moves.
        distractors: smaller shapes that do not.
        background: fills the picture.
        drift: how far the background moves from the first frame to the last: (x, y).
        noise: standard deviation of each value's noise, of values in [0, 1].
    """

    label: int
    amount: float
    easing: float
    shape: Shape
    distractors: tuple[Shape, ...]
    background: Texture
    drift: tuple[float, float]
    noise: float

    @property
    def motion(self) -> Motion:
        """What the shape does when the scene is played forwards."""
        return MOTIONS[self.label // 2]

    @property
    def is_reversed(self) -> bool:
        """Whether the frames are shown in the opposite order."""
        return self.label % 2 == 1


def label_of(seed: int, index: int) -> int:
    """The label of a clip: every ten clips from a multiple of ten on hold each class once, in a random order."""
    block, place = divmod(index, len(MOTION_CLASSES))
    return order(seed, block, len(MOTION_CLASSES))[place]


def scene_of(seed: int, index: int) -> Scene:
    """The scene of a clip, the same for the same two numbers.

    Args:
        seed: of the dataset, in [0, 2^64).
        index: of the clip, in [0, 2^64).

    Returns:
        The scene; of the label, only the pair has a part in what is drawn.
    """
    draws = Draws(seed, index)
    label = label_of(seed, index)
    motion = MOTIONS[label // 2]
    shape_colours, background_colours, *distractor_colours = _palette(draws)
    amount = _amount(draws, motion)
    radius = draws.uniform(*RADIUS)
    reach_x, reach_y = _reach(motion, amount, radius)
    drift, direction = draws.uniform(*DRIFT) * draws.chance(0.5), draws.uniform(0, 2 * math.pi)
    return Scene(
        label=label,
        amount=amount,
        easing=draws.uniform(*EASING) * draws.chance(0.5),
        shape=_shape(draws, radius, (reach_x, reach_y), shape_colours),
        distractors=tuple(
            _shape(draws, draws.uniform(*DISTRACTOR_RADIUS), (0.1, 0.1), colours)
            for colours in distractor_colours[: draws.choice((0, 0, 1, 2))]
        ),
        background=_texture(draws, background_colours, periods=(0.18, 0.40), gradient_period=2.0),
        drift=(drift * math.cos(direction), drift * math.sin(direction)),
        noise=draws.uniform(*NOISE),
    )


def _amount(draws: Draws, motion: Motion) -> float:
    ranges = {"left": TRAVEL, "up": TRAVEL, "turn": TURN, "grow": SIZE_RATIO, "appear": (1.0, 1.0)}
    return draws.uniform(*ranges[motion])


def _reach(motion: Motion, amount: float, radius: float) -> tuple[float, float]:
    """How far the shape gets from where its centre is at time 0: (x, y)."""
    largest = radius * math.sqrt(amount) if motion == "grow" else radius
    along_x, along_y = amount / 2 * (motion == "left"), amount / 2 * (motion == "up")
    return largest - OVERHANG + along_x, largest - OVERHANG + along_y


def _shape(draws: Draws, radius: float, reach: tuple[float, float], colours: tuple[Colour, Colour]) -> Shape:
    x, y = (draws.uniform(margin, 1 - margin) for margin in reach)
    return Shape(
        outline=draws.choice(OUTLINES),
        slimness=draws.uniform(0.45, 0.75),
        x=x,
        y=y,
        radius=radius,
        angle=draws.uniform(0, 2 * math.pi),
        texture=_texture(draws, colours, periods=(0.7, 1.2), gradient_period=4.0),
    )


def _texture(
    draws: Draws, colours: tuple[Colour, Colour], *, periods: tuple[float, float], gradient_period: float
) -> Texture:
    pattern = draws.choice(PATTERNS)
    angle = draws.uniform(0, 2 * math.pi)
    if pattern == "gradient":
        # A quarter of a period is the wave's middle: there at the centre, so that both colours show.
        waves = [Wave(angle, 1 / gradient_period, draws.uniform(0.2, 0.3))]
    elif pattern == "blobs":
        steps = (angle + part * math.pi / 3 + draws.uniform(-0.25, 0.25) for part in range(3))
        waves = [Wave(step, 1 / draws.uniform(*periods), draws.uniform(0, 1)) for step in steps]
    else:
        turns = (0.0,) if pattern == "stripes" else (0.0, math.pi / 2)
        frequency = 1 / draws.uniform(*periods)
        waves = [Wave(angle + turn, frequency, draws.uniform(0, 1)) for turn in turns]
    return Texture(pattern, tuple(waves), colours)


def _palette(draws: Draws) -> list[tuple[Colour, Colour]]:
    """Two colours each for the shape, the background and two distractors, after contrast and brightness.

    Of several palettes, the one whose shape stands out best: from both colours of the background, and its own two
    colours from each other. The background's own two are kept nearer to each other.
    """
    colours = draws.uniforms(_PALETTES, 4, 2, 3)
    shape, background = colours[:, 0], colours[:, 1]
    background[:, 1] = 0.5 * (background[:, 0] + background[:, 1])
    across = shape[:, :, None] - background[:, None, :]
    within = shape[:, 0] - shape[:, 1]
    distances = np.concatenate([across.reshape(_PALETTES, -1, 3), within[:, None]], axis=1) ** 2 @ _LUMA
    best = colours[int(distances.min(axis=1).argmax())]
    best = (best - 0.5) * draws.uniform(*CONTRAST) + 0.5 + draws.uniform(*BRIGHTNESS)
    return [(tuple(first), tuple(second)) for first, second in best.tolist()]
