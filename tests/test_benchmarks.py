"""The programs that measure: their arithmetic, what they make of failures, and that what they compare is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def goals(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return imported("goals", monkeypatch)


@pytest.fixture
def throughput(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return imported("throughput", monkeypatch)


def imported(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import importlib

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(name)


def row(name: str, mode: str, seconds: list[float], **facts: Any) -> dict[str, Any]:
    return {
        "group": "ila_vit_b16",
        "name": name,
        "mode": mode,
        "dtype": "bfloat16",
        "batch": 64,
        "training": False,
        "clips_per_second": 64 / sorted(seconds)[len(seconds) // 2],
        "seconds_p50": sorted(seconds)[len(seconds) // 2],
        "seconds": seconds,
        "layer_elements_per_clip": 10,
        "multiply_adds_per_clip": 100,
        "multiply_adds_per_second": 400.0,
        "weight_bytes": 1000,
        "activation_bytes": 500,
    } | facts


def test_goals_are_compared_in_turns_and_at_the_best_batch(goals: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    result = {
        "device": {"name": "a GPU", "memory_bytes": 1},
        "ceilings": {"copy_bytes_per_second": 1000.0, "multiply_adds_per_second_bfloat16": 1000.0},
        "rows": [
            row("frame-wise CLIP", "compiled", [1.0, 2.0, 4.0]),
            row("ILA, fused", "compiled", [1.5, 2.8, 5.2]),
            row("ILA, fused", "compiled", [9.0, 9.0, 9.0], batch=8),
            row("ILA, released form", "autocast", [3.0, 5.6, 13.0]),
            row("TimeSformer-B/16", "eager", [9.0, 9.0, 9.0]),
            row("TimeSformer-B/16", "compiled", [1.6, 2.9, 5.0]),
            row("X-CLIP-B/16", "compiled", [1.0, 1.4, 2.6], multiply_adds_per_clip=50),
            {"name": "VideoMAE-B/16x2", "mode": "compiled", "training": False, "error": "out of memory"},
            row("ILA, fused", "cuda_graph", [0.5], group="ila_vit_b16, latency", batch=1),
        ],
    }
    monkeypatch.setattr(goals, "results_of", lambda name: [result] if name == "throughput" else [])
    found = {(goal.what, goal.where): goal for goal in goals.goals()}
    at = "a GPU, bfloat16, B/16, batch 64"

    def measured(what: str, where: str = at) -> Any:
        goal = found[what, where]
        return (None if goal.measured is None else pytest.approx(goal.measured), goal.reached)

    assert measured("time to frame-wise CLIP's") == (1.4, True), "the median of the ratios, 1.5, 1.4 and 1.3"
    assert measured("clips a second to the released form's, autocast") == (2.0, False)
    assert measured("of the matrix product's rate") == (0.4, False)
    assert measured("memory to frame-wise CLIP's") == (1.0, True)
    assert measured("clips a second to TimeSformer-B/16's") == (2.9 / 2.8, True), "its best mode's"
    assert measured("time to X-CLIP-B/16's, over the same of multiply-adds") == (1.0, True)
    assert measured("time to VideoMAE-B/16x2's, over the same of multiply-adds") == (None, None)
    # 1 ms less than half a second; 1,020 bytes at 1,000 a second, which take longer than the 100 multiply-adds.
    latency = "latency less 1 ms, to what bytes and multiply-adds take"
    assert measured(latency, "a GPU, bfloat16, B/16, batch 1, CUDA graph") == (0.499 / 1.02, True)
    assert measured("time to frame-wise CLIP's", "a GPU, bfloat16, L/14") == (None, None)
    assert measured("time's distance from proportion in frames", "GPU") == (None, None)


def test_what_fails_or_finds_no_time_is_a_row(throughput: ModuleType) -> None:
    def case(name: str, build: Any) -> Any:
        return throughput.Case(name=name, build=build, mode="eager")

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(224, 2)

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            return self.layer(clips)

    class Failing(Plain):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            if clips.is_meta:
                return super().forward(clips)
            raise ValueError("no such thing\nmore of it")

    cases = [case("good", Plain), case("bad", Failing), case("good too", Plain)]
    group = throughput.Group(name="group", batch=1, dtype=torch.float32, cases=cases)
    device = torch.device("cpu")
    rows = throughput.measure(group, device, rounds=2, deadline=time.monotonic() + 600)
    assert [each["name"] for each in rows] == ["good", "good too", "bad"]
    assert rows[0]["multiply_adds_per_clip"] == 8 * 3 * 224 * 224 * 2
    assert rows[0]["weight_bytes"] == 4 * (224 * 2 + 2)
    assert rows[2]["error"] == "ValueError: no such thing"
    late = throughput.measure(group, device, rounds=2, deadline=time.monotonic() - 1)
    assert {each["error"] for each in late} == {throughput.TIME_IS_UP}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("full", [False, True])
def test_every_group_has_its_reference_first(throughput: ModuleType, device: str, full: bool) -> None:
    for group in throughput.groups(torch.device(device), full=full):
        if not group.cases[0].trains:
            assert (group.cases[0].name, group.cases[0].mode) == (throughput.REFERENCE, "compiled")
        keys = [(case.name, case.mode, case.recomputes) for case in group.cases]
        assert len(set(keys)) == len(keys)
        assert group.weight > 0


def test_other_ways_to_convolve_pairs_answer_as_the_package_does() -> None:
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "benchmarks/depthwise.py", "--check"],
        cwd=BENCHMARKS.parent,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(BENCHMARKS.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "triton: " in done.stdout
