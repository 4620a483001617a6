"""What the throughput benchmark compares: models, modes, and in which groups they stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from peers import SAME_SIZE, framewise_clip
from torch import nn

from ila_models import create_model

Mode = Literal["eager", "autocast", "compiled", "cuda_graph"]
NUM_FRAMES, PIXELS = 8, 224
REFERENCE = "frame-wise CLIP"


@dataclass(kw_only=True)
class Case:
    """One model in one mode.

    Attributes:
        name: What it is.
        build: Makes it on the current device, float32, in evaluation mode.
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
    """Cases on the same clips; the compiled reference among them is what ratios are to.

    Attributes:
        name: What they have in common.
        batch: Clips at a time.
        dtype: Of weights and clips.
        cases: The most wanted first: where time runs out, it is the last that are left.
    """

    name: str
    batch: int
    dtype: torch.dtype
    cases: list[Case]

    @property
    def weight(self) -> float:
        """How much of the time it gets, in proportion to other groups."""
        # Compiling is what takes the time, of twice as many blocks twice as long.
        compiled = sum(case.mode in ("compiled", "cuda_graph") for case in self.cases)
        return (len(self.cases) + 4 * compiled) * (2 if "l14" in self.name else 1)


def groups(device: torch.device, *, full: bool) -> Iterator[Group]:
    """What is measured on a device."""
    yield from (gpu_groups if device.type == "cuda" else cpu_groups)(full=full)


def gpu_groups(*, full: bool) -> Iterator[Group]:
    """Batches that fill a GPU, and one clip at a time."""
    batches = (
        {"ila_vit_b16": (32, 128), "ila_vit_l14": (16, 64)} if full else {"ila_vit_b16": (64,), "ila_vit_l14": (32,)}
    )
    for architecture, sizes in batches.items():
        is_base = architecture == "ila_vit_b16"
        for batch in sizes:
            more = [*peers(("compiled", "eager")), *variants(architecture)] if is_base else []
            cases = [*ours(architecture, baseline="autocast"), *more]
            yield Group(name=architecture, batch=batch, dtype=torch.bfloat16, cases=cases)
        if is_base or full:
            yield Group(name=f"{architecture}, latency", batch=1, dtype=torch.bfloat16, cases=latency(architecture))
    if full:
        yield Group(name="ila_vit_b16", batch=32, dtype=torch.float16, cases=ours("ila_vit_b16", baseline="autocast"))
        yield Group(name="training", batch=16, dtype=torch.bfloat16, cases=training("ila_vit_b16", "autocast"))


def cpu_groups(*, full: bool) -> Iterator[Group]:
    """One clip at a time, of which a CPU takes seconds."""
    modes: tuple[Mode, ...] = ("eager", "compiled") if full else ("eager",)
    own = [*ours("ila_vit_b16", baseline="eager"), *variants("ila_vit_b16")]
    yield Group(name="ila_vit_b16", batch=1, dtype=torch.float32, cases=[*own, *peers(modes)])
    # In 16 bits, the plain modes take minutes on processors that lack them.
    compiled = [case for case in own if case.mode == "compiled"]
    yield Group(name="ila_vit_b16", batch=1, dtype=torch.bfloat16, cases=compiled)
    if full:
        yield Group(name="training", batch=2, dtype=torch.float32, cases=training("ila_vit_b32", "eager"))


def ours(architecture: str, *, baseline: Mode) -> list[Case]:
    """CLIP on the frames alone, the form for inference, and the released form as anyone would run it."""
    return [
        Case(name=REFERENCE, build=lambda: framewise_clip(architecture), mode="compiled"),
        Case(name="ILA, fused", build=lambda: ila(architecture, fused=True), mode="compiled"),
        Case(name="ILA, released form", build=lambda: ila(architecture), mode=baseline),
        Case(
            name="ILA, fused, embeddings", build=lambda: ila(architecture, fused=True, num_classes=0), mode="compiled"
        ),
    ]


def variants(architecture: str) -> list[Case]:
    """The plain mode of what runs compiled elsewhere, and eight bits."""
    return [
        Case(name=REFERENCE, build=lambda: framewise_clip(architecture), mode="eager"),
        Case(name="ILA, fused", build=lambda: ila(architecture, fused=True), mode="eager"),
        Case(name="ILA, fused, int8", build=lambda: ila(architecture, fused=True), mode="compiled", quantized=True),
    ]


def latency(architecture: str) -> list[Case]:
    """One clip at a time, where starting kernels is what takes the time."""
    return [
        Case(name=REFERENCE, build=lambda: framewise_clip(architecture), mode="compiled"),
        *(
            Case(name="ILA, fused", build=lambda: ila(architecture, fused=True), mode=mode)
            for mode in ("cuda_graph", "eager", "compiled")
        ),
    ]


def peers(modes: tuple[Mode, ...]) -> list[Case]:
    """Other models of ViT-B's size on the same clips."""
    return [
        Case(name=name, build=lambda build=build: build(NUM_FRAMES, PIXELS), mode=mode)
        for mode in modes
        for name, build in SAME_SIZE.items()
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
