"""A model that starts from CLIP's weights is CLIP, frame by frame, as timm and open_clip compute it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import NamedTuple

import open_clip
import pytest
import timm
import torch
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from ila_models.configs import ARCHITECTURES
from ila_models.factory import create_model
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.text import TextEncoder
from ila_models.weights.names import clip_image_names, rename

CLASSES = ("surfing water", "tai chi", "riding a bike")
# What CLIP has no word for, and ILA adds.
ADDED = re.compile(
    r"blocks\.\d+\.(alignment|aligned_skip|temporal_conv|temporal_proj|interactive_skip)\.|temporal\.|head\.|window_offset$"
)


class Started(NamedTuple):
    """A model started from a CLIP file, a clip, and the clip's tokens, frame vectors and video vector."""

    model: ILAVisionTransformer
    clips: Tensor
    tokens: Tensor
    frames: Tensor
    video: Tensor


@pytest.fixture(scope="module")
def started(clip_b32: Path) -> Started:
    model = create_model("ila_vit_b32", checkpoint_path=clip_b32, num_frames=4, class_names=CLASSES)
    clips = torch.randn(2, 4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = model.forward_features(clips)
        return Started(model, clips, tokens, model.forward_frames(tokens), model.forward_head(tokens, pre_logits=True))


@pytest.fixture(scope="module")
def clip(clip_b32: Path) -> nn.Module:
    """open_clip's own model of the same file."""
    model = open_clip.model.CLIP(**open_clip.get_model_config("ViT-B-32-quickgelu"))
    model.load_state_dict(torch.load(clip_b32, weights_only=True))
    return model.eval()


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Within 1e-5 of the largest magnitude."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@torch.no_grad()
def test_frame_vectors_are_timm_s_clip(started: Started, clip: nn.Module) -> None:
    oracle = timm.create_model("vit_base_patch32_clip_quickgelu_224", num_classes=512, weight_init="skip").eval()
    oracle.load_state_dict(checkpoint_filter_fn(clip.state_dict(), oracle))
    images = started.clips.flatten(0, 1)
    assert_near(started.tokens.flatten(0, 1), last_tokens(oracle, images))
    assert_near(started.frames.flatten(0, 1), oracle(images))


def last_tokens(oracle: nn.Module, images: Tensor) -> Tensor:
    """timm's tokens of the last block, before the final norm."""
    patches, prefix = oracle.forward_intermediates(
        images, indices=1, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
    )[0]
    return torch.cat([prefix, patches], dim=1)


@torch.no_grad()
def test_frame_vectors_are_open_clip_s(started: Started, clip: nn.Module) -> None:
    assert_near(started.frames.flatten(0, 1), clip.encode_image(started.clips.flatten(0, 1)))


@torch.no_grad()
def test_video_vector_is_parallel_to_the_mean_frame_vector(started: Started) -> None:
    cosine = torch.cosine_similarity(started.video, started.frames.mean(1))
    torch.testing.assert_close(cosine, torch.ones(2), atol=1e-6, rtol=0)


@torch.no_grad()
def test_zero_shot_logits_are_open_clip_s(started: Started, clip: nn.Module) -> None:
    images = clip.encode_image(started.clips.flatten(0, 1)).unflatten(0, (2, 4)).mean(1)
    texts = clip.encode_text(open_clip.get_tokenizer("ViT-B-32-quickgelu")(list(CLASSES)))
    expected = clip.logit_scale.exp() * torch.cosine_similarity(images[:, None], texts, dim=-1)
    assert_near(started.model.head.text_features, texts)
    assert_near(started.model(started.clips), expected)


@torch.no_grad()
def test_training_values_are_asked_for(started: Started) -> None:
    """``init_for_training`` gives up the zero-shot start, and leaves CLIP's part as it is."""
    model = copy.deepcopy(started.model)
    model.init_for_training()
    tokens = model.forward_features(started.clips)
    assert torch.equal(tokens, started.tokens)
    video = model.forward_head(tokens, pre_logits=True)
    assert (torch.cosine_similarity(video, started.video) < 0.9999).all()


@pytest.mark.parametrize(
    ("architecture", "clip_name"),
    [
        ("ila_vit_b32", "ViT-B-32-quickgelu"),
        ("ila_vit_b16", "ViT-B-16-quickgelu"),
        ("ila_vit_l14", "ViT-L-14-quickgelu"),
        ("ila_vit_l14_336", "ViT-L-14-336-quickgelu"),
    ],
)
def test_names_and_shapes_of_every_architecture_are_clip_s(architecture: str, clip_name: str) -> None:
    config = open_clip.get_model_config(clip_name)
    with torch.device("meta"):
        clip = open_clip.model.CLIP(**config)
        model = create_model(architecture)
        encoder = TextEncoder(
            width=config["text_cfg"]["width"], depth=config["text_cfg"]["layers"], embed_dim=config["embed_dim"]
        )
    ours = {name: tensor.shape for name, tensor in model.state_dict().items()}
    state = clip.state_dict()
    visual = {name: tensor for name, tensor in state.items() if name.startswith("visual.")}
    renamed = rename(visual, clip_image_names(ARCHITECTURES[architecture].depth))
    assert len(renamed) == len(visual)
    assert {name: tensor.shape for name, tensor in renamed.items()} == {
        name: shape for name, shape in ours.items() if not ADDED.match(name)
    }
    text = {name: tensor.shape for name, tensor in state.items() if name not in visual and name != "logit_scale"}
    assert {name: tensor.shape for name, tensor in encoder.tower.state_dict().items()} == text
    assert model.blocks[0].attn.num_heads == clip.visual.transformer.resblocks[0].attn.num_heads
    assert encoder.tower.transformer.resblocks[0].attn.num_heads == clip.transformer.resblocks[0].attn.num_heads
    assert ours["head.logit_scale"] == state["logit_scale"].shape
