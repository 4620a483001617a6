"""``ila-models visualize``: see what a model sees."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from ..extraction.unique_names import Names
from ..features.decoding import ERRORS_OF_A_VIDEO
from ..visualize import Theme, capture_video, check_choices, write_pictures
from ..visualize.drawing import UNTRAINED
from .given import given, given_path
from .model_options import add_classes_option, add_weights_options, choose_device, create_named_model
from .predict import failure_of, find_videos, write

_logger = logging.getLogger(__name__)

EXAMPLES = """\
examples:
  ila-models visualize clip.mp4 --model ila_vit_nano8
      points and masks of three blocks as GIF, MP4 and contact sheet, attention roll-out, classes: below ila_pictures/
  ila-models visualize clip.mp4 --model ila_vit_b16 --blocks 0,5,11 --theme both --out pictures
      of the blocks that you name, for pages of light and of dark background
  ila-models visualize match.mp4 --model ila_vit_b16.openai --classes "serve,rally,break" --window 2 --stride 1
      what frozen CLIP sees along a long video, every second
"""


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "visualize",
        help="draw interactive points, attention, and classes over time",
        description="Draws what a model sees of each video: the interactive points of neighbouring frames with the soft"
        " masks round them (points_light.gif and .mp4, contact_sheet_light.png), attention roll-out of the class token"
        " (rollout_light.png), and the likeliest classes over time (timeline_light.png).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "videos",
        nargs="+",
        type=given,
        metavar="VIDEO",
        help="video file, http(s) URL, or directory (subfolders included)",
    )
    add_weights_options(parser)
    add_classes_option(parser)
    parser.add_argument(
        "--blocks",
        type=parse_blocks,
        metavar="N,N,...",
        help="blocks whose points to show, from 0 (default: the first, the middle and the last)",
    )
    parser.add_argument(
        "--window", type=float, metavar="S", help="seconds of a window of the timeline (default: the whole video)"
    )
    parser.add_argument(
        "--stride", type=float, metavar="S", help="seconds from one window to the next (default: the window's length)"
    )
    parser.add_argument("--topk", type=int, default=5, metavar="K", help="classes of the timeline (default: 5)")
    parser.add_argument(
        "--theme",
        choices=(*get_args(Theme), "both"),
        default="light",
        help="of the page that the pictures are for, and part of their names (default: light)",
    )
    parser.add_argument(
        "--out",
        type=given_path,
        default=Path("ila_pictures"),
        metavar="DIR",
        help="where each video gets a folder of its name (default: ila_pictures)",
    )
    parser.add_argument(
        "--device", default="auto", help="auto (default: a GPU if there is one), cpu, cuda, cuda:1, mps"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draws the pictures; 1 if any of the videos could not be used."""
    if options.topk < 1:
        raise ValueError(f"--topk {options.topk} is out of range: give at least 1")
    if options.out.is_file():
        raise ValueError(f"--out {options.out} is a file: name the folder for the pictures")
    sources = list(find_videos(options.videos))
    model = create_named_model(options).to(choose_device(options.device))
    choices = {"blocks": options.blocks, "window": options.window, "stride": options.stride}
    check_choices(model, **choices)
    themes: tuple[Theme, ...] = get_args(Theme) if options.theme == "both" else (options.theme,)
    names = Names()
    told = False
    failures = []
    for source in sources:
        folder = options.out / names.give(stem_of(source))
        try:
            capture = capture_video(model, source, **choices)
            if (alignment := capture.clip.alignment) is not None and alignment.is_untrained and not told:
                _logger.warning("%s: %s", options.model, UNTRAINED)
                told = True
            for theme in themes:
                for path in write_pictures(capture, folder, theme=theme, topk=options.topk).paths:
                    write(os.fspath(path))
        except ERRORS_OF_A_VIDEO as error:
            failures.append(failure_of(source, error))
    for failure in failures:
        sys.stderr.write(f"failed: {failure}\n")
    if failures:
        sys.stderr.write(f"{len(failures)} of {len(sources)} videos failed\n")
    return 1 if failures else 0


def stem_of(source: str) -> str:
    """A path's or an address' last part without its ending, for a folder's name."""
    return PurePosixPath(source.partition("?")[0].replace(os.sep, "/")).stem or "video"


def parse_blocks(argument: str) -> list[int]:
    """``0,5,11`` as numbers."""
    try:
        return [int(number) for number in argument.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{argument!r} is not a list of block numbers: give some from 0 on, separated by commas, such as 0,5,11"
        ) from None
