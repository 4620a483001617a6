"""A report for people: as text, and as files beside the predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from .report import Report

_WORST_CLASSES = 5
_CONFUSIONS = 10
_BROKEN = 10

_COLUMNS = (
    *("index", "name", "videos", "broken", "correct_top1", "correct_top5"),
    *("top1", "top5", "most_confused_with", "confused_videos"),
)


def report_text(report: Report) -> str:
    """The numbers and what stands out, in some twenty lines."""
    settings = report.settings
    mode = "" if settings["views_mode"] == "deterministic" else f" at random (seed {settings['seed']})"
    lines = [
        f"{settings['model']} on {report.videos:,} videos, {settings['views']} views{mode}",
        f"  top-1           {_percent(report.top1)}  ({report.correct_top1:,} of {report.decoded:,})",
        f"  top-5           {_percent(report.top5)}  ({report.correct_top5:,} of {report.decoded:,})",
        f"  mean per class  {_percent(report.mean_per_class)}",
    ]
    if report.broken:
        lines += [
            f"  {len(report.broken):,} videos are broken and not counted above; with them as wrong:"
            f" top-1 {_percent(report.top1_of_all).strip()}, top-5 {_percent(report.top5_of_all).strip()}"
        ]
    seen = [each for each in report.classes if each.top1 is not None]
    if len(seen) < len(report.classes):
        lines += [
            f"  {len(report.classes) - len(seen):,} of the model's {len(report.classes):,} classes have no videos"
        ]
    if worst := sorted((each for each in seen if each.top1 != 100), key=lambda each: (each.top1, -each.videos)):
        lines += ["worst classes", *(f"  {_percent(each.top1)}  {each.name}" for each in worst[:_WORST_CLASSES])]
    if report.confusions:
        lines += ["most confused"]
        lines += [
            f"  {each.videos:6,}x  {report.name(each.label)} taken for {report.name(each.predicted)}"
            for each in report.confusions[:_CONFUSIONS]
        ]
    if report.broken:
        lines += ["broken videos", *(f"  {each.file}: {each.reason}" for each in report.broken[:_BROKEN])]
        if len(report.broken) > _BROKEN:
            lines += [f"  and {len(report.broken) - _BROKEN:,} more"]
    return "\n".join(lines)


def write_report(report: Report, folder: Path) -> None:
    """Writes ``report.json`` and ``per_class.csv``.

    Raises:
        OSError: They cannot be written.
    """
    text = json.dumps(report.as_json(), indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    taken_for = {each.label: each for each in reversed(report.confusions)}
    with (folder / "per_class.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for each in report.classes:
            confusion = taken_for.get(each.index)
            writer.writerow(
                [each.index, each.name, each.videos, each.broken, each.correct_top1, each.correct_top5]
                + ["" if share is None else f"{share:.2f}" for share in (each.top1, each.top5)]
                + (["", 0] if confusion is None else [report.name(confusion.predicted), confusion.videos])
            )


def _percent(share: float | None) -> str:
    return "     -" if share is None else f"{share:5.1f}%"
