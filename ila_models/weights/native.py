"""Our own files: safetensors whose header says what the tensors are.

The header has one entry, so that the same content gives the same bytes (the format does not fix the order of entries).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..configs import ILAConfig
from . import clip
from .checkpoint import Checkpoint, checked_contract
from .errors import CheckpointError
from .files import TensorFile
from .names import clip_image_names

METADATA_KEY = "ila_models"
FORMAT_VERSION = 1
_TEXT_PREFIX = "text."


def write_native(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Writes a checkpoint as safetensors with its configuration inside; a file that stood there is replaced at once.

    Raises:
        OSError: The file cannot be written; what stood there is untouched.
    """
    header = {
        "kind": checkpoint.kind,
        "architecture": checkpoint.architecture,
        "config": asdict(checkpoint.config),
        "head": checkpoint.head,
        "num_classes": checkpoint.num_classes,
        "class_names": checkpoint.class_names,
        "preprocessing": checkpoint.preprocessing,
        "source": checkpoint.source,
        # Where they are in use, nothing is said: files of the same content have the same bytes as ever.
        **({} if checkpoint.video_prompts else {"video_prompts": False}),
    }
    text = {_TEXT_PREFIX + name: tensor for name, tensor in checkpoint.text_tensors.items()}
    write_described(checkpoint.tensors | text, header, path)


def write_described(tensors: Mapping[str, Tensor], header: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes tensors as safetensors, floats as float32, with what they are in the header; whole or not at all.

    Raises:
        OSError: The file cannot be written; what stood there is untouched.
    """
    destination = Path(path)
    if destination.is_dir():
        raise IsADirectoryError(f"{destination} is a directory: name the file to write")
    stored = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in sorted(tensors.items())
    }
    text = json.dumps({"format_version": FORMAT_VERSION, **header}, sort_keys=True)
    destination.parent.mkdir(parents=True, exist_ok=True)
    # Beside the destination, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as scratch:
        unfinished = Path(scratch) / destination.name
        unfinished.touch()
        permissions = unfinished.stat().st_mode  # as the user's umask wants them; safetensors makes its files private
        try:
            save_file(stored, unfinished, metadata={METADATA_KEY: text})
        except SafetensorError as error:
            raise OSError(f"{destination} cannot be written: {error}") from error
        unfinished.chmod(permissions)
        os.replace(unfinished, destination)


def read_native(file: TensorFile) -> Checkpoint:
    """Reads what :func:`write_native` wrote.

    Raises:
        CheckpointError: The header is not one of ours, or of a later version.
    """
    header = read_header(file)
    try:
        config = ILAConfig(**{**header["config"], "img_size": tuple(header["config"]["img_size"])})
        if config.depth > len(file.tensors):
            raise ValueError(f"{config.depth} blocks in {len(file.tensors)} tensors")
        text = {name[len(_TEXT_PREFIX) :]: t for name, t in file.tensors.items() if name.startswith(_TEXT_PREFIX)}
        missing, misshapen = clip.text_tower_problems(text, config.embed_dim) if text else ([], [])
        checkpoint = Checkpoint(
            path=file.path,
            layout=f"an ila_models file ({header['kind']}, {header['architecture'] or 'unnamed architecture'})",
            kind=header["kind"],
            config=config,
            head=header["head"],
            num_classes=header["num_classes"],
            tensors={name: t for name, t in file.tensors.items() if not name.startswith(_TEXT_PREFIX)},
            names={name: name for name in clip_image_names(config.depth).values()} if header["kind"] == "clip" else {},
            unexpected=tuple(_TEXT_PREFIX + name for name in text if not clip.is_text_tower(name)),
            missing=tuple(_TEXT_PREFIX + name for name in missing),
            misshapen=tuple(_TEXT_PREFIX + line for line in misshapen),
            text_tensors=text,
            class_names=None if header["class_names"] is None else tuple(header["class_names"]),
            video_prompts=header.get("video_prompts", True),
            preprocessing=None if header["preprocessing"] is None else checked_contract(header["preprocessing"]),
            source=header["source"],
            is_ours=True,
        )
        _check_types(checkpoint)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file.path}: its ila_models header does not describe a model ({error!r}): convert the source again with"
            f" ila-models convert SRC DST"
        ) from error
    return checkpoint


def is_state_dict(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors are under our own names, as ``model.state_dict()`` has them."""
    return "temporal.pos_embed" in tensors and any(name.startswith(("blocks.0.", "vit.blocks.")) for name in tensors)


def _check_types(checkpoint: Checkpoint) -> None:
    """Refuses a header whose entries are of another type than we write."""
    names = checkpoint.class_names
    forms = (checkpoint.config.alignment, checkpoint.config.alignment_target, checkpoint.config.interactive)
    facts = {
        "config": all(isinstance(form, str) for form in forms),
        "kind": checkpoint.kind in ("ila", "clip"),
        "head": checkpoint.head in (("none",) if checkpoint.kind == "clip" else ("text", "linear", "none")),
        "num_classes": type(checkpoint.num_classes) is int
        and checkpoint.num_classes >= (1 if checkpoint.head == "linear" else 0)
        and (checkpoint.num_classes == 0 or checkpoint.head != "none"),
        "class_names": names is None
        or (
            len(names) == checkpoint.num_classes
            and all(isinstance(name, str) for name in names)
            and len(set(names)) == len(names)
        ),
        "video_prompts": isinstance(checkpoint.video_prompts, bool),
        "source": checkpoint.source is None
        or (isinstance(checkpoint.source, dict) and isinstance(checkpoint.source.get("file"), str)),
    }
    if wrong := [name for name, is_right in facts.items() if not is_right]:
        raise ValueError(f"not what belongs there: {', '.join(wrong)}")


def read_header(file: TensorFile) -> dict[str, Any]:
    """What one of our files says of itself.

    Raises:
        CheckpointError: It is not readable, or of a later version.
    """
    try:
        header = json.loads(file.metadata[METADATA_KEY])
        version = header["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{file.path}: its ila_models header cannot be read: {error!r}") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{file.path}: written in format version {version}, this package reads {FORMAT_VERSION}: upgrade ila_models"
        )
    return dict(header)
