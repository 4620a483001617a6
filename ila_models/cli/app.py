"""``ila-models app``: in the browser, show it a video and see what it sees."""

from __future__ import annotations

import argparse
from typing import Any

from ..app import Limits, launch
from ..demo import DEMO_MODEL
from ..factory import list_pretrained
from ..pretrained import is_cached
from ..weights.manifest import records
from .given import given
from .model_options import choose_device

EXAMPLES = f"""\
examples:
  ila-models app
      the checkpoint that comes with the package, {DEMO_MODEL}, and those that a cache on this machine holds; no network
  ila-models app --model ila_vit_b16.openai --model ila_vit_b16
      frozen CLIP, which reads any class names, and the released Kinetics-400 model; fetched where no cache has them
  ila-models app --model ila_vit_b16 --checkpoint best.safetensors --text-tower ViT-B-16.pt
      a checkpoint of yours, and the text tower that reads class names for it
  ila-models app --host 0.0.0.0 --port 8080 --max-seconds 60
      for others in your network, who can then use this machine
"""


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "app",
        help="try models on videos in the browser, offline",
        description="Serves a page on which to upload or record a video, see what a model makes of it, and watch its"
        " interactive points. Takes pip install 'ila-models[app]'. Ctrl+C stops it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        action="append",
        dest="models",
        metavar="NAME",
        help="architecture.tag (see: ila-models list), hf-hub:owner/name, or local-dir:FOLDER; several make a list to"
        " choose from, the first one at the start (default: the package's own, and those in a cache)",
    )
    parser.add_argument(
        "--checkpoint", type=given, metavar="FILE", help="weights of the only --model, of any layout that predict takes"
    )
    parser.add_argument(
        "--text-tower",
        type=given,
        metavar="FILE",
        help="CLIP checkpoint whose text tower reads class names, where the weights bring none",
    )
    parser.add_argument("--num-frames", type=int, metavar="T", help="frames of a clip (default: the checkpoint's)")
    parser.add_argument(
        "--device", default="auto", help="auto (default: a GPU if there is one), cpu, cuda, cuda:1, mps"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (default: 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", type=int, metavar="N", help="to listen on (default: the first free one from 7860)")
    parser.add_argument(
        "--share", action="store_true", help="have gradio's servers make an address that works from anywhere"
    )
    largest = Limits()
    parser.add_argument(
        "--max-megabytes",
        type=float,
        default=largest.megabytes,
        metavar="MB",
        help=f"largest file that is taken (default: {largest.megabytes:g})",
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=largest.seconds,
        metavar="S",
        help=f"longest video that is taken (default: {largest.seconds:g})",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serves the page until it is interrupted."""
    if options.checkpoint is not None and len(options.models or ()) != 1:
        raise ValueError("--checkpoint is the weights of one model: give one --model with it")
    launch(
        options.models or offered_models(),
        checkpoint=options.checkpoint,
        text_tower=options.text_tower,
        num_frames=options.num_frames,
        device=choose_device(options.device),
        limits=Limits(megabytes=options.max_megabytes, seconds=options.max_seconds),
        host=options.host,
        port=options.port,
        share=options.share,
    )
    return 0


def offered_models() -> list[str]:
    """The checkpoint that comes with the package, then those that a cache holds: all that needs no network."""
    shipped = [name for name in list_pretrained() if records()[name].architecture == DEMO_MODEL]
    return shipped + [name for name in list_pretrained() if name not in shipped and is_cached(records()[name])]
