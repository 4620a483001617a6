"""Turning a decoded frame the way players show it, from the display matrix that phones write."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from torch import Tensor

from .sources import VideoError

if TYPE_CHECKING:
    from av import VideoFrame

_UPRIGHT = (False, False, False)


def shown_size(frame: VideoFrame, *, name: str) -> tuple[int, int]:
    """Height and width in pixels of a frame as shown.

    Args:
        frame: as decoded.
        name: of the video, for messages.

    Raises:
        VideoError: the frame is to be turned by anything but quarter turns.
    """
    transposed, _, _ = _steps(frame, name=name)
    return (frame.width, frame.height) if transposed else (frame.height, frame.width)


def orient(picture: Tensor, frame: VideoFrame, *, name: str) -> Tensor:
    """Turns and mirrors a picture as its frame's display matrix says.

    Args:
        picture: the frame's pixels as stored, [..., H, W].
        frame: as decoded.
        name: of the video, for messages.

    Returns:
        The picture as shown, [..., H, W] or [..., W, H].

    Raises:
        VideoError: the frame is to be turned by anything but quarter turns.
    """
    transposed, mirrored, upside_down = _steps(frame, name=name)
    if transposed:
        picture = picture.transpose(-1, -2)
    mirrored_axes = [axis for axis, flip in ((-1, mirrored), (-2, upside_down)) if flip]
    return picture.flip(mirrored_axes) if mirrored_axes else picture


def _steps(frame: VideoFrame, *, name: str) -> tuple[bool, bool, bool]:
    """Whether to transpose, then to mirror left and right, then to turn upside down."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return _UPRIGHT
    # Rows (a, b, u), (c, d, v), (x, y, w): the pixel (p, q) is shown at (a p + c q + x, b p + d q + y).
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    small = max(abs(a), abs(b), abs(c), abs(d)) / 100
    if abs(b) <= small and abs(c) <= small and abs(a) > small and abs(d) > small:
        return False, a < 0, d < 0
    if abs(a) <= small and abs(d) <= small and abs(b) > small and abs(c) > small:
        return True, c < 0, b < 0
    raise VideoError(
        f"{name}: its display matrix ({a}, {b}, {c}, {d}) is no quarter turn; `ffmpeg -i INPUT OUTPUT.mp4` writes the "
        "turned pictures."
    )
