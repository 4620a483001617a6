"""``ila-models evaluate``: how often is a model right on these videos?"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..class_features import BARE_NAMES
from ..data.annotations import LabelledVideos, read_annotations, read_class_names
from ..evaluation import evaluate
from ..evaluation.report_files import report_text, write_report
from ..factory import load_text_encoder
from ..ila_vit import ILAVisionTransformer
from ..text import TextEncoder
from ..video_model import VideoModel, create_video_model, leave_out_video_prompts
from .given import given
from .model_options import add_model_options, add_text_options, read_templates
from .predict import write
from .processes import MOST_WORKERS, default_workers, process_device

EXAMPLES = """\
examples:
  ila-models evaluate --model ila_vit_b16 --data kinetics/val --annotations val.txt --views 4x3 --out results
      the released Kinetics-400 model on a list of `path label` lines; run it again to go on after a stop
  torchrun --nproc-per-node 8 -m ila_models evaluate --model ila_vit_l14 --data kinetics/val --views 4x3 --out results
      on eight GPUs; kinetics/val has a folder for every class
  ila-models evaluate --model ila_vit_b16.openai --data ucf101 --classes classes.txt
      frozen CLIP, told the classes by their names
"""


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model's accuracy on labelled videos",
        description="Runs a model on labelled videos and reports top-1, top-5, mean per class, and what it confuses.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_options(parser)
    parser.add_argument("--data", required=True, type=given, metavar="DIR", help="folder of videos")
    parser.add_argument(
        "--annotations",
        type=given,
        metavar="FILE",
        help="lines `path label`, or CSV with a header (default: every folder in DIR is a class)",
    )
    parser.add_argument(
        "--classes",
        metavar="[@]FILE",
        help="class names, one a line, in the order of the labels: the first is label 0",
    )
    add_text_options(parser)
    parser.add_argument(
        "--views-mode",
        choices=("deterministic", "random"),
        default="deterministic",
        help="which frames: the same every time (default), or drawn as the released code does",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of --views-mode random (default: 0)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="views at once (default: 8)")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"decoding processes for each GPU (default: CPUs, {MOST_WORKERS} at most)",
    )
    parser.add_argument(
        "--out", type=given, metavar="DIR", help="keep predictions and reports here, and go on where a run was stopped"
    )
    parser.add_argument("--all-probabilities", action="store_true", help="keep those of all classes, not of five")
    parser.add_argument("--limit", type=int, metavar="N", help="take N videos, evenly from all")
    parser.add_argument("--allow-missing", action="store_true", help="count files that are not there as broken videos")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluates; broken videos are part of the report."""
    classes = None if options.classes is None else read_class_names(options.classes.removeprefix("@"))
    videos = read_annotations(
        options.data, options.annotations, class_names=classes, allow_missing=options.allow_missing
    )
    if options.limit is not None:
        videos = videos.spread(options.limit)
    # CLIP's files leave parts of a model random. They have no effect, but all processes, and a run that goes on, must
    # have the same ones to be seen to do the same.
    torch.manual_seed(0)
    model = create_video_model(
        options.model,
        pretrained=options.checkpoint is None,
        checkpoint_path=options.checkpoint,
        num_frames=options.num_frames,
    )
    text_tower = None if options.text_tower is None else load_text_encoder(options.text_tower)
    name_classes(model, videos, classes, text_tower, read_templates(options))
    if options.no_video_prompts:
        leave_out_video_prompts(model)
    clips, crops = options.views
    is_first = os.environ.get("RANK", "0") == "0"
    report = evaluate(
        model.to(process_device(options.device)),
        videos,
        clips=clips,
        crops=crops,
        views_mode=options.views_mode,
        seed=options.seed,
        batch_size=options.batch_size,
        num_workers=default_workers() if options.workers is None else options.workers,
        output=options.out,
        save_probabilities=options.all_probabilities,
        show_progress=not options.quiet,
    )
    if is_first:
        if options.out is not None:
            write_report(report, Path(options.out))
        write(json.dumps(report.as_json(), ensure_ascii=False) if options.json else report_text(report))
    return 0


def name_classes(
    model: VideoModel,
    videos: LabelledVideos,
    classes: tuple[str, ...] | None,
    text_tower: TextEncoder | None,
    templates: Sequence[str],
) -> None:
    """Tells a model its classes where it does not know them, or where a text head is to choose among others.

    Names that the model has are left alone, so that a file that names them in another order is noticed.
    """
    if isinstance(model, ILAVisionTransformer) and model.has_text_head:
        names = classes or model.class_names or videos.class_names
        if names and (set(names) != set(model.class_names or ()) or tuple(templates) != BARE_NAMES):
            model.set_classes(names, text_tower, templates=templates)
    elif tuple(templates) != BARE_NAMES:
        raise ValueError("--template is for a text head, and this model has a linear one: leave it out")
    elif classes is not None and model.class_names is None and len(classes) == model.num_classes:
        model.class_names = classes
