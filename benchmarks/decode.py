"""From a file to logits: decoding, preparing, the model, and how many decoding processes keep the model busy.

Runs on a GPU or a CPU, with random weights, on videos that it makes itself or on a folder of yours::

    python benchmarks/decode.py --out benchmarks/results/decode_NAME.json [--videos DIR] [--model ila_vit_b16]
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ceilings import describe, timed
from first_use import write_video
from provenance import provenance, write_result

from ila_models import create_model, create_transform, load_video

SIZES = ((320, 240), (1280, 720))


def main() -> None:
    """Measures, prints, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--videos", type=Path, help="folder of mp4 files (default: 10 s of h264 in two sizes)")
    parser.add_argument("--model", default="ila_vit_b16", help="architecture (default: ila_vit_b16)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, help="clips at a time of the model (default: 32 on a GPU, 1 on a CPU)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (default: 5)")
    options = parser.parse_args()
    device = torch.device(options.device)
    batch = options.batch or (1 if device.type == "cpu" else 32)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    model = create_model(options.model, fused=True).to(device, dtype)
    transform = create_transform(model)
    clips = torch.randn(batch, model.num_frames, 3, *model.config.img_size, device=device, dtype=dtype)
    with torch.inference_mode():
        model_rate = batch / median(lambda: model(clips), device, options.rounds)
        with tempfile.TemporaryDirectory() as scratch:
            videos = options.videos or write_videos(Path(scratch))
            rows = [
                of_video(path, model, transform, device, dtype, model_rate, options.rounds)
                for path in sorted(videos.glob("*.mp4"))
            ]
    result = {
        "benchmark": "decode",
        "command": f"python benchmarks/decode.py --model {options.model}",
        **provenance(("torch", "torchvision", "av")),
        "device": describe(device),
        "model": options.model,
        "form": f"fused, eager, {str(dtype).removeprefix('torch.')}, {batch} clips at a time",
        "model_clips_per_second": model_rate,
        "videos": "made here: 10 s of h264" if options.videos is None else str(options.videos),
        "rows": rows,
    }
    write_result(result, options.out)


def write_videos(folder: Path) -> Path:
    """Makes a video of each size."""
    for width, height in SIZES:
        write_video(folder / f"{width}x{height}.mp4", width=width, height=height)
    return folder


def of_video(
    path: Path,
    model: torch.nn.Module,
    transform: Callable[[torch.Tensor], torch.Tensor],
    device: torch.device,
    dtype: torch.dtype,
    model_rate: float,
    rounds: int,
) -> dict[str, Any]:
    """Clips a second of one process and one thread by stage, and of the whole way one clip after the other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker of a data loader
    frames = load_video(path, num_frames=model.num_frames)
    decoding = median(lambda: load_video(path, num_frames=model.num_frames), device, rounds)
    preparing = median(lambda: transform(frames), device, rounds)
    torch.set_num_threads(threads)

    def whole() -> torch.Tensor:
        clip = transform(load_video(path, num_frames=model.num_frames))
        return model(clip[None].to(device, dtype))

    return {
        "video": path.name,
        "decoded_clips_per_second": 1 / decoding,
        "prepared_clips_per_second": 1 / preparing,
        "file_to_logits_seconds": median(whole, device, rounds),
        "workers_that_keep_the_model_busy": math.ceil(model_rate * (decoding + preparing)),
    }


def median(run: Callable[[], Any], device: torch.device, rounds: int) -> float:
    """Median of the seconds of a call, the first of which is not counted."""
    start = time.perf_counter()
    run()
    repeats = max(1, min(20, int(0.2 / max(time.perf_counter() - start, 1e-6))))
    return statistics.median(timed(lambda: [run() for _ in range(repeats)], device) / repeats for _ in range(rounds))


if __name__ == "__main__":
    main()
