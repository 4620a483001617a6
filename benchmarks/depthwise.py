"""Ways to compute the depthwise convolution on pairs of frames, which is the part of alignment that moves most memory.

The package pairs the frames and convolves, as torch has it: the pairs are written, read, convolved, written, read, and
written once more through bias and ReLU. A channel of a pair is a channel of one of its frames, so a kernel can read the
frames themselves and write what comes out, once. Two that do are compared here within the whole model, compiled, in
16 bits; either is worth its code if it gains five percent of the whole on a GPU::

    python benchmarks/depthwise.py --out benchmarks/results/depthwise_NAME.json
    TRITON_INTERPRET=1 python benchmarks/depthwise.py --check      # on a CPU: the answers are the package's

"""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from ceilings import describe, timed
from provenance import provenance, write_result
from torch import Tensor, nn

from ila_models import ILAVisionTransformer, create_model
from ila_models.alignment import Aligned, maps_of

Depthwise = Callable[[Tensor, Tensor, Tensor, tuple[int, int]], Tensor]
"""Patches [B, T, N, D], which may be a view, weights [2D, 9] and biases [2D] to [B, T-1, N, 2D], after the ReLU."""

NUM_FRAMES = 8
CLIPS = {"ila_vit_b16": 64, "ila_vit_l14": 32}


def by_shifts(patches: Tensor, weight: Tensor, bias: Tensor, grid: tuple[int, int]) -> Tensor:
    """Nine shifted products of each frame, which a compiler makes one kernel of."""
    height, width = grid
    channels = patches.shape[-1]

    def convolved(frames: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        padded = F.pad(frames.unflatten(2, grid), (0, 0, 1, 1, 1, 1))
        summed = bias.float()
        for place in range(9):
            row, column = divmod(place, 3)
            summed = summed + padded[:, :, row : row + height, column : column + width] * weight[:, place].float()
        return F.relu(summed).to(frames.dtype).flatten(2, 3)

    earlier = convolved(patches[:, :-1], weight[:channels], bias[:channels])
    return torch.cat([earlier, convolved(patches[:, 1:], weight[channels:], bias[channels:])], dim=-1)


@triton.jit
def _pairs_kernel(  # type: ignore[no-untyped-def]
    patches,
    weight,
    bias,
    out,
    clip_stride,
    frame_stride,
    token_stride,
    pairs,
    height,
    width,
    channels,
    block_tokens: tl.constexpr,
    block_channels: tl.constexpr,
):
    """One row of tokens of one pair, some channels."""
    row = tl.program_id(0) % height
    pair = (tl.program_id(0) // height) % pairs
    clip = (tl.program_id(0) // (height * pairs)).to(tl.int64)
    channel = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    is_channel = channel < 2 * channels
    # The first half of a pair's channels is the earlier frame's, the other half the later one's.
    frame = pair + (channel >= channels)
    column = tl.arange(0, block_tokens)
    source = patches + clip * clip_stride + frame * frame_stride + channel % channels
    summed = tl.zeros((block_tokens, block_channels), dtype=tl.float32)
    summed += tl.load(bias + channel, mask=is_channel, other=0.0).to(tl.float32)[None, :]
    for down in tl.static_range(3):
        for right in tl.static_range(3):
            y, x = row + down - 1, column + right - 1
            is_inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            values = tl.load(
                source[None, :] + ((y * width + x) * token_stride)[:, None],
                mask=is_inside[:, None] & is_channel[None, :],
                other=0.0,
            )
            factor = tl.load(weight + channel * 9 + (down * 3 + right), mask=is_channel, other=0.0)
            summed += values.to(tl.float32) * factor.to(tl.float32)[None, :]
    target = ((clip * pairs + pair) * height + row) * width + column
    tl.store(
        out + target[:, None] * (2 * channels) + channel[None, :],
        tl.maximum(summed, 0.0).to(out.dtype.element_ty),
        mask=(column < width)[:, None] & is_channel[None, :],
    )


@torch.library.triton_op("ila_benchmarks::depthwise_on_pairs", mutates_args={})
def by_triton(patches: Tensor, weight: Tensor, bias: Tensor, height: int, width: int) -> Tensor:
    """One kernel that reads the frames as they lie, and writes what comes out."""
    clips, frames, tokens, channels = patches.shape
    if patches.stride(3) != 1:
        raise ValueError("the channels of a token must lie together")
    out = patches.new_empty(clips, frames - 1, tokens, 2 * channels)
    block_channels = min(128, triton.next_power_of_2(2 * channels))
    grid = (clips * (frames - 1) * height, triton.cdiv(2 * channels, block_channels))
    is_compiled = isinstance(_pairs_kernel, triton.runtime.JITFunction)  # and not interpreted
    (torch.library.wrap_triton(_pairs_kernel) if is_compiled else _pairs_kernel)[grid](
        patches,
        weight,
        bias,
        out,
        patches.stride(0),
        patches.stride(1),
        patches.stride(2),
        frames - 1,
        height,
        width,
        channels,
        block_tokens=triton.next_power_of_2(width),
        block_channels=block_channels,
    )
    return out


WAYS: dict[str, Depthwise] = {
    "shifts": by_shifts,
    "triton": lambda patches, weight, bias, grid: by_triton(patches, weight, bias, *grid),
}


def exchanged(model: ILAVisionTransformer, depthwise: Depthwise) -> ILAVisionTransformer:
    """A fused model, alike but for the way of its depthwise convolutions."""
    changed = copy.deepcopy(model)
    for block in changed.blocks:
        alignment: Any = block.alignment
        alignment.forward = functools.partial(align, alignment, depthwise)
    return changed


def align(alignment: Any, depthwise: Depthwise, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> Aligned:
    """As :class:`ila_models.alignment.Alignment` does, of neighbours, in evaluation."""
    message = alignment.message_norm(alignment.message(x))
    stages = alignment.interactive
    first, second = stages.depthwise.conv, stages.pointwise.conv
    pairs = depthwise(message[:, :, alignment.prefix_tokens :], first.weight.flatten(1), first.bias, grid)
    reduced = F.relu(F.linear(pairs, second.weight.flatten(1), second.bias))
    features = stages.mix(reduced.flatten(0, 1).unflatten(1, grid).permute(0, 3, 1, 2))
    return Aligned(
        message=message,
        pair_features=features.unflatten(0, (x.shape[0], -1)),
        maps=maps_of(alignment.points(features), grid, None, clips=x.shape[0]),
        similarity_loss=None,
    )


def awake(name: str, **arguments: Any) -> ILAVisionTransformer:
    """A model whose alignment says something, which it does not with freshly made layers."""
    model: ILAVisionTransformer = create_model(name, num_frames=NUM_FRAMES, num_classes=0, **arguments)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02) if not parameter.any() else None
    return model.fuse()


def check() -> int:
    """Whether all ways answer as the package does; 1 if one does not."""
    model = create_model("ila_vit_nano8", pretrained=True, num_classes=0, fused=True)
    clips = torch.randn(2, 3, 3, 64, 64)
    with torch.inference_mode():
        expected = model(clips)
        errors = {
            name: float((exchanged(model, way)(clips) - expected).abs().max() / expected.abs().max())
            for name, way in WAYS.items()
        }
    for name, error in errors.items():
        sys.stdout.write(f"{name}: {error:.1e} from the package's answers\n")
    return int(max(errors.values()) > 1e-5)


def measure(name: str, device: torch.device, rounds: int) -> dict[str, Any]:
    """Seconds of the model by way, in turns, and what a way gains of the whole."""
    with device:
        model = awake(name).to(torch.bfloat16)
    clips = torch.randn(CLIPS[name], NUM_FRAMES, 3, 224, 224, device=device, dtype=torch.bfloat16)
    models = {"package": model, **{way: exchanged(model, depthwise) for way, depthwise in WAYS.items()}}
    compiled = {way: torch.compile(each, dynamic=False) for way, each in models.items()}
    with torch.inference_mode():
        answers = {way: run(clips).float() for way, run in compiled.items()}
        for run in compiled.values():
            run(clips)
        seconds = [
            {way: timed(lambda run=run: run(clips), device) for way, run in compiled.items()} for _ in range(rounds)
        ]
    expected = answers["package"]
    return {
        "model": name,
        "batch": CLIPS[name],
        "seconds": {way: statistics.median(each[way] for each in seconds) for way in models},
        "gain": {way: statistics.median(1 - each[way] / each["package"] for each in seconds) for way in WAYS},
        "error": {way: float((answers[way] - expected).abs().max() / expected.abs().max()) for way in WAYS},
    }


def main() -> int:
    """Measures, prints, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--check", action="store_true", help="compare small answers instead, on a CPU")
    parser.add_argument("--rounds", type=int, default=15, help="rounds, of which the median counts (default: 15)")
    options = parser.parse_args()
    if options.check:
        return check()
    if not torch.cuda.is_available():
        parser.error("torch sees no GPU, and on a CPU there is nothing to gain: --check compares the answers")
    device = torch.device("cuda")
    result = {
        "benchmark": "depthwise",
        "command": f"python benchmarks/depthwise.py --rounds {options.rounds}",
        **provenance(("torch", "triton")),
        "device": describe(device),
        "rows": [measure(name, device, options.rounds) for name in CLIPS],
    }
    write_result(result, options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
