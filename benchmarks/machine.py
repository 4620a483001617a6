"""All benchmarks of a machine one after the other, within a number of minutes: for a GPU that is lent for a while.

::

    python benchmarks/machine.py --name h200 --minutes 9 --out DIR

Each program is a process of its own. What it printed is in ``DIR/NAME.log``, and its result in ``DIR``, as soon as
there is one: what comes later, or is killed, takes nothing of it along.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from provenance import REPOSITORY

PROGRAMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("throughput", ("--matrix", "quick")),
    ("scaling", ()),
    ("decode", ()),
    ("precision", ()),
    ("depthwise", ()),
    ("extraction", ("--no-hour",)),
)
"""Programs and their options, the most wanted first: each may take what is left of the time."""
THROUGHPUT_SHARE = 0.6
"""Of the time, after how much throughput.py begins nothing more."""


def main() -> int:
    """Runs the programs; 1 if one of them failed or had no time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the machine, in the names of the results: h200")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all of them together (default: 30)")
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "benchmarks" / "results", help="folder (default: benchmarks/results)"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * options.minutes
    failed = False
    for program, arguments in PROGRAMS:
        seconds = deadline - time.monotonic()
        result = options.out / f"{program}_{options.name}.json"
        command = [sys.executable, f"benchmarks/{program}.py", "--out", os.path.abspath(result), *arguments]
        if program == "throughput":
            command += ["--minutes", f"{THROUGHPUT_SHARE * options.minutes:g}"]
        said = run(command, options.out / f"{program}_{options.name}.log", seconds)
        failed |= said != "done"
        sys.stderr.write(f"{program}: {said}\n")
    return int(failed)


def run(command: list[str], log: Path, seconds: float) -> str:
    """Runs a program for at most so long; what became of it."""
    if seconds < 1:
        return "no time was left"
    start = time.monotonic()
    with log.open("w") as stream:
        try:
            status = subprocess.run(
                command, cwd=REPOSITORY, stdout=stream, stderr=subprocess.STDOUT, timeout=seconds, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return f"ended after its {seconds:.0f} s: {log}"
    return "done" if status == 0 else f"failed after {time.monotonic() - start:.0f} s with {status}: {log}"


if __name__ == "__main__":
    raise SystemExit(main())
