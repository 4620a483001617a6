"""``ila-models download``: weights into the cache or a folder, before they are needed."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from ..pretrained import export_pretrained, fetch_reference, pretrained_file
from ..weights.errors import CheckpointError
from ..weights.manifest import Record, default_record, records
from .given import given_path

_logger = logging.getLogger(__name__)


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "download",
        help="fetch weights before they are needed",
        description="Fetches checkpoints of the manifest, checks them, and keeps them for pretrained=True.",
        epilog="A released file of Google Drive is converted to safetensors, once. What is there already is not fetched"
        " again, and what was interrupted goes on where it stopped.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="architecture or architecture.tag, see: ila-models list"
    )
    parser.add_argument("--all", action="store_true", help="every checkpoint of the manifest")
    parser.add_argument(
        "--dir", type=given_path, metavar="D", help="write NAME.safetensors into this folder as well (for --checkpoint)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fetches one after the other; 1 if any of them could not be had."""
    failures = []
    wanted = chosen_records(options.names, all_of_them=options.all)
    for record in wanted:
        try:
            path = pretrained_file(record)
            fetch_reference(record)
            if options.dir is not None:
                path = export_pretrained(record, options.dir)
        except (CheckpointError, OSError) as error:
            failures.append(record.name)
            sys.stderr.write(f"failed: {record.name}: {error}\n")
        else:
            sys.stdout.write(f"{record.name}  {path}\n")
            sys.stdout.flush()
    if failures:
        sys.stderr.write(f"{len(failures)} of {len(wanted)} checkpoints failed: {', '.join(failures)}\n")
    return 1 if failures else 0


def chosen_records(names: list[str], *, all_of_them: bool) -> list[Record]:
    """The manifest's checkpoints of these names; an architecture stands for its default one.

    Raises:
        ValueError: A name is unknown, none is given, or some are given besides all.
    """
    if all_of_them == bool(names):
        raise ValueError("name checkpoints, or give --all: one of the two")
    if all_of_them:
        return list(records().values())
    return [known_record(name) for name in names]


def known_record(name: str) -> Record:
    """The manifest's checkpoint of a name; an architecture stands for its default one.

    Raises:
        ValueError: There is none.
    """
    if name in records():
        return records()[name]
    if (record := default_record(name)) is not None:
        return record
    raise ValueError(f"no checkpoint {name!r}: there are {', '.join(records())}")
