"""What the models cost: parameters and multiply-adds, by part, beside the paper's figures and other models.

Nothing is computed (the meta device), so it runs anywhere, in about a minute::

    python benchmarks/flops.py --out benchmarks/results/flops.json

One multiply-add counts as one, as in the paper. Additions, norms, softmax and resizing are not counted, as is usual.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import torch
from counting import multiply_adds, multiply_adds_by_module, parameters
from peers import PUBLISHED, framewise_clip
from provenance import provenance, write_result

from ila_models import ILAVisionTransformer, create_model
from ila_models.weights.manifest import Record, records

FRAMES = (4, 8, 16, 32)
"""Other numbers of frames at which every architecture is counted."""


def main() -> None:
    """Counts, prints, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    with torch.device("meta"):
        result = {
            "benchmark": "flops",
            "command": "python benchmarks/flops.py",
            **provenance(("torch", "timm", "transformers", "torchvision")),
            "unit": "multiply-adds of one clip (of one view), one multiply-add as one",
            "checkpoints": [of_checkpoint(record) for record in records().values() if record.evaluation is not None],
            "frames": [
                of_frames(architecture, frames)
                for architecture in ("ila_vit_b32", "ila_vit_b16", "ila_vit_l14", "ila_vit_l14_336")
                for frames in FRAMES
            ],
            "published": [of_published(index) for index in range(len(PUBLISHED))],
        }
    write_result(result, options.out)


def of_checkpoint(record: Record) -> dict[str, Any]:
    """What a checkpoint's model costs, in the released form and in the form for inference."""
    model = create_model(record.name)
    forms = {"released": model, "fused": copy.deepcopy(model).fuse()}
    clip = clip_for(model, model.num_frames)
    assert record.evaluation is not None
    return {
        "checkpoint": record.name,
        "frames": model.num_frames,
        "pixels": model.config.img_size[0],
        "views": [record.evaluation.clips, record.evaluation.crops],
        "reported_gflops": record.paper_gflops,
        "reported_top1": None if record.reported is None else record.reported.top1,
        "parameters": parameters(model),
        "parameters_fused": parameters(forms["fused"]),
        **{form: by_part(each, clip) for form, each in forms.items()},
        "fused_embeddings": embeddings_alone(model, clip),
    }


def of_frames(architecture: str, frames: int) -> dict[str, Any]:
    """What video embeddings cost at a number of frames, beside CLIP on the frames alone."""
    model = create_model(architecture, num_classes=0, num_frames=frames)
    clip = clip_for(model, frames)
    clip_alone = framewise_clip(architecture)
    return {
        "architecture": architecture,
        "frames": frames,
        "pixels": model.config.img_size[0],
        "released": multiply_adds(lambda: model(clip)),
        "fused_embeddings": embeddings_alone(model, clip),
        "framewise_clip": multiply_adds(lambda: clip_alone(clip)),
    }


def of_published(index: int) -> dict[str, Any]:
    """What another model costs at the input that its authors test it with."""
    peer = PUBLISHED[index]
    model = peer.build()
    clip = torch.empty(1, peer.frames, 3, peer.pixels, peer.pixels)
    counted = multiply_adds(lambda: model(clip))
    clips, crops = peer.views
    return {
        "name": peer.name,
        "code": peer.source,
        "frames": peer.frames,
        "pixels": peer.pixels,
        "views": list(peer.views),
        "parameters": parameters(model),
        "counted": counted,
        "counted_all_views": counted * clips * crops,
        "reported_gflops": peer.reported_gflops,
        "reported_top1": peer.reported_top1,
    }


def clip_for(model: ILAVisionTransformer, frames: int) -> torch.Tensor:
    """A clip of the model's pixels."""
    return torch.empty(1, frames, 3, *model.config.img_size)


def embeddings_alone(model: ILAVisionTransformer, clip: torch.Tensor) -> int:
    """Multiply-adds of the form for inference where nobody wants the last block's patch tokens."""
    fused = copy.deepcopy(model)
    fused.reset_classifier(0)
    fused.fuse()
    return multiply_adds(lambda: fused(clip))


def by_part(model: ILAVisionTransformer, clip: torch.Tensor) -> dict[str, int]:
    """Multiply-adds of a whole forward pass: CLIP's own layers, alignment, temporal head, classification head."""
    counts = multiply_adds_by_module(lambda: model(clip))
    root = type(model).__name__
    total = counts["Global"]
    alignment = sum(
        macs
        for name, macs in counts.items()
        if name.startswith(f"{root}.blocks.") and name.count(".") == 3 and name.split(".")[3] in ALIGNMENT_LAYERS
    )
    temporal, head = (counts.get(f"{root}.{part}", 0) for part in ("temporal", "head"))
    return {
        "total": total,
        "clip": total - alignment - temporal - head,
        "alignment": alignment,
        "temporal_head": temporal,
        "classification_head": head,
    }


ALIGNMENT_LAYERS = frozenset(
    ("alignment", "aligned_skip", "temporal_conv", "temporal_proj", "interactive_skip", "patch_skip", "class_skip")
)
"""Layers of a block that CLIP's block does not have."""


if __name__ == "__main__":
    main()
