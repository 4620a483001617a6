"""Easier clips to begin learning with: what hides a motion comes in by degrees.

Whether something turns to the left or to the right cannot be told from where it is: how each part of it moves from
frame to frame must be seen. A small network that starts from random weights finds that out within 2,000 clips when
a large white triangle turns on black, and not within 10,000 when shapes, places and colours are any.
"""

from __future__ import annotations

from dataclasses import replace

from .randomness import Draws
from .scenes import Colour, Scene, Texture

_WHITES: tuple[Colour, Colour] = ((1.0, 1.0, 1.0), (0.8, 0.8, 0.8))
_BLACKS: tuple[Colour, Colour] = ((0.0, 0.0, 0.0), (0.2, 0.2, 0.2))
_RADIUS = 0.32
# Below this, every shape is a triangle, and there are no other shapes below the second.
_ONE_OUTLINE, _NO_DISTRACTORS = 0.1, 0.5


def hardness(draws: Draws, difficulty: float) -> float:
    """How hard one clip of a dataset is: evenly between ``2 * difficulty - 1`` and ``2 * difficulty``, within [0, 1].

    The easy clips therefore stay among the others for a while, and at a difficulty of 1 every clip is what it is.
    """
    return draws.uniform(max(0.0, 2 * difficulty - 1), min(1.0, 2 * difficulty))


def ease(scene: Scene, hard: float) -> Scene:
    """The scene between its easiest form and itself.

    Args:
        scene: what is to be shown.
        hard: 0 for a large white triangle in the middle of a dark picture that keeps still, 1 for the scene itself.

    Returns:
        A scene of the same motion, by the same amount.
    """
    shape = replace(
        scene.shape,
        outline="triangle" if hard < _ONE_OUTLINE else scene.shape.outline,
        x=_between(0.5, scene.shape.x, hard),
        y=_between(0.5, scene.shape.y, hard),
        radius=_between(_RADIUS, scene.shape.radius, hard),
        texture=_fade(_WHITES, scene.shape.texture, hard),
    )
    return replace(
        scene,
        shape=shape,
        distractors=scene.distractors if hard >= _NO_DISTRACTORS else (),
        background=_fade(_BLACKS, scene.background, hard),
        drift=(hard * scene.drift[0], hard * scene.drift[1]),
        noise=hard * scene.noise,
    )


def _between(easy: float, own: float, hard: float) -> float:
    return (1 - hard) * easy + hard * own


def _fade(easy: tuple[Colour, Colour], texture: Texture, hard: float) -> Texture:
    first, second = (_mix(plain, own, hard) for plain, own in zip(easy, texture.colours, strict=True))
    return replace(texture, colours=(first, second))


def _mix(easy: Colour, own: Colour, hard: float) -> Colour:
    red, green, blue = (_between(plain, value, hard) for plain, value in zip(easy, own, strict=True))
    return red, green, blue
