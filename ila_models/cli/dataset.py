"""``ila-models dataset``: generated data as a repository that is ready for the Hugging Face Hub."""

from __future__ import annotations

import argparse
from typing import Any

from ..publishing.motion_dataset import MOTION_COUNT, write_motion_dataset
from .given import given_path
from .predict import write

EXAMPLES = """\
examples:
  ila-models dataset motion motion10
      2000 training videos, 500 for validation, 500 for the test, and the dataset card; it takes about a minute
  ila-models publish dataset motion10 --namespace OWNER
      pushes the folder to huggingface.co/datasets/OWNER/motion10
"""


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "dataset",
        help="write generated videos as a dataset for the Hugging Face Hub",
        description="Writes a dataset as a folder that `ila-models publish dataset` pushes: videos in folders per split"
        " and class, tables of their labels, and a dataset card. Stopped and run again, it goes on.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=("motion",), metavar="NAME", help="motion: ten motions of drawn shapes")
    parser.add_argument("out", type=given_path, metavar="OUT", help="folder, whose name the dataset will have")
    parser.add_argument(
        "--count",
        type=int,
        default=MOTION_COUNT,
        metavar="N",
        help=f"training videos, a multiple of 40; validation and test have a quarter each (default: {MOTION_COUNT})",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the drawing, 0 to 999999 (default: 0)")
    parser.add_argument(
        "--img-size", type=int, default=64, metavar="PIXELS", help="side of the videos, even, 32 to 256 (default: 64)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Writes the folder and says how to publish it."""
    folder = write_motion_dataset(options.out, count=options.count, seed=options.seed, img_size=options.img_size)
    write(f"{folder}  ready: ila-models publish dataset {folder} --namespace OWNER")
    return 0
