"""Where weights come from: a path, this package, a cache, the Hub, Google Drive. Every place that was tried is said."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from .cache import cache_folder, check_file, check_first_download
from .drive import fetch_drive_file
from .errors import CheckpointError
from .hub import WEIGHTS_NAME, cached_hub_file, check_content, fetch_config, fetch_from_repository, fetch_hub_file
from .manifest import OURS, DriveSource, HubSource, PackageSource, Record, Source

_logger = logging.getLogger(__name__)

_CHECKPOINT_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar", ".zip", ".pkl"}

LOCAL, HUB = "local-dir:", "hf-hub:"
"""Before a name: where it is looked for, and nowhere else."""

_HUB_ID = re.compile(r"^(?:hf-hub:)?(?P<repo_id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?$")


def resolve_checkpoint(source: str | os.PathLike[str]) -> Path:
    """A file, that of a folder, or that of a Hub repository ``owner/name``, ``hf-hub:owner/name``, ``...@revision``.

    What is said to be a path, by its type or by ``local-dir:`` before it, is not looked for on the Hub.

    Raises:
        FileNotFoundError: It is neither a file nor a folder with ``model.safetensors`` in it nor a Hub id.
        CheckpointError: The Hub does not give it.
    """
    is_local = not isinstance(source, str) or source.startswith(LOCAL)
    path = Path(source.removeprefix(LOCAL) if isinstance(source, str) else source).expanduser()
    if path.is_dir():
        if not (path / WEIGHTS_NAME).is_file():
            raise FileNotFoundError(f"checkpoint {os.fspath(source)!r}: a folder without {WEIGHTS_NAME}")
        return path / WEIGHTS_NAME
    if path.exists():
        return path
    if is_local:
        raise FileNotFoundError(f"checkpoint {os.fspath(path)!r}: no such file or folder (in {Path.cwd()})")
    repo_id, revision = parse_hub_id(os.fspath(source))
    try:
        return fetch_from_repository(repo_id, revision)
    except CheckpointError as error:
        if str(source).startswith(HUB):
            raise
        raise type(error)(f"checkpoint {source!r}: there is no such file or folder, and {error}") from error


def parse_hub_id(text: str) -> tuple[str, str | None]:
    """The repository and the revision of ``owner/name``, ``hf-hub:owner/name`` or ``...@revision``.

    Raises:
        FileNotFoundError: It is not such an id; it will have been meant as a file.
    """
    match = _HUB_ID.match(text)
    if match is None or Path(text).suffix in _CHECKPOINT_SUFFIXES:
        raise FileNotFoundError(f"checkpoint {text!r}: no such file, and not a Hub id (hf-hub:owner/name)")
    return match["repo_id"], match["revision"]


def fetch_record(record: Record) -> Path:
    """The file of a checkpoint in the manifest, from a cache or from its sources in order.

    Raises:
        CheckpointError: No source gave it, or what came has another hash. Every place tried is named.
    """
    if (cached := cached_file(record)) is not None:
        return cached
    tried = []
    for source in record.sources:
        try:
            return _fetch_source(source)
        except (CheckpointError, FileNotFoundError) as error:
            tried.append(f"  {source.url}\n    {error}")
    raise CheckpointError(
        f"no weights for {record.name}. Tried, in this order:\n"
        + "\n".join(tried)
        + f"\nWhere there is a network: ila-models download {record.name}, once and for all.\nBy hand: download the"
        f" file in a browser and pass it: create_model({record.architecture!r}, checkpoint_path='FILE'),"
        f" on the command line --checkpoint FILE"
    )


def cached_file(record: Record) -> Path | None:
    """The first of a record's sources that is on this machine, checked; None if none is. The network is left alone."""
    for source in record.sources:
        path = _cached(source)
        if path is None:
            continue
        try:
            check_source(path, source)
        except CheckpointError as error:
            _logger.warning("%s; not used", error)
        else:
            return path
    return None


def find_source(record: Record) -> tuple[Path, Source] | None:
    """The first of a record's sources that is in a cache or in the package, whatever its state; None if none is."""
    return next(((path, source) for source in record.sources if (path := _cached(source)) is not None), None)


def check_source(path: Path, source: Source) -> str:
    """Checks a file that came from a source, and returns its sha256.

    Raises:
        CheckpointError: It is not what the manifest states or, where it states nothing, what came the first time.
    """
    if isinstance(source, HubSource):
        check_content(path)
    sha256 = check_file(path, sha256=source.sha256, size=source.size)
    if source.sha256 is None:
        check_first_download(source.url, sha256)
    return sha256


def _cached(source: Source) -> Path | None:
    if isinstance(source, HubSource):
        return cached_hub_file(source.repo_id, source.filename, source.revision)
    path = source.path if isinstance(source, PackageSource) else _drive_path(source)
    return path if path.is_file() else None


def _fetch_source(source: Source) -> Path:
    if isinstance(source, HubSource):
        return _fetch_hub_source(source)
    return _fetch_drive_source(source) if isinstance(source, DriveSource) else _take_package_source(source)


def _take_package_source(source: PackageSource) -> Path:
    if not source.path.is_file():
        raise FileNotFoundError(f"{source.path} comes with this package and is not there: reinstall ila-models")
    check_source(source.path, source)
    return source.path


def _fetch_hub_source(source: HubSource) -> Path:
    path = fetch_hub_file(source.repo_id, source.filename, source.revision)
    check_source(path, source)
    if source.layout == OURS:
        fetch_config(source.repo_id, source.revision)
    return path


def _fetch_drive_source(source: DriveSource) -> Path:
    path = _drive_path(source)
    path.unlink(missing_ok=True)  # one that is there did not pass as a copy of the source
    fetch_drive_file(source.file_id, path)
    try:
        check_source(path, source)
    except CheckpointError:
        path.unlink(missing_ok=True)
        raise
    return path


def _drive_path(source: DriveSource) -> Path:
    return cache_folder() / "google_drive" / source.file_id
