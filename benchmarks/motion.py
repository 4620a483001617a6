"""Who sees motion: one small network with alignment, and with others in its place, each trained on the motion data.

Run on any machine; what is finished stands in the results, and what is not goes on from its last checkpoint::

    python benchmarks/motion.py --work DIR --out benchmarks/results/NAME.json [--jobs 2] [--until 17:30]

Every network is that of the recipe ``ila_vit_nano8.motion_8x64``, on clips of four frames, with the same data, budget
and seeds; it differs in what stands in the place of alignment, and in whether a transformer over the frames or their
plain mean makes the video vector. Accuracy is counted on clips of a seed that nobody trained on. Two clips are twins if
one is the other's motion backwards; to be right about the pair, the order of the frames need not be seen.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from counting import multiply_adds
from provenance import provenance
from scipy.stats import wasserstein_distance

from ila_models import ILAVisionTransformer, create_model, create_transform
from ila_models.alignment import Aligned
from ila_models.configs import AlignmentForm, AlignmentTarget
from ila_models.data.motion import MOTION_CLASSES, TEST_SEED, motion_clips
from ila_models.pairing import pair_frames
from ila_models.weights.cache import write_atomically

RECIPE = "ila_vit_nano8.motion_8x64"
NETWORKS: tuple[tuple[AlignmentForm, AlignmentTarget], ...] = (
    ("residual", "neighbours"),
    ("none", "neighbours"),
    ("temporal_shift", "neighbours"),
    ("divided_space_time", "neighbours"),
    ("token", "neighbours"),
    ("neighbour_average", "neighbours"),
    ("addition", "neighbours"),
    ("cross_frame", "neighbours"),
    ("guided", "neighbours"),
    ("residual", "first"),
    ("residual", "middle"),
)
"""What stands between frames, and which frames are aligned where some are."""
TEMPORAL_DEPTHS = (1, 0)
SEEDS = (0, 1, 2)
NUM_FRAMES = 4
TEST_CLIPS = 2000
LIKENESS_CLIPS = 100
"""Of which the likeness of aligned features is measured."""
STEPS_PER_CALL = 100


def main() -> None:
    """Trains what is missing, and writes the JSON file after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="folder of the runs")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument("--epochs", type=int, default=8, help="budget: epochs of 3200 clips (default: 8)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of one thread each (default: 1)")
    parser.add_argument("--until", metavar="HH:MM", help="stop when the clock next says so, to go on later")
    options = parser.parse_args()
    end = None if options.until is None else next_time(options.until)
    budget = {"clips": 3200 * options.epochs, "epochs": options.epochs}
    done = read_runs(options.out, budget)
    waiting = [run for run in every_run() if run_name(run) not in {each["name"] for each in done}]

    def train_and_note(run: dict[str, Any]) -> None:
        if train(run, options.work / run_name(run), epochs=options.epochs, end=end):
            done.append(measure(run, options.work / run_name(run)))
            write(options.out, budget, done)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(train_and_note, waiting))


def next_time(clock: str) -> datetime:
    """When the clock next says HH:MM, tomorrow if need be."""
    now = datetime.now()
    then = datetime.combine(now.date(), datetime.strptime(clock, "%H:%M").time())
    return then if then > now else then + timedelta(days=1)


def every_run() -> list[dict[str, Any]]:
    """All runs, those of one seed together."""
    return [
        {"alignment": form, "target": target, "temporal_depth": depth, "seed": seed}
        for seed, depth, (form, target) in itertools.product(SEEDS, TEMPORAL_DEPTHS, NETWORKS)
    ]


def run_name(run: dict[str, Any]) -> str:
    """A run as a file is called."""
    target = "" if run["target"] == "neighbours" else f"-{run['target']}"
    return f"{run['alignment']}{target}-temporal{run['temporal_depth']}-seed{run['seed']}"


def train(run: dict[str, Any], folder: Path, *, epochs: int, end: datetime | None) -> bool:
    """Trains a network by the package's own command, piece by piece; whether it came to its end before the time."""
    overrides = {
        "model.alignment": run["alignment"],
        "model.alignment_target": run["target"],
        "model.temporal_depth": run["temporal_depth"],
        "model.num_frames": NUM_FRAMES,
        "run.seed": run["seed"],
        "run.validate_every": epochs,
        "schedule.epochs": epochs,
        "schedule.short_epochs": 0,
        "data.easy_epochs": epochs // 2,
        "schedule.shrink_window_from": 2 * epochs // 3,
    }
    command = [sys.executable, "-m", "ila_models", "--quiet", "train", "--config", RECIPE, "--out", str(folder)]
    command += ["--stop-after", str(STEPS_PER_CALL), *(f"{name}={value}" for name, value in overrides.items())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    while not (folder / "model").exists():
        if end is not None and datetime.now() >= end:
            return False
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return True


@torch.inference_mode()
def measure(run: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a trained network tells apart, and where and how long it was trained."""
    model = create_model(f"local-dir:{folder / 'model'}")
    transform = create_transform(model)
    found, labels = [], []
    for start in range(0, TEST_CLIPS, 50):
        clips, right = motion_clips(range(start, start + 50), seed=TEST_SEED, num_frames=NUM_FRAMES)
        found.append(model(transform(clips)).argmax(dim=1))
        labels.append(right)
    answers, truth = torch.cat(found), torch.cat(labels)
    right_pair = answers // 2 == truth // 2
    steps = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    seconds = [line["seconds"] for line in steps if line["kind"] == "step"][-1]
    return {
        "name": run_name(run),
        **run,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "top1": percent(answers == truth),
        "pair": percent(right_pair),
        "twins": percent((answers == truth)[right_pair]),
        **likeness(model),
        "minutes": round(seconds / 60, 1),
        **provenance(("torch", "timm")),
    }


@torch.inference_mode()
def likeness(model: ILAVisionTransformer) -> dict[str, float]:
    """Earth mover's distance between the features of pairs of frames, before and after alignment; none without points.

    The paper's measure of what aligned frames share: the distance of the values of both frames' messages, as they are
    and under their masks, as scipy computes it; the mean over blocks, pairs and clips.
    """
    if not model.has_points:
        return {}
    seen: list[Aligned] = []
    hooks = [block.alignment.register_forward_hook(lambda *call: seen.append(call[-1])) for block in model.blocks]
    clips, _ = motion_clips(range(LIKENESS_CLIPS), seed=TEST_SEED, num_frames=NUM_FRAMES)
    model(create_transform(model)(clips))
    for hook in hooks:
        hook.remove()
    before, after = [], []
    for aligned in seen:
        pairs = pair_frames(aligned.message[:, :, 1:], model.config.alignment_target)
        masks = aligned.maps.masks.flatten(-2).unsqueeze(-1).unbind(2)
        for distances, (earlier, later) in (
            (before, pairs),
            (after, [frames * mask for frames, mask in zip(pairs, masks, strict=True)]),
        ):
            for one, other in zip(earlier.flatten(0, 1), later.flatten(0, 1), strict=True):
                distances.append(wasserstein_distance(one.flatten(), other.flatten()))
    return {"distance_before": statistics.mean(before), "distance_after": statistics.mean(after)}


def percent(right: torch.Tensor) -> float:
    """How many are right."""
    return round(100 * float(right.double().mean()), 2)


def read_runs(path: Path, budget: dict[str, int]) -> list[dict[str, Any]]:
    """The finished runs of earlier calls."""
    if not path.exists():
        return []
    result = json.loads(path.read_text())
    if result["budget"] != budget:
        raise SystemExit(f"{path} is of another budget: {result['budget']}")
    return [{"target": "neighbours", **run} for run in result["runs"]]


def write(path: Path, budget: dict[str, int], runs: list[dict[str, Any]]) -> None:
    """Writes the runs and their table, whole or not at all."""
    result = {
        "benchmark": "motion",
        "command": f"python benchmarks/motion.py --epochs {budget['epochs']}",
        "num_frames": NUM_FRAMES,
        "test": {"clips": TEST_CLIPS, "seed": TEST_SEED},
        "budget": budget,
        "summary": summary(runs),
        "runs": sorted(runs, key=lambda each: str(each["name"])),
    }
    write_atomically(path, json.dumps(result, indent=2).encode() + b"\n")


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean, and standard deviation over the seeds, of every network; percent."""
    rows = []
    for (form, target), depth in itertools.product(NETWORKS, TEMPORAL_DEPTHS):
        network = (form, target, depth)
        same = [run for run in runs if (run["alignment"], run["target"], run["temporal_depth"]) == network]
        if same:
            row: dict[str, Any] = {"alignment": form, "target": target, "temporal_depth": depth, "seeds": len(same)}
            row["multiply_adds"] = costs(form, target, depth)
            for name in ("distance_before", "distance_after"):
                if measured := [run[name] for run in same if name in run]:
                    row[name] = round(statistics.mean(measured), 4)
            for name in ("top1", "pair", "twins"):
                values = [run[name] for run in same]
                row[name] = round(statistics.mean(values), 2)
                row[f"{name}_spread"] = round(statistics.stdev(values), 2) if len(values) > 1 else None
            rows.append(row)
    return rows


def costs(form: AlignmentForm, target: AlignmentTarget, depth: int) -> int:
    """Multiply-adds of a network's clip."""
    with torch.device("meta"):
        model = create_model(
            RECIPE.partition(".")[0],
            num_classes=len(MOTION_CLASSES),
            num_frames=NUM_FRAMES,
            alignment=form,
            alignment_target=target,
            temporal_depth=depth,
        )
        clip = torch.empty(1, NUM_FRAMES, 3, *model.config.img_size)
        return multiply_adds(lambda: model(clip))


if __name__ == "__main__":
    main()
