"""``config.json`` of a published model: what the Hub counts as a download, and what timm builds a model from.

The header of ``model.safetensors`` stays the truth about the weights; everything here repeats it for other programs.
The version of this package is left out on purpose: publishing the same weights again with a later version must give the
same bytes. How to read the weights is settled by the format version in their own header.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..weights.checkpoint import Checkpoint
from ..weights.manifest import Record, citation, preprocessing
from .license import License

LIBRARY_NAME = "ila-models"
"""This library's name on the Hub."""


def config_json(
    checkpoint: Checkpoint, record: Record | None, *, license: License | None, base_model: str | None = None
) -> dict[str, Any]:
    """Describes a checkpoint as ``config.json`` does, in values that JSON gives back unchanged.

    ``timm.create_model("hf-hub:owner/name")`` reads ``architecture``, ``pretrained_cfg`` and ``model_args``; the last
    are keyword arguments of :func:`ila_models.create_model` that rebuild the same structure.

    Args:
        checkpoint: What is published; its tensors are not looked at.
        record: Its record in the manifest, None for any other model.
        license: Under which it is published, None where nobody states that.
        base_model: The CLIP repository that it started from, None where nobody knows of one; of a checkpoint of the
            manifest, the record says it.
    """
    config, contract = checkpoint.config, input_contract(checkpoint)
    classes = {} if checkpoint.class_names is None else {"label_names": list(checkpoint.class_names)}
    described = {"tag": record.tag, "description": record.description} if record else {}
    paper = citation("ila")
    base_model = base_model if record is None else record.base_model
    started = {} if base_model is None else {"base_model": base_model}
    height, width = config.img_size
    return {
        "library_name": LIBRARY_NAME,
        "architecture": checkpoint.architecture,
        "num_classes": checkpoint.num_classes,
        "num_features": config.width,  # as in timm: channels of forward_features, `model.num_features`
        **classes,
        "arguments": {**asdict(config), "img_size": [height, width], "head": checkpoint.head},
        "preprocessing": contract,
        "model_args": _model_args(checkpoint),
        "pretrained_cfg": {
            **described,
            "input_size": [3, height, width],
            "fixed_input_size": True,
            "interpolation": contract["interpolation"],
            "crop_pct": 1 / contract["resize_ratio"],
            "mean": contract["mean"],
            "std": contract["std"],
            "num_classes": checkpoint.num_classes,
            **({} if license is None else {"license": license.id}),
            "paper_name": paper.title,
            "paper_ids": f"arXiv:{paper.arxiv}",
        },
        **started,
        "paper": f"https://arxiv.org/abs/{paper.arxiv}",
    }


def input_contract(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the weights expect of their input: as the file says, else as the models of its kind were trained."""
    contract = checkpoint.preprocessing or preprocessing("clip" if checkpoint.kind == "clip" else "ila")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in contract.items()}


def _model_args(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    arguments: dict[str, Any] = {
        "num_frames": config.num_frames,
        "img_size": list(config.img_size),
        "alignment": config.alignment,
        "alignment_width": config.alignment_width,
        "alignment_target": config.alignment_target,
        "interactive": config.interactive,
        "temporal_depth": config.temporal_depth,
        "prompt_depth": config.prompt_depth,
    }
    # For a text head the argument would mean a new linear head.
    if checkpoint.kind == "ila" and checkpoint.head != "text":
        arguments["num_classes"] = checkpoint.num_classes
    return arguments
