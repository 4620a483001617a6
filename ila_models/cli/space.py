"""``ila-models space``: the app as a Space of the Hugging Face Hub."""

from __future__ import annotations

import argparse
from typing import Any

from ..demo import DEMO_MODEL
from ..publishing.space import write_space
from .given import given_path
from .predict import write

EXAMPLES = """\
examples:
  ila-models space ila-points
      a Space with the checkpoint that comes with the package
  ila-models space ila-points --model ila_vit_b16.openai --model hf-hub:OWNER/my_model
      with frozen CLIP, which reads any class names, and a model that somebody published
  ila-models publish space ila-points --namespace OWNER
      pushes the folder to huggingface.co/spaces/OWNER/ila-points
"""


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "space",
        help="write the app as a Space for the Hugging Face Hub",
        description="Writes the app of `ila-models app` as a folder that `ila-models publish space` pushes: app.py,"
        " requirements with the versions of this machine, and the card. The Space installs this package from its"
        " repository at the tag of this version, which must be there.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=given_path, metavar="OUT", help="folder, whose name the Space will have")
    parser.add_argument(
        "--model",
        action="append",
        dest="models",
        metavar="NAME",
        help="architecture.tag (see: ila-models list), or hf-hub:owner/name; several make a list to choose from"
        f" (default: {DEMO_MODEL})",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Writes the folder and says how to publish it."""
    folder = write_space(options.out, models=options.models or (DEMO_MODEL,))
    write(f"{folder}  ready: ila-models publish space {folder} --namespace OWNER")
    return 0
