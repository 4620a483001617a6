"""Fetches checkpoint files, and says every place that was tried where none answers."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from pathlib import Path

from huggingface_hub import constants as hub_constants
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .errors import CheckpointError
from .files import file_sha256, read_tensor_file
from .manifest import DriveSource, HubSource, Record

_logger = logging.getLogger(__name__)

HUB_FILES = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")
"""Names that checkpoints go by in Hub repositories; the first that is there is taken.

timm's CLIP repositories hold both towers in the first and the image tower alone in the second.
"""

_CHECKPOINT_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar", ".zip", ".pkl"}

# What the Hub's client raises where no answer comes, a refusing proxy for instance: the base class of its HTTP library,
# which is httpx or httpx2 by its version.
_TransportError: type[Exception] = HfHubHTTPError.__bases__[0]

_HUB_ID = re.compile(r"^(?:hf-hub:)?(?P<repo_id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?$")


def cache_folder() -> Path:
    """Where files that are not the Hub's are kept: ``$ILA_MODELS_HOME``, or ``~/.cache/ila_models``."""
    return Path(os.environ.get("ILA_MODELS_HOME", "~/.cache/ila_models")).expanduser()


def fetch_record(record: Record) -> Path:
    """The file of a checkpoint in the manifest, from a cache or from its sources in order.

    Raises:
        CheckpointError: No source gave it, or what came has another hash. Every place tried is named.
    """
    tried = []
    for source in record.sources:
        try:
            return _fetch(source)
        except CheckpointError as error:
            tried.append(f"  {source.url}\n    {error}")
    raise CheckpointError(
        f"no weights for {record.name}. Tried, in this order:\n"
        + "\n".join(tried)
        + f"\nBy hand: download the file in a"
        f" browser and pass the file: create_model({record.architecture!r}, checkpoint_path='FILE'),"
        f" on the command line --checkpoint FILE"
    )


def resolve_checkpoint(source: str | os.PathLike[str]) -> Path:
    """A path as it is, or the file of a Hub repository ``owner/name``, ``hf-hub:owner/name`` or ``...@revision``.

    Raises:
        FileNotFoundError: It is neither a file nor a Hub id.
        CheckpointError: The Hub does not give it.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    match = _HUB_ID.match(os.fspath(source))
    if match is None or path.suffix in _CHECKPOINT_SUFFIXES:
        raise FileNotFoundError(f"checkpoint {os.fspath(source)!r}: no such file, and not a Hub id (hf-hub:owner/name)")
    return _fetch_from_repository(match["repo_id"], match["revision"])


def _fetch(source: HubSource | DriveSource) -> Path:
    if isinstance(source, HubSource):
        path = _fetch_hub_file(source.repo_id, source.filename, source.revision)
    else:
        path = _fetch_drive_file(source.file_id)
    if source.sha256 is not None and (found := file_sha256(path)) != source.sha256:
        raise CheckpointError(f"{path}: sha256 is {found}, expected {source.sha256}: delete the file and try again")
    return path


def _fetch_from_repository(repo_id: str, revision: str | None) -> Path:
    try:
        for filename in HUB_FILES:
            try:
                return _fetch_hub_file(repo_id, filename, revision)
            except FileNotFoundError:
                continue
    except CheckpointError as error:
        # Not reached: a cache that holds another of the names will do. Asking for each would mean waiting for each.
        for filename in HUB_FILES:
            if isinstance(cached := try_to_load_from_cache(repo_id, filename, revision=revision), str):
                _logger.warning("%s; taking %s from the cache", error, filename)
                return Path(cached)
        raise
    raise CheckpointError(f"the Hub repository {repo_id} holds none of {', '.join(HUB_FILES)}")


def _fetch_hub_file(repo_id: str, filename: str, revision: str | None) -> Path:
    """One file of the Hub, through its client and its cache.

    Raises:
        FileNotFoundError: The repository has no such file.
        CheckpointError: The Hub cannot be reached or refuses, and the cache has nothing.
    """
    try:
        return Path(_download(repo_id, filename, revision))
    except LocalEntryNotFoundError as error:
        why = "HF_HUB_OFFLINE is set" if hub_constants.HF_HUB_OFFLINE else f"{hub_constants.ENDPOINT} cannot be reached"
        raise CheckpointError(
            f"{why}, and {repo_id}/{filename} is not in the cache {hub_constants.HF_HUB_CACHE}"
        ) from error
    except EntryNotFoundError as error:
        raise FileNotFoundError(f"no file {filename} in {repo_id}") from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"the Hub repository {repo_id} has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"the Hub has no repository {repo_id}, or it is private or gated: then log in with `hf auth login`, or set"
            f" HF_TOKEN"
        ) from error
    except (_TransportError, HFValidationError, OSError) as error:
        raise CheckpointError(f"the Hub did not give {repo_id}/{filename}: {_first_line(error)}") from error


def _download(repo_id: str, filename: str, revision: str | None) -> str:
    try:
        return hf_hub_download(repo_id, filename, revision=revision)
    except _TransportError as error:
        if isinstance(error, HfHubHTTPError):
            raise  # an answer
        # The connection broke off. The client goes on where it stopped, but its earlier versions only when asked again.
        _logger.info("%s/%s: %s; asking once more", repo_id, filename, _first_line(error))
        return hf_hub_download(repo_id, filename, revision=revision)


def _fetch_drive_file(file_id: str) -> Path:
    """A file of Google Drive, kept in this package's cache under its id.

    Raises:
        CheckpointError: Drive cannot be reached or does not hand it out (its quota, for instance).
    """
    kept = cache_folder() / "google_drive" / file_id
    if kept.is_file():
        return kept
    import gdown
    from gdown.exceptions import FileURLRetrievalError
    from requests import RequestException

    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{file_id}.", dir=kept.parent) as scratch:
        try:
            written = gdown.download(id=file_id, output=str(Path(scratch) / "file"), quiet=not _logger.isEnabledFor(20))
        except (FileURLRetrievalError, RequestException, OSError) as error:
            raise CheckpointError(f"Google Drive did not give file {file_id}: {_first_line(error)}") from error
        # Drive answers with web pages when its quota is spent: what cannot be read is not kept.
        read_tensor_file(written)
        os.replace(written, kept)
    _logger.info("%s: sha256 %s", kept, file_sha256(kept))
    return kept


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
