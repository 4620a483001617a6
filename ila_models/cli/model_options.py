"""What commands that run a model have in common: which model, with what weights, on how much of a video, and where."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..class_features import BARE_NAMES, check_templates
from ..data.annotations import read_class_names
from ..data.text_files import read_text
from ..factory import load_text_encoder
from ..video_model import VideoModel, create_video_model, leave_out_video_prompts
from .given import given


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a command's."""
    add_weights_options(parser)
    parser.add_argument(
        "--views", type=parse_views, default=(1, 1), metavar="CxK", help="clips x crops: 1x1 (default), 4x3, ..."
    )
    parser.add_argument(
        "--device", default="auto", help="auto (default: a GPU if there is one), cpu, cuda, cuda:1, mps"
    )


def add_weights_options(parser: argparse.ArgumentParser) -> None:
    """Adds those that say which model, with what weights."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help="architecture or architecture.tag (see: ila-models list), hf-hub:owner/name, or local-dir:FOLDER",
    )
    parser.add_argument(
        "--checkpoint",
        type=given,
        metavar="FILE",
        help="weights: a file of ours, a released ILA file, CLIP in any layout, or hf-hub:owner/name"
        " (default: the pretrained weights of NAME, fetched and cached)",
    )
    parser.add_argument(
        "--text-tower",
        type=given,
        metavar="FILE",
        help="CLIP checkpoint whose text tower reads class names, where the weights bring none",
    )
    parser.add_argument("--num-frames", type=int, metavar="T", help="frames of a clip (default: the checkpoint's)")


def add_classes_option(parser: argparse.ArgumentParser) -> None:
    """Adds the one that says what a text head chooses among."""
    parser.add_argument(
        "--classes",
        metavar="A,B,...",
        help="class names, separated by commas, or @FILE: one a line, or a CSV of id,name (default: the checkpoint's)",
    )
    add_text_options(parser)


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Adds those that say how a text head compares a video with class names."""
    parser.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        dest="templates",
        help="text with {} in the place of a class name, such as 'a video of {}.', or @FILE with one a line; several"
        " make an ensemble (default: bare names, as the released models have them)",
    )
    parser.add_argument(
        "--no-video-prompts", action="store_true", help="compare with class names alone, not refined by the video"
    )


def read_templates(options: argparse.Namespace) -> Sequence[str]:
    """The templates of :func:`add_text_options`."""
    found: list[str] = []
    for argument in options.templates or BARE_NAMES:
        found += read_lines(argument[1:]) if argument.startswith("@") else [argument]
    return check_templates(found)


def create_named_model(options: argparse.Namespace) -> VideoModel:
    """The model of :func:`add_weights_options` with the classes of :func:`add_classes_option`."""
    model = create_video_model(
        options.model,
        pretrained=options.checkpoint is None,
        checkpoint_path=options.checkpoint,
        class_names=None if options.classes is None else read_classes(options.classes),
        text_encoder=None if options.text_tower is None else load_text_encoder(options.text_tower),
        num_frames=options.num_frames,
        templates=read_templates(options),
    )
    if options.no_video_prompts:
        leave_out_video_prompts(model)
    return model


def read_classes(argument: str) -> list[str]:
    """Class names of ``a,b,c``, blanks round them dropped, or of ``@FILE``, see :func:`read_class_names`."""
    if argument.startswith("@"):
        return list(read_class_names(argument[1:]))
    return [name.strip() for name in argument.split(",")] if argument.strip() else []


def read_lines(path: str) -> list[str]:
    """The lines of a text file that are not blank, without the blanks round them; see :func:`read_text` for errors."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def parse_views(argument: str) -> tuple[int, int]:
    """``4x3`` as (clips, crops)."""
    clips, _, crops = argument.partition("x")
    if not clips.isdecimal() or int(clips) < 1 or crops not in ("1", "3"):
        raise argparse.ArgumentTypeError(f"{argument!r} is not CLIPSxCROPS: at least 1 clip, 1 or 3 crops, such as 4x3")
    return int(clips), int(crops)


def choose_device(argument: str) -> str:
    """The device of ``--device``; ``auto`` takes an accelerator if torch sees one.

    Raises:
        ValueError: torch does not see that kind of device.
    """
    import torch

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if argument == "auto":
        return str(accelerator) if accelerator else "cpu"
    kind = argument.partition(":")[0]
    if kind != "cpu" and (accelerator is None or accelerator.type != kind):
        seen = f"cpu and {accelerator}" if accelerator else "cpu only"
        raise ValueError(f"--device {argument}: torch sees no such device on this machine, it sees {seen}")
    return argument
