"""``ila-models predict``: what happens in these videos?"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data.video_files import SUFFIXES_IN_WORDS, videos_below
from ..features.decoding import ERRORS_OF_A_VIDEO, reason_of
from ..predict import Prediction, predict_video
from .given import given
from .model_options import add_classes_option, add_model_options, choose_device, create_named_model

_logger = logging.getLogger(__name__)

EXAMPLES = """\
examples:
  ila-models predict clip.mp4 --model ila_vit_b16.openai --classes "surfing,tai chi,arm wrestling"
      frozen CLIP on any classes; its weights come from the Hugging Face Hub
  ila-models predict videos/ --model ila_vit_l14 --views 4x3 --json > predictions.jsonl
      the released Kinetics-400 model, twelve views of every video of a folder
  ila-models predict clip.mp4 --model hf-hub:owner/my_model
      a model that somebody published
  ila-models predict clip.mp4 --model ila_vit_b16 --checkpoint ViT-B-16.pt --classes @classes.txt
      weights from a file of yours, class names from a text file with one a line
"""


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "predict",
        help="classify videos",
        description="Classifies videos and prints the likeliest classes of each.",
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
    add_model_options(parser)
    add_classes_option(parser)
    parser.add_argument("--topk", type=int, default=5, metavar="K", help="classes to print for each video (default: 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Classifies the videos; 1 if any of them could not be used."""
    if options.topk < 1:
        raise ValueError(f"--topk {options.topk} is out of range: give at least 1")
    sources = list(find_videos(options.videos))
    model = create_named_model(options).to(choose_device(options.device))
    if model.num_classes == 0:
        raise ValueError(f"{options.model} has no classes of its own with these weights: give some with --classes")
    if model.class_names is None:
        _logger.info("these weights do not name their classes: --classes names all %d in order", model.num_classes)
    failures = []
    for source in sources:
        clips, crops = options.views
        try:
            predictions = predict_video(model, source, clips=clips, crops=crops, topk=options.topk)
        except ERRORS_OF_A_VIDEO as error:
            failures.append(failure_of(source, error))
            if options.json:
                write(json.dumps({"video": source, "error": reason_of(error)}, ensure_ascii=False))
            continue
        write(as_json(source, predictions) if options.json else as_table(source, predictions))
    for failure in failures:
        sys.stderr.write(f"failed: {failure}\n")
    if failures:
        sys.stderr.write(f"{len(failures)} of {len(sources)} videos failed\n")
    return 1 if failures else 0


def find_videos(arguments: list[str]) -> Iterator[str]:
    """The videos that a command line names: files and URLs as they are, directories searched, in order of names.

    Raises:
        ValueError: A directory holds no video file.
    """
    for argument in arguments:
        if not Path(argument).is_dir():
            yield argument
            continue
        inside = [os.fspath(Path(argument, path)) for path in videos_below(argument)]
        if not inside:
            raise ValueError(
                f"{argument}: no video file in this directory (looked for {SUFFIXES_IN_WORDS}, and not into hidden"
                " files and folders)"
            )
        yield from inside


def failure_of(source: str, error: Exception) -> str:
    """Which video failed, and why; many errors name it themselves."""
    reason = reason_of(error)
    return reason if reason.startswith(source) else f"{source}: {reason}"


def as_json(source: str, predictions: list[Prediction]) -> str:
    """One line for a program."""
    classes = [
        {"label": each.label, "index": each.index, "probability": round(each.probability, 6)} for each in predictions
    ]
    return json.dumps({"video": source, "predictions": classes}, ensure_ascii=False)


def as_table(source: str, predictions: list[Prediction]) -> str:
    """Some lines for a person."""
    lines = [f"  {each.probability:6.1%}  {each.label}" for each in predictions]
    return "\n".join([source, *lines])


def write(text: str) -> None:
    """Prints a result at once, so that a reader of a pipe sees it when it is there."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
