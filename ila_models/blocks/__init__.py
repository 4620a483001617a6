"""Transformer blocks: CLIP's own, frame by frame, and before its spatial attention the form that aligns frames.

Besides ILA's form there are baselines that take its place, to compare with: no exchange between frames, temporal shift,
and divided space-time attention. With freshly made layers, every form but the shift is CLIP's block on each frame.
"""

from __future__ import annotations

from ..configs import AlignmentForm
from .divided_space_time import DividedSpaceTimeBlock
from .frame import BlockOutput, FrameBlock
from .fused import FusedResidualBlock
from .residual import ResidualBlock
from .temporal_shift import TemporalShiftBlock

__all__ = [
    "BLOCKS",
    "BlockOutput",
    "DividedSpaceTimeBlock",
    "FrameBlock",
    "FusedResidualBlock",
    "ResidualBlock",
    "TemporalShiftBlock",
]

BLOCKS: dict[AlignmentForm, type[FrameBlock]] = {
    "residual": ResidualBlock,
    "none": FrameBlock,
    "temporal_shift": TemporalShiftBlock,
    "divided_space_time": DividedSpaceTimeBlock,
}
"""The block of each form; a new form is one entry here and one name in :data:`ila_models.configs.AlignmentForm`."""
