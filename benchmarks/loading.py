"""Training clips a second: our data loading, augmentation included, against plain PyAV decoding of the same frames.

Run on any machine, on videos that it makes itself or on a folder of yours::

    python benchmarks/loading.py --out benchmarks/results/NAME.json [--videos DIR]

Both take the same number of processes and alternate; the ratio is the median over the rounds. Plain decoding opens the
video, decodes from its start until the last frame that is wanted, and makes RGB arrays of the wanted ones.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from first_use import write_video
from provenance import provenance, write_result

from ila_models.data.annotations import LabelledVideos
from ila_models.data.sampling import random_in_segments
from ila_models.training.augment import ClipAugmentation
from ila_models.training.batches import StepBatches, seed_of
from ila_models.training.clips import VideoClips
from ila_models.training.config import AugmentationSection
from ila_models.training.loading import BatchLoader
from ila_models.weights.manifest import preprocessing

NUM_FRAMES, IMG_SIZE, BATCH_SIZE, SEED = 8, 224, 8, 0


def decode_plainly(seed: int, path: Path) -> int:
    """Decodes the frames of one training clip with PyAV alone; returns how many."""
    import av

    torch.set_num_threads(1)
    with av.open(str(path)) as container:
        count = container.streams.video[0].frames
        wanted = set(random_in_segments(count, NUM_FRAMES, generator=torch.Generator().manual_seed(seed)))
        frames = []
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                frames.append(frame.to_ndarray(format="rgb24"))
            if index >= max(wanted):
                break
    return len(frames)


def measure_plain(pool: multiprocessing.pool.Pool, paths: list[Path]) -> float:
    """Clips a second of plain decoding."""
    start = time.perf_counter()
    jobs = [
        pool.apply_async(partial(decode_plainly, seed_of(SEED, index)), (path,)) for index, path in enumerate(paths)
    ]
    for job in jobs:
        job.get()
    return len(paths) / (time.perf_counter() - start)


def frames_in(epoch: int) -> int:
    """Frames of a clip, the same in every epoch."""
    return NUM_FRAMES


def measure_ours(paths: list[Path], workers: int) -> float:
    """Clips a second of the training loader, once every worker is at work: starting them is not counted."""
    contract = preprocessing("ila")
    augmentation = ClipAugmentation(AugmentationSection(), img_size=(IMG_SIZE, IMG_SIZE), contract=contract)
    videos = LabelledVideos(
        root=paths[0].parent, paths=tuple(path.name for path in paths), labels=tuple(i % 2 for i in range(len(paths)))
    )
    clips = VideoClips(videos, frames_in=frames_in, augmentation=augmentation)
    batches = StepBatches(samples=len(paths), batch_size=BATCH_SIZE, epochs=1, seed=SEED)
    loader = iter(BatchLoader(clips, batches, num_workers=workers, pin_memory=False))
    for _ in range(max(workers, 1)):  # one of each worker: what was decoded before the clock starts must not count
        next(loader)
    start = time.perf_counter()
    seen = sum(len(batch.labels) for batch in loader)
    return seen / (time.perf_counter() - start)


def main() -> None:
    """Measures, prints, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--videos", type=Path, help="folder of mp4 files (default: 160 that are made for it)")
    parser.add_argument("--workers", type=int, default=2, help="processes of either side (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.videos or Path(scratch)
        if options.videos is None:
            write_video(folder / "000.mp4")
            for number in range(1, 160):
                (folder / f"{number:03}.mp4").write_bytes((folder / "000.mp4").read_bytes())
        paths = sorted(folder.glob("*.mp4"))
        with multiprocessing.get_context("forkserver").Pool(options.workers) as pool:
            measure_plain(pool, paths[: 2 * options.workers])  # the workers' imports are not counted
            rounds = [(measure_plain(pool, paths), measure_ours(paths, options.workers)) for _ in range(options.rounds)]
    result = {
        "benchmark": "loading",
        "command": "python benchmarks/loading.py",
        **provenance(("torch", "torchvision", "av")),
        "videos": "made here: 10 s of 320x240 h264" if options.videos is None else str(options.videos),
        "count": len(paths),
        "processes": options.workers,
        "plain_clips_per_second": statistics.median(plain for plain, _ in rounds),
        "ours_clips_per_second": statistics.median(ours for _, ours in rounds),
        "ratio": statistics.median(ours / plain for plain, ours in rounds),
        "ratios": [ours / plain for plain, ours in rounds],
    }
    write_result(result, options.out)


if __name__ == "__main__":
    main()
