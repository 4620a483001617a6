"""``ila-models extract``: features of videos, folders, lists and shards, into files."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from typing import Any, get_args

from ..data.decoders import Decoder
from ..data.pool import PATIENCE
from ..extraction.formats import FORMATS
from ..extraction.job import DTYPES, VIDEOS_PER_PART, ExtractionJob
from ..extraction.ray_engine import extract_with_ray
from ..extraction.run import Summary, extract
from ..extraction.shares import Share, share_of_environment
from ..features.levels import LEVELS
from ..features.windows import Padding, Unit
from .given import given
from .model_options import add_classes_option, add_weights_options, read_classes, read_templates
from .predict import write
from .processes import MOST_WORKERS, default_workers, process_device

EXAMPLES = """\
examples:
  ila-models extract videos/ --model ila_vit_b16.openai --window 2 --stride 1 --out features
      a row for every second of every video below videos/; run it again to go on after a stop, or with more videos
  ila-models extract segments.csv --model ila_vit_l14 --level clip --level logits --format parquet --out features
      columns path, start, end (seconds): one row a segment
  torchrun --nproc-per-node 8 -m ila_models extract 'shards/*.tar' --model ila_vit_l14 --format parquet --out features
      on eight GPUs; a SLURM array of the same command on as many machines as there are tasks
"""

_FAILURES_SHOWN = 20


def add_to(commands: Any) -> None:
    """Adds the command to the program's."""
    parser = commands.add_parser(
        "extract",
        help="take features of videos into files",
        description="Takes features of videos, window by window, and writes them with an index of what became of each"
        " video. What is done is left alone, so the same command goes on with a run that was stopped.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "inputs",
        type=given,
        nargs="+",
        metavar="INPUT",
        help="video, folder, pattern ('videos/*.mp4'), LIST.txt, TABLE.csv with start and end, SHARD.tar, or address",
    )
    add_weights_options(parser)
    add_classes_option(parser)
    parser.add_argument(
        "--out", required=True, type=given, metavar="DIR", help="folder for the features and their index.parquet"
    )
    parser.add_argument(
        "--level",
        action="append",
        choices=LEVELS,
        dest="levels",
        help="what to take, once or several times (default: clip)",
    )
    parser.add_argument("--window", type=float, metavar="W", help="length of a window (default: the whole video)")
    parser.add_argument("--stride", type=float, metavar="S", help="from one to the next (default: the window's length)")
    parser.add_argument("--unit", choices=get_args(Unit), default="seconds", help="of both (default: seconds)")
    parser.add_argument(
        "--padding", choices=get_args(Padding), default="shorten", help="at the end of a video (default: shorten)"
    )
    parser.add_argument("--format", choices=FORMATS, default="npy", help="of the files (default: npy)")
    parser.add_argument(
        "--videos-per-part",
        type=int,
        default=VIDEOS_PER_PART,
        metavar="N",
        help="videos that a process takes at once, and most in a file of several (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=_batch_size,
        default="auto",
        metavar="N",
        help="windows at once (default: auto, as many as fit a GPU; 8 on a CPU)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"decoding processes for each GPU (default: CPUs, {MOST_WORKERS} at most)",
    )
    parser.add_argument(
        "--device", default="auto", help="auto (default: a GPU if there is one), cpu, cuda, cuda:1, mps"
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="of the model (default: bfloat16 on an NVIDIA GPU, else float32)",
    )
    parser.add_argument("--compile", action="store_true", help="compile the model, which takes a minute and pays later")
    parser.add_argument("--decoder", choices=get_args(Decoder), default="pyav", help="what decodes (default: pyav)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="without a window of a video, after which it is given up (default: %(default)g)",
    )
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="what spreads the work (default: local)"
    )
    parser.add_argument("--actors", type=int, metavar="N", help="of Ray (default: one for every GPU)")
    parser.add_argument(
        "--share",
        type=parse_share,
        metavar="K/N",
        help="do share K of N, from 0 (default: as torchrun or SLURM says, else all)",
    )
    parser.add_argument("--resume", action="store_true", help="insist that DIR holds an earlier run to go on with")
    parser.add_argument("--retry-failed", action="store_true", help="do those again that failed")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Extracts; broken videos are part of the summary, and a failure only if there are no others."""
    job = ExtractionJob(
        model=options.model,
        checkpoint=options.checkpoint,
        class_names=None if options.classes is None else read_classes(options.classes),
        text_tower=options.text_tower,
        templates=read_templates(options),
        video_prompts=not options.no_video_prompts,
        levels=options.levels or "clip",
        window=options.window,
        stride=options.stride,
        unit=options.unit,
        padding=options.padding,
        num_frames=options.num_frames,
        format=options.format,
        videos_per_part=options.videos_per_part,
        batch_size=options.batch_size,
        device=_device(options),
        dtype=options.dtype,
        compile=options.compile,
        decoder=options.decoder,
    )
    common: dict[str, Any] = {
        "num_workers": default_workers() if options.workers is None else options.workers,
        "patience": options.timeout,
        "resume": options.resume,
        "retry_failed": options.retry_failed,
        "show_progress": not options.quiet,
    }
    is_first = True
    if options.engine == "ray":
        if options.share is not None:
            raise ValueError("--share is for --engine local: Ray shares the work out itself")
        with contextlib.redirect_stdout(sys.stderr):  # where Ray prints what happens to actors
            summary = extract_with_ray(job, options.inputs, options.out, num_actors=options.actors, **common)
    else:
        if options.actors is not None:
            raise ValueError("--actors is for --engine ray: start the command several times, or by torchrun")
        share = options.share or share_of_environment(os.environ)
        summary = extract(job, options.inputs, options.out, share=share, **common)
        is_first = share.number == 0 or options.share is not None
    if is_first:
        write(json.dumps(as_json(summary), ensure_ascii=False) if options.json else summary_text(summary))
    return 1 if summary.videos and len(summary.failed) == summary.videos else 0


def parse_share(argument: str) -> Share:
    """``2/8`` as the third of eight shares."""
    number, _, count = argument.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise argparse.ArgumentTypeError(f"{argument!r} is not K/N with K from 0 to N - 1, such as 0/8")
    return Share(int(number), int(count))


def summary_text(summary: Summary) -> str:
    """What was done, and which videos failed."""
    done = summary.videos - len(summary.failed)
    lines = [f"{done} of {summary.videos} videos, {summary.rows} rows: {summary.index}"]
    lines += [f"failed: {file}: {reason}" for file, reason in summary.failed[:_FAILURES_SHOWN]]
    if (more := len(summary.failed) - _FAILURES_SHOWN) > 0:
        lines.append(f"and {more} more that failed, see the index")
    return "\n".join(lines)


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as plain values."""
    failed = [{"file": file, "reason": reason} for file, reason in summary.failed]
    return {"index": str(summary.index), "videos": summary.videos, "rows": summary.rows, "failed": failed}


def _device(options: argparse.Namespace) -> str | None:
    if options.engine == "local":
        return process_device(options.device)
    return None if options.device == "auto" else str(options.device)  # an actor's, which may be another machine's


def _batch_size(argument: str) -> int | str:
    if argument == "auto":
        return argument
    if not argument.isdecimal() or int(argument) < 1:
        raise argparse.ArgumentTypeError(f"{argument!r} is neither 'auto' nor a number from 1 on")
    return int(argument)
