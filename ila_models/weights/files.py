"""From a file on disk to named tensors: safetensors, `torch.save` (both formats), TorchScript.

The kind of file is told from its contents, never from its name. Nothing that a file contains is executed. Tensors keep
the dtype that they were stored in, and are mapped from the file where its format allows: do not write to a file whose
tensors are still in use.
"""

from __future__ import annotations

import hashlib
import os
import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from .errors import CheckpointError
from .pickles import LEGACY_MAGIC, load_legacy, load_zip
from .torch_zip import ZIP_MAGIC, read_directory
from .torchscript import load_torchscript
from .unpickler import STORAGES

Container = Literal["safetensors", "torch", "torchscript"]

# Where training programs keep the state dict: the released ILA checkpoints and most research code use "model", timm,
# open_clip and Lightning "state_dict", torch's own tutorials "model_state_dict", DeepSpeed "module".
_WRAPPERS = ("model", "state_dict", "model_state_dict", "module")

_DTYPES = frozenset(STORAGES.values())

# A pickle's keys can be values whose whole text would be endless.
_TEXTS = reprlib.Repr()
_TEXTS.maxstring = 200

# Longer than any of the beginnings by which a file is recognised.
_HEAD = 1024


@dataclass(frozen=True)
class TensorFile:
    """What a file holds.

    Attributes:
        path: The file.
        container: How it was written.
        tensors: Tensors on the CPU by name, without a leading "module.".
        metadata: The safetensors header's metadata; empty for other containers.
    """

    path: Path
    container: Container
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str] = field(default_factory=dict)


def read_tensor_file(path: str | os.PathLike[str]) -> TensorFile:
    """Read a checkpoint's tensors, without running anything in the file.

    A state dict may be the whole file or stand under "model", "state_dict", "model_state_dict" or "module".

    Args:
        path: A safetensors file, a file of `torch.save`, or a TorchScript archive.

    Returns:
        The tensors and where they came from.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is not one of the three kinds, is damaged, asks for code, or holds no state dict.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such checkpoint file: {path}")
    if not path.is_file():
        raise CheckpointError(f"{path}: a directory or device, not a file. Give the checkpoint file itself.")
    with path.open("rb") as stream:
        head = stream.read(_HEAD)

    metadata: dict[str, str] = {}
    container: Container = "torch"
    if head.startswith(ZIP_MAGIC):
        archive = read_directory(path)
        if archive.is_torchscript:
            container = "torchscript"
            tensors = load_torchscript(archive)
        else:
            tensors = _state_dict(load_zip(archive), path=path)
    elif head.startswith(LEGACY_MAGIC):
        tensors = _state_dict(load_legacy(path), path=path)
    elif head[8:9] == b"{":
        container = "safetensors"
        tensors, metadata = _read_safetensors(path)
    else:
        raise CheckpointError(f"{path}: {_what_it_is_instead(head)}")
    return TensorFile(path=path, container=container, tensors=_checked(tensors, path=path), metadata=metadata)


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Compute a file's SHA-256 as 64 lower-case hexadecimal digits.

    Raises:
        FileNotFoundError: There is no such file.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: its header begins as in a safetensors file, but it is cut off or damaged ({error}). "
            "Download or copy it again."
        ) from error


def _what_it_is_instead(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "an empty file. The download or copy did not finish."
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return (
            "this looks like a web page, not a checkpoint; Google Drive sends one instead of a large file when its "
            "quota is spent or it wants a confirmation. Open the link in a browser and download the file itself."
        )
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the checkpoint itself. Run `git lfs pull`, or download the file from its page."
    if head.startswith(b"\x80"):
        return (
            "a pickle, but not one that torch.save writes by default. A pickle can run any code, so this one was not "
            "opened. Load it where it was made and save its state_dict() with safetensors or torch.save."
        )
    return "not a checkpoint that is read here: safetensors, torch.save and TorchScript files are."


def _state_dict(content: Any, *, path: Path) -> dict[str, torch.Tensor]:
    """Find the state dict in what `torch.save` was given."""
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a dict of tensors. Save a state_dict().")
    entries = content
    wrappers = [name for name in _WRAPPERS if isinstance(entries.get(name), dict)]
    if len(wrappers) > 1:
        raise CheckpointError(f"{path}: several state dicts, under {', '.join(wrappers)}. Save the wanted one alone.")
    if wrappers:
        entries = entries[wrappers[0]]
    where = f"its entry {wrappers[0]!r}" if wrappers else "the file"
    if not any(isinstance(value, torch.Tensor) for value in entries.values()):
        names = ", ".join(map(_TEXTS.repr, entries)) or "nothing"
        raise CheckpointError(
            f"{path}: {where} holds no tensors, only {names}. A state dict is looked for at the top and under "
            f"{', '.join(_WRAPPERS)}."
        )
    others = [
        f"{_TEXTS.repr(name)} ({type(value).__name__})"
        for name, value in entries.items()
        if not (isinstance(name, str) and isinstance(value, torch.Tensor))
    ]
    if others:
        raise CheckpointError(
            f"{path}: {where} mixes tensors with other things: {', '.join(others)}. Save a state_dict()."
        )
    return entries


def _checked(tensors: dict[str, torch.Tensor], *, path: Path) -> dict[str, torch.Tensor]:
    """Drop "module." from all names and gradients from all tensors; refuse tensors that nothing can be done with."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise CheckpointError(
                f"{path}: {name} has the type {tensor.dtype}, which no model here has. Save it as float16 or float32."
            )
        stored = tensor.untyped_storage().nbytes()
        if tensor.numel() * tensor.element_size() > stored:
            raise CheckpointError(
                f"{path}: {name} has the shape {list(tensor.shape)} and the type {tensor.dtype}, but only {stored} "
                "bytes of it are stored. Save a contiguous copy of it."
            )
    prefix = "module." if tensors and all(name.startswith("module.") for name in tensors) else ""
    return {name.removeprefix(prefix): tensor.detach() for name, tensor in tensors.items()}
