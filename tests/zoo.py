"""The whole zoo in small: ten released checkpoints of tiny models, and a manifest that knows them.

Names, layouts, heads, frames and the proportions among the architectures are the real ones; only widths, depths and
pixels are not.
"""

from __future__ import annotations

import json
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import openai_clip, write_training_state
from tiny import randomise
from torch import Tensor

from ila_models.configs import ARCHITECTURES, ILAConfig
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.weights import manifest
from ila_models.weights.clip import is_text_tower
from ila_models.weights.names import released_names

_TINY = {"depth": 2, "embed_dim": 64, "alignment_width": 16}
ZOO = {
    "ila_vit_b32": ILAConfig(width=64, patch_size=32, img_size=(128, 128), **_TINY),
    "ila_vit_b16": ILAConfig(width=64, patch_size=16, img_size=(64, 64), **_TINY),
    "ila_vit_l14": ILAConfig(width=128, patch_size=14, img_size=(56, 56), **_TINY),
    "ila_vit_l14_336": ILAConfig(width=128, patch_size=14, img_size=(84, 84), num_frames=16, **_TINY),
}
RELEASED = tuple(name for name in manifest.records() if ".k400_" in name or ".ssv2_" in name)
"""Names of the ten."""


def open_zoo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the package know the small zoo in place of the real one; returns its manifest, in ``folder``."""
    assert {*ZOO, "ila_vit_nano8"} == set(ARCHITECTURES)
    for module in ("ila_models.factory", "ila_models.weights.checkpoint", "ila_models.publishing.card"):
        if hasattr(pkgutil.resolve_name(module), "ARCHITECTURES"):
            monkeypatch.setattr(f"{module}.ARCHITECTURES", ZOO)
    document = json.loads(manifest.manifest_path().read_text(encoding="utf-8"))
    document["checkpoints"] = {
        name: entry for name, entry in document["checkpoints"].items() if name.partition(".")[0] in ZOO
    }
    for name, entry in document["checkpoints"].items():
        entry["arguments"]["img_size"] = list(ZOO[name.partition(".")[0]].img_size)
    path = folder / manifest.FILE_NAME
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    monkeypatch.setattr(manifest, "manifest_path", lambda: path)
    manifest.forget_manifest()
    return path


def write_released(name: str, path: Path, *, seed: int = 0) -> None:
    """Writes a small released checkpoint as its authors did, optimizer, scheduler and yacs configuration included."""
    write_training_state(path, released_state(name, seed=seed))


def released_state(name: str, *, seed: int = 0) -> dict[str, Tensor]:
    """A small checkpoint under the released names, with a text tower where such a file has one."""
    torch.manual_seed(seed)
    arguments: dict[str, Any] = manifest.records()[name].arguments
    head = arguments["head"]
    config = replace(
        ZOO[name.partition(".")[0]], num_frames=arguments["num_frames"], interactive=arguments["interactive"]
    )
    model = ILAVisionTransformer(config, head=head, num_classes=arguments["num_classes"] if head == "linear" else 0)
    randomise(model)
    names = released_names(
        depth=config.depth,
        interactive=config.interactive,
        temporal_depth=config.temporal_depth,
        head=head,
        prompt_depth=config.prompt_depth,
    )
    tensors = model.state_dict()
    state = {theirs: _as_released(ours, tensors[ours]) for theirs, ours in names.items()}
    if head == "text":
        state |= {theirs: tensor for theirs, tensor in openai_clip().state_dict().items() if is_text_tower(theirs)}
    return state


def _as_released(name: str, tensor: Tensor) -> Tensor:
    if name in ("proj.weight", "head.context_proj.weight"):
        return tensor.T.contiguous()
    if name == "cls_token":
        return tensor.flatten()
    if name == "pos_embed":
        return tensor[0]
    return tensor[..., None, None] if name.endswith("temporal_conv.weight") else tensor
