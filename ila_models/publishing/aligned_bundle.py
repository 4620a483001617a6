"""An image model with alignment, as the folder of a repository describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from ..aligned_vit import AlignedViT, build_aligned_vit
from ..image_model import structure, structure_digest
from ..text import check_names_of_classes
from ..weights.aligned import ALIGNED_KIND, AlignedCheckpoint
from ..weights.checkpoint import CONTRACT, contract_of
from ..weights.manifest import citation
from .config_json import LIBRARY_NAME
from .license import License


def aligned_checkpoint_of(model: AlignedViT, path: Path) -> AlignedCheckpoint:
    """A model as the file that :func:`~ila_models.weights.aligned.write_aligned` writes.

    The image model is built anew from its name and arguments, and its structure compared, so that no file is written
    that would give another model back.

    Raises:
        ValueError: The model is fused, it does not say what it expects of its input, or timm's name and arguments do
            not give it back.
    """
    if model.inference_form:
        raise ValueError("the model is fused for inference, and its tensors fit no other: save it before fuse()")
    if missing := [key for key in CONTRACT if key not in model.pretrained_cfg]:
        raise ValueError(
            f"the model's pretrained_cfg lacks {', '.join(missing)}, without which nobody could prepare its input: fill"
            " model.pretrained_cfg"
        )
    recipe = model.recipe
    if isinstance(recipe, str):
        raise ValueError(
            f"nobody could build the image model again: {recipe}. Make it by timm.create_model with plain arguments, or"
            " give them to add_alignment(..., model_args={...})"
        )
    if model.class_names is not None:
        check_names_of_classes(model.class_names, model.num_classes)
    expected, rebuilt = structure(model.vit), structure(build_aligned_vit(recipe, model.config, device="meta").vit)
    parts = expected.keys() | rebuilt.keys()
    if differing := sorted(name for name in parts if expected.get(name) != rebuilt.get(name)):
        raise ValueError(
            f"timm.create_model({recipe.architecture!r}, **{recipe.arguments}) does not give this image model back:"
            f" they differ in {', '.join(name or 'the model itself' for name in differing[:5])}. Give"
            " add_alignment(..., model_args={...}) the arguments that it was made with"
        )
    return AlignedCheckpoint(
        path=path,
        image_model=recipe.architecture,
        image_model_args=recipe.arguments,
        config=model.config,
        class_names=None if model.class_names is None else tuple(model.class_names),
        preprocessing=contract_of(model.pretrained_cfg),
        structure=structure_digest(model.vit),
        tensors=_unshared(model.state_dict()),
    )


def aligned_config_json(
    checkpoint: AlignedCheckpoint, *, license: License | None, base_model: str | None = None
) -> dict[str, Any]:
    """Describes it as ``config.json`` does, in values that JSON gives back unchanged.

    ``timm.create_model("hf-hub:owner/name")`` reads ``architecture``, and then the weights' own header.
    """
    arguments, contract = checkpoint.image_model_args, checkpoint.preprocessing
    paper = citation("ila")
    return {
        "library_name": LIBRARY_NAME,
        "architecture": ALIGNED_KIND,
        "num_classes": arguments["num_classes"],
        **({} if checkpoint.class_names is None else {"label_names": list(checkpoint.class_names)}),
        "image_model": {"architecture": checkpoint.image_model, "arguments": arguments},
        "arguments": asdict(checkpoint.config),
        "preprocessing": contract,
        "pretrained_cfg": {
            "input_size": [3, *arguments["img_size"]],
            "fixed_input_size": True,
            "interpolation": contract["interpolation"],
            "crop_pct": 1 / contract["resize_ratio"],
            "crop_mode": contract.get("crop_mode", "center"),
            "mean": contract["mean"],
            "std": contract["std"],
            "num_classes": arguments["num_classes"],
            **({} if license is None else {"license": license.id}),
            "paper_name": paper.title,
            "paper_ids": f"arXiv:{paper.arxiv}",
        },
        **({} if base_model is None else {"base_model": base_model}),
        "paper": f"https://arxiv.org/abs/{paper.arxiv}",
    }


def _unshared(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, a copy for every name but the first of those that share one memory, as a file has them."""
    seen: set[int] = set()
    found = {}
    for name, tensor in state.items():
        memory = tensor.untyped_storage().data_ptr()
        found[name] = tensor.detach().clone().cpu() if memory in seen else tensor.detach().cpu()
        seen.add(memory)
    return found
