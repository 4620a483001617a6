"""Files of the Hugging Face Hub, through its client and its cache, with its errors in words for people."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
from pathlib import Path

from huggingface_hub import constants as hub_constants
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .cache import check_file
from .errors import CheckpointError, UnavailableError

_logger = logging.getLogger(__name__)

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
REFERENCE_NAME = "test/reference.safetensors"
"""What a repository of ours holds: the weights, their description, a clip with the model's answers to it."""

HUB_FILES = ("open_clip_model.safetensors", WEIGHTS_NAME, "open_clip_pytorch_model.bin", "pytorch_model.bin")
"""Names that checkpoints go by in Hub repositories; the first that is there is taken.

timm's CLIP repositories hold both towers in the first and the image tower alone in the second.
"""

# What the Hub's client raises where no answer comes, a refusing proxy for instance: the base class of its HTTP library,
# which is httpx or httpx2 by its version.
TransportError: type[Exception] = HfHubHTTPError.__bases__[0]

_OF_THE_DISK = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.ENOTDIR, errno.EEXIST,
    errno.EFBIG, errno.EIO, errno.ENAMETOOLONG,
}  # fmt: skip

# The Hub's cache names a large file's content by its sha256, a small one's by the hash that git gives it.
_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_GIT_SHA1 = re.compile(r"^[0-9a-f]{40}$")


class _UnreachedError(UnavailableError):
    """There was no answer, and the cache does not have the file."""


def fetch_from_repository(repo_id: str, revision: str | None) -> Path:
    """The checkpoint of a repository, under whichever of the usual names it goes.

    Raises:
        UnavailableError: The Hub does not give it, and the cache has none.
        CheckpointError: It is damaged, or the repository holds none.
    """
    try:
        for filename in HUB_FILES:
            try:
                path = fetch_hub_file(repo_id, filename, revision)
            except FileNotFoundError:
                continue
            if filename == WEIGHTS_NAME:
                fetch_config(repo_id, revision)
            return path
    except CheckpointError as error:
        # Not reached: a cache that holds another of the names will do. Asking for each would mean waiting for each.
        for filename in HUB_FILES:
            if (cached := cached_hub_file(repo_id, filename, revision)) is not None:
                try:
                    check_content(cached)
                except CheckpointError as damaged:
                    raise CheckpointError(f"{damaged}; {error}") from error
                _logger.warning("%s; taking %s from the cache", error, filename)
                return cached
        if isinstance(error, _UnreachedError):
            # Of the repository, whose files' names are not the user's business.
            which = repo_id if revision is None else f"{repo_id}@{revision}"
            raise UnavailableError(
                f"{_why_unreached()}, and no checkpoint of {which} is in the cache {hub_constants.HF_HUB_CACHE}: load"
                f" it once with the network, by `ila-models verify hf-hub:{which}` for instance, and it is kept there"
            ) from error
        raise
    raise CheckpointError(f"the Hub repository {repo_id} holds none of {', '.join(HUB_FILES)}")


def fetch_hub_file(repo_id: str, filename: str, revision: str | None) -> Path:
    """One file of the Hub, whose content is what its cache says; a damaged one is fetched again, once.

    Raises:
        FileNotFoundError: The repository has no such file.
        UnavailableError: The Hub cannot be reached or refuses and the cache has nothing, or cannot be written.
        CheckpointError: What comes, or what the cache has, is damaged.
    """
    path = _fetch(repo_id, filename, revision, force=False)
    try:
        check_content(path)
    except CheckpointError as error:
        if hub_constants.HF_HUB_OFFLINE:
            raise CheckpointError(f"{error}. HF_HUB_OFFLINE is set: unset it, and it is downloaded again") from error
        _logger.warning("%s; downloading it again", error)
        try:
            path = _fetch(repo_id, filename, revision, force=True)
        except CheckpointError as second:
            raise CheckpointError(f"{error}; it could not be downloaded again: {second}") from second
        try:
            check_content(path)
        except CheckpointError as second:
            path.resolve().unlink(missing_ok=True)  # other programs read this cache, and do not check
            raise CheckpointError(
                f"{repo_id}/{filename} came damaged twice, and was not kept: {second}. Is there a proxy between here"
                f" and the Hub that changes files?"
            ) from second
    return path


def fetch_config(repo_id: str, revision: str | None) -> Path | None:
    """``config.json`` of a repository, None if it cannot be had; by this file the Hub counts downloads of a model."""
    try:
        return fetch_hub_file(repo_id, CONFIG_NAME, revision)
    except FileNotFoundError:
        return None
    except CheckpointError as error:
        _logger.info("%s; the weights are there without it", error)
        return None


def cached_hub_file(repo_id: str, filename: str, revision: str | None) -> Path | None:
    """A file of the Hub that is in its cache, unchecked; None if it is not there. The network is left alone."""
    found = try_to_load_from_cache(repo_id, filename, revision=revision)
    return Path(found) if isinstance(found, str) else None


def check_content(path: Path) -> None:
    """Checks a file of the Hub's cache against the hash by which the cache names its content, if it is one.

    Raises:
        CheckpointError: The content is damaged.
    """
    name = path.resolve().name
    if _SHA256.match(name):
        check_file(path, sha256=name)
    elif _GIT_SHA1.match(name) and (found := git_sha1(path)) != name:
        raise CheckpointError(f"{path}: git's sha1 is {found}, expected {name}: damaged, or another file")


def git_sha1(path: Path) -> str:
    """The hash by which git knows the content of a small file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _fetch(repo_id: str, filename: str, revision: str | None, *, force: bool) -> Path:
    try:
        return Path(_download(repo_id, filename, revision, force=force))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        where = "" if force else f", and {repo_id}/{filename} is not in the cache {hub_constants.HF_HUB_CACHE}"
        raise _UnreachedError(f"{_why_unreached()}{where}") from error
    except EntryNotFoundError as error:
        raise FileNotFoundError(f"no file {filename} in {repo_id}") from error
    except RevisionNotFoundError as error:
        raise UnavailableError(f"the Hub repository {repo_id} has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise UnavailableError(
            f"the Hub has no repository {repo_id}, or it is private or gated: then log in with `hf auth login`, or set"
            f" HF_TOKEN"
        ) from error
    except (TransportError, HFValidationError, OSError, ValueError) as error:
        # Where its cache must not do, the client says the reason in the cause.
        reason = error.__cause__ if force and isinstance(error.__cause__, Exception) else error
        if _is_of_the_disk(reason):
            setting = "HF_HUB_CACHE" if "HF_HUB_CACHE" in os.environ else "HF_HOME"
            raise UnavailableError(
                f"{repo_id}/{filename}: the cache folder {hub_constants.HF_HUB_CACHE} cannot be written"
                f" ({first_line(reason)}): set {setting} to another folder, or make room"
            ) from error
        raise UnavailableError(f"the Hub did not give {repo_id}/{filename}: {first_line(reason)}") from error


def _why_unreached() -> str:
    return "HF_HUB_OFFLINE is set" if hub_constants.HF_HUB_OFFLINE else f"{hub_constants.ENDPOINT} cannot be reached"


def _is_of_the_disk(error: Exception) -> bool:
    """Whether the system refused to write a file. Errors of the network are not of these kinds, or have no number."""
    return isinstance(error, OSError) and error.errno in _OF_THE_DISK


def _download(repo_id: str, filename: str, revision: str | None, *, force: bool) -> str:
    try:
        return hf_hub_download(repo_id, filename, revision=revision, force_download=force)
    except TransportError as error:
        if isinstance(error, HfHubHTTPError):
            raise  # an answer
        # The connection broke off. The client goes on where it stopped, but its earlier versions only when asked again.
        _logger.info("%s/%s: %s; asking once more", repo_id, filename, first_line(error))
        return hf_hub_download(repo_id, filename, revision=revision)


def first_line(error: Exception) -> str:
    """An error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
