"""The form for inference: the same function as the released form, and all that it is for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.utils import reparameterize_model
from tiny import make_clips, make_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import ila_models
from ila_models.blocks import FusedResidualBlock
from ila_models.configs import HeadKind, InteractiveBlock
from ila_models.data.motion import TEST_SEED, motion_clips
from ila_models.ila_vit import ILAVisionTransformer


def trained(**changes: Any) -> ILAVisionTransformer:
    """A small model whose batch norms have seen something."""
    model = make_model(**changes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


def assert_same(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    error = float(((found.float() - expected).abs().max() / expected.abs().max()).detach())
    assert error <= tolerance


@pytest.mark.parametrize("head", ["text", "linear", "none"])
@pytest.mark.parametrize("interactive", ["separable", "full"])
@pytest.mark.parametrize(("frames", "size"), [(2, (64, 64)), (3, (64, 96)), (8, (80, 64))])
def test_the_answers_are_those_of_the_released_form(
    head: HeadKind, interactive: InteractiveBlock, frames: int, size: tuple[int, int]
) -> None:
    model = trained(head=head, interactive=interactive, img_size=size)
    fused = copy.deepcopy(model).fuse()
    clips = make_clips(model, frames=frames)
    with torch.inference_mode():
        expected, expected_maps = model(clips, return_points=True)
        found, maps = fused(clips, return_points=True)
        assert_same(found, expected)
        assert_same(maps.points, expected_maps.points)
        assert_same(maps.masks, expected_maps.masks)
        assert_same(fused.forward_features(clips), model.forward_features(clips))
        both = zip(
            fused.forward_intermediates(clips, intermediates_only=True),
            model.forward_intermediates(clips, intermediates_only=True),
            strict=True,
        )
        for tokens, expected_tokens in both:
            assert_same(tokens, expected_tokens)


def test_fusing_is_in_place_and_done_once() -> None:
    model = trained().train()
    assert not model.fused
    assert model.fuse() is model
    assert model.fused
    assert not model.training
    blocks = list(model.blocks)
    assert list(model.fuse().blocks) == blocks
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_timm_fuses_a_copy() -> None:
    model = trained()
    fused = reparameterize_model(model)
    assert (model.fused, fused.fused) == (False, True)
    clips = make_clips(model)
    with torch.inference_mode():
        assert_same(fused(clips), model(clips))


def test_a_model_is_created_fused() -> None:
    clips = motion_clips(range(2), seed=TEST_SEED)[0].float() / 255
    model = ila_models.create_model("ila_vit_nano8", pretrained=True)
    fused = ila_models.create_model("ila_vit_nano8", pretrained=True, fused=True)
    assert fused.fused
    assert fused.pretrained_cfg == model.pretrained_cfg
    with torch.inference_mode():
        assert_same(fused(clips), model(clips))


def test_baselines_have_nothing_to_rearrange() -> None:
    model = make_model(head="linear", alignment="temporal_shift")
    clips = make_clips(model)
    expected = model(clips)
    assert torch.equal(model.fuse()(clips), expected)
    assert not model.fused


def test_classes_are_exchanged_after_fusing() -> None:
    model = trained()
    features = torch.randn(3, model.config.embed_dim)
    clips = make_clips(model)
    fused = copy.deepcopy(model).fuse()
    for each in (model, fused):
        each.set_text_features(features)
    with torch.inference_mode():
        assert_same(fused(clips), model(clips))


def count(model: ILAVisionTransformer, clips: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(clips)
    return counter.get_total_flops() // 2


def test_the_saved_multiply_adds_are_counted() -> None:
    clips_of = {"clips": 1, "frames": 8}
    with torch.device("meta"):
        model = ila_models.create_model("ila_vit_b16", num_classes=0)
        fused = copy.deepcopy(model).fuse()
        clips = make_clips(model, **clips_of)
    width, patches, frames = 768, 196, 8
    skips = (width * width + 128 * width) * patches * frames - 128 * width * patches * frames  # two layers become one
    # No patch tokens of the last block: neither queries nor output of attention, nor the MLP.
    last = 10 * width * width * patches * frames
    attention = 2 * width * patches * (patches + 1) * frames
    class_tokens = width * width * frames  # one layer in place of two
    expected = count(model, clips) - 12 * (skips + class_tokens) - last - attention
    assert count(fused, clips) == expected
    assert round(expected / 1e9) == 178


def test_class_tokens_alone_are_computed_where_nobody_asks_for_patches() -> None:
    seen: list[torch.Size] = []
    for head in ("none", "linear", "text"):
        model = trained(head=head).fuse()
        model.blocks[-1].register_forward_hook(lambda module, args, output: seen.append(output.tokens.shape))
        model(make_clips(model))
        model.forward_features(make_clips(model))
    assert [shape[2] for shape in seen] == [1, 17, 1, 17, 17, 17]


def test_training_is_refused() -> None:
    model = trained().fuse()
    with pytest.raises(RuntimeError, match=r"fused for inference and cannot be trained: create it anew"):
        model.train()
    assert not model.training
    assert not model.eval().training


def test_saving_is_refused(tmp_path: Path) -> None:
    model = ila_models.create_model("ila_vit_nano8", pretrained=True, fused=True)
    with pytest.raises(ValueError, match=r"fused for inference.*save it before fuse\(\)"):
        ila_models.save_pretrained(model, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits(dtype: torch.dtype) -> None:
    clips, _ = motion_clips(range(200), seed=TEST_SEED)
    model = ila_models.create_model("ila_vit_nano8", pretrained=True, fused=True)
    transform = ila_models.create_transform(model)
    with torch.inference_mode():
        video = transform(clips)
        expected = model(video)
        found = model.to(dtype)(video.to(dtype))
    assert found.dtype == dtype
    assert_same(found, expected, 2e-2)
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_are_folded_before_they_are_rounded(dtype: torch.dtype) -> None:
    block = trained().blocks[0]
    exact = copy.deepcopy(block).fuse()
    rounded = copy.deepcopy(block).to(dtype).fuse()
    assert isinstance(rounded, FusedResidualBlock)
    assert rounded.patch_skip.weight.dtype == rounded.alignment.interactive.mix.conv.weight.dtype == dtype
    assert_same(rounded.patch_skip.weight, exact.patch_skip.weight, 2 * torch.finfo(dtype).eps)


def test_compiled_without_breaks_for_any_clips_and_frames() -> None:
    from torch._dynamo.testing import CompileCounter

    model = trained(head="linear", depth=1).fuse()
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    sizes = [(2, 4), (3, 4), (2, 5), (3, 6), (2, 7), (4, 4)]
    cases = [(4, 12), (17, 8), (1, 8), (2, 2)]  # 16 pairs or more, 16 clips or more, one clip, two frames
    more = [(64, 3), (7, 16), (1, 5), (5, 5), (20, 4), (1, 40), (3, 2)]
    with torch.inference_mode():
        for chosen, graphs in ((sizes, 2), (cases, 6), (more, 7)):
            for clips, frames in chosen:
                video = make_clips(model, clips=clips, frames=frames)
                assert_same(compiled(video), model(video))
            assert counter.frame_count <= graphs
    torch._dynamo.reset()


def test_compiled_by_inductor() -> None:
    model = trained(head="linear", depth=1).fuse()
    torch._dynamo.reset()
    clips = make_clips(model)
    with torch.inference_mode():
        assert_same(torch.compile(model, fullgraph=True)(clips), model(clips))
    torch._dynamo.reset()


def test_a_head_of_the_users_gets_its_patch_tokens() -> None:
    class MeanPatch(nn.Module):
        def forward(self, video: Tensor, patches: Tensor) -> Tensor:
            return patches.mean(dim=(1, 2))

    model = trained(head="linear")
    model.head = MeanPatch()
    clips = make_clips(model)
    with torch.inference_mode():
        assert_same(copy.deepcopy(model).fuse()(clips), model(clips))


def test_a_model_in_training_mode_is_not_fused_by_timm() -> None:
    with pytest.raises(RuntimeError, match=r"training mode cannot be fused for inference: call model.eval\(\) first"):
        reparameterize_model(trained().train())
