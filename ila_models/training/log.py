"""What a run tells: a line of JSON for each step, TensorBoard's events, a picture of the curves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

LOG_NAME = "log.jsonl"
CURVES_NAME = "curves.png"


class RunLog:
    """Writes a run's numbers. Lines of steps that a resumed run does again are dropped first."""

    def __init__(self, folder: Path, *, resume_from: int) -> None:
        """Opens the log of a folder, at a step."""
        from torch.utils.tensorboard import SummaryWriter

        path = folder / LOG_NAME
        path.touch()
        os.truncate(path, _bytes_before(path, resume_from))
        self._stream = path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=resume_from)

    def write(self, step: int, kind: str, **numbers: Any) -> None:
        """Adds a line; ``kind`` is ``"step"``, ``"validation"`` or ``"broken"``."""
        self._stream.write(json.dumps({"step": step, "kind": kind, **numbers}) + "\n")
        self._stream.flush()
        for name, value in numbers.items():
            if isinstance(value, int | float):
                self._events.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Ends the log."""
        self._stream.close()
        self._events.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a folder's log; a last line that a kill cut off is left out."""
    lines = []
    path = folder / LOG_NAME
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
    return lines


def _bytes_before(path: Path, step: int) -> int:
    """Bytes of the lines before the first of a later step, or that a kill cut off."""
    size = 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            is_kept = line.endswith(b"\n") and json.loads(line)["step"] < step
        except ValueError:
            is_kept = False
        if not is_kept:
            break
        size += len(line)
    return size


def draw_curves(folder: Path) -> Path:
    """Draws loss, rate and accuracy of a folder's log over its steps; returns the picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read_log(folder)
    steps = [line for line in lines if line["kind"] == "step"]
    measured = [line for line in lines if line["kind"] == "validation"]
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot([line["step"] for line in steps], [line["loss"] for line in steps], color="tab:blue", alpha=0.25)
    upper.plot(*_smoothed(steps, "loss"), color="tab:blue", label="classification loss")
    upper.plot(*_smoothed(steps, "similarity_loss"), color="tab:orange", label="similarity loss")
    upper.set_ylabel("loss")
    upper.legend()
    for name, color in (("top1", "tab:green"), ("top5", "tab:gray")):
        lower.plot(
            [line["step"] for line in measured], [line[name] for line in measured], "o-", color=color, label=name
        )
    lower.set_ylim(0, 101)
    lower.set_ylabel("accuracy on validation data (%)")
    lower.set_xlabel("step")
    lower.legend(loc="lower right")
    path = folder / CURVES_NAME
    figure.savefig(path, dpi=120)
    return path


def _smoothed(lines: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Means over some fifty neighbouring steps at most."""
    width = max(1, min(50, len(lines) // 20))
    steps, values = [], []
    for start in range(0, len(lines), width):
        part = lines[start : start + width]
        steps.append(part[len(part) // 2]["step"])
        values.append(sum(line[name] for line in part) / len(part))
    return steps, values
