"""What the numbers of an evaluation depend on. Predictions are added only to those of the same settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..data.annotations import LabelledVideos
from ..data.transforms import VideoTransform
from .decoding import Views

Settings = dict[str, Any]
"""Plain JSON values by name."""

_LONGEST = 60


def describe_settings(
    model: nn.Module,
    videos: LabelledVideos,
    views: Views,
    transform: VideoTransform,
    *,
    videos_per_part: int,
    save_probabilities: bool,
) -> Settings:
    """Everything that the predictions depend on, but for the machine, the batch size and the number of processes."""
    contract: Mapping[str, Any] = getattr(model, "pretrained_cfg", {})
    return {
        "model": ".".join(filter(None, (contract.get("architecture"), contract.get("tag")))) or type(model).__name__,
        "weights_sha256": weights_sha256(model),
        "num_frames": model.num_frames,
        "img_size": list(transform.img_size),
        "resize_to": transform.resize_to,
        "mean": list(transform.mean),
        "std": list(transform.std),
        "interpolation": transform.interpolation,
        "antialias": transform.antialias,
        "views": f"{views.clips}x{views.crops}",
        "views_mode": views.mode,
        "seed": views.seed if views.mode == "random" else None,
        "num_classes": model.num_classes,
        "class_names": None if videos.class_names is None else [as_text(name) for name in videos.class_names],
        "videos": len(videos),
        "videos_sha256": _videos_sha256(videos),
        "videos_per_part": videos_per_part,
        "all_probabilities": save_probabilities,
    }


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 of a model's tensors with their names, types and shapes, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def differences(there: Settings, now: Settings) -> list[str]:
    """How two settings differ, one sentence each."""
    found = []
    for name in sorted({*there, *now}):
        old, new = there.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            position = next(index for index, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
            found.append(f"{name}[{position}] is {_short(old[position])} there and {_short(new[position])} now")
        elif isinstance(old, list) and isinstance(new, list):
            found.append(f"{name} are {len(old)} there and {len(new)} now")
        else:
            found.append(f"{name} is {_short(old)} there and {_short(new)} now")
    return found


def as_text(path: str) -> str:
    """A path that a text file can hold: bytes that are no text are written as escapes."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _videos_sha256(videos: LabelledVideos) -> str:
    digest = hashlib.sha256()
    for path, label in zip(videos.paths, videos.labels, strict=True):
        digest.update(f"{as_text(path)}\t{label}\n".encode())
    return digest.hexdigest()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST + 6 else f"{text[:_LONGEST]}..."
