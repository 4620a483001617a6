"""Clips a second of every model, beside other video models, CLIP on the frames alone, and what the machine can do.

Runs on a GPU or a CPU, with random weights::

    python benchmarks/throughput.py --matrix quick --out benchmarks/results/throughput_NAME.json

What is compared stands in one process and takes turns, round by round; a ratio is the median over the rounds. Every
model gets the same clips. What does not fit into memory is a row that says so.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from ceilings import allocated_at_most, ceilings, describe, synchronize, timed
from counting import layer_elements, multiply_adds
from peers import SAME_SIZE, framewise_clip
from provenance import provenance, write_result
from torch import Tensor, nn

from ila_models import create_model, quantize_int8

Mode = Literal["eager", "autocast", "compiled", "cuda_graph"]
NUM_FRAMES, PIXELS = 8, 224
REFERENCE = "frame-wise CLIP"
WARM_UP = 2

torch._dynamo.config.recompile_limit = 64  # one piece of code, many models


@dataclass(kw_only=True)
class Case:
    """One model in one mode.

    Attributes:
        name: What it is.
        build: Makes it on the CPU, float32, in evaluation mode.
        mode: How it runs; ``"autocast"`` keeps float32 weights, every other mode has them in the group's dtype.
        trains: Measure a training step, forward and backward of all parameters, in place of a forward pass.
        recomputes: Whether a training step recomputes activations.
        quantized: Whether the blocks' linear layers have eight bits.
    """

    name: str
    build: Callable[[], nn.Module]
    mode: Mode
    trains: bool = False
    recomputes: bool = False
    quantized: bool = False


@dataclass(kw_only=True)
class Group:
    """Cases on the same clips, the first compiled reference among them is what ratios are to.

    Attributes:
        name: What they have in common.
        batch: Clips at a time.
        dtype: Of weights and clips.
        cases: See :class:`Case`.
    """

    name: str
    batch: int
    dtype: torch.dtype
    cases: list[Case]


@dataclass(kw_only=True)
class Running:
    """A case that is ready, and what was measured of it."""

    case: Case
    run: Callable[[], Any]
    multiply_adds: int
    elements: int
    weight_bytes: int
    activation_bytes: int
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Measures group by group, and writes the JSON file after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument(
        "--matrix",
        choices=("quick", "full"),
        default="quick",
        help="full adds models, batches and training steps; 14 minutes on two cores (default: quick)",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of a group (default: 7)")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error(f"--rounds {options.rounds}: give 2 or more, for a spread")
    device = torch.device(options.device)
    # On a CPU, a product in float16 takes minutes.
    dtypes = (torch.float32, torch.bfloat16, *([torch.float16] if device.type == "cuda" else []))
    result: dict[str, Any] = {
        "benchmark": "throughput",
        "command": f"python benchmarks/throughput.py --matrix {options.matrix} --rounds {options.rounds}",
        **provenance(("torch", "timm", "transformers", "torchvision", "torchao")),
        "device": describe(device),
        "frames": NUM_FRAMES,
        "ceilings": ceilings(device, dtypes),
        "rows": [],
    }
    for group in groups(device, full=options.matrix == "full"):
        sys.stderr.write(f"{group.name}: {len(group.cases)} cases\n")
        result["rows"] += measure(group, device, rounds=options.rounds)
        if options.out is not None:
            write_result(result, options.out)
    if options.out is None:
        write_result(result, None)


def groups(device: torch.device, *, full: bool) -> Iterable[Group]:
    """What is measured on a device."""
    if device.type == "cpu":
        modes: tuple[Mode, ...] = ("eager", "compiled") if full else ("eager",)
        yield Group(
            name="ila_vit_b16",
            batch=1,
            dtype=torch.float32,
            cases=[*ours("ila_vit_b16", baseline="eager"), *peers(modes)],
        )
        # In 16 bits, the plain modes take minutes on processors that lack them.
        compiled = [case for case in ours("ila_vit_b16", baseline="eager") if case.mode == "compiled"]
        yield Group(name="ila_vit_b16", batch=1, dtype=torch.bfloat16, cases=compiled)
        if full:
            yield Group(name="training", batch=2, dtype=torch.float32, cases=training("ila_vit_b32", "eager"))
        return
    batches = {"ila_vit_b16": (32, 128), "ila_vit_l14": (16, 64)} if full else {"ila_vit_b16": (64,)}
    for architecture, sizes in batches.items():
        for batch in sizes:
            compared = peers(("eager", "compiled")) if architecture == "ila_vit_b16" else []
            yield Group(
                name=architecture,
                batch=batch,
                dtype=torch.bfloat16,
                cases=[*ours(architecture, baseline="autocast"), *compared],
            )
        yield Group(name=f"{architecture}, latency", batch=1, dtype=torch.bfloat16, cases=latency(architecture))
    if full:
        yield Group(name="ila_vit_b16", batch=32, dtype=torch.float16, cases=ours("ila_vit_b16", baseline="autocast"))
        yield Group(name="training", batch=16, dtype=torch.bfloat16, cases=training("ila_vit_b16", "autocast"))


def ours(architecture: str, *, baseline: Mode) -> list[Case]:
    """The released form as anyone would run it, the form for inference, and CLIP on the frames alone."""
    return [
        Case(name=REFERENCE, build=lambda: framewise_clip(architecture), mode="compiled"),
        Case(name=REFERENCE, build=lambda: framewise_clip(architecture), mode="eager"),
        Case(name="ILA, released form", build=lambda: ila(architecture), mode=baseline),
        Case(name="ILA, fused", build=lambda: ila(architecture, fused=True), mode="eager"),
        Case(name="ILA, fused", build=lambda: ila(architecture, fused=True), mode="compiled"),
        Case(
            name="ILA, fused, embeddings",
            build=lambda: ila(architecture, fused=True, num_classes=0),
            mode="compiled",
        ),
        Case(
            name="ILA, fused, int8",
            build=lambda: ila(architecture, fused=True),
            mode="compiled",
            quantized=True,
        ),
    ]


def latency(architecture: str) -> list[Case]:
    """One clip at a time, where starting kernels is what takes the time."""
    return [
        Case(name=REFERENCE, build=lambda: framewise_clip(architecture), mode="compiled"),
        *(
            Case(name="ILA, fused", build=lambda: ila(architecture, fused=True), mode=mode)
            for mode in ("eager", "compiled", "cuda_graph")
        ),
    ]


def peers(modes: tuple[Mode, ...]) -> list[Case]:
    """Other models of ViT-B's size on the same clips."""
    return [
        Case(name=name, build=lambda build=build: build(NUM_FRAMES, PIXELS), mode=mode)
        for name, build in SAME_SIZE.items()
        for mode in modes
    ]


def training(architecture: str, eager: Mode) -> list[Case]:
    """Training steps of the released form."""
    return [
        Case(name="ILA, training step", build=lambda: ila(architecture), mode=mode, trains=True, recomputes=recomputes)
        for mode, recomputes in ((eager, False), (eager, True), ("compiled", False))
    ]


def ila(architecture: str, *, fused: bool = False, num_classes: int | None = None) -> nn.Module:
    """Our model for clips of eight frames; with 400 classes of text features unless ``num_classes`` says otherwise."""
    return create_model(architecture, num_frames=NUM_FRAMES, fused=fused, num_classes=num_classes)


def measure(group: Group, device: torch.device, *, rounds: int) -> list[dict[str, Any]]:
    """Rows of a group."""
    clips = torch.randn(group.batch, NUM_FRAMES, 3, PIXELS, PIXELS, device=device)
    running: list[Running] = []
    failed: list[tuple[Case, str]] = []
    for case in group.cases:
        try:
            running.append(prepare(case, clips, group.dtype, device))
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            failed.append((case, "out of memory"))
        if failed and failed[-1][0] is case:  # once the error, which holds what was made so far, is gone
            gc.collect()
            torch.cuda.empty_cache()
    for _ in range(rounds):
        for each in running:
            each.seconds.append(timed(each.run, device))
    reference = next((each for each in running if each.case.name == REFERENCE and each.case.mode == "compiled"), None)
    rows = [row(group, each, reference) for each in running]
    rows += [{**heading(group, case), "error": reason} for case, reason in failed]
    torch._dynamo.reset()
    return rows


def prepare(case: Case, clips: Tensor, dtype: torch.dtype, device: torch.device) -> Running:
    """Builds, counts, moves, compiles and warms up a case."""
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

    start = time.perf_counter()
    for _ in range(WARM_UP):
        run()
    synchronize(device)
    sys.stderr.write(f"  {case.name}, {case.mode}: ready in {time.perf_counter() - start:.0f} s\n")
    return Running(
        case=case,
        run=run,
        multiply_adds=counted,
        elements=elements,
        weight_bytes=sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers())),
        activation_bytes=activation_bytes(run, device),
    )


def count_one(case: Case) -> tuple[int, int]:
    """Multiply-adds of one clip's forward pass, and numbers that its layers read and write."""
    model = case.build()
    clip = torch.empty(1, NUM_FRAMES, 3, PIXELS, PIXELS)
    return multiply_adds(lambda: model(clip)), layer_elements(model, lambda: model(clip))


def activation_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """Bytes that a call takes at most, besides what is there before it."""
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
    main()
