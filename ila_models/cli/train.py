"""``ila-models train``: the released recipe, or one of your own, on your videos."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..training.config import RECIPES, load_config
from .given import given, given_path

EXAMPLES = """\
examples:
  ila-models train --config ila_vit_nano8.motion_8x64 --out runs/motion
      a small model on clips made on the fly: to see that all of it works, without a GPU
  ila-models train --config ila_vit_b16.k400_8x224 --out runs/b16 data.train=videos/train data.validation=videos/val \\
      data.train_annotations=null data.validation_annotations=null data.class_names=null
      the released recipe on your videos in class folders; or name files with `path label` a line in place of null
  torchrun --nproc-per-node 8 -m ila_models train --config my.yaml --out runs/mine run.accumulate=2
      eight GPUs, each taking its share of a step in two parts

Run again, the same command goes on from its last checkpoint, bit for bit.
"""


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "train",
        help="train a model on your videos",
        description="Trains a model. Into --out go the checkpoint, the log, the curves, and the model at the end.",
        epilog=EXAMPLES + "\nrecipes: " + ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml"))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", required=True, type=given, metavar="FILE", help="YAML file, or a recipe of the package"
    )
    parser.add_argument("--out", required=True, type=given_path, metavar="DIR", help="folder of the run")
    parser.add_argument("--stop-after", type=int, metavar="N", help="end after N steps of this call, to go on later")
    parser.add_argument(
        "overrides", nargs="*", metavar="SECTION.FIELD=VALUE", help="fields in place of the file's, such as run.seed=1"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Trains, and says what came of it.

    Raises:
        RuntimeError: What training needs beyond the package is not installed.
    """
    try:
        from ..training.engine import train
    except ModuleNotFoundError as error:
        raise RuntimeError(f"training needs {error.name}: pip install 'ila-models[train]'") from error

    config = load_config(options.config, options.overrides)
    result = train(config, options.out, stop_after=options.stop_after)
    if result.accuracy is not None:
        found = result.accuracy
        sys.stdout.write(f"top-1 {found.top1:.2f} %, top-5 {found.top5:.2f} % of {found.clips} validation clips\n")
    sys.stdout.write(f"{result.steps} steps, {result.seconds / 60:.1f} minutes: {result.folder}\n")
    return 0
