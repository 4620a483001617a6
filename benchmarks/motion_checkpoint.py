"""What a checkpoint that was trained on the motion data tells apart, on clips that nobody trained on.

Run on a folder that ``ila-models train`` wrote::

    ila-models train --config ila_vit_nano8.motion_8x64 --out runs/motion
    python benchmarks/motion_checkpoint.py runs/motion --out benchmarks/results/NAME.json

The clips are measured as they are made, and once more as h264 videos. Configuration, time and losses go into the
result.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from provenance import provenance
from torch import Tensor

from ila_models import ILAVisionTransformer, create_model, create_transform, load_video
from ila_models.data.motion import TEST_SEED, encode_clip, motion_clips
from ila_models.weights.cache import write_atomically
from ila_models.weights.files import file_sha256

CLIPS, VIDEOS, BATCH, FRAME_RATE = 2000, 500, 50, 8


def main() -> None:
    """Measures, prints, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    weights = options.run / "model" / "model.safetensors"
    model = create_model(f"local-dir:{weights.parent}")
    log = [json.loads(line) for line in (options.run / "log.jsonl").read_text().splitlines()]
    steps = [line for line in log if line["kind"] == "step"]
    result = {
        "benchmark": "motion_checkpoint",
        "command": "python benchmarks/motion_checkpoint.py RUN",
        **provenance(("torch", "timm", "av")),
        "sha256": file_sha256(weights),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training": {
            "configuration": torch.load(options.run / "checkpoint.pt", weights_only=True)["config"],
            "steps": len(steps),
            "minutes": round(steps[-1]["seconds"] / 60, 1),
            "loss_every_100_steps": [round(line["loss"], 4) for line in steps[::100]],
            "validation": [
                {"step": line["step"], "top1": line["top1"]} for line in log if line["kind"] == "validation"
            ],
        },
        "test": {"seed": TEST_SEED, "clips": CLIPS},
        **measure(model, CLIPS, as_videos=False),
        "as_h264": {"videos": VIDEOS, **measure(model, VIDEOS, as_videos=True)},
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    write_atomically(options.out, text.encode())


@torch.inference_mode()
def measure(model: ILAVisionTransformer, count: int, *, as_videos: bool) -> dict[str, Any]:
    """Percent of clips: right, right among five, right about the pair, and of those right about the twin."""
    transform = create_transform(model)
    logits, labels = [], []
    for start in range(0, count, BATCH):
        clips, right = motion_clips(range(start, start + BATCH), seed=TEST_SEED)
        if as_videos:
            clips = torch.stack([through_h264(clip) for clip in clips])
        logits.append(model(transform(clips)))
        labels.append(right)
    found, truth = torch.cat(logits), torch.cat(labels)
    answers = found.argmax(dim=1)
    right_pair = answers // 2 == truth // 2
    return {
        "top1": percent(answers == truth),
        "top5": percent((found.topk(5).indices == truth[:, None]).any(dim=1)),
        "pair": percent(right_pair),
        "twins": percent((answers == truth)[right_pair]),
    }


def through_h264(clip: Tensor) -> Tensor:
    """A clip written as an h264 mp4 and read again, uint8 [T, 3, H, W]."""
    return load_video(encode_clip(clip, FRAME_RATE), num_frames=len(clip))


def percent(right: Tensor) -> float:
    """How many are right."""
    return round(100 * float(right.double().mean()), 2)


if __name__ == "__main__":
    main()
