"""Clips a second of every model, beside other video models, CLIP on the frames alone, and what the machine can do.

Runs on a GPU or a CPU, with random weights::

    python benchmarks/throughput.py --matrix quick --out benchmarks/results/throughput_NAME.json

What is compared stands in one process and takes turns, round by round; a ratio is the median over the rounds. Every
model gets the same clips. What does not fit into memory, fails, or finds no time left is a row that says so.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ceilings import allocated_at_most, ceilings, describe, synchronize, timed
from counting import layer_elements, multiply_adds
from matrix import NUM_FRAMES, PIXELS, REFERENCE, Case, Group, groups
from provenance import provenance, write_result
from torch import Tensor

from ila_models import quantize_int8

MINUTES = {"quick": 5.0, "full": 30.0}
WARM_UP = 3
"""Calls before the first that counts: compiling, recording a CUDA graph, and playing it for the first time."""
TIME_IS_UP = "not measured: no time was left"
OUT_OF_MEMORY = "out of memory"

torch._dynamo.config.recompile_limit = 64  # one piece of code, many models


@dataclass(kw_only=True)
class Running:
    """A case that is ready, about how many seconds it takes once, and what was measured of it."""

    case: Case
    run: Callable[[], Any]
    multiply_adds: int
    elements: int
    weight_bytes: int
    activation_bytes: int | None
    once: float
    seconds: list[float] = field(default_factory=list)


def main() -> int:
    """Measures group by group, and writes the JSON file after each; 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument(
        "--matrix",
        choices=("quick", "full"),
        default="quick",
        help="full adds models, batches and training steps (default: quick)",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of a group (default: 7)")
    parser.add_argument(
        "--minutes",
        type=float,
        help="after which no case is begun; every group has its share of them (default: 5, or 30 with --matrix full)",
    )
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error(f"--rounds {options.rounds}: give 2 or more, for a spread")
    minutes = MINUTES[options.matrix] if options.minutes is None else options.minutes
    start = time.monotonic()
    device = torch.device(options.device)
    # On a CPU, a product in float16 takes minutes.
    dtypes = (torch.float32, torch.bfloat16, *([torch.float16] if device.type == "cuda" else []))
    result: dict[str, Any] = {
        "benchmark": "throughput",
        "command": f"python benchmarks/throughput.py --matrix {options.matrix} --rounds {options.rounds}"
        f" --minutes {minutes:g}",
        **provenance(("torch", "timm", "transformers", "torchvision", "torchao")),
        "device": describe(device),
        "frames": NUM_FRAMES,
        "ceilings": ceilings(device, dtypes),
        "rows": [],
    }
    wanted = list(groups(device, full=options.matrix == "full"))
    weights = sum(group.weight for group in wanted)
    share = 0.0
    for group in wanted:
        share += group.weight / weights
        sys.stderr.write(f"{group.name}, batch {group.batch}: {len(group.cases)} cases\n")
        deadline = start + 60 * minutes * share
        result["rows"] += measure(group, device, rounds=options.rounds, deadline=deadline)
        if options.out is not None:
            write_result(result, options.out)
    if options.out is None:
        write_result(result, None)
    failed = [row for row in result["rows"] if "error" in row and row["error"] != TIME_IS_UP]
    for row in failed:
        sys.stderr.write(f"{row['name']}, {row['mode']}, batch {row['batch']}: {row['error']}\n")
    return 1 if any(row["error"] != OUT_OF_MEMORY for row in failed) else 0


def measure(group: Group, device: torch.device, *, rounds: int, deadline: float) -> list[dict[str, Any]]:
    """Rows of a group; no case is begun that leaves too little time before ``deadline`` (of the monotonic clock)."""
    clips = torch.randn(group.batch, NUM_FRAMES, 3, PIXELS, PIXELS, device=device)
    running: list[Running] = []
    failed: list[tuple[Case, str]] = []
    for case in group.cases:
        rounds_take = rounds * sum(each.once for each in running)
        if time.monotonic() + rounds_take > deadline:
            failed.append((case, TIME_IS_UP))
            continue
        try:
            running.append(prepare(case, clips, group.dtype, device))
        # Of models of three other projects under a compiler, one that fails must not take what the others gave along.
        except Exception as error:
            failed.append((case, reason(error)))
        if failed and failed[-1][0] is case:  # once the error, which holds what was made so far, is gone
            gc.collect()
            torch.cuda.empty_cache()
    for _ in range(rounds):
        for each in running:
            each.seconds.append(timed(each.run, device))
    reference = next((each for each in running if each.case.name == REFERENCE and each.case.mode == "compiled"), None)
    rows = [row(group, each, reference) for each in running]
    rows += [{**heading(group, case), "error": why} for case, why in failed]
    torch._dynamo.reset()
    return rows


def reason(error: Exception) -> str:
    """Why a case has no figures."""
    said = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in said:
        return OUT_OF_MEMORY
    return f"{type(error).__name__}: {next(iter(said.strip().splitlines()), '')}"


def prepare(case: Case, clips: Tensor, dtype: torch.dtype, device: torch.device) -> Running:
    """Builds, counts, compiles and warms up a case."""
    start = time.perf_counter()
    with device:
        model = case.build()
    with torch.device("meta"):
        counted, elements = count_one(case)
    weights_dtype = torch.float32 if case.mode == "autocast" or case.trains else dtype
    model = model.to(device, weights_dtype)
    inputs = clips.to(weights_dtype)
    if case.quantized:
        quantize_int8(model)
    if case.trains:
        model.train()
        if case.recomputes:
            model.set_grad_checkpointing()
    called: Callable[[Tensor], Any] = model
    if case.mode == "compiled":
        called = torch.compile(model, dynamic=False)
    elif case.mode == "cuda_graph":
        called = torch.compile(model, dynamic=False, mode="reduce-overhead")
    uses_autocast = case.mode == "autocast" or (case.trains and device.type == "cuda")

    def run() -> None:
        with torch.autocast(device.type, dtype=dtype, enabled=uses_autocast):
            if not case.trains:
                with torch.inference_mode():
                    called(inputs)
                return
            loss = called(inputs).float().square().mean() + model.alignment_loss
        loss.backward()
        model.zero_grad()

    for _ in range(WARM_UP - 1):
        run()
    once = timed(run, device)
    sys.stderr.write(f"  {case.name}, {case.mode}: ready in {time.perf_counter() - start:.0f} s\n")
    return Running(
        case=case,
        run=run,
        multiply_adds=counted,
        elements=elements,
        weight_bytes=sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers())),
        activation_bytes=activation_bytes(run, device) if case.mode != "cuda_graph" else None,
        once=once,
    )


def count_one(case: Case) -> tuple[int, int]:
    """Multiply-adds of one clip's forward pass, and numbers that its layers read and write."""
    model = case.build()
    clip = torch.empty(1, NUM_FRAMES, 3, PIXELS, PIXELS)
    return multiply_adds(lambda: model(clip)), layer_elements(model, lambda: model(clip))


def activation_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """Bytes that a call takes at most, besides what is there before it (where a CUDA graph holds all that it takes)."""
    if device.type != "cuda":
        return allocated_at_most(run)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def heading(group: Group, case: Case) -> dict[str, Any]:
    """What a row is about."""
    return {
        "group": group.name,
        "name": case.name,
        "mode": case.mode,
        "dtype": str(group.dtype).removeprefix("torch."),
        "batch": group.batch,
        "training": case.trains,
        "recomputes": case.recomputes,
    }


def row(group: Group, each: Running, reference: Running | None) -> dict[str, Any]:
    """What was measured of a case."""
    seconds = statistics.median(each.seconds)
    quantiles = statistics.quantiles(each.seconds, n=20, method="inclusive")
    ratios = [] if reference is None else [a / b for a, b in zip(each.seconds, reference.seconds, strict=True)]
    return {
        **heading(group, each.case),
        "clips_per_second": group.batch / seconds,
        "seconds_p50": seconds,
        "seconds_p95": quantiles[-1],
        "layer_elements_per_clip": each.elements,
        "multiply_adds_per_clip": each.multiply_adds,
        # A step back costs twice the step forth; what is computed again is not counted.
        "multiply_adds_per_second": each.multiply_adds * group.batch / seconds * (3 if each.case.trains else 1),
        "weight_bytes": each.weight_bytes,
        "activation_bytes": each.activation_bytes,
        "time_to_reference": statistics.median(ratios) if ratios else None,
        "seconds": each.seconds,
    }


if __name__ == "__main__":
    raise SystemExit(main())
