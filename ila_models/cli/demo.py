"""``ila-models demo``: see it work, on a machine without data and without a network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..data.motion import MOTION_CLASSES
from ..demo import DEMO_MODEL, DEMO_SEED, run_demo
from .given import given_path


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "demo",
        help="make a video and classify it, offline",
        description=f"Makes a short video of a moving shape, classifies it with the checkpoint of {DEMO_MODEL} that"
        " comes with the package, and draws a picture of both. Nothing is fetched.",
    )
    parser.add_argument(
        "--out", type=given_path, default=Path("ila_demo"), metavar="DIR", help="folder (default: ila_demo)"
    )
    parser.add_argument(
        "--motion", choices=MOTION_CLASSES, metavar="MOTION", help=f"one of: {', '.join(MOTION_CLASSES)}"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=DEMO_SEED,
        metavar="N",
        help=f"another one shows another shape (default: {DEMO_SEED})",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Makes the files and says what the model sees."""
    demo = run_demo(options.out, motion=options.motion, seed=options.seed)
    lines = [f"  {each.probability:6.1%}  {each.label}" for each in demo.predictions]
    said = [f"{demo.video} shows a shape that is {demo.shown}. The model's answer:", *lines, f"picture: {demo.picture}"]
    said.append(f"see more of it: ila-models visualize {demo.video} --model {DEMO_MODEL}")
    sys.stdout.write("\n".join(said) + "\n")
    return 0
