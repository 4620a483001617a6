"""TimeSformer of transformers with alignment in the place of its temporal attention."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import TimesformerConfig, TimesformerForVideoClassification, TimesformerModel

import ila_models
from ila_models.aligned_timesformer import AlignedTimesformer
from ila_models.blocks.residual import AddsAligned


def timesformer(kind: type[Any] = TimesformerForVideoClassification, **changes: Any) -> Any:
    numbers: dict[str, Any] = {
        "image_size": 32,
        "patch_size": 8,
        "num_frames": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_labels": 5,
        "initializer_range": 0.2,
    }
    return kind(TimesformerConfig(**{**numbers, **changes})).eval()


def aligned(kind: type[Any] = TimesformerForVideoClassification) -> AlignedTimesformer:
    """With nothing left at zero."""
    model = ila_models.align_timesformer(timesformer(kind), alignment_width=16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def clips(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 3, 32, 32)


class Silent(nn.Module):
    """A temporal attention that says nothing."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (torch.zeros_like(x),)


@pytest.mark.parametrize("kind", [TimesformerForVideoClassification, TimesformerModel])
def test_it_begins_as_the_model_whose_frames_do_not_see_each_other(kind: type[Any]) -> None:
    model = timesformer(kind)
    silent = copy.deepcopy(model)
    for layer in getattr(silent, "timesformer", silent).encoder.layer:
        layer.temporal_attention, layer.temporal_dense = Silent(), nn.Identity()
    video = clips()
    with torch.inference_mode():
        found = silent(pixel_values=video)
        expected = found.logits if kind is TimesformerForVideoClassification else found.last_hidden_state[:, 0]
        output = ila_models.align_timesformer(model, alignment_width=16)(video)
    torch.testing.assert_close(output, expected)


def test_what_is_added_is_the_released_forms_own() -> None:
    model = aligned()
    (first, _) = model.alignments
    frames = torch.randn(2, 3, 16, 32)  # B, T, N, D
    places = frames.transpose(1, 2).flatten(0, 1)
    with torch.inference_mode():
        (added,) = first(places)
        assert isinstance(first, AddsAligned)
        expected = first.added(first.alignment(frames, (4, 4), first.window_offset))
    torch.testing.assert_close(added.unflatten(0, (2, 16)).transpose(1, 2), expected)


def test_frames_see_each_other_by_alignment_alone() -> None:
    model = aligned()
    video = clips(1)
    with torch.inference_mode():
        seen = model.alignments[0](torch.randn(16, 3, 32))[0]
        assert seen.shape == (16, 3, 32)
        output, maps = model(video, return_points=True)
        assert maps.points.shape == (2, 1, 2, 4)
        assert maps.masks.shape == (2, 1, 2, 2, 4, 4)
        assert not torch.allclose(model(video.flip(1)), output, atol=1e-4)
        torch.testing.assert_close(model(torch.cat([video, clips(1)]))[:1], output)


def test_every_parameter_learns_and_the_fused_form_gives_the_same() -> None:
    model = aligned().train()
    video = clips()
    (model(video).logsumexp(dim=1).sum() + model.alignment_loss).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    again = copy.deepcopy(model).eval()
    with torch.inference_mode():
        expected, maps = again(video, return_points=True)
        fused, fused_maps = again.fuse()(video, return_points=True)
    torch.testing.assert_close(fused, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fused_maps.points, maps.points, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in again.modules())
    with pytest.raises(RuntimeError, match="this model is fused for inference and cannot be trained"):
        again.train()


def test_weights_are_kept_by_their_names() -> None:
    model, again = aligned(), ila_models.align_timesformer(timesformer(), alignment_width=16)
    again.load_state_dict(model.state_dict())
    video = clips()
    with torch.inference_mode():
        assert torch.equal(again(video), model(video))
    model.set_window_offset(0.025)
    assert [float(each.window_offset) for each in model.alignments] == pytest.approx([0.025, 0.025])


def test_activations_are_not_recomputed() -> None:
    model = aligned()
    with pytest.raises(ValueError, match="does not support activation checkpointing"):
        model.model.gradient_checkpointing_enable()
    before = timesformer()
    before.gradient_checkpointing_enable()
    with pytest.raises(ValueError, match="gradient checkpointing is on"):
        ila_models.align_timesformer(before)


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (lambda: nn.Linear(2, 2), {}, TypeError, "Linear is no TimeSformer of transformers"),
        (lambda: timesformer(attention_type="space_only"), {}, ValueError, "attention_type='space_only', without"),
        (lambda: timesformer(image_size=24), {}, ValueError, "3 frames of 3x3 patches are too few"),
        (timesformer, {"alignment_width": 12}, ValueError, "alignment_width=12 is out of range"),
        (timesformer, {"interactive": "seperable"}, ValueError, "interactive='seperable' is not known"),
        (timesformer, {"alignment_target": "neighbors"}, ValueError, "alignment_target='neighbors' is not known"),
        (lambda: aligned().model, {}, TypeError, "is exchanged already"),
    ],
)
def test_what_cannot_be_exchanged(make: Any, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ila_models.align_timesformer(make(), **arguments)


def test_clips_of_another_shape() -> None:
    model = aligned()
    with pytest.raises(ValueError, match="T = 4 frames: this TimeSformer was built for 3"):
        model(torch.randn(1, 4, 3, 32, 32))
    with pytest.raises(ValueError, match="40x40 pixels: this model was built for 32x32"):
        model(torch.randn(1, 3, 3, 40, 40))
