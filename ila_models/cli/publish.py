"""``ila-models publish``: checkpoints, a Collection, datasets and Spaces to the Hugging Face Hub."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..publishing.collection import publish_collection
from ..publishing.errors import PublishingError
from ..publishing.folder import publish_folder
from ..publishing.license import License
from ..publishing.release import find_record, prepare_release, publish_checkpoint
from ..publishing.upload import repository_of
from ..weights.errors import CheckpointError
from ..weights.manifest import DriveSource, Record, manifest_path, records
from ..weights.recognise import read_checkpoint
from .download import known_record
from .given import given_path

_logger = logging.getLogger(__name__)

USAGE = """\
ila-models publish NAME...|--all --namespace OWNER [--checkpoint FILE|DIR]
           [--license ID | --license other --license-name NAME --license-link URL]
           [--manifest FILE] [--private] [--dry-run OUT]
       ila-models publish collection --namespace OWNER [--manifest FILE] [--private]
       ila-models publish dataset|space FOLDER --namespace OWNER [--private]"""

EXAMPLES = """\
Each checkpoint is converted, its logits compared with the file's that was read, described by a model card, pushed as
one commit with a tag, read back and compared; then its commit and hash are written into the manifest, which the last
line names. Interrupted at any point and run again, it goes on from there, and publishes nothing twice.

examples:
  ila-models publish --all --checkpoint released/ --namespace OWNER --license mit
      all ten released checkpoints out of a folder, recognised by their contents
  ila-models publish ila_vit_b16.k400_8x224 --checkpoint k400_b16_8.pth --namespace OWNER --license mit --dry-run out
      writes out/ila_vit_b16.k400_8x224 as it would be pushed, and leaves the network alone
  ila-models publish collection --namespace OWNER
      a Collection of all that was published, and the paper
"""


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "publish",
        help="publish checkpoints to the Hugging Face Hub",
        usage=USAGE,
        description="Publishes released checkpoints to the Hugging Face Hub. Needs a token: hf auth login or HF_TOKEN.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="NAME",
        help="checkpoints (ila-models list); or: collection; or: dataset|space FOLDER",
    )
    parser.add_argument("--all", action="store_true", help="every released checkpoint")
    parser.add_argument("--namespace", required=True, metavar="OWNER", help="user or organisation of the Hub")
    parser.add_argument(
        "--checkpoint",
        type=given_path,
        metavar="FILE|DIR",
        help="the released file, or a folder of released files, told apart by their contents (default: the manifest's"
        " sources)",
    )
    parser.add_argument("--license", metavar="ID", help="licence of the weights, such as mit, where none is stated")
    parser.add_argument("--license-name", metavar="NAME", help="name of the licence with --license other")
    parser.add_argument("--license-link", metavar="URL", help="address of its text with --license other")
    parser.add_argument("--private", action="store_true", help="make new repositories private")
    parser.add_argument(
        "--dry-run", type=given_path, metavar="OUT", help="write into OUT/NAME what would be pushed, and push nothing"
    )
    parser.add_argument(
        "--manifest",
        type=given_path,
        metavar="FILE",
        help="manifest to write commits and hashes into; for collection, to read what is published out of (default: the"
        " package's)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Publishes what was asked for; 1 if any of it failed."""
    kind = options.what[0] if options.what else None
    if kind == "collection" or kind in ("dataset", "space"):
        return run_other(options, kind)
    if options.all == bool(options.what):
        raise ValueError("name checkpoints, or give --all: one of the two")
    if options.license is None and (options.license_name is not None or options.license_link is not None):
        raise ValueError("--license-name and --license-link go with --license other")
    manifest = options.manifest or manifest_path()
    if not manifest.is_file():
        raise FileNotFoundError(f"--manifest {manifest}: no such file: give a copy of the package's, or leave it out")
    released = [record for record in records().values() if any(isinstance(s, DriveSource) for s in record.sources)]
    wanted = released if options.all else [known_record(name) for name in options.what]
    license = None
    if options.license is not None:
        license = License(options.license, name=options.license_name, link=options.license_link)
        if license.link is not None and not license.link.startswith("http"):
            raise ValueError(f"--license-link {license.link}: give a URL, https://...: no file comes with the weights")
    for record in wanted:
        repository_of(options.namespace, record.name)
    failures: dict[str, Exception] = {}
    lacking = []
    for record, source in with_sources(wanted, options.checkpoint):
        if source is None and options.checkpoint is not None:
            lacking.append(record.name)
            continue
        try:
            publish_one(record, source, license, options, manifest)
        except (PublishingError, OSError, ValueError) as error:
            failures[record.name] = error
            sys.stderr.write(f"failed: {record.name}: {error}\n")
    report_failures(failures, lacking, len(wanted), options.checkpoint)
    if options.dry_run is None and len(failures) + len(lacking) < len(wanted):
        write(f"commits and hashes are noted in {manifest}")
    return 1 if failures or lacking else 0


def report_failures(failures: dict[str, Exception], lacking: list[str], wanted: int, folder: Path | None) -> None:
    """Says how many failed, and whether it helps to try again."""
    if failures:
        # Other errors come again, and so do files that are missing.
        passing = all(
            isinstance(error, PublishingError | OSError) and not isinstance(error, FileExistsError)
            for error in failures.values()
        )
        way_out = "; run the same command again to go on" if passing and not lacking else ""
        sys.stderr.write(f"{len(failures)} of {wanted} checkpoints failed: {', '.join(failures)}{way_out}\n")
    if lacking:
        sys.stderr.write(f"{len(lacking)} of {wanted} checkpoints have no file in {folder}: {', '.join(lacking)}\n")


def publish_one(
    record: Record, source: Path | None, license: License | None, options: argparse.Namespace, manifest: Path
) -> None:
    """Publishes one checkpoint, or prepares it."""
    if options.dry_run is not None:
        folder = options.dry_run / record.name
        repo_id = repository_of(options.namespace, record.name)
        prepare_release(record, folder, repo_id=repo_id, source=source, license=license)
        write(f"{record.name}  prepared in {folder}, nothing pushed")
        return
    release = publish_checkpoint(
        record,
        namespace=options.namespace,
        source=source,
        license=license,
        private=options.private,
        manifest=manifest,
    )
    pushed = release.pushed
    news = "" if pushed.is_new else ", was there already"
    write(f"{record.name}  hf-hub:{pushed.repo_id} {pushed.tag} (commit {pushed.commit[:12]}{news})")


def run_other(options: argparse.Namespace, kind: str) -> int:
    """Publishes a Collection, a dataset or a Space.

    Raises:
        ValueError: The command line does not say what.
    """
    others = ("checkpoint", "license", "license_name", "license_link", "dry_run")
    for name in others if kind == "collection" else (*others, "manifest"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} does not go with publish {kind}")
    if options.all:
        raise ValueError(f"--all does not go with publish {kind}")
    if kind == "collection":
        if len(options.what) > 1:
            raise ValueError("publish collection takes no names: it adds all that the manifest knows as published")
        write(publish_collection(options.namespace, private=options.private, manifest=options.manifest))
        return 0
    if len(options.what) != 2:
        raise ValueError(f"publish {kind} takes one folder: ila-models publish {kind} FOLDER --namespace OWNER")
    folder = Path(options.what[1])
    pushed = publish_folder(
        folder,
        repository_of(options.namespace, folder.resolve().name),
        repo_type="dataset" if kind == "dataset" else "space",
        private=options.private,
    )
    news = "" if pushed.is_new else ", was there already"
    write(f"{kind} {pushed.repo_id} {pushed.tag} (commit {pushed.commit[:12]}{news})")
    return 0


def with_sources(wanted: list[Record], given: Path | None) -> Iterator[tuple[Record, Path | None]]:
    """Every checkpoint and its file; None where the manifest's sources have to give it, or a folder lacks it.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: One file is given for several checkpoints, or two files of a folder are the same checkpoint.
    """
    if given is None:
        yield from ((record, None) for record in wanted)
    elif given.is_dir():
        found = recognise_folder(given)
        yield from ((record, found.get(record.name)) for record in wanted)
    elif not given.exists():
        raise FileNotFoundError(f"--checkpoint {given}: no such file or folder")
    elif len(wanted) > 1:
        raise ValueError(f"--checkpoint {given} is one file for {len(wanted)} checkpoints: give a folder of files")
    else:
        yield wanted[0], given


def recognise_folder(folder: Path) -> dict[str, Path]:
    """The released checkpoints in a folder by the manifest's names; their contents decide, not their names.

    Raises:
        ValueError: Two files are the same checkpoint.
    """
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        try:
            record = find_record(read_checkpoint(path))
        except CheckpointError as error:
            _logger.warning("not used: %s", error)
            continue
        if record is None:
            _logger.warning("not used: %s is none of the released checkpoints", path)
        elif record.name in found:
            raise ValueError(f"{found[record.name]} and {path} are both {record.name}: leave one in the folder")
        else:
            found[record.name] = path
    return found


def write(text: str) -> None:
    """Prints a result at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
