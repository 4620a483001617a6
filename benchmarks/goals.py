"""What the form for inference is meant to reach, and what the results say of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from matrix import REFERENCE
from stored import is_gpu, results_of

FUSED, EMBEDDINGS, RELEASED = "ILA, fused", "ILA, fused, embeddings", "ILA, released form"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure that is wanted.

    Attributes:
        what: What is measured.
        wanted: At most that much, or at least where ``at_least`` is set.
        measured: None where nobody has.
        where: The machine, and the case.
    """

    what: str
    wanted: float
    measured: float | None
    where: str
    at_least: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the figure is what is wanted; None where nobody has measured it."""
        if self.measured is None:
            return None
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted


class Rows:
    """A machine's rows of throughput."""

    def __init__(self, result: dict[str, Any]) -> None:
        """Takes a result of throughput.py."""
        self.result = result
        self.rows = [row for row in result["rows"] if "error" not in row and not row["training"]]

    def one(self, name: str, group: str, dtype: str, mode: str, batch: int | None = None) -> dict[str, Any] | None:
        """A row; of several batches, the one that was the fastest by clip. None where it was not measured."""
        found = [
            row
            for row in self.rows
            if (row["name"], row["group"], row["dtype"], row["mode"]) == (name, group, dtype, mode)
            and batch in (None, row["batch"])
        ]
        return max(found, key=lambda row: row["clips_per_second"], default=None)

    def best_mode(self, name: str, like: dict[str, Any] | None) -> dict[str, Any] | None:
        """A model's fastest row on the clips of another."""
        if like is None:
            return None
        key = ("group", "dtype", "batch")
        found = [row for row in self.rows if row["name"] == name and all(row[each] == like[each] for each in key)]
        return max(found, key=lambda row: row["clips_per_second"], default=None)

    def of_the_matrix_rate(self, row: dict[str, Any] | None) -> float | None:
        """Multiply-adds a second, of those of a square matrix product."""
        if row is None:
            return None
        return float(row["multiply_adds_per_second"] / self.result["ceilings"][ceiling(row["dtype"])])

    def over_its_floor(self, row: dict[str, Any] | None) -> float | None:
        """Seconds, less one thousandth, over those that bytes and multiply-adds take at the measured ceilings."""
        if row is None:
            return None
        ceilings = self.result["ceilings"]
        moved = row["layer_elements_per_clip"] * row["batch"] * SIZES[row["dtype"]] + row["weight_bytes"]
        computing = row["multiply_adds_per_clip"] * row["batch"] / ceilings[ceiling(row["dtype"])]
        return float((row["seconds_p50"] - 1e-3) / max(moved / ceilings["copy_bytes_per_second"], computing))


SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


def ceiling(dtype: str) -> str:
    """Under which name a result has a matrix product's rate."""
    return f"multiply_adds_per_second_{dtype}"


def in_turns(slow: dict[str, Any] | None, fast: dict[str, Any] | None) -> float | None:
    """How many times as long the first takes as the second: the median over the rounds that they took in turns."""
    if slow is None or fast is None:
        return None
    return statistics.median(one / other for one, other in zip(slow["seconds"], fast["seconds"], strict=True))


def peak(row: dict[str, Any] | None) -> int | None:
    """Bytes of weights and of activations at most."""
    return None if row is None else row["weight_bytes"] + row["activation_bytes"]


def over(one: float | None, other: float | None) -> float | None:
    """A quotient of what was measured."""
    return None if one is None or other is None else one / other


def cpu_goals(result: dict[str, Any]) -> Iterator[Goal]:
    """Two cores, float32, ViT-B/16 on eight frames."""
    rows = Rows(result)
    where = f"{result['device']['name']}, {result['device']['threads']} cores, float32, B/16, batch 1"
    clip, fused, embeddings = (
        rows.one(name, "ila_vit_b16", "float32", "compiled", 1) for name in (REFERENCE, FUSED, EMBEDDINGS)
    )
    released = rows.one(RELEASED, "ila_vit_b16", "float32", "eager", 1)
    yield Goal(what="time to frame-wise CLIP's", wanted=1.34, measured=in_turns(fused, clip), where=where)
    yield Goal(what="the same, embeddings alone", wanted=1.28, measured=in_turns(embeddings, clip), where=where)
    yield Goal(
        what="clips a second to the released form's, eager",
        wanted=1.2,
        measured=in_turns(released, fused),
        where=where,
        at_least=True,
    )
    yield Goal(what="memory to frame-wise CLIP's", wanted=1.15, measured=over(peak(fused), peak(clip)), where=where)


def gpu_goals(result: dict[str, Any] | None) -> Iterator[Goal]:
    """bfloat16 on a GPU, in the batch that is best."""
    rows = Rows(result or {"rows": []})
    device = "GPU" if result is None else result["device"]["name"]
    for group, name, rate in (("ila_vit_b16", "B/16", 0.42), ("ila_vit_l14", "L/14", 0.50)):
        fused = rows.one(FUSED, group, "bfloat16", "compiled")
        batch = None if fused is None else fused["batch"]
        clip = rows.one(REFERENCE, group, "bfloat16", "compiled", batch)
        released = rows.one(RELEASED, group, "bfloat16", "autocast", batch)
        where = f"{device}, bfloat16, {name}" + ("" if batch is None else f", batch {batch}")
        yield Goal(what="time to frame-wise CLIP's", wanted=1.42, measured=in_turns(fused, clip), where=where)
        yield Goal(
            what="of the matrix product's rate",
            wanted=rate,
            measured=rows.of_the_matrix_rate(fused),
            where=where,
            at_least=True,
        )
        yield Goal(
            what="clips a second to the released form's, autocast",
            wanted=2.5,
            measured=in_turns(released, fused),
            where=where,
            at_least=True,
        )
        yield Goal(what="memory to frame-wise CLIP's", wanted=1.15, measured=over(peak(fused), peak(clip)), where=where)
        if name == "B/16":
            yield from peer_goals(rows, fused, where)
    graph = rows.one(FUSED, "ila_vit_b16, latency", "bfloat16", "cuda_graph", 1)
    yield Goal(
        what="latency less 1 ms, to what bytes and multiply-adds take",
        wanted=1.5,
        measured=rows.over_its_floor(graph),
        where=f"{device}, bfloat16, B/16, batch 1, CUDA graph",
    )


def peer_goals(rows: Rows, fused: dict[str, Any] | None, where: str) -> Iterator[Goal]:
    """Other models of the size, each in its own best mode."""
    for name in ("TimeSformer-B/16", "ViViT-B/16x2"):
        peer = rows.best_mode(name, fused)
        yield Goal(
            what=f"clips a second to {name}'s", wanted=1.0, measured=in_turns(peer, fused), where=where, at_least=True
        )
    for name in ("X-CLIP-B/16", "VideoMAE-B/16x2"):
        peer = rows.best_mode(name, fused)
        work = (
            None if peer is None or fused is None else fused["multiply_adds_per_clip"] / peer["multiply_adds_per_clip"]
        )
        yield Goal(
            what=f"time to {name}'s, over the same of multiply-adds",
            wanted=1.0,
            measured=over(in_turns(fused, peer), work),
            where=where,
        )


def scaling_goals(result: dict[str, Any] | None) -> Iterator[Goal]:
    """Time in proportion once a machine is full."""
    for axis in ("frames", "batch"):
        row = None if result is None else result["axes"][axis]
        where = "GPU" if result is None else f"{result['device']['name']}, {result['model']}"
        if row is not None:
            where += f", {row['values'][0]} to {row['values'][-1]}"
        yield Goal(
            what=f"time's distance from proportion in {axis}",
            wanted=0.05,
            measured=None if row is None else abs(row["last_to_first_over_proportion"] - 1),
            where=where,
        )


def goals() -> list[Goal]:
    """All goals, with the figures of all machines; a GPU's without figures where nobody has run one."""
    throughput, scaling = results_of("throughput"), results_of("scaling")
    found: list[Goal] = []
    for result in throughput:
        found += gpu_goals(result) if is_gpu(result) else cpu_goals(result)
    if not any(is_gpu(result) for result in throughput):
        found += gpu_goals(None)
    on_gpus = [result for result in scaling if is_gpu(result)]
    for each in on_gpus or [None]:
        found += scaling_goals(each)
    return found
