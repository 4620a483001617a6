"""``ila-models convert``: a released or CLIP checkpoint to a file of ours."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..convert import convert_checkpoint
from .given import given


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "convert",
        help="write a released ILA or a CLIP checkpoint as safetensors",
        description="Writes a checkpoint as safetensors with its configuration inside. Nothing in SRC is executed.",
        epilog="A released Kinetics-400 file gets its 400 class features computed; a CLIP file keeps its text tower.",
    )
    parser.add_argument(
        "source", type=given, metavar="SRC", help="released ILA file, CLIP in any layout, or hf-hub:owner/name"
    )
    parser.add_argument("destination", type=given, metavar="DST", help="file to write, such as ila_vit_b16.safetensors")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Converts, and says how to use the result."""
    written = convert_checkpoint(options.source, options.destination)
    name = written.architecture
    sys.stdout.write(f"{options.destination}: {written.layout}\n")
    if name is not None:
        sys.stdout.write(f"use it with: ila-models predict VIDEO --model {name} --checkpoint {options.destination}\n")
    return 0
