"""Results that were measured, out of benchmarks/results/."""

from __future__ import annotations

import json
from typing import Any

from provenance import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results"


def read(name: str) -> dict[str, Any] | None:
    """A result; None where nobody has measured it."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def results_of(benchmark: str) -> list[dict[str, Any]]:
    """All results of a benchmark, one of each machine, GPUs first."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{benchmark}_*.json"))]
    return sorted(found, key=lambda result: not is_gpu(result))


def is_gpu(result: dict[str, Any]) -> bool:
    """Whether a result is a GPU's."""
    return "memory_bytes" in result["device"]
