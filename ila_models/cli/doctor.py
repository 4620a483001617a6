"""``ila-models doctor``: what this machine can do."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..doctor import examine
from ..publishing.quiet import quiet_loads

_MARKS = {"ok": "  ", "note": "- ", "problem": "! "}


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "doctor",
        help="say what this machine can do",
        description="Says on one page what this machine can do: versions, GPU, video decoders, the Hub, caches, and"
        " whether the model that comes with the package answers. Nothing is fetched or changed.",
        epilog="A line marked with - tells of something that may be missed, one with ! of something that does not work;"
        " with one of these the exit status is 1.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints a line for every finding, as it is found."""
    status = 0
    with quiet_loads():
        for finding in examine():
            sys.stdout.write(f"{_MARKS[finding.state]}{finding.subject:14}{finding.text}\n")
            sys.stdout.flush()
            if finding.state == "problem":
                status = 1
    return status
