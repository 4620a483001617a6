"""What the results of a run depend on: a run adds only to results of the same settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .data.transforms import VideoTransform

Settings = dict[str, Any]
"""Plain JSON values by name."""

_LONGEST = 60


def model_name(model: nn.Module) -> str:
    """What a model is called: ``architecture.tag`` where it knows them, else its class."""
    contract: Mapping[str, Any] = getattr(model, "pretrained_cfg", {})
    return ".".join(filter(None, (contract.get("architecture"), contract.get("tag")))) or type(model).__name__


def transform_settings(transform: VideoTransform) -> Settings:
    """What a transform does to frames."""
    return {
        "img_size": list(transform.img_size),
        "resize_to": transform.resize_to,
        "mean": list(transform.mean),
        "std": list(transform.std),
        "interpolation": transform.interpolation,
        "antialias": transform.antialias,
        # Said where it is not the usual one, so that runs go on that began when there was no other.
        **({} if transform.crop_mode == "center" else {"crop_mode": transform.crop_mode}),
    }


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 of a model's tensors with their names, types and shapes, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def read_settings(path: Path) -> Settings:
    """Reads the settings of an earlier run.

    Raises:
        OSError: The file is not there or cannot be read.
        ValueError: It holds no settings.
    """
    try:
        settings = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}): give another folder") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: not the settings of a run: give another folder")
    return settings


def settings_bytes(settings: Settings) -> bytes:
    """Settings as the content of a file."""
    return json.dumps(settings, indent=1, ensure_ascii=False).encode()


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


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST + 6 else f"{text[:_LONGEST]}..."
