"""Where, when and with what a number was measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]


def provenance(packages: Sequence[str]) -> dict[str, Any]:
    """The facts that every result states.

    Args:
        packages: Distributions whose versions matter; None stands for one that is not installed.
    """
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}",
        "versions": {name: installed(name) for name in packages} | {"python": platform.python_version()},
    }


def installed(name: str) -> str | None:
    """The version of a distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def commit() -> str:
    """The commit measured, marked where tracked files differ from it.

    Files without their history, as a copy on another machine, are of the commit that ``ILA_MODELS_COMMIT`` names.
    """
    if told := os.environ.get("ILA_MODELS_COMMIT"):
        return told
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=REPOSITORY, capture_output=True, text=True
    )
    return said.stdout.strip() or "unknown"


def write_result(result: dict[str, Any], path: Path | None) -> None:
    """Prints a result, and writes it where that is wanted."""
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
