"""What fewer bits cost in accuracy: the shipped checkpoint in 32, 16 and 8 bits, on clips that nobody trained on.

Run on any machine, in a few minutes::

    python benchmarks/precision.py --out benchmarks/results/precision_NAME.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ceilings import describe
from provenance import provenance, write_result
from torch import Tensor

from ila_models import ILAVisionTransformer, create_model, create_transform, quantize_int8
from ila_models.data.motion import TEST_SEED, motion_clips

NAME, CLIPS, BATCH = "ila_vit_nano8", 2000, 50


def main() -> None:
    """Measures, prints, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    precisions: dict[str, tuple[torch.dtype, Callable[[ILAVisionTransformer], ILAVisionTransformer]]] = {
        "float32": (torch.float32, lambda model: model),
        "bfloat16": (torch.bfloat16, lambda model: model.bfloat16()),
        "float16": (torch.float16, lambda model: model.half()),
        "int8": (torch.float32, quantize_int8),
    }
    models = {
        name: convert(create_model(NAME, pretrained=True, fused=True).to(device))
        for name, (_, convert) in precisions.items()
    }
    logits: dict[str, list[Tensor]] = {name: [] for name in models}
    labels = []
    with torch.inference_mode():
        for start in range(0, CLIPS, BATCH):
            clips, right = motion_clips(range(start, start + BATCH), seed=TEST_SEED)
            video = create_transform(models["float32"])(clips).to(device)
            labels.append(right)
            for name, model in models.items():
                logits[name].append(model(video.to(precisions[name][0])).float().cpu())
    result = {
        "benchmark": "precision",
        "command": "python benchmarks/precision.py",
        **provenance(("torch", "torchao")),
        "device": describe(device),
        "model": NAME,
        "clips": CLIPS,
        "rows": compared({name: torch.cat(parts) for name, parts in logits.items()}, torch.cat(labels)),
    }
    write_result(result, options.out)


def compared(logits: dict[str, Tensor], labels: Tensor) -> list[dict[str, Any]]:
    """Accuracy of each precision, and how far it is from float32."""
    exact = logits["float32"]
    return [
        {
            "precision": name,
            "top1": round(100 * float((found.argmax(dim=1) == labels).double().mean()), 2),
            "same_answer": round(100 * float((found.argmax(dim=1) == exact.argmax(dim=1)).double().mean()), 2),
            "largest_error": float((found - exact).abs().max() / exact.abs().max()),
        }
        for name, found in logits.items()
    ]


if __name__ == "__main__":
    main()
