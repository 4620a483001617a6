"""Files of image models with alignment: safetensors whose header says which model of timm, and what was added to it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..configs import AlignedConfig
from .checkpoint import checked_contract
from .errors import CheckpointError
from .files import TensorFile, read_tensor_file
from .native import METADATA_KEY, read_header, write_described

ALIGNED_KIND = "aligned_vit"
"""Of such a file's header, and the name under which timm knows such models."""

_FEW = 256
"""A number that no model is large for."""


@dataclass(frozen=True, kw_only=True)
class AlignedCheckpoint:
    """What such a file holds.

    Attributes:
        path: The file.
        image_model: Name of timm's architecture.
        image_model_args: Arguments of ``timm.create_model`` beside it; plain values.
        config: What was added.
        class_names: Names of the classes where somebody said them.
        preprocessing: Input contract; see :func:`~ila_models.weights.checkpoint.contract_of`.
        structure: Digest of the image model's structure as it was saved, by which another timm's would be noticed.
        tensors: Under the model's names.
    """

    path: Path
    image_model: str
    image_model_args: dict[str, Any]
    config: AlignedConfig
    class_names: tuple[str, ...] | None
    preprocessing: dict[str, Any]
    structure: str
    tensors: Mapping[str, Tensor]


def write_aligned(checkpoint: AlignedCheckpoint) -> None:
    """Writes the file ``checkpoint.path``; one that stood there is replaced at once.

    Raises:
        OSError: The file cannot be written; what stood there is untouched.
    """
    header = {
        "kind": ALIGNED_KIND,
        "image_model": checkpoint.image_model,
        "image_model_args": checkpoint.image_model_args,
        "config": asdict(checkpoint.config),
        "class_names": checkpoint.class_names,
        "preprocessing": checkpoint.preprocessing,
        "structure": checkpoint.structure,
    }
    write_described(checkpoint.tensors, header, checkpoint.path)


def is_aligned(file: TensorFile) -> bool:
    """Whether a file says that it is such a one."""
    return _is_aligned(file.metadata)


def is_aligned_file(path: Path) -> bool:
    """The same of a file of any kind, of which no more than the header is read."""
    try:
        with safe_open(path, framework="pt") as file:
            return _is_aligned(file.metadata() or {})
    except SafetensorError:
        return False


def _is_aligned(metadata: Mapping[str, str]) -> bool:
    try:
        header = json.loads(metadata.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and header.get("kind") == ALIGNED_KIND


def read_aligned(path: str | os.PathLike[str]) -> AlignedCheckpoint:
    """Reads what :func:`write_aligned` wrote. Nothing in the file is executed.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is broken, or none of these.
    """
    file = read_tensor_file(path)
    if not is_aligned(file):
        raise CheckpointError(
            f"{file.path}: not an image model with alignment, as ila_models.add_alignment and save_pretrained make"
            f" them: ila_models.create_model(..., checkpoint_path=FILE) reads other files"
        )
    header = read_header(file)
    try:
        facts = {
            "image_model": (header["image_model"], str),
            "image_model_args": (header["image_model_args"], dict),
            "config": (header["config"], dict),
            "preprocessing": (header["preprocessing"], dict),
            "structure": (header["structure"], str),
        }
        if wrong := [name for name, (value, kind) in facts.items() if not isinstance(value, kind)]:
            raise TypeError(f"not what belongs there: {', '.join(wrong)}")
        arguments = header["image_model_args"]
        if missing := [key for key in ("num_classes", "img_size") if key not in arguments]:
            raise KeyError(*missing)
        _check_sizes(arguments, header["config"], file.tensors)
        return AlignedCheckpoint(
            path=file.path,
            image_model=header["image_model"],
            image_model_args=arguments,
            config=AlignedConfig(**header["config"]),
            class_names=_class_names(header["class_names"]),
            preprocessing=checked_contract(header["preprocessing"]),
            structure=header["structure"],
            tensors=file.tensors,
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file.path}: its ila_models header does not describe a model ({error!r})") from error


def _class_names(names: Any) -> tuple[str, ...] | None:
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError("class_names are no list of texts, each once")
    return tuple(names)


def _check_sizes(arguments: Mapping[str, Any], config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuses numbers of which no file of this size holds the weights, before anybody builds such a model.

    A number of blocks, or one of a list, counts tensors; any other one counts numbers in them. Pixels have a bound of
    their own, where the model is built.
    """
    held = sum(tensor.numel() for tensor in tensors.values())
    for name, value in {**arguments, **config}.items():
        most = len(tensors) if "depth" in name or isinstance(value, list) else held
        for number in value if isinstance(value, list) else [value]:
            if name != "img_size" and isinstance(number, int) and not -1 <= number <= max(most, _FEW):
                raise ValueError(f"{name} is {value}, out of proportion to {held} numbers in {len(tensors)} tensors")
