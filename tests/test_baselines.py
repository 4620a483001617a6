"""The forms that stand in the place of alignment: their equations, and what a model of them promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import TINY, make_clips, make_model, randomise
from torch import Tensor

import ila_models
from ila_models.blocks import (
    CrossFrameBlock,
    DividedSpaceTimeBlock,
    FrameBlock,
    GuidedTemporalBlock,
    TemporalShiftBlock,
    make_block,
)
from ila_models.blocks.guided import matching_order
from ila_models.configs import AlignmentForm
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.training.config import OptimizerSection
from ila_models.training.parameters import make_optimizer
from ila_models.weights.manifest import preprocessing

BASELINES: tuple[AlignmentForm, ...] = ("none", "temporal_shift", "divided_space_time", "cross_frame", "guided")
GRID = (2, 2)


def run(block: FrameBlock, x: Tensor) -> Tensor:
    return block(x, GRID, torch.tensor(0.2)).tokens


# Equations


@pytest.mark.parametrize("form", BASELINES)
def test_mixed_precision(form: AlignmentForm) -> None:
    block = make_block(replace(TINY, alignment=form)).eval()
    x = torch.randn(2, 3, 5, 64)
    expected = run(block, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = run(block, x)
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("form", ["residual", "none", "divided_space_time", "guided"])
def test_a_fresh_block_is_clip_s_on_every_frame(form: AlignmentForm) -> None:
    block, plain = make_block(replace(TINY, alignment=form)).eval(), FrameBlock(64).eval()
    plain.load_state_dict({name: block.state_dict()[name] for name in plain.state_dict()})
    x = torch.randn(2, 3, 17, 64)
    expected = torch.stack([plain.transform(x[:, frame : frame + 1])[:, 0] for frame in range(3)], dim=1)
    torch.testing.assert_close(block(x, (4, 4), torch.tensor(0.2)).tokens, expected)


@pytest.mark.parametrize("form", ["residual", "divided_space_time", "guided"])
def test_from_scratch_no_layer_is_silent(form: AlignmentForm) -> None:
    model = ILAVisionTransformer(replace(TINY, alignment=form), head="none")
    clips = make_clips(model)
    torch.testing.assert_close(model.forward_features(clips)[:, 0], model.forward_features(clips.flip(1))[:, -1])
    model.init_from_scratch()
    assert not torch.allclose(model.forward_features(clips)[:, 0], model.forward_features(clips.flip(1))[:, -1])


def test_shifted_channels_reach_the_attention_and_nothing_else() -> None:
    block, plain = TemporalShiftBlock(64).eval(), FrameBlock(64).eval()
    plain.load_state_dict(block.state_dict())
    x = torch.randn(1, 3, 5, 64)
    attended = x + plain.attend(block.shift(block.norm1(x)))
    torch.testing.assert_close(run(block, x), attended + block.mlp(block.norm2(attended)))


def test_divided_attention_equals_transformers() -> None:
    from transformers import TimesformerConfig
    from transformers.models.timesformer.modeling_timesformer import TimesformerLayer

    config = TimesformerConfig(
        hidden_size=128,
        num_attention_heads=2,
        intermediate_size=512,
        image_size=32,
        patch_size=16,
        num_frames=3,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
        attention_probs_dropout_prob=0.0,
        hidden_dropout_prob=0.0,
    )
    reference, block = TimesformerLayer(config, 0).eval(), DividedSpaceTimeBlock(128).eval()
    randomise(reference)
    state = reference.state_dict()
    names = {
        "temporal_norm": "temporal_layernorm",
        "temporal_attn.qkv": "temporal_attention.attention.qkv",
        "temporal_attn.proj": "temporal_attention.output.dense",
        "temporal_fc": "temporal_dense",
        "norm1": "layernorm_before",
        "attn.qkv": "attention.attention.qkv",
        "attn.proj": "attention.output.dense",
        "norm2": "layernorm_after",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    kinds = ("weight", "bias")
    block.load_state_dict(
        {f"{ours}.{kind}": state[f"{theirs}.{kind}"] for ours, theirs in names.items() for kind in kinds}
    )

    # The class token is the clip's there and each frame's here, so the same one stands in all frames; there, the frames
    # of a place stand together.
    class_token, patches = torch.randn(2, 1, 128), torch.randn(2, 3, 4, 128)
    found = run(block, torch.cat([class_token[:, None].expand(-1, 3, -1, -1), patches], dim=2))
    with torch.no_grad():
        output = reference(torch.cat([class_token, patches.transpose(1, 2).flatten(1, 2)], dim=1))[0]
    expected = output[:, 1:].unflatten(1, (4, 3)).transpose(1, 2)
    torch.testing.assert_close(found[:, :, 1:], expected, rtol=1e-5, atol=1e-5)


def test_cross_frame_attention_equals_transformers() -> None:
    from transformers import XCLIPVisionConfig
    from transformers.models.x_clip.modeling_x_clip import XCLIPVisionEncoderLayer

    config = XCLIPVisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_attention_heads=2,
        num_frames=3,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
        attn_implementation="eager",
    )
    reference, block = XCLIPVisionEncoderLayer(config).eval(), CrossFrameBlock(128).eval()
    randomise(reference)
    state = reference.state_dict()
    names = {
        "message_fc": "message_fc",
        "message_norm": "message_ln",
        "message_attn.proj": "message_attn.out_proj",
        "norm1": "layer_norm1",
        "attn.proj": "self_attn.out_proj",
        "norm2": "layer_norm2",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    ours = {
        f"{mine}.{kind}": state[f"{theirs}.{kind}"] for mine, theirs in names.items() for kind in ("weight", "bias")
    }
    for mine, theirs in (("attn", "self_attn"), ("message_attn", "message_attn")):
        for kind in ("weight", "bias"):
            parts = [state[f"{theirs}.{part}_proj.{kind}"] for part in ("q", "k", "v")]
            ours[f"{mine}.qkv.{kind}"] = torch.cat(parts)
    block.load_state_dict(ours)
    x = torch.randn(2, 3, 5, 128)
    with torch.no_grad():
        expected = reference(x.flatten(0, 1), attention_mask=None)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(run(block, x), expected.unflatten(0, (2, 3)), rtol=1e-5, atol=1e-5)


def test_tracks_follow_patches_that_change_places() -> None:
    # Four unlike patches, which the second frame has in another order, and the third one in a third.
    first = torch.eye(4, 8)
    moves = [torch.arange(4), torch.tensor([2, 0, 3, 1]), torch.tensor([1, 3, 0, 2])]
    frames = torch.stack([first[move] + 0.01 for move in moves])[None]
    order = matching_order(frames)
    assert order[0, 0].tolist() == [0, 1, 2, 3]
    for frame, move in enumerate(moves):
        assert torch.equal(move[order[0, frame]], torch.arange(4))
        torch.testing.assert_close(frames[0, frame][order[0, frame]], first + 0.01)


def test_guided_attention_is_divided_attention_along_the_tracks() -> None:
    block, plain = GuidedTemporalBlock(64).eval(), DividedSpaceTimeBlock(64).eval()
    randomise(block)
    plain.load_state_dict(block.state_dict())
    tracks = 3 * torch.randn(1, 1, 4, 64) + 0.1 * torch.randn(1, 3, 4, 64)  # patches that stay where they are
    torch.testing.assert_close(block.attend_over_time(tracks), plain.attend_over_time(tracks))
    order = torch.tensor([2, 0, 3, 1])
    moved = tracks.clone()
    moved[:, 1] = tracks[:, 1, order]
    expected = plain.attend_over_time(tracks)
    expected[:, 1] = expected[:, 1, order]
    torch.testing.assert_close(block.attend_over_time(moved), expected)


# What a model of such blocks promises


def played(model: ILAVisionTransformer, clips: Tensor, order: list[int]) -> Tensor:
    with torch.inference_mode():
        output: Tensor = model(clips[:, order])
    return output


@pytest.mark.parametrize("form", BASELINES)
def test_who_sees_the_order_under_a_plain_mean(form: AlignmentForm) -> None:
    model = make_model(head="linear", alignment=form, temporal_depth=0)
    clips = make_clips(model)
    forwards, backwards = played(model, clips, [0, 1, 2, 3]), played(model, clips, [3, 2, 1, 0])
    difference = (forwards - backwards).abs().max() / forwards.abs().max()
    assert difference < 1e-5 if form in ("none", "cross_frame") else difference > 1e-3
    if model.time_embed is not None:
        with torch.no_grad():
            model.time_embed.zero_()
        blind = [played(model, clips, order) for order in ([0, 1, 2, 3], [3, 2, 1, 0])]
        torch.testing.assert_close(*blind)


@pytest.mark.parametrize("form", BASELINES)
def test_every_parameter_learns(form: AlignmentForm) -> None:
    model = make_model(head="linear", alignment=form).train()
    (model(make_clips(model)) * torch.linspace(-1, 1, 10).reshape(2, 5)).sum().backward()
    assert model.alignment_loss is None
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert still == []


@pytest.mark.parametrize("form", BASELINES)
def test_recomputed_activations_change_nothing(form: AlignmentForm) -> None:
    model = make_model(head="none", alignment=form).train()
    clips = make_clips(model)
    gradients = []
    for recompute in (False, True):
        model.set_grad_checkpointing(recompute)
        model.zero_grad()
        model(clips).square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def prepared(form: AlignmentForm) -> ILAVisionTransformer:
    model = make_model(head="linear", alignment=form)
    model.pretrained_cfg = preprocessing("ila")
    return model


@pytest.mark.parametrize("form", BASELINES)
@pytest.mark.parametrize("frames", [None, 7])
def test_saved_and_loaded(form: AlignmentForm, frames: int | None, tmp_path: Path) -> None:
    model = prepared(form)
    ila_models.save_pretrained(model, tmp_path)
    loaded = ila_models.create_model(f"local-dir:{tmp_path}", num_frames=frames)
    assert loaded.config.alignment == form
    clips = make_clips(model, frames=frames)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(clips), model(clips), rtol=0, atol=0 if frames is None else 1e-5)


def test_a_checkpoint_of_one_form_is_refused_by_another(tmp_path: Path) -> None:
    ila_models.save_pretrained(prepared("none"), tmp_path)
    with pytest.raises(ValueError, match=r"contradicts alignment='residual' \(the file has 'none'\)"):
        ila_models.create_model(f"local-dir:{tmp_path}", alignment="residual")


@pytest.mark.parametrize("form", BASELINES)
def test_there_are_no_points_to_return(form: AlignmentForm) -> None:
    model = make_model(head="linear", alignment=form)
    with pytest.raises(RuntimeError, match=f"alignment='{form}' predict no points"):
        model(make_clips(model), return_points=True)


def test_positions_in_time_are_not_decayed() -> None:
    model = make_model(head="linear", alignment="divided_space_time")
    assert model.time_embed is not None
    groups = make_optimizer(model, OptimizerSection(parameters="all")).param_groups
    decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    named = dict(model.named_parameters())
    assert {name for name in named if id(named[name]) not in decayed and named[name].ndim > 1} == {
        "cls_token",
        "pos_embed",
        "time_embed",
        "temporal.pos_embed",
    }


def test_the_released_recipe_finds_nothing_but_the_head_in_a_baseline() -> None:
    model = ILAVisionTransformer(replace(TINY, alignment="none"), head="linear", num_classes=3)
    assert {group["part"] for group in make_optimizer(model, OptimizerSection()).param_groups} == {"heads"}
