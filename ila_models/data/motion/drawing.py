"""From a scene to pixels.

A clip is drawn by itself, so that its bits depend neither on its batch nor on the number of processes; that its tensors
stay in the processor's cache makes it faster, too. On pixels, only operations are used whose rounding IEEE 754 defines:
two machines agree but for the last bit of a sine or a power in double precision, of which there are a few per frame.

Symbols: T frames, S pixels of a side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from .scenes import Outline, Scene, Shape, Texture


@dataclass(frozen=True)
class Placement:
    """Where a shape or the background is in each of T frames, and from there the plane that moves along with it.

    Attributes:
        x: of the centre, [T] or [1], as all of these; fractions of the picture's side.
        y: of the centre.
        radius: the plane's unit.
        angle: of the plane, in radians, clockwise on the screen.
        side: S, of the picture.
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    side: int

    @property
    def pixel(self) -> Tensor:
        """A pixel's side in the plane's unit, [T, 1, 1]."""
        return torch.from_numpy(1 / (self.side * self.radius)).float()[:, None, None]

    def along(self, angle: float, *, scale: float = 1.0, offset: float = 0.0) -> Tensor:
        """Each pixel's coordinate along a direction of the plane, times `scale`, plus `offset`: [T, S, S]."""
        centres = (np.arange(self.side) + 0.5) / self.side
        turned = self.angle + angle
        columns = scale * (np.cos(turned) / self.radius)[:, None] * (centres - self.x[:, None]) + offset
        rows = scale * (np.sin(turned) / self.radius)[:, None] * (centres - self.y[:, None])
        return torch.from_numpy(columns).float()[:, None, :] + torch.from_numpy(rows).float()[:, :, None]


def draw_clip(scene: Scene, noise: Tensor) -> Tensor:
    """Draws a clip.

    Args:
        scene: what it shows.
        noise: of mean 0 and standard deviation 1, float32 [T, 3, S, S]; it stays with its picture where the scene is
            played backwards.

    Returns:
        uint8 RGB in [0, 255], [T, 3, S, S].
    """
    num_frames, _, _, side = noise.shape
    times = np.linspace(-1.0, 1.0, num_frames)
    picture = _colours(scene.background, _place_background(scene, times, side))
    for distractor in scene.distractors:
        placement = _place(distractor, np.zeros(1), side)
        picture = _over(picture, _colours(distractor.texture, placement), cover(distractor, placement))
    placement, opacity = place_shape(scene, times, side)
    picture = _over(picture, _colours(scene.shape.texture, placement), cover(scene.shape, placement) * opacity)
    clip = (noise * scene.noise).add_(picture).mul_(255).round_().clamp_(0, 255).to(torch.uint8)
    return clip.flip(0) if scene.is_reversed else clip


def place_shape(scene: Scene, times: np.ndarray, side: int) -> tuple[Placement, Tensor]:
    """Where the moving shape is at each time of the scene played forwards, and its opacity, float32 [T, 1, 1]."""
    # Odd in time, so that a motion looks alike at both ends: else the change of speed would tell the twins apart.
    progress = (1 - scene.easing) * times + scene.easing * times * (3 - times * times) / 2
    placement = _place(scene.shape, np.zeros_like(times), side)
    x, y, radius, angle = placement.x, placement.y, placement.radius, placement.angle
    opacity = np.ones_like(times)
    if scene.motion == "left":
        x = x - progress * scene.amount / 2
    elif scene.motion == "up":
        y = y - progress * scene.amount / 2
    elif scene.motion == "turn":
        angle = angle + progress * scene.amount / 2
    elif scene.motion == "grow":
        radius = radius * np.exp(progress * math.log(scene.amount) / 2)
    else:
        opacity = (1 + progress) / 2
    return Placement(x, y, radius, angle, side), torch.from_numpy(opacity).float()[:, None, None]


def cover(shape: Shape, placement: Placement) -> Tensor:
    """How much of each pixel the shape covers, in [0, 1], [T, S, S]: its edge is one pixel wide."""
    distance = _DISTANCES[shape.outline](placement, shape.slimness)
    return distance.div_(placement.pixel).neg_().add_(0.5).clamp_(0, 1)


def _place(shape: Shape, times: np.ndarray, side: int) -> Placement:
    x, y, radius, angle = (np.full_like(times, value) for value in (shape.x, shape.y, shape.radius, shape.angle))
    return Placement(x, y, radius, angle, side)


def _place_background(scene: Scene, times: np.ndarray, side: int) -> Placement:
    if scene.drift == (0.0, 0.0):
        times = times[:1] * 0
    drift_x, drift_y = scene.drift
    ones = np.ones_like(times)
    return Placement(0.5 + times * drift_x / 2, 0.5 + times * drift_y / 2, ones, 0 * ones, side)


def _over(below: Tensor, above: Tensor, coverage: Tensor) -> Tensor:
    """Lays one picture over another, [T, 3, S, S] or [1, 3, S, S] each, where it covers it."""
    return (above - below).mul_(coverage[:, None]).add(below)


def _colours(texture: Texture, placement: Placement) -> Tensor:
    """The texture all over the picture, [T, 3, S, S]."""
    first, second = torch.tensor(texture.colours)[:, None, :, None, None].unbind(0)
    return _mixture(texture, placement)[:, None] * (second - first) + first


def _mixture(texture: Texture, placement: Placement) -> Tensor:
    """How much of its second colour a texture has at each pixel, in [0, 1], [T, S, S]."""
    waves = [
        _triangle_wave(placement.along(wave.angle, scale=wave.frequency, offset=wave.phase)) for wave in texture.waves
    ]
    if texture.pattern == "gradient":
        return waves[0].add_(1).div_(2)
    combine: Callable[[Tensor, Tensor], Tensor] = torch.mul if texture.pattern == "checks" else torch.add
    height = reduce(combine, waves)
    # A wave rises by 4 per period: so divided, the step from one colour to the other is about a pixel wide.
    steepness = placement.pixel * (4 * texture.waves[0].frequency)
    return height.div_(steepness).add_(0.5).clamp_(0, 1)


def _triangle_wave(periods: Tensor) -> Tensor:
    """A wave between -1 and 1, at -1 where the periods are whole; overwrites its argument."""
    return periods.sub_(periods.floor()).sub_(0.5).abs_().mul_(-4).add_(1)


# Distances to an outline of radius 1, negative inside: exact at straight edges, close to it at an ellipse's.


def _rectangle(placement: Placement, slimness: float) -> Tensor:
    width = 1 / math.hypot(1, slimness)
    return _box(placement.along(0).abs_(), placement.along(math.pi / 2).abs_(), width, width * slimness)


def _cross(placement: Placement, slimness: float) -> Tensor:
    across, down = placement.along(0).abs_(), placement.along(math.pi / 2).abs_()
    bar = 0.55 * slimness
    return torch.minimum(_box(across, down, 1, bar), _box(across, down, bar, 1))


def _box(across: Tensor, down: Tensor, half_width: float, half_height: float) -> Tensor:
    return torch.maximum(across - half_width, down - half_height)


def _ellipse(placement: Placement, slimness: float) -> Tensor:
    across = placement.along(0)
    down = placement.along(math.pi / 2, scale=1 / slimness)
    reach = across.square().add_(down.square()).sqrt_()
    slope = across.square_().add_(down.div_(slimness).square_()).sqrt_().clamp_(min=1e-6)
    # At the outline, the reach is 1 and rises by slope / reach.
    return (reach - 1).mul_(reach).div_(slope)


def _ring(placement: Placement, slimness: float) -> Tensor:
    reach = placement.along(0).square_().add_(placement.along(math.pi / 2).square_()).sqrt_()
    half_band = 0.4 * slimness
    return reach.sub_(1 - half_band).abs_().sub_(half_band)


def _polygon(placement: Placement, corners: int) -> Tensor:
    inner = math.cos(math.pi / corners)
    sides = (placement.along(2 * math.pi * side / corners, offset=-inner) for side in range(corners))
    return reduce(torch.maximum, sides)


def _triangle(placement: Placement, slimness: float) -> Tensor:
    return _polygon(placement, 3)


def _pentagon(placement: Placement, slimness: float) -> Tensor:
    return _polygon(placement, 5)


def _star(placement: Placement, slimness: float) -> Tensor:
    # A pentagram: its points are inside of all but at most one of the five sides of the pentagon in its middle.
    inner = math.cos(2 * math.pi / 5)
    largest = second = placement.along(0, offset=-inner)
    second = torch.full_like(second, -torch.inf)
    for side in range(1, 5):
        distance = placement.along(2 * math.pi * side / 5, offset=-inner)
        second = torch.maximum(second, torch.minimum(largest, distance))
        largest = torch.maximum(largest, distance)
    return second


_DISTANCES: dict[Outline, Callable[[Placement, float], Tensor]] = {
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "triangle": _triangle,
    "pentagon": _pentagon,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}
