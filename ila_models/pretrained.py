"""The file that ``pretrained=True`` loads: fetched, checked, and where the authors pickled it, converted once."""

from __future__ import annotations

import logging
from pathlib import Path

from .convert import convert_checkpoint
from .weights.cache import (
    cache_folder,
    check_file,
    check_first_content,
    forget_first_download,
    locked,
    locked_from_cache,
)
from .weights.download import cached_file, check_source, fetch_record, find_source
from .weights.errors import CheckpointError
from .weights.hub import REFERENCE_NAME, fetch_hub_file
from .weights.manifest import OURS, DriveSource, HubSource, Record, Source
from .weights.native import write_native
from .weights.recognise import read_checkpoint
from .whole_files import remove_unfinished

_logger = logging.getLogger(__name__)


def pretrained_file(record: Record) -> Path:
    """A checkpoint of the manifest as a file that loads at once, from a cache if it is in one.

    A released file of Google Drive is converted (which takes a minute where class features are computed) and kept as
    safetensors; the pickle is not kept. Processes that ask at the same time wait for one that does it.

    Raises:
        CheckpointError: No source gave it; see :func:`~ila_models.weights.download.fetch_record`.
        OSError: The cache cannot be written.
    """
    path = cached_pretrained_file(record)
    if path is not None:
        return path
    if not any(isinstance(source, DriveSource) for source in record.sources):
        return fetch_record(record)
    converted = _converted_path(record)
    with locked(converted):
        if (path := _intact(converted)) is not None:
            return path
        fetched = fetch_record(record)
        if not _is_released(fetched, record):
            return fetched
        _logger.info("converting %s, once and for all", record.name)
        remove_unfinished(converted)
        convert_checkpoint(fetched, converted)
        _remember(converted)
        fetched.unlink()
    return converted


def cached_pretrained_file(record: Record) -> Path | None:
    """The same without the network: None if no cache holds a file that loads at once."""
    path = _intact(_converted_path(record)) or cached_file(record)
    return None if path is None or _is_released(path, record) else path


def is_cached(record: Record) -> bool:
    """Whether a cache holds a file that loads at once if it is whole. Nothing is checked."""
    return _converted_path(record).is_file() or _ready_source(record) is not None


def check_cached(record: Record) -> Path | None:
    """The file of a cache, once it is certain that it is what it was; None if no cache holds one.

    Raises:
        CheckpointError: It is damaged, or another file.
    """
    converted = _converted_path(record)
    if converted.is_file():
        check_first_content(_key(converted), check_file(converted))
        return converted
    if (found := _ready_source(record)) is None:
        return None
    path, source = found
    check_source(path, source)
    return path


def export_pretrained(record: Record, folder: Path) -> Path:
    """Puts a checkpoint of the manifest into a folder, as ``name.safetensors`` with its configuration inside.

    Raises:
        CheckpointError: No source gave it, or a file of that name stands there and is no checkpoint of ours.
        OSError: The folder cannot be written.
    """
    destination = folder / f"{record.name}.safetensors"
    with locked_from_cache(destination):
        remove_unfinished(destination)
        if destination.exists():
            if not read_checkpoint(destination).is_ours:
                raise CheckpointError(f"{destination} stands there and is no file of this package: move it away")
            if _intact(destination) is None:
                raise CheckpointError(f"{destination} has changed since it was written: move it away")
            return destination
        path = pretrained_file(record)
        checkpoint = read_checkpoint(path)
        if checkpoint.is_ours:
            write_native(checkpoint, destination)
        else:
            convert_checkpoint(path, destination)
        _remember(destination)
    return destination


def fetch_reference(record: Record) -> Path | None:
    """The reference tensors that were published with a checkpoint of ours, None where there are none.

    Raises:
        CheckpointError: There are, and the Hub does not give them.
    """
    for source in record.sources:
        if isinstance(source, HubSource) and source.layout == OURS:
            return fetch_hub_file(source.repo_id, REFERENCE_NAME, source.revision)
    return None


def _converted_path(record: Record) -> Path:
    return cache_folder() / "converted" / f"{record.name}.safetensors"


def _ready_source(record: Record) -> tuple[Path, Source] | None:
    found = find_source(record)
    return None if found is None or isinstance(found[1], DriveSource) else found


def _is_released(path: Path, record: Record) -> bool:
    """Whether a file is still as the authors pickled it."""
    return any(isinstance(source, DriveSource) and path.name == source.file_id for source in record.sources)


def _key(written: Path) -> str:
    return f"converted {written.resolve()}"


def _remember(written: Path) -> None:
    """Takes a file as it is now for what was written."""
    forget_first_download(_key(written))
    check_first_content(_key(written), check_file(written))


def _intact(written: Path) -> Path | None:
    """A file of ours that has not changed since it was written."""
    if not written.is_file():
        return None
    try:
        check_first_content(_key(written), check_file(written))
    except CheckpointError as error:
        _logger.warning("%s; not used", error)
        return None
    return written
