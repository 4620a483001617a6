"""What a model costs against frames, pixels and batch: multiply-adds, seconds, and the exponents that fit them.

Runs on a GPU or a CPU, with random weights::

    python benchmarks/scaling.py --out benchmarks/results/scaling_NAME.json [--model ila_vit_b32]

An exponent of 1 is a cost in proportion; it is the slope of a straight line through the logarithms.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path
from typing import Any

import torch
from ceilings import describe, timed
from counting import multiply_adds
from provenance import provenance, write_result

from ila_models import create_model
from ila_models.configs import ARCHITECTURES

FRAMES = (4, 8, 16, 32, 64)
PIXELS = (224, 288, 352, 448)
BATCHES = {"cpu": (1, 2, 4, 8), "cuda": (8, 16, 32, 64, 128)}
BASE_FRAMES, BASE_PIXELS = 8, 224


def main() -> None:
    """Measures, prints, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--model", default="ila_vit_b32", help="architecture (default: ila_vit_b32)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (default: 5)")
    options = parser.parse_args()
    device = torch.device(options.device)
    base_batch = 1 if device.type == "cpu" else 32
    patch = ARCHITECTURES[options.model].patch_size
    axes = {
        "frames": [(frames, BASE_PIXELS, base_batch) for frames in FRAMES],
        "pixels": [(BASE_FRAMES, round(pixels / patch) * patch, base_batch) for pixels in PIXELS],
        "batch": [(BASE_FRAMES, BASE_PIXELS, batch) for batch in BATCHES[device.type]],
    }
    result = {
        "benchmark": "scaling",
        "command": f"python benchmarks/scaling.py --model {options.model} --rounds {options.rounds}",
        **provenance(("torch", "timm")),
        "device": describe(device),
        "model": options.model,
        "form": "fused, embeddings, eager",
        "axes": {
            axis: measure(axis, points, options.model, device, rounds=options.rounds) for axis, points in axes.items()
        },
    }
    write_result(result, options.out)


def measure(
    axis: str, points: list[tuple[int, int, int]], name: str, device: torch.device, *, rounds: int
) -> dict[str, Any]:
    """Costs at the points (frames, pixels, batch) of an axis, in turns, and the exponents."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    prepared = []
    for frames, pixels, batch in points:
        with torch.device("meta"):
            counted_model = create_model(name, num_classes=0, num_frames=frames, img_size=pixels, fused=True)
            clip = torch.empty(1, frames, 3, pixels, pixels)
            counted = multiply_adds(lambda model=counted_model, clip=clip: model(clip)) * batch
        model = create_model(name, num_classes=0, num_frames=frames, img_size=pixels, fused=True).to(device, dtype)
        clips = torch.randn(batch, frames, 3, pixels, pixels, device=device, dtype=dtype)
        prepared.append((torch.inference_mode()(lambda model=model, clips=clips: model(clips)), counted))
    for run, _ in prepared:
        timed(run, device)
    seconds = [[timed(run, device) for run, _ in prepared] for _ in range(rounds)]
    values = [{"frames": frames, "pixels": side * side, "batch": batch}[axis] for frames, side, batch in points]
    medians = [statistics.median(column) for column in zip(*seconds, strict=True)]
    counts = [counted for _, counted in prepared]
    return {
        "values": values,
        "multiply_adds": counts,
        "seconds": medians,
        "exponent_of_multiply_adds": exponent(values, counts),
        "exponent_of_seconds": exponent(values, medians),
        # From the first point to the last, how far time is from growing as the value does.
        "last_to_first_over_proportion": medians[-1] / medians[0] / (values[-1] / values[0]),
    }


def exponent(values: list[int], costs: list[float] | list[int]) -> float:
    """The slope of a straight line through the logarithms."""
    slope, _ = statistics.linear_regression([math.log(value) for value in values], [math.log(cost) for cost in costs])
    return slope


if __name__ == "__main__":
    main()
