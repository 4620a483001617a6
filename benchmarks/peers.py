"""Other video models, built from timm's, transformers' and torchvision's own code, with random weights.

Every peer maps clips [B, T, 3, H, W] to a tensor, whatever its own layout is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import timm
import torch
import transformers
from torch import Tensor, nn
from torchvision.models.video import swin3d_b
from torchvision.models.video.mvit import MSBlockConfig, MViT
from torchvision.models.video.swin_transformer import SwinTransformer3d

_CLIP_NAMES = {
    "ila_vit_b32": "vit_base_patch32_clip_quickgelu_224",
    "ila_vit_b16": "vit_base_patch16_clip_quickgelu_224",
    "ila_vit_l14": "vit_large_patch14_clip_quickgelu_224",
    "ila_vit_l14_336": "vit_large_patch14_clip_quickgelu_336",
}
_EMBEDDING_WIDTHS = {"ila_vit_b32": 512, "ila_vit_b16": 512, "ila_vit_l14": 768, "ila_vit_l14_336": 768}
_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
_HUGE = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}


class OnClips(nn.Module):
    """A peer under this project's convention: clips [B, T, 3, H, W] in, one tensor out."""

    def __init__(self, model: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        """Wraps ``model``, which ``call`` knows how to give clips to."""
        super().__init__()
        self.model = model
        self._call = call

    def forward(self, clips: Tensor) -> Tensor:
        """Maps clips to the peer's answer."""
        return self._call(self.model, clips)


def framewise_clip(architecture: str) -> nn.Module:
    """The floor: CLIP's image tower of the same size, in timm, on every frame by itself."""
    model = timm.create_model(_CLIP_NAMES[architecture], num_classes=_EMBEDDING_WIDTHS[architecture])
    return OnClips(model.eval(), lambda model, clips: model(clips.flatten(0, 1)))


def x_clip(size: dict[str, int], *, patch: int, frames: int, pixels: int) -> nn.Module:
    """X-CLIP's video embedding: cross-frame attention and a transformer over frames."""
    width = {768: 512, 1024: 768}[size["hidden_size"]]
    over_frames = {"mit_hidden_size": width, "mit_intermediate_size": 4 * width, "mit_num_attention_heads": width // 64}
    vision = transformers.XCLIPVisionConfig(
        **size, **over_frames, image_size=pixels, patch_size=patch, num_frames=frames
    )
    text = transformers.XCLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_attention_heads=width // 64)
    config = transformers.XCLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=width)
    return OnClips(
        transformers.XCLIPModel(config).eval(), lambda model, clips: _pooled(model.get_video_features(clips))
    )


def timesformer(*, frames: int, pixels: int) -> nn.Module:
    """TimeSformer, divided space-time attention, of ViT-B's size as all of its published models are."""
    config = transformers.TimesformerConfig(**_BASE, image_size=pixels, num_frames=frames)
    return OnClips(
        transformers.TimesformerModel(config).eval(), lambda model, clips: model(clips).last_hidden_state[:, 0]
    )


def video_mae(size: dict[str, int], *, frames: int, pixels: int) -> nn.Module:
    """VideoMAE's encoder, joint attention over tubelets of two frames."""
    config = transformers.VideoMAEConfig(**size, image_size=pixels, num_frames=frames)
    return OnClips(transformers.VideoMAEModel(config).eval(), lambda model, clips: model(clips).last_hidden_state)


def vivit(size: dict[str, int], *, patch: int, frames: int, pixels: int) -> nn.Module:
    """ViViT, joint attention over tubelets of two frames."""
    config = transformers.VivitConfig(**size, image_size=pixels, num_frames=frames, tubelet_size=[2, patch, patch])
    model = transformers.VivitModel(config, add_pooling_layer=False)
    return OnClips(model.eval(), lambda model, clips: model(clips).last_hidden_state[:, 0])


def v_jepa2(size: dict[str, int], *, frames: int, pixels: int) -> nn.Module:
    """V-JEPA 2's encoder, joint attention over tubelets of two frames with rotary positions."""
    sizes = {name: value for name, value in size.items() if name != "intermediate_size"}
    config = transformers.VJEPA2Config(**sizes, crop_size=pixels, frames_per_clip=frames, patch_size=16, mlp_ratio=4)
    return OnClips(transformers.VJEPA2Model(config).eval(), lambda model, clips: model.get_vision_features(clips))


def video_swin_b() -> nn.Module:
    """Video Swin-B of torchvision."""
    return OnClips(swin3d_b().eval(), lambda model, clips: model(clips.transpose(1, 2)))


def video_swin_l_384() -> nn.Module:
    """Video Swin-L for 384 pixels, of torchvision's parts, with the sizes of its paper."""
    model = SwinTransformer3d(
        patch_size=[2, 4, 4], embed_dim=192, depths=[2, 2, 18, 2], num_heads=[6, 12, 24, 48], window_size=[8, 12, 12]
    )
    return OnClips(model.eval(), lambda model, clips: model(clips.transpose(1, 2)))


def mvit_v2_l_312() -> nn.Module:
    """MViTv2-L for 40 frames of 312 pixels, of torchvision's parts, with the sizes of its paper."""
    blocks, width_before = [], 144
    for stage, (depth, width) in enumerate(zip((2, 6, 36, 4), (144, 288, 576, 1152), strict=True)):
        for index in range(depth):
            halves = stage > 0 and index == 0
            kv_stride = 8 >> stage
            blocks.append(
                MSBlockConfig(
                    num_heads=2 << stage,
                    input_channels=width_before,
                    output_channels=width,
                    kernel_q=[3, 3, 3],
                    kernel_kv=[3, 3, 3],
                    stride_q=[1, 2, 2] if halves else [1, 1, 1],
                    stride_kv=[1, kv_stride, kv_stride],
                )
            )
            width_before = width
    model = MViT(
        spatial_size=(312, 312),
        temporal_size=40,
        block_setting=blocks,
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
    )
    return OnClips(model.eval(), lambda model, clips: model(clips.transpose(1, 2)))


def _pooled(output: object) -> Tensor:
    """The embedding, which newer versions of transformers hand out within an object."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model that the paper compares with, at the input that its authors test it with.

    Attributes:
        name: As its paper calls it.
        build: Makes it, on the current device.
        source: Whose code it is.
        frames, pixels: Of one view.
        views: (clips, crops) of a video.
        reported_top1: On Kinetics-400, in percent; the papers'. None where nobody here knows it.
        reported_gflops: Of one view; the papers'. None where nobody here knows it.
    """

    name: str
    build: Callable[[], nn.Module]
    source: str
    frames: int
    pixels: int
    views: tuple[int, int]
    reported_top1: float | None
    reported_gflops: int | None


PUBLISHED = (
    Published(
        name="TimeSformer-L",
        build=lambda: timesformer(frames=96, pixels=224),
        source="transformers",
        frames=96,
        pixels=224,
        views=(1, 3),
        reported_top1=80.7,
        reported_gflops=2380,
    ),
    Published(
        name="ViViT-H/14x2",
        build=lambda: vivit(_HUGE, patch=14, frames=32, pixels=224),
        source="transformers",
        frames=32,
        pixels=224,
        views=(4, 3),
        reported_top1=None,
        reported_gflops=None,
    ),
    Published(
        name="VideoMAE-L",
        build=lambda: video_mae(_LARGE, frames=16, pixels=224),
        source="transformers",
        frames=16,
        pixels=224,
        views=(5, 3),
        reported_top1=None,
        reported_gflops=None,
    ),
    Published(
        name="Video Swin-L@384",
        build=video_swin_l_384,
        source="torchvision",
        frames=32,
        pixels=384,
        views=(10, 5),
        reported_top1=84.9,
        reported_gflops=2107,
    ),
    Published(
        name="MViTv2-L@312",
        build=mvit_v2_l_312,
        source="torchvision",
        frames=40,
        pixels=312,
        views=(5, 3),
        reported_top1=86.1,
        reported_gflops=2828,
    ),
    Published(
        name="X-CLIP-L/14@336",
        build=lambda: x_clip(_LARGE, patch=14, frames=16, pixels=336),
        source="transformers",
        frames=16,
        pixels=336,
        views=(4, 3),
        reported_top1=87.7,
        reported_gflops=3086,
    ),
)

SAME_SIZE: dict[str, Callable[[int, int], nn.Module]] = {
    "X-CLIP-B/16": lambda frames, pixels: x_clip(_BASE, patch=16, frames=frames, pixels=pixels),
    "TimeSformer-B/16": lambda frames, pixels: timesformer(frames=frames, pixels=pixels),
    "VideoMAE-B/16x2": lambda frames, pixels: video_mae(_BASE, frames=frames, pixels=pixels),
    "ViViT-B/16x2": lambda frames, pixels: vivit(_BASE, patch=16, frames=frames, pixels=pixels),
    "V-JEPA 2-B/16x2": lambda frames, pixels: v_jepa2(_BASE, frames=frames, pixels=pixels),
    "Video Swin-B": lambda frames, pixels: video_swin_b(),
}
"""Peers of ViT-B's size by name; each takes (frames, pixels)."""
