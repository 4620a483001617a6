"""Transformer blocks: CLIP's own, frame by frame, and in it the forms by which frames see each other.

ILA's forms are the released code's (``residual``) and the paper's (``token``). The others are there to compare with:
what the paper tries in its token's place, and baselines of other papers. With freshly made layers, ``residual``,
``none``, ``divided_space_time`` and ``guided`` are CLIP's block on each frame.
"""

from __future__ import annotations

from ..configs import AlignmentForm, ILAConfig
from .cross_frame import CrossFrameBlock
from .divided_space_time import DividedSpaceTimeBlock
from .frame import BlockOutput, FrameBlock
from .fused import FusedResidualBlock
from .guided import GuidedTemporalBlock
from .inference import InferenceBlock
from .pooled import AdditionBlock, NeighbourAverageBlock
from .residual import ResidualBlock
from .temporal_shift import TemporalShiftBlock
from .token import FusedTokenBlock, TokenBlock

__all__ = [
    "BLOCKS",
    "AdditionBlock",
    "BlockOutput",
    "CrossFrameBlock",
    "DividedSpaceTimeBlock",
    "FrameBlock",
    "FusedResidualBlock",
    "FusedTokenBlock",
    "GuidedTemporalBlock",
    "InferenceBlock",
    "NeighbourAverageBlock",
    "ResidualBlock",
    "TemporalShiftBlock",
    "TokenBlock",
    "make_block",
]

BLOCKS: dict[AlignmentForm, type[FrameBlock]] = {
    "residual": ResidualBlock,
    "token": TokenBlock,
    "neighbour_average": NeighbourAverageBlock,
    "addition": AdditionBlock,
    "none": FrameBlock,
    "temporal_shift": TemporalShiftBlock,
    "divided_space_time": DividedSpaceTimeBlock,
    "cross_frame": CrossFrameBlock,
    "guided": GuidedTemporalBlock,
}
"""The block of each form; a new form is one entry here and one name in :data:`ila_models.configs.AlignmentForm`."""


def make_block(config: ILAConfig, *, drop_path: float = 0.0) -> FrameBlock:
    """Makes a block of a model; see :class:`FrameBlock`."""
    kind = BLOCKS[config.alignment]
    if issubclass(kind, ResidualBlock | TokenBlock | AdditionBlock):
        return kind(
            config.width,
            alignment_width=config.alignment_width,
            interactive=config.interactive,
            target=config.alignment_target,
            drop_path=drop_path,
        )
    if issubclass(kind, NeighbourAverageBlock):
        return kind(config.width, target=config.alignment_target, drop_path=drop_path)
    return kind(config.width, drop_path=drop_path)
