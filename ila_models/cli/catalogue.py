"""``ila-models list`` and ``ila-models info``: what there is, and what it costs."""

from __future__ import annotations

import argparse
import sys
from typing import Any, get_args

from ..configs import AlignmentForm
from ..factory import list_models, list_pretrained
from ..info import ModelInfo, model_info
from ..weights.manifest import Accuracy, Record, records


def add_to(commands: Any) -> None:
    """Adds both commands to the program's."""
    listing = commands.add_parser(
        "list", help="list architectures and checkpoints", description="Lists what can be created."
    )
    listing.add_argument("filter", nargs="?", default="", metavar="PATTERN", help="wildcard pattern, such as '*b16*'")
    listing.set_defaults(run=run_list)
    info = commands.add_parser(
        "info",
        help="parameters, multiply-adds and reported accuracy of a model",
        description="Counts parameters and multiply-adds (no weights are needed), beside what the paper reports.",
    )
    info.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="architecture or architecture.tag, see: ila-models list; or timm/NAME, an image model with alignment",
    )
    info.add_argument(
        "--alignment",
        choices=get_args(AlignmentForm),
        metavar="FORM",
        help="count another form of the blocks: token is the paper's, " + ", ".join(get_args(AlignmentForm)),
    )
    info.add_argument("--num-frames", type=int, metavar="T", help="frames of a clip (default: the name's)")
    info.add_argument("--img-size", type=int, metavar="PIXELS", help="of a frame's side (default: the name's)")
    info.set_defaults(run=run_info)


def run_list(options: argparse.Namespace) -> int:
    """Prints architectures, then checkpoints."""
    architectures, checkpoints = list_models(options.filter), list_pretrained(options.filter)
    if not architectures and not checkpoints:
        raise ValueError(f"nothing matches {options.filter!r}: run ila-models list without a pattern")
    width = max(map(len, [*architectures, *checkpoints]))
    for name in architectures:
        sys.stdout.write(f"{name}\n")
    for name in checkpoints:
        record = records()[name]
        default = " (default)" if record.default else ""
        sys.stdout.write(f"{name:{width}}  {record.description}{default}\n")
    return 0


def run_info(options: argparse.Namespace) -> int:
    """Prints a block of facts for every name."""
    changes = {"alignment": options.alignment, "num_frames": options.num_frames, "img_size": options.img_size}
    infos = (model_info(name, **changes) for name in options.names)
    sys.stdout.write("\n\n".join(map(describe, infos)) + "\n")
    return 0


def describe(info: ModelInfo) -> str:
    """A model's facts, one a line."""
    record = info.record
    pixels = "{}x{}".format(*info.img_size)
    facts = [
        ("input", f"{info.num_frames} frames of {pixels} pixels, [B, T, 3, H, W]"),
        ("alignment", info.alignment),
    ]
    if info.head == "none":
        facts += [
            ("parameters", f"{info.parameters / 1e6:.1f} M, without a head"),
            ("multiply-adds", f"{info.macs / 1e9:.1f} G a clip, to the video embedding"),
        ]
    else:
        facts += [
            ("parameters", f"{info.parameters / 1e6:.1f} M, {info.backbone_parameters / 1e6:.1f} M without the head"),
            ("multiply-adds", f"{info.macs / 1e9:.1f} G a clip ({info.num_classes} classes, {info.head} head)"),
            ("", f"{info.backbone_macs / 1e9:.1f} G to the video embedding"),
        ]
    if info.image_macs is not None:
        facts.append(("", f"{info.image_macs / 1e9:.1f} G of timm's image model on the same frames"))
    facts.append(("", "counted by torch.utils.flop_counter, one multiply-add as one"))
    if record is None:
        facts.append(("checkpoint", "none"))
    else:
        facts += _checkpoint_facts(info, record)
    return "\n".join([info.name, *(f"  {title:16} {fact}" for title, fact in facts)])


def _checkpoint_facts(info: ModelInfo, record: Record) -> list[tuple[str, str]]:
    """What is known of the name's checkpoint, unless it is of other frames or of another form than was counted."""
    frames, pixels = record.arguments["num_frames"], record.arguments["img_size"]
    if (info.num_frames, list(info.img_size)) != (frames, pixels):
        own = "{}x{}".format(*pixels)
        return [("checkpoint", f"{record.name} is of {frames} frames of {own} pixels, which its figures are for")]
    facts = []
    if record.paper_gflops is not None:
        this = "" if info.alignment == "token" else f" (this is the {info.alignment} form)"
        facts.append(("paper's GFLOPs", f"{record.paper_gflops:g}, for its token form{this}"))
    is_this = record.arguments.get("alignment", "residual") == info.alignment
    return facts + (describe_record(record) if is_this else [("checkpoint", f"none with alignment={info.alignment!r}")])


def describe_record(record: Record) -> list[tuple[str, str]]:
    """A checkpoint's facts and their titles."""
    facts = [("checkpoint", f"{record.name}: {record.description}")]
    if record.evaluation is not None:
        data = f"{record.evaluation.dataset.name}, {record.evaluation.clips}x{record.evaluation.crops} views"
        if record.reported is not None:
            facts.append(("accuracy", f"{_percent(record.reported)} on {data}"))
            measured = ", not measured here" if record.measured is None else ""
            facts.append(("", f"reported by the {record.reported.by}{measured}"))
        if record.measured is not None:
            facts.append(("measured", f"{_percent(record.measured)} on {data}"))
            facts.append(("", f"by {record.measured.by}: {record.measured.source}"))
    facts.append(("licence", record.license or "none stated by the authors"))
    return facts + [("from", source.url) for source in record.sources]


def _percent(accuracy: Accuracy) -> str:
    return f"top-1 {accuracy.top1:.1f}, top-5 {accuracy.top5:.1f}"
