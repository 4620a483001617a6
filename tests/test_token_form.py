"""The paper's form: its token in the block, its costs, and all that a model of it promises."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY, make_clips, make_model
from torch import nn

import ila_models
from ila_models.blocks import FusedTokenBlock, TokenBlock
from ila_models.blocks.token import mutual_token
from ila_models.configs import ARCHITECTURES, AlignmentForm, AlignmentTarget, InteractiveBlock
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.info import count_costs
from ila_models.training.config import OptimizerSection
from ila_models.training.parameters import make_optimizer
from ila_models.weights.manifest import preprocessing

GRID = (4, 4)
OFFSET = torch.tensor(0.2)
ALIGNED_FORMS: tuple[AlignmentForm, ...] = ("token", "addition")
FORMS: tuple[AlignmentForm, ...] = (*ALIGNED_FORMS, "neighbour_average")


def trained(**changes: Any) -> ILAVisionTransformer:
    """A small model whose batch norms have seen something."""
    model = make_model(**{"alignment": "token", **changes})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


def test_the_token_joins_the_attention_and_is_dropped_before_the_mlp() -> None:
    block = TokenBlock(64, alignment_width=16).eval()
    x = torch.randn(2, 3, 17, 64)
    aligned = block.alignment(x, GRID, OFFSET)
    tokens = torch.cat([x, mutual_token(aligned, "neighbours")[:, :, None]], dim=2)
    attended = tokens + block.attn(block.norm1(tokens).flatten(0, 1)).unflatten(0, (2, 3))
    expected = attended[:, :, :17] + block.mlp(block.norm2(attended[:, :, :17]))
    torch.testing.assert_close(block(x, GRID, OFFSET).tokens, expected)


@pytest.mark.parametrize(
    ("name", "frames", "interactive", "papers"),
    [
        ("ila_vit_b32", 8, "separable", 40),
        ("ila_vit_b16", 8, "separable", 149),
        ("ila_vit_b16", 16, "separable", 295),
        ("ila_vit_l14", 8, "separable", 673),
        ("ila_vit_l14_336", 16, "separable", 3130),
        ("ila_vit_b16", 16, "full", 438),
        ("ila_vit_l14", 8, "full", 907),
    ],
)
def test_multiply_adds_are_the_paper_s_within_three_percent(
    name: str, frames: int, interactive: InteractiveBlock, papers: float
) -> None:
    config = replace(ARCHITECTURES[name], num_frames=frames, alignment="token", interactive=interactive)
    on_kinetics = interactive == "separable"
    costs = count_costs(config, head="text" if on_kinetics else "linear", num_classes=400 if on_kinetics else 174)
    assert costs.macs / 1e9 == pytest.approx(papers, rel=0.03)


# A model of the form


@pytest.mark.parametrize("head", ["text", "linear", "none"])
@pytest.mark.parametrize("interactive", ["separable", "full"])
@pytest.mark.parametrize("target", ["neighbours", "first", "middle"])
def test_the_fused_form_gives_the_same(head: Any, interactive: InteractiveBlock, target: AlignmentTarget) -> None:
    model = trained(head=head, interactive=interactive, alignment_target=target)
    fused = copy.deepcopy(model).fuse()
    assert fused.fused
    assert isinstance(fused.blocks[0], FusedTokenBlock)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    clips = make_clips(model, frames=5)
    with torch.inference_mode():
        expected, maps = model(clips, return_points=True)
        found, fused_maps = fused(clips, return_points=True)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(fused_maps.points, maps.points, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(fused.forward_features(clips), model.forward_features(clips), rtol=1e-5, atol=2e-5)
    with pytest.raises(RuntimeError, match="this model is fused for inference and cannot be trained"):
        fused.train()


def test_a_block_in_training_mode_is_not_fused() -> None:
    with pytest.raises(RuntimeError, match="a block in training mode cannot be fused"):
        TokenBlock(64, alignment_width=16).fuse()


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_learns_and_memory_can_be_saved(form: AlignmentForm) -> None:
    model = make_model(alignment=form, head="linear").train()
    saving = copy.deepcopy(model)
    saving.set_grad_checkpointing()
    clips = make_clips(model)
    for each in (model, saving):
        torch.manual_seed(1)
        loss = each(clips).logsumexp(dim=1).sum()
        if each.alignment_loss is not None:
            loss = loss + each.alignment_loss
        loss.backward()
    for (name, parameter), other in zip(model.named_parameters(), saving.parameters(), strict=True):
        assert parameter.grad is not None, name
        torch.testing.assert_close(other.grad, parameter.grad)
    assert (model.alignment_loss is not None) == (form != "neighbour_average")
    for ours, theirs in zip(model.buffers(), saving.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("form", FORMS)
def test_answers_depend_on_other_frames_and_not_on_other_clips(form: AlignmentForm) -> None:
    model = make_model(alignment=form)
    clips = make_clips(model, clips=3)
    with torch.inference_mode():
        together = model.forward_features(clips)
        alone = model.forward_features(clips[1:2])
        torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=1e-5)
        changed = clips.clone()
        changed[:, -1] = torch.randn_like(changed[:, -1])
        # With addition, other frames say only where a frame is to look.
        least = 1e-6 if form == "addition" else 1e-3
        assert (model.forward_features(changed)[:, -2] - together[:, -2]).abs().max() > least


def test_the_released_recipe_trains_what_is_not_clip_s() -> None:
    model = make_model(alignment="token", head="linear")
    groups = make_optimizer(model, OptimizerSection(parameters="released")).param_groups
    assert {group["part"] for group in groups} == {"alignment", "heads"}
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[2] for name in learning if name.startswith("blocks.")} == {"alignment"}


def test_a_checkpoint_of_one_form_is_refused_by_the_other(tmp_path: Path) -> None:
    model = trained(num_classes=5)
    model.pretrained_cfg = {"architecture": None, "img_size": model.config.img_size, **preprocessing("ila")}
    ila_models.save_pretrained(model, tmp_path / "token")
    again = ila_models.create_model(f"local-dir:{tmp_path / 'token'}")
    assert again.config.alignment == "token"
    clips = make_clips(model)
    with torch.inference_mode():
        torch.testing.assert_close(again(clips), model(clips))
    with pytest.raises(ValueError, match=r"contradicts alignment='residual' \(the file has 'token'\)"):
        ila_models.create_model(f"local-dir:{tmp_path / 'token'}", alignment="residual")
    with pytest.raises(ValueError, match=r"contradicts alignment='token' \(the file has 'residual'\)"):
        ila_models.create_model("ila_vit_nano8", pretrained=True, alignment="token")
    with pytest.raises(ValueError, match=r"contradicts alignment_target='first' \(the file has 'neighbours'\)"):
        ila_models.create_model("ila_vit_nano8", pretrained=True, alignment_target="first")


def test_it_compiles_and_exports() -> None:
    model = trained(head="linear").fuse()
    clips = make_clips(model)
    with torch.inference_mode():
        expected = model(clips)
    program = ila_models.export_program(model)
    torch.testing.assert_close(program.module()(clips), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["ila_vit_b32", "ila_vit_b16", "ila_vit_l14", "ila_vit_l14_336"])
def test_every_constructor_makes_it(name: str) -> None:
    with torch.device("meta"):
        model = ila_models.create_model(name, alignment="token")
        frames = model.forward_frames(model.forward_features(make_clips(model, clips=1)))
    assert frames.shape == (1, model.num_frames, model.config.embed_dim)


def test_it_starts_from_clip(clip_b32: Path) -> None:
    token = ila_models.create_model("ila_vit_b32", checkpoint_path=clip_b32, num_classes=0, alignment="token")
    residual = ila_models.create_model("ila_vit_b32", checkpoint_path=clip_b32, num_classes=0)
    assert torch.equal(token.blocks[3].attn.qkv.weight, residual.blocks[3].attn.qkv.weight)
    clips = make_clips(token, clips=1)
    with torch.inference_mode():
        assert not torch.allclose(token(clips), residual(clips))


def test_targets_that_are_not_known() -> None:
    with pytest.raises(ValueError, match="alignment_target='last' is not known: use one of"):
        ILAVisionTransformer(replace(TINY, alignment_target="last"), head="none")  # type: ignore[arg-type]
