"""Architectures as data: every number that a constructor needs, and no code.

Sizes follow CLIP's image towers. A head is always 64 wide, so the number of
attention heads is ``width // 64``. Multi-layer perceptrons are four times as wide as their input.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

HEAD_WIDTH = 64
"""Channels of one attention head, in every tower."""

AlignmentForm = Literal[
    "residual",
    "token",
    "neighbour_average",
    "addition",
    "none",
    "temporal_shift",
    "divided_space_time",
    "cross_frame",
    "guided",
]
"""How the frames of a clip see each other in a block. ILA's forms: ``"residual"``, the released code's, and
``"token"``, the paper's; in the token's place, as the paper compares them, ``"neighbour_average"`` and ``"addition"``.
The others are baselines: nothing, temporal shift (TSM), divided space-time attention (TimeSformer), cross-frame
attention (X-CLIP), alignment-guided temporal attention (ATA)."""

AlignmentTarget = Literal["neighbours", "first", "middle"]
"""Which frames are aligned with each other: neighbours, or all with the first or with the middle frame."""

InteractiveBlock = Literal["separable", "full"]
"""First stage of the interactive block: depthwise-separable (Kinetics-400) or a full 3x3 (Something-Something v2)."""

HeadKind = Literal["text", "linear", "none"]
"""What makes classes of a video vector: class-name features, a linear layer, or nothing (video embeddings)."""


@dataclass(frozen=True, kw_only=True)
class ILAConfig:
    """The numbers of one ILA vision transformer, head excepted.

    Attributes:
        width: Channels D of a token.
        depth: Transformer blocks.
        patch_size: Pixels along a side of a square patch.
        embed_dim: Channels E of CLIP's joint embedding: of a frame vector, a video vector and a class feature.
        img_size: Pixels, (height, width).
        num_frames: Frames T that the temporal position embedding is made for.
        alignment: Form of the block.
        alignment_width: Channels of the pair features; a multiple of 8 (256 in the released models). Forms without
            pair features leave it alone, as they do ``interactive``.
        interactive: First stage of the interactive block.
        alignment_target: Which frames ILA's forms align.
        temporal_depth: Layers of the transformer over frames.
        prompt_depth: Layers of the video-specific prompts in the text head.
    """

    width: int
    depth: int
    patch_size: int
    embed_dim: int
    img_size: tuple[int, int] = (224, 224)
    num_frames: int = 8
    alignment: AlignmentForm = "residual"
    alignment_width: int = 256
    interactive: InteractiveBlock = "separable"
    alignment_target: AlignmentTarget = "neighbours"
    temporal_depth: int = 1
    prompt_depth: int = 2


@dataclass(frozen=True, kw_only=True)
class AlignedConfig:
    """The numbers of what :func:`~ila_models.add_alignment` adds to an image model.

    Attributes:
        num_frames: Frames T that the temporal position embedding is made for.
        alignment_width: Channels of the pair features; a multiple of 8.
        interactive: First stage of the interactive block.
        alignment_target: Which frames are aligned.
        temporal_depth: Layers of the transformer over frames.
    """

    num_frames: int = 8
    alignment_width: int = 256
    interactive: InteractiveBlock = "separable"
    alignment_target: AlignmentTarget = "neighbours"
    temporal_depth: int = 1


ARCHITECTURES: MappingProxyType[str, ILAConfig] = MappingProxyType(
    {
        "ila_vit_b32": ILAConfig(width=768, depth=12, patch_size=32, embed_dim=512),
        "ila_vit_b16": ILAConfig(width=768, depth=12, patch_size=16, embed_dim=512),
        "ila_vit_l14": ILAConfig(width=1024, depth=24, patch_size=14, embed_dim=768),
        "ila_vit_l14_336": ILAConfig(
            width=1024, depth=24, patch_size=14, embed_dim=768, img_size=(336, 336), num_frames=16
        ),
        "ila_vit_nano8": ILAConfig(
            width=64, depth=3, patch_size=8, embed_dim=128, img_size=(64, 64), alignment_width=64
        ),
    }
)
"""Named architectures. ``ila_vit_l14_336`` was released with 16 frames only. ``ila_vit_nano8`` is this project's own;
its alignment is narrow, since 256 channels would dwarf it."""
