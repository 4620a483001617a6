"""Every number of the released implementation in ``parity``, from files in its own layout."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from parity.synth import synth_input
from released import LAYOUTS, PARITY, read_model, write_released
from safetensors.torch import load_file
from torch import Tensor, nn

from ila_models.alignment import Aligned, similarity_loss
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.text import TextEncoder
from ila_models.weights.checkpoint import Checkpoint

TOLERANCE = 2e-4
"""Of the largest magnitude of a tensor."""
GRADIENT_TOLERANCE = 1e-3
"""Of a gradient's norm."""
ZERO_GRADIENT = 1e-6
"""A norm below is zero but for rounding: of a bias right before a batch norm, for instance."""

CLASSES = (
    "abseiling",
    "air drumming",
    "answering questions",
    "applauding",
    "riding a bike",
    "playing guitar",
    "surfing water",
    "tai chi",
)


class Answers:
    """The numbers of a layout: those of the released implementation, and ours under the same names."""

    def __init__(self, layout: str, model: ILAVisionTransformer, checkpoint: Checkpoint) -> None:
        self.expected = load_file(PARITY / f"{layout}.safetensors")
        clips, frames = self.expected["eval.frame_features"].shape[:2]
        video = synth_input((clips, frames, 3, *model.config.img_size))
        self.found: dict[str, Tensor] = {}
        if model.has_text_head:
            self.found |= text_numbers(model, checkpoint)
        self.found |= evaluation_numbers(model, video)
        if "train.cross_entropy" in self.expected:
            self.found |= training_numbers(model, video, checkpoint)


def text_numbers(model: ILAVisionTransformer, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Tokens and features of the eight classes, which the model gets as its classes."""
    encoder = TextEncoder.from_tensors(checkpoint.text_tensors)
    model.set_classes(CLASSES, encoder)
    return {"text.tokens": encoder.tokenize(CLASSES), "text.features": model.head.text_features}


@torch.no_grad()
def evaluation_numbers(model: ILAVisionTransformer, video: Tensor) -> dict[str, Tensor]:
    aligned: list[Aligned] = []
    blocks: list[Tensor] = []
    hooks = [
        hook
        for block in model.blocks
        for hook in (
            block.alignment.register_forward_hook(lambda module, args, output: aligned.append(output)),
            block.register_forward_hook(lambda module, args, output: blocks.append(output.tokens)),
        )
    ]
    logits, maps = model(video, return_points=True)
    for hook in hooks:
        hook.remove()
    losses = [similarity_loss(block.message[:, :, 1:], block.maps.masks) for block in aligned]
    # The answers call "video features" what the head of the temporal transformer returns, a classifier included.
    video_features = model.forward_head(blocks[-1], pre_logits=True) if model.has_text_head else logits
    return {
        "eval.logits": logits,
        "eval.points": maps.points,
        "eval.frame_features": model.forward_frames(blocks[-1]),
        "eval.video_features": video_features,
        "eval.cosine_losses": torch.stack(losses),
        "eval.block_rms": torch.stack([block.square().mean().sqrt() for block in blocks]),
        "eval.block_token_mean": torch.stack([block.mean(dim=2)[..., :16] for block in blocks]),
    }


def training_numbers(model: ILAVisionTransformer, video: Tensor, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """One forward and backward in training mode, without dropout; gradients and statistics under the file's names."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    logits = model(video)
    cross_entropy = F.cross_entropy(logits, torch.arange(len(video)))
    assert model.alignment_loss is not None
    (cross_entropy + model.alignment_loss).backward()
    model.eval()
    numbers = {
        "train.logits": logits.detach(),
        "train.cross_entropy": cross_entropy.detach(),
        "train.cosine_loss": model.alignment_loss.detach(),
    }
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        numbers[f"grad_norm.{checkpoint.names[name]}"] = parameter.grad.norm()
    for name, buffer in model.blocks[0].named_buffers(prefix="blocks.0"):
        if name.endswith(("running_mean", "running_var")):
            numbers[f"after_train.{checkpoint.names[name]}"] = buffer
    return numbers


@pytest.fixture(scope="module", params=LAYOUTS)
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    path = write_released(request.param, tmp_path_factory.mktemp("released"))
    yield Answers(request.param, *read_model(path))
    path.unlink()  # up to 800 MB


def test_every_number_is_recomputed(answers: Answers) -> None:
    assert sorted(answers.found) == sorted(answers.expected)
    wrong = {
        name: (list(answers.found[name].shape), list(tensor.shape))
        for name, tensor in answers.expected.items()
        if answers.found[name].shape != tensor.shape
    }
    assert wrong == {}


def test_tensors(answers: Answers) -> None:
    wrong = {}
    for name, expected in answers.expected.items():
        if not name.startswith("grad_norm."):
            error = float((answers.found[name] - expected).abs().max() / expected.abs().max())
            if not error <= (TOLERANCE if expected.is_floating_point() else 0):
                wrong[name] = error
    assert wrong == {}


def test_gradient_norms(answers: Answers) -> None:
    wrong = {}
    for name, tensor in answers.expected.items():
        if name.startswith("grad_norm."):
            expected, found = float(tensor), float(answers.found[name])
            bound = GRADIENT_TOLERANCE * expected
            if not (found < ZERO_GRADIENT if expected < ZERO_GRADIENT else abs(found - expected) <= bound):
                wrong[name] = (found, expected)
    assert wrong == {}
