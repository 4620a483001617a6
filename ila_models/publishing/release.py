"""One released checkpoint to the Hub: convert, verify, describe, push, read back, note in the manifest.

Every step looks at what is there already, so that a run that was interrupted anywhere can be run again: what was
prepared is kept in this package's cache until all is done, and what was pushed is not pushed again. After success, a
note stays there; the next run of the same finds by it that nothing is left to do.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..convert import convert_checkpoint
from ..factory import create_model
from ..pretrained import pretrained_file
from ..version import __version__
from ..weights.cache import cache_folder, locked
from ..weights.checkpoint import Checkpoint
from ..weights.errors import CheckpointError
from ..weights.files import file_sha256
from ..weights.hub import CONFIG_NAME, REFERENCE_NAME, WEIGHTS_NAME, fetch_hub_file
from ..weights.manifest import OURS, HubSource, Record, manifest_path, records
from ..weights.manifest_edit import add_hub_source
from ..weights.recognise import read_checkpoint
from ..whole_files import remove_unfinished, write_atomically
from .bundle import CARD_NAME, write_description, write_reference
from .errors import PublishingError
from .license import License, resolve_license
from .published import edited_since_release, published_file
from .quiet import quiet_loads
from .reference import make_reference, replay_reference
from .release_note import ReleaseNote, hub_digests, read_release_note, still_published
from .upload import Pushed, explained, push_folder, repository_of
from .verify import verify_file

_logger = logging.getLogger(__name__)

SAME_LOGITS = 1e-5
"""How far the logits of a saved file may be from those of the file read, relative to the largest."""

_DONE = ".prepared.json"


@dataclass(frozen=True, kw_only=True)
class Release:
    """A published checkpoint: the manifest's name, where it stands, and the hash of its weights."""

    name: str
    pushed: Pushed
    sha256: str
    size: int


def publish_checkpoint(
    record: Record,
    *,
    namespace: str,
    source: str | os.PathLike[str] | None = None,
    license: License | None = None,
    private: bool = False,
    manifest: Path | None = None,
) -> Release:
    """Publishes a checkpoint of the manifest as ``namespace/name``.

    What this machine has published already, of the same source and under the same licence, is only looked up on the
    Hub and noted in the manifest.

    Args:
        record: Which checkpoint.
        namespace: User or organisation of the Hub.
        source: The released file, or what ``ila-models convert`` made of it; None takes the manifest's sources.
        license: Licence of the weights, where the manifest states none.
        private: Make a new repository private.
        manifest: The manifest to note the release in; None takes the package's.

    Raises:
        ValueError: No licence is stated, ``license`` contradicts the manifest's, or ``namespace`` is no name of the
            Hub's.
        CheckpointError: The file is another checkpoint, cannot be had, or is not what it should be.
        PublishingError: The Hub refuses or cannot be reached, or gives back something else than was pushed.
    """
    manifest = manifest or manifest_path()
    license = resolve_license(record, license)
    repo_id = repository_of(namespace, record.name)
    folder = cache_folder() / "releases" / namespace / record.name
    note_path = folder.with_name(f"{record.name}.json")
    with locked(folder):
        remove_unfinished(folder)
        read = _file_to_read(record, source)
        made_of = _made_of(read, repo_id, license)
        note = read_release_note(note_path)
        if note is not None and note.made_of == made_of and (pushed := still_published(note, repo_id)) is not None:
            _logger.info("%s: published already, nothing to do", repo_id)
            release = Release(name=record.name, pushed=pushed, sha256=note.sha256, size=note.size)
            _add_to_manifest(release, manifest)
        else:
            _prepare(record, folder, read, made_of, repo_id=repo_id, license=license)
            _keep_published_reference(folder, repo_id)
            _keep_edited_card(folder, repo_id)
            pushed = push_folder(folder, repo_id, message=f"Release {record.name}", private=private)
            _read_back(folder, pushed)
            release, note = _released(record, folder, pushed, made_of)
            _add_to_manifest(release, manifest)
            note.write(note_path)
        _remove_at_once(folder)
    return release


def _released(record: Record, folder: Path, pushed: Pushed, made_of: dict[str, object]) -> tuple[Release, ReleaseNote]:
    """What was released, for the caller and for the next run."""
    names = [path.relative_to(folder).as_posix() for path in _files(folder)]
    with explained(f"publishing {pushed.repo_id}"):
        files = hub_digests(pushed.repo_id, pushed.commit, names)
    weights = folder / WEIGHTS_NAME
    release = Release(name=record.name, pushed=pushed, sha256=file_sha256(weights), size=weights.stat().st_size)
    note = ReleaseNote(
        made_of=made_of,
        commit=pushed.commit,
        tag=pushed.tag,
        sha256=release.sha256,
        size=release.size,
        files=files,
    )
    return release, note


def _add_to_manifest(release: Release, manifest: Path) -> None:
    source = HubSource(
        repo_id=release.pushed.repo_id,
        filename=WEIGHTS_NAME,
        revision=release.pushed.commit,
        layout=OURS,
        sha256=release.sha256,
        size=release.size,
    )
    add_hub_source(release.name, source, manifest=manifest)


def prepare_release(
    record: Record,
    folder: Path,
    *,
    repo_id: str,
    source: str | os.PathLike[str] | None = None,
    license: License | None = None,
) -> None:
    """Writes the folder that is pushed, unless it stands there complete, made of the same source.

    Raises:
        ValueError: No licence is stated.
        CheckpointError: The source is another checkpoint, or its logits are not those of what was made of it.
        OSError: The folder cannot be written.
    """
    license = resolve_license(record, license)
    read = _file_to_read(record, source)
    _prepare(record, folder, read, _made_of(read, repo_id, license), repo_id=repo_id, license=license)


def _file_to_read(record: Record, source: str | os.PathLike[str] | None) -> Path:
    return Path(source) if source is not None else pretrained_file(record)


def _made_of(read: Path, repo_id: str, license: License) -> dict[str, object]:
    """What decides all bytes of a release."""
    return {
        "package": __version__,
        "source": file_sha256(read),
        "repo_id": repo_id,
        "license": [license.id, license.name, license.link],
    }


def _prepare(
    record: Record, folder: Path, read: Path, made_of: dict[str, object], *, repo_id: str, license: License
) -> None:
    if _is_complete(folder, made_of):
        _logger.info("%s: prepared already in %s", record.name, folder)
        return
    if folder.exists() and any(folder.iterdir()) and not (folder / _DONE).is_file():
        raise FileExistsError(f"{folder} stands there and was not prepared by this command: move it away")
    checkpoint = read_checkpoint(read)
    check_is(checkpoint, record)
    _logger.info("%s: recognised as %s", read, checkpoint.layout)
    _logger.info("%s: converting it and comparing logits, which may take some minutes", record.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with quiet_loads(), tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        unfinished = Path(scratch) / folder.name
        unfinished.mkdir()
        weights = unfinished / WEIGHTS_NAME
        if checkpoint.is_ours:
            shutil.copyfile(read, weights)
        else:
            convert_checkpoint(read, weights)
        difference = compare_logits(record, read, weights)
        _logger.info("%s: the saved file's logits are within %.1e of the source's", record.name, difference)
        write_description(read_checkpoint(weights), unfinished, repo_id=repo_id, record=record, license=license)
        write_reference(unfinished)
        verify_file(weights, config=unfinished / CONFIG_NAME, reference=unfinished / REFERENCE_NAME)
        hashes = {path.relative_to(unfinished).as_posix(): file_sha256(path) for path in _files(unfinished)}
        write_atomically(unfinished / _DONE, json.dumps({"made_of": made_of, "files": hashes}, indent=2).encode())
        _remove_at_once(folder)
        os.replace(unfinished, folder)


def find_record(checkpoint: Checkpoint) -> Record | None:
    """The manifest's checkpoint that a file is, by its contents alone; None if it is none of the released ones."""
    for record in records().values():
        if record.tag != "openai" and not _differences(checkpoint, record):
            return record
    return None


def check_is(checkpoint: Checkpoint, record: Record) -> None:
    """Refuses a file that is not the checkpoint that it is given for.

    Raises:
        CheckpointError: Names what differs.
    """
    if wrong := _differences(checkpoint, record):
        other = find_record(checkpoint)
        hint = f": it is {other.name}" if other else ""
        raise CheckpointError(f"{checkpoint.path} is not {record.name}{hint}: {'; '.join(wrong)}")


def compare_logits(record: Record, read: Path, written: Path) -> float:
    """The largest difference of two files' logits on the reference clip, relative to the largest logit.

    Raises:
        CheckpointError: A logit is not finite, their number is not the record's, or they differ.
    """
    expected, found = (_logits(path) for path in (read, written))
    for path, logits in ((read, expected), (written, found)):
        if not torch.isfinite(logits).all():
            raise CheckpointError(f"{path}: its logits on the reference clip are not finite")
        if logits.numel() != record.arguments["num_classes"]:
            raise CheckpointError(
                f"{path}: {logits.numel()} classes, but {record.name} has {record.arguments['num_classes']}"
            )
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    if not difference <= SAME_LOGITS:
        raise CheckpointError(
            f"{written}: its logits differ from those of {read} by {difference:.1e}, more than {SAME_LOGITS:.0e}: this"
            f" is a bug of the conversion, please report it"
        )
    return difference


def _logits(path: Path) -> Tensor:
    model = create_model(f"local-dir:{path}")
    return make_reference(model, seed=1).get("logits", torch.empty(0))


def _differences(checkpoint: Checkpoint, record: Record) -> list[str]:
    """What a file has that the record says otherwise."""
    arguments, config = record.arguments, checkpoint.config
    classes = arguments["num_classes"]
    facts = [
        ("kind", checkpoint.kind, "ila"),
        ("architecture", checkpoint.architecture, record.architecture),
        ("frames", config.num_frames, arguments["num_frames"]),
        ("pixels", tuple(config.img_size), tuple(arguments["img_size"])),
        ("interactive block", config.interactive, arguments["interactive"]),
        ("head", checkpoint.head, arguments["head"]),
        ("classes", classes if checkpoint.needs_class_features else checkpoint.num_classes, classes),
    ]
    return [f"its {what} is {found}, expected {expected}" for what, found, expected in facts if found != expected]


def _is_complete(folder: Path, made_of: dict[str, object]) -> bool:
    try:
        done = json.loads((folder / _DONE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    if done.get("made_of") != made_of:
        return False
    found = {path.relative_to(folder).as_posix(): file_sha256(path) for path in _files(folder)}
    return bool(done.get("files") == found)


def _remove_at_once(folder: Path) -> None:
    """Takes a folder away whole, lest a killed process leaves a half of it that looks like somebody else's."""
    if folder.exists():
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            os.replace(folder, Path(scratch) / folder.name)


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != _DONE)


def _keep_published_reference(folder: Path, repo_id: str) -> None:
    """Takes over the reference tensors that stand on the Hub if the model still gives them.

    They are arithmetic of the machine that made them: another machine's differ in the last bits and would make a
    release of nothing new.

    Raises:
        PublishingError: There may be some, but the Hub does not give them now.
    """
    published = published_file(repo_id, REFERENCE_NAME)
    if published is None:
        return
    try:
        with quiet_loads():
            replay_reference(create_model(f"local-dir:{folder}"), published).check()
    except CheckpointError as error:
        _logger.info("%s; it is replaced", error)
    else:
        write_atomically(folder / REFERENCE_NAME, published.read_bytes())


def _keep_edited_card(folder: Path, repo_id: str) -> None:
    """Takes over the model card that stands on the Hub if somebody has edited it since the last release.

    Raises:
        PublishingError: There may be one, but the Hub does not give it now.
    """
    edited = edited_since_release(repo_id, CARD_NAME)
    if edited is not None and edited.read_bytes() != (folder / CARD_NAME).read_bytes():
        _logger.warning("%s: its %s was edited since the last release, and is kept as it is", repo_id, CARD_NAME)
        write_atomically(folder / CARD_NAME, edited.read_bytes())


def _read_back(folder: Path, pushed: Pushed) -> None:
    """Fetches what was pushed, compares it with what was prepared, and replays the reference tensors on it.

    Raises:
        PublishingError: Something else came back.
    """
    _logger.info("%s: reading %s back", pushed.repo_id, pushed.commit[:12])
    back: dict[str, Path] = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        try:
            back[name] = fetch_hub_file(pushed.repo_id, name, pushed.commit)
        except (CheckpointError, FileNotFoundError) as error:
            raise PublishingError(
                f"{pushed.repo_id} was pushed but cannot be read back: {error}: run this again, it goes on from there"
            ) from error
        if (found := file_sha256(back[name])) != (expected := file_sha256(path)):
            raise PublishingError(
                f"{pushed.repo_id}: {name} came back with sha256 {found}, but {expected} was pushed: run this again"
            )
    with quiet_loads():
        verify_file(back[WEIGHTS_NAME], config=back[CONFIG_NAME], reference=back[REFERENCE_NAME])
