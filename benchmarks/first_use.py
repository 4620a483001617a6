"""What a newcomer waits for: the import, and the first prediction on a video (time and peak memory).

Run on any machine, with random weights in the layout of an open_clip checkpoint::

    python benchmarks/first_use.py --out benchmarks/results/NAME.json

Timings are medians over runs that alternate between what is compared; every run is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from provenance import provenance, write_result

CLASSES = "surfing,tai chi,arm wrestling"


def run(arguments: list[str]) -> tuple[float, float]:
    """Runs a process; returns its wall time in seconds and its peak memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed: {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def measure_import(runs: int) -> dict[str, float]:
    """Seconds of `import timm` and of `import ila_models`, in turn, and the ratio pair by pair."""
    statements = {name: [sys.executable, "-c", f"import {name}"] for name in ("timm", "ila_models")}
    for arguments in statements.values():
        run(arguments)
    pairs = [{name: run(arguments)[0] for name, arguments in statements.items()} for _ in range(runs)]
    return {
        "timm_seconds": statistics.median(pair["timm"] for pair in pairs),
        "ila_models_seconds": statistics.median(pair["ila_models"] for pair in pairs),
        "ratio": statistics.median(pair["ila_models"] / pair["timm"] for pair in pairs),
        "runs": runs,
    }


def write_checkpoint(path: Path) -> None:
    """Both towers of CLIP ViT-B/16 with random weights, under OpenAI's names."""
    import open_clip
    from safetensors.torch import save_file

    save_file(open_clip.create_model("ViT-B-16-quickgelu").state_dict(), path)


def write_video(path: Path, *, frames: int = 250, width: int = 320, height: int = 240) -> None:
    """Ten seconds of h264 with a moving gradient."""
    import av
    import numpy

    ramp = numpy.add.outer(numpy.arange(height), numpy.arange(width))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            picture = ((ramp[..., None] + index * numpy.array([3, 5, 7])) % 256).astype(numpy.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def measure_prediction(runs: int) -> dict[str, object]:
    """`ila-models predict` of one clip with B/16 on the CPU: seconds and peak memory of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, video = Path(folder, "clip.safetensors"), Path(folder, "video.mp4")
        write_checkpoint(checkpoint)
        write_video(video)
        program = [sys.executable, "-m", "ila_models", "--quiet", "predict", str(video), "--model", "ila_vit_b16"]
        program += ["--checkpoint", str(checkpoint), "--classes", CLASSES, "--device", "cpu"]
        results = [run(program) for _ in range(runs)]
    return {
        "model": "ila_vit_b16, 8 frames of 224 pixels, float32, random CLIP weights in an open_clip file",
        "seconds": statistics.median(seconds for seconds, _ in results),
        "peak_mib": max(peak for _, peak in results),
        "runs": runs,
    }


def main() -> None:
    """Measures, prints, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each command (default: 5)")
    options = parser.parse_args()
    result = {
        "benchmark": "first_use",
        "command": "python benchmarks/first_use.py",
        **provenance(("torch", "timm", "av", "open_clip_torch")),
        "import": measure_import(options.runs),
        "prediction": measure_prediction(options.runs),
    }
    write_result(result, options.out)


if __name__ == "__main__":
    main()
