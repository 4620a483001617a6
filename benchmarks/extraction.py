"""Features of long videos: how near the whole comes to the slower of its halves, and the memory that an hour takes.

Runs on a GPU or a CPU, with random weights, on videos that it makes itself::

    python benchmarks/extraction.py --out benchmarks/results/extraction_NAME.json

Decoding alone, the model alone and both together take turns; the ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from ceilings import describe, timed
from first_use import write_video
from provenance import provenance, write_result

from ila_models import FeatureExtractor, create_model, create_transform
from ila_models.data.video import VideoReader
from ila_models.features.decoding import decode_video

SECONDS, LONG_SECONDS, RATE = 120, 3600, 25
WINDOW, STRIDE, BATCH = 2.0, 1.0, 8


def main() -> None:
    """Measures, prints, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--model", default="ila_vit_b32", help="architecture (default: ila_vit_b32)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts (default: 3)")
    parser.add_argument(
        "--hour",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also what a video of an hour takes, which is long in the making",
    )
    options = parser.parse_args()
    device = torch.device(options.device)
    model = create_model(options.model, num_classes=0, fused=True)
    model = model.to(device, torch.float32 if device.type == "cpu" else torch.bfloat16)
    with tempfile.TemporaryDirectory() as scratch:
        short = Path(scratch, "short.mp4")
        write_video(short, frames=SECONDS * RATE)
        halves = measure_halves(extractor_of(model), short, device, options.rounds)
        long = None
        if options.hour:
            hour = Path(scratch, "hour.mp4")
            sys.stderr.write("making a video of an hour\n")
            write_video(hour, frames=LONG_SECONDS * RATE)
            long = measure_hour(hour)
    result = {
        "benchmark": "extraction",
        "command": f"python benchmarks/extraction.py --model {options.model}" + ("" if options.hour else " --no-hour"),
        **provenance(("torch", "torchvision", "av")),
        "device": describe(device),
        "model": options.model,
        "windows": f"{WINDOW} s every {STRIDE} s, {model.num_frames} frames, {BATCH} at a time",
        "video": f"{SECONDS} s of 320x240 h264, {RATE} frames a second",
        **halves,
        "hour": long,
    }
    write_result(result, options.out)


def extractor_of(model: Any) -> FeatureExtractor:
    """The extractor that is measured."""
    return FeatureExtractor(model, window=WINDOW, stride=STRIDE, batch_size=BATCH)


def measure_halves(extractor: FeatureExtractor, path: Path, device: torch.device, rounds: int) -> dict[str, Any]:
    """Windows a second of decoding alone, of the model alone, and of the whole."""
    model = extractor.model
    transform = create_transform(model)
    clips = torch.randint(256, (BATCH, model.num_frames, 3, *model.config.img_size), dtype=torch.uint8)
    windows = len(extractor(path))

    def decode() -> None:
        for _ in decode_video(path, number=0, settings=extractor.settings, transform=transform):
            pass

    @torch.inference_mode()
    def run_model() -> None:
        for _ in range(-(-windows // BATCH)):
            model(transform.normalize(clips.to(device)).to(model.pos_embed.dtype)).float().cpu()

    seconds = [[timed(run, device) for run in (decode, run_model, lambda: extractor(path))] for _ in range(rounds)]
    decoding, model_alone, whole = (statistics.median(column) for column in zip(*seconds, strict=True))
    return {
        "decoded_windows_per_second": windows / decoding,
        "model_windows_per_second": windows / model_alone,
        "windows_per_second": windows / whole,
        "of_the_slower_half": statistics.median(max(one, two) / both for one, two, both in seconds),
    }


def measure_hour(path: Path) -> dict[str, Any]:
    """Memory and decoded frames of an hour, with a small model, whose own memory hides nothing."""
    model = create_model("ila_vit_nano8", num_classes=0)
    extractor = extractor_of(model)
    asked: list[int] = []
    decode = VideoReader.decode

    def counted(self: VideoReader, indices: Any) -> torch.Tensor:
        asked.extend(indices)
        return decode(self, indices)

    list(itertools.islice(extractor.stream(path), 2))  # what is made once, at the start, is the model's own
    VideoReader.decode = counted  # type: ignore[method-assign]
    status = Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest size so far
    before = kibibytes(status, "VmRSS")
    start = time.perf_counter()
    rows = sum(len(part) for part in extractor.stream(path))
    seconds = time.perf_counter() - start
    VideoReader.decode = decode  # type: ignore[method-assign]
    return {
        "seconds_of_video": LONG_SECONDS,
        "rows": rows,
        "seconds": seconds,
        "mebibytes_above_the_model": (kibibytes(status, "VmHWM") - before) / 1024,
        "frames_asked_for": len(asked),
        "frames_asked_for_twice": len(asked) - len(set(asked)),
    }


def kibibytes(status: Path, name: str) -> int:
    """A size of this process, as Linux states it."""
    line = next(line for line in status.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1])


if __name__ == "__main__":
    main()
