"""What a machine can do at most: bytes copied a second, and multiply-adds of matrix products a second."""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils import collect_env

COPY_BYTES = {"cpu": 1 << 28, "cuda": 1 << 31}
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}


def timed(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call, the device's work included."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ceilings(device: torch.device, dtypes: tuple[torch.dtype, ...]) -> dict[str, Any]:
    """Measured ceilings of a device: copy bandwidth, and the rate of square matrix products by dtype."""
    source = torch.empty(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = _fastest(lambda: target.copy_(source), device)
    found: dict[str, Any] = {"copy_bytes_per_second": 2 * source.numel() / seconds}
    side = MATRIX_SIDE[device.type]
    for dtype in dtypes:
        left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        product = torch.empty_like(left)
        seconds = _fastest(lambda left=left, right=right, out=product: torch.mm(left, right, out=out), device)
        found[f"multiply_adds_per_second_{str(dtype).removeprefix('torch.')}"] = side**3 / seconds
    return found


def allocated_at_most(run: Callable[[], Any]) -> int:
    """Bytes that torch's allocator for the CPU has handed out at most during a call, beyond what it had before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        profiler.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    memory = sorted((event for event in events if event.get("name") == "[memory]"), key=lambda event: event["ts"])
    totals = [event["args"]["Total Allocated"] for event in memory if event["args"]["Device Type"] == 0]
    before = totals[0] - memory[0]["args"]["Bytes"]
    return int(max(totals) - before)


def describe(device: torch.device) -> dict[str, Any]:
    """Which device it is, with its driver."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
            "driver": collect_env.get_nvidia_driver_version(collect_env.run),
        }
    return {"name": _processor(), "threads": torch.get_num_threads()}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _fastest(run: Callable[[], Any], device: torch.device, *, runs: int = 10) -> float:
    for _ in range(3):
        run()
    times = [timed(run, device) for _ in range(runs)]
    return statistics.quantiles(times, n=4)[0]
