"""The ten motions, in five pairs of twins: each is its twin played backwards."""

from __future__ import annotations

import operator

MOTION_CLASSES: tuple[str, ...] = (
    "moving left",
    "moving right",
    "moving up",
    "moving down",
    "turning clockwise",
    "turning counter-clockwise",
    "growing",
    "shrinking",
    "appearing",
    "vanishing",
)
"""What the shape does, by label; the labels 2k and 2k + 1 are twins."""


def twin(label: int) -> int:
    """The label of the same motion played backwards.

    Args:
        label: in [0, 10).

    Returns:
        The other label of the pair; `twin(twin(label))` is `label`.

    Raises:
        ValueError: no class has this label.
    """
    label = operator.index(label)
    if not 0 <= label < len(MOTION_CLASSES):
        raise ValueError(f"label is {label}; it must be in 0 to {len(MOTION_CLASSES) - 1}.")
    return label ^ 1
