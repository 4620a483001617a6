"""Image models of timm with alignment: at the start they are themselves on every frame, and then they learn."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import timm
import torch
from aligned_models import ARCHITECTURES, aligned_model, awake, clips_for, image_model
from torch import Tensor, nn

import ila_models
from ila_models.aligned_vit import AlignedViT, FusedAlignedBlock


def frames_of(model: AlignedViT, clips: Tensor) -> Tensor:
    return model.forward_frames(model.forward_features(clips))


@pytest.fixture(scope="module")
def learned() -> AlignedViT:
    torch.manual_seed(0)
    return aligned_model()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_begins_as_the_image_model_on_every_frame(name: str) -> None:
    vit = image_model(name)
    model = ila_models.add_alignment(copy.deepcopy(vit), alignment_width=16)
    clips = clips_for(model)
    with torch.inference_mode():
        frames = vit.forward_head(vit.forward_features(clips.flatten(0, 1)), pre_logits=True).unflatten(0, (2, 3))
        torch.testing.assert_close(frames_of(model, clips), frames, rtol=1e-4, atol=1e-4)
        logits = vit(clips.flatten(0, 1)).unflatten(0, (2, 3)).mean(dim=1)
        torch.testing.assert_close(model(clips), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_parameter_learns_and_the_fused_form_gives_the_same(name: str) -> None:
    model = awake(ila_models.add_alignment(image_model(name), alignment_width=16)).train()
    clips = clips_for(model)
    unused = {each for each, parameter in model.vit.named_parameters() if _is_unused(each)}
    (model(clips).logsumexp(dim=1).sum() + model.alignment_loss).backward()
    still = {each for each, parameter in model.named_parameters() if parameter.grad is None}
    assert {each.removeprefix("vit.") for each in still} <= unused
    model.eval()
    with torch.inference_mode():
        expected, maps = model(clips, return_points=True)
        fused, fused_maps = copy.deepcopy(model).fuse()(clips, return_points=True)
    torch.testing.assert_close(fused, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fused_maps.points, maps.points, rtol=1e-4, atol=1e-4)
    assert maps.points.shape == (2, 2, 2, 4)


def _is_unused(name: str) -> bool:
    """Parameters of timm's models that take no part in what they compute."""
    return name.startswith("norm.") or name.endswith("mask_token")


def test_frames_see_each_other_and_clips_do_not(learned: AlignedViT) -> None:
    clips = clips_for(learned)
    with torch.inference_mode():
        frames = frames_of(learned, clips)
        torch.testing.assert_close(frames_of(learned, clips[1:]), frames[1:], rtol=1e-4, atol=1e-4)
        changed = clips.clone()
        changed[:, 2] = torch.randn_like(changed[:, 2])
        assert not torch.allclose(frames_of(learned, changed)[:, 1], frames[:, 1], atol=1e-3)


def test_threads_that_share_a_model_get_their_own_answers(learned: AlignedViT) -> None:
    wide, long = clips_for(learned), torch.cat([clips_for(learned)[:1]] * 2, dim=1)
    with torch.inference_mode():
        expected = [learned(clips, return_points=True) for clips in (wide, long)]

    def run(number: int) -> bool:
        with torch.inference_mode():
            logits, maps = learned((wide, long)[number % 2], return_points=True)
        want, want_maps = expected[number % 2]
        return torch.allclose(logits, want, atol=1e-4) and torch.allclose(maps.points, want_maps.points, atol=1e-4)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(40)))
    assert torch.equal(copy.deepcopy(learned)(wide), learned(wide)), "a copy has a lock of its own"


def test_recomputed_activations_change_nothing(learned: AlignedViT) -> None:
    plain, saving = copy.deepcopy(learned).train(), copy.deepcopy(learned).train()
    saving.set_grad_checkpointing()
    clips = clips_for(learned)
    for model in (plain, saving):
        model(clips).square().sum().backward()
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, msg=name)
    for one, other in zip(plain.buffers(), saving.buffers(), strict=True):
        torch.testing.assert_close(other, one)


def test_timm_s_own_checkpointing_becomes_ours() -> None:
    vit = image_model("deit3_small_patch16_224")
    vit.set_grad_checkpointing(True)
    model = ila_models.add_alignment(vit, alignment_width=16).train()
    model(clips_for(model)).sum().backward()
    assert [block.grad_checkpointing for block in model.blocks] == [True, True]
    counted = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {int(norm.num_batches_tracked) for norm in counted} == {1}
    copy.deepcopy(model)


def test_a_way_of_cropping_that_we_do_not_have_is_said(caplog: pytest.LogCaptureFixture) -> None:
    vit = timm.create_model("eva02_base_patch14_448", img_size=56, depth=1)
    model = ila_models.add_alignment(vit, alignment_width=16)
    assert model.pretrained_cfg["crop_mode"] == "squash"
    assert caplog.text == ""
    vit = timm.create_model("eva02_base_patch14_448", img_size=56, depth=1)
    vit.pretrained_cfg["crop_mode"] = "border"
    model = ila_models.add_alignment(vit, alignment_width=16)
    assert model.pretrained_cfg["crop_mode"] == "center"
    assert "timm prepares images for these weights by crop_mode='border'" in caplog.text


def test_other_frames_another_classifier_and_saved_weights(learned: AlignedViT, tmp_path: Any) -> None:
    with torch.inference_mode():
        assert learned(clips_for(learned, frames=5)).shape == (2, 7)
    model = copy.deepcopy(learned)
    model.reset_classifier(3)
    again = ila_models.add_alignment(image_model("vit_small_patch14_reg4_dinov2"), alignment_width=16)
    again.reset_classifier(3)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    clips = clips_for(learned)
    with torch.inference_mode():
        assert torch.equal(again(clips), model(clips))
        model.reset_classifier(0)
        assert model(clips).shape == (2, 384)


def test_a_fused_model_has_no_training_form(learned: AlignedViT) -> None:
    fused = copy.deepcopy(learned).fuse()
    assert all(isinstance(block, FusedAlignedBlock) for block in fused.vit.blocks)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    with pytest.raises(RuntimeError, match="a block in training mode cannot be fused"):
        copy.deepcopy(learned).train().vit.blocks[0].fuse()
    with pytest.raises(RuntimeError, match="this model is fused for inference and cannot be trained"):
        fused.train()


def test_the_window_offset_is_set_for_all_blocks(learned: AlignedViT) -> None:
    model = copy.deepcopy(learned)
    model.set_window_offset(0.05)
    assert [float(block.window_offset) for block in model.vit.blocks] == pytest.approx([0.05, 0.05])


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (
            lambda: nn.Linear(3, 4),
            {},
            TypeError,
            "Linear is no vision transformer of timm's kind: it has no patch",
        ),
        (
            lambda: timm.create_model("vit_tiny_patch16_224", img_size=48),
            {},
            ValueError,
            "has a grid of 3x3 patches: .* at least 4 on either side are needed; create it with another img_size",
        ),
        (
            lambda: timm.create_model("vit_tiny_patch16_224", patch_drop_rate=0.5),
            {},
            ValueError,
            "this model drops patches in training",
        ),
        (
            lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=80, depth=1),
            {},
            TypeError,
            "for tuple: expected a vector .* for one classifier",
        ),
        (
            lambda: timm.create_model("cait_xxs24_224", img_size=80, depth=1),
            {},
            TypeError,
            # Older versions of timm do not say its tokens before the patches.
            r"a block of Cait is given \[1, 25, 192\], expected tokens \[1, 26, 192\]|Cait is .* no num_prefix_tokens",
        ),
        (
            lambda: timm.create_model("vit_tiny_patch16_224", img_size=80, depth=1, global_pool=""),
            {},
            TypeError,
            r"makes \[1, 26, 192\] of an image",
        ),
        (
            lambda: aligned_model("deit3_small_patch16_224").vit,
            {},
            TypeError,
            "the blocks of this VisionTransformer are aligned already",
        ),
        (lambda: image_model("deit3_small_patch16_224"), {"num_frames": 1}, ValueError, "num_frames=1 is out of range"),
        (
            lambda: image_model("deit3_small_patch16_224"),
            {"alignment_width": 12},
            ValueError,
            "alignment_width=12 is out of range: a whole number of at least 8, a multiple of 8 is needed",
        ),
    ],
)
def test_what_cannot_be_aligned(make: Any, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ila_models.add_alignment(make(), **arguments)


def test_videos_of_another_shape(learned: AlignedViT) -> None:
    for shape, message in (
        ((2, 3, 70, 70), r"expected \[B, T, 3, 70, 70\]; add the batch dimension"),
        ((1, 1, 3, 70, 70), "T = 1 frame: ILA aligns neighbouring frames, give at least 2"),
        ((1, 3, 4, 70, 70), r"expected \[B, T, 3, 70, 70\]"),
        ((1, 3, 3, 84, 84), "84x84 pixels: this model was built for 70x70"),
    ):
        with pytest.raises(ValueError, match=message):
            learned(torch.randn(shape))
