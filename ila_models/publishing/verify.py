"""Whether weights are what they should be: whole, finite, as described, with the answers of when they were released."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..aligned_pretrained import load_aligned_vit
from ..factory import create_model
from ..pretrained import check_cached
from ..video_model import VideoModel
from ..weights.aligned import is_aligned_file, read_aligned
from ..weights.cache import forget_read_files
from ..weights.download import LOCAL, parse_hub_id, resolve_checkpoint
from ..weights.errors import CheckpointError
from ..weights.files import file_sha256
from ..weights.hub import CONFIG_NAME, REFERENCE_NAME, cached_hub_file, fetch_hub_file
from ..weights.manifest import OURS, HubSource, Record, records
from ..weights.recognise import read_checkpoint
from .aligned_bundle import aligned_config_json
from .config_json import config_json
from .reference import Replay, replay_reference

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found right.

    Attributes:
        path: The file.
        layout: What it is.
        sha256: Its hash, computed now.
        tensors: How many tensors it holds, all of them finite, all of them in their place in the model.
        described: Whether a ``config.json`` that says the same stood beside it.
        replay: How near the model came to the reference tensors beside it; None without any.
    """

    path: Path
    layout: str
    sha256: str
    tensors: int
    described: bool
    replay: Replay | None


def verify(source: str | os.PathLike[str]) -> Verification:
    """Verifies weights.

    Args:
        source: A checkpoint of the manifest that is in a cache (``"ila_vit_b16.k400_8x224"``), a file, a folder that
            :func:`~ila_models.save_pretrained` wrote (``local-dir:`` before its name may stand), or a Hub repository
            ``hf-hub:owner/name``.

    Raises:
        FileNotFoundError: There is no such file, or no cache holds the checkpoint.
        UnavailableError: No cache holds it, and the Hub cannot be reached or refuses; a CheckpointError.
        CheckpointError: Something is wrong with it; the message says what.
    """
    forget_read_files()
    if isinstance(source, str) and source in records():
        return _verify_record(records()[source])
    path = resolve_checkpoint(source)
    if not isinstance(source, str) or Path(source.removeprefix(LOCAL)).expanduser().exists():
        return verify_file(path, config=_beside(path, CONFIG_NAME), reference=_beside(path, REFERENCE_NAME))
    repo_id, revision = parse_hub_id(os.fspath(source))
    return verify_file(
        path,
        config=_from_hub(repo_id, CONFIG_NAME, revision),
        reference=_from_hub(repo_id, REFERENCE_NAME, revision),
    )


def verify_file(
    path: Path, *, config: Path | None = None, reference: Path | None = None, sha256: str | None = None
) -> Verification:
    """Verifies one file, and what stands beside it.

    Args:
        path: The checkpoint, of any layout.
        config: The ``config.json`` that should say what the file says; not looked at where the file is not ours.
        reference: The reference tensors to replay.
        sha256: The file's hash where it is known.

    Raises:
        CheckpointError: Something is wrong.
    """
    found = file_sha256(path)
    if sha256 is not None and found != sha256:
        raise CheckpointError(f"{path}: sha256 is {found}, expected {sha256}: damaged, or another file")
    if is_aligned_file(path):
        return _verify_aligned(path, found, config=config, reference=reference)
    checkpoint = read_checkpoint(path)
    tensors = checkpoint.tensors | checkpoint.text_tensors
    check_finite(path, tensors)
    described = config is not None and checkpoint.is_ours
    if config is not None and described:
        check_description(config_json(checkpoint, None, license=None), config, path)
    # Building the model finds what is missing, unexpected or misshapen. Class features that are still to be computed
    # would take a while and tell nothing.
    model = create_model(f"local-dir:{path}", num_classes=0 if checkpoint.needs_class_features else None)
    return Verification(
        path=path,
        layout=checkpoint.layout,
        sha256=found,
        tensors=len(tensors),
        described=described,
        replay=_replayed(model, reference),
    )


def _verify_aligned(path: Path, sha256: str, *, config: Path | None, reference: Path | None) -> Verification:
    """The same of an image model with alignment."""
    checkpoint = read_aligned(path)
    check_finite(path, checkpoint.tensors)
    if config is not None:
        check_description(aligned_config_json(checkpoint, license=None), config, path)
    return Verification(
        path=path,
        layout=f"an ila_models file (an image model with alignment, {checkpoint.image_model})",
        sha256=sha256,
        tensors=len(checkpoint.tensors),
        described=config is not None,
        replay=_replayed(load_aligned_vit(path), reference),
    )


def _replayed(model: VideoModel, reference: Path | None) -> Replay | None:
    """The answer to the recorded clip, where there is one and it is right."""
    if reference is None:
        return None
    replay = replay_reference(model, reference)
    replay.check()
    return replay


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuses a file with a number that is infinite or none.

    Raises:
        CheckpointError: Names the tensors.
    """
    if wrong := [name for name, tensor in sorted(tensors.items()) if not torch.isfinite(tensor).all()]:
        raise CheckpointError(
            f"{path}: not finite: {', '.join(wrong)}. Its training went wrong, or the file is damaged: no prediction of"
            f" it would mean anything"
        )


def check_description(header: Mapping[str, Any], config: Path, path: Path) -> None:
    """Refuses a ``config.json`` that says other things of a file's model than the file itself.

    Args:
        header: What ``config.json`` should say, by the header of the file.
        config: What stands beside it.
        path: The file.

    Raises:
        CheckpointError: Names what differs.
    """
    try:
        said = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{config} cannot be read: {error}") from error
    # Through JSON, as the file went: tuples become lists.
    true = json.loads(json.dumps(header))
    keys = ("architecture", "image_model", "arguments", "num_classes", "label_names", "preprocessing")
    if wrong := [key for key in keys if not isinstance(said, dict) or said.get(key) != true.get(key)]:
        raise CheckpointError(
            f"{config} says something else of {', '.join(wrong)} than the header of {path}: one of the two belongs to"
            f" other weights"
        )


def _verify_record(record: Record) -> Verification:
    path = check_cached(record)
    if path is None:
        raise FileNotFoundError(f"{record.name} is in no cache: run `ila-models download {record.name}` first")
    for source in record.sources:
        if isinstance(source, HubSource) and path == cached_hub_file(source.repo_id, source.filename, source.revision):
            ours = source.layout == OURS
            return verify_file(
                path,
                config=_from_hub(source.repo_id, CONFIG_NAME, source.revision) if ours else None,
                reference=_from_hub(source.repo_id, REFERENCE_NAME, source.revision) if ours else None,
                sha256=source.sha256,
            )
    return verify_file(path)


def _beside(path: Path, name: str) -> Path | None:
    return path.parent / name if (path.parent / name).is_file() else None


def _from_hub(repo_id: str, name: str, revision: str | None) -> Path | None:
    try:
        return fetch_hub_file(repo_id, name, revision)
    except FileNotFoundError:
        return None
    except CheckpointError as error:
        _logger.warning("%s: what it says is not verified", error)
        return None
