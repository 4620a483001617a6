"""``ila-models verify``: are these weights what they should be?"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..pretrained import is_cached
from ..publishing.verify import Verification, verify
from ..weights.errors import CheckpointError, UnavailableError
from ..weights.manifest import records
from .given import given


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "verify",
        help="check weights: hash, tensors, description, reference answers",
        description="Reads weights whole and checks hash, tensors (finite, complete, in place), config.json, and the"
        " answers to the reference clip that was published with them.",
    )
    parser.add_argument(
        "sources",
        type=given,
        nargs="*",
        metavar="NAME|FILE",
        help="checkpoint of the manifest, file, folder, or hf-hub:owner/name (default: all checkpoints in the caches)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verifies one after the other; 1 if anything is wrong or cannot be had."""
    sources = options.sources or [record.name for record in records().values() if is_cached(record)]
    if not sources:
        raise ValueError("no checkpoint of the manifest is in a cache: name a file, or run ila-models download NAME")
    failures = 0
    for source in sources:
        try:
            found = verify(source)
        except (CheckpointError, OSError) as error:
            failures += 1
            is_absent = isinstance(error, FileNotFoundError | UnavailableError)
            sys.stdout.write(f"{'MISSING' if is_absent else 'WRONG'}  {source}\n")
            sys.stderr.write(f"{error}\n")
        else:
            sys.stdout.write(describe(source, found))
        sys.stdout.flush()
    return 1 if failures else 0


def describe(source: str, found: Verification) -> str:
    """What was found right, some lines."""
    reference = "no reference tensors beside it, nothing replayed"
    if found.replay is not None:
        largest = max(found.replay.embedding_difference, found.replay.logits_difference or 0.0)
        reference = f"answers within {largest:.1e} of the published ones, relative"
    lines = [
        f"ok  {source}",
        f"  file       {found.path}",
        f"  is         {found.layout}",
        f"  sha256     {found.sha256}",
        f"  tensors    {found.tensors}, all finite, all in place",
        f"  described  {'by a config.json that says the same' if found.described else 'by no config.json'}",
        f"  reference  {reference}",
    ]
    return "\n".join(lines) + "\n"
