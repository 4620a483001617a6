"""The numbers of an evaluation, computed from its table of predictions alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..settings import Settings
from .predictions import VideoPrediction, read_predictions


@dataclass(frozen=True)
class BrokenVideo:
    """A video without a prediction.

    Attributes:
        file: Its path as annotated.
        reason: Why.
    """

    file: str
    reason: str


@dataclass(frozen=True)
class Confusion:
    """Videos of one class that were taken for another.

    Attributes:
        label: The right class.
        predicted: What the model said.
        videos: How often.
        share: Percent of the right class's videos that were decoded.
    """

    label: int
    predicted: int
    videos: int
    share: float


@dataclass(frozen=True)
class ClassAccuracy:
    """One class.

    Attributes:
        index: Its number.
        name: Its name, or its number as text.
        videos: Its videos that were decoded.
        broken: Those that were not.
        correct_top1: Videos whose likeliest class is right.
        correct_top5: Videos whose class is among the five likeliest.
    """

    index: int
    name: str
    videos: int
    broken: int
    correct_top1: int
    correct_top5: int

    @property
    def top1(self) -> float | None:
        """Percent of the decoded videos; None without any."""
        return percent(self.correct_top1, self.videos)

    @property
    def top5(self) -> float | None:
        """Percent of the decoded videos; None without any."""
        return percent(self.correct_top5, self.videos)


@dataclass(frozen=True)
class Report:
    """The numbers of an evaluation.

    Attributes:
        videos: All of them.
        decoded: Those that have a prediction.
        correct_top1: Videos whose likeliest class is right.
        correct_top5: Videos whose class is among the five likeliest (all of them, with five classes or fewer).
        classes: Those of the model, by number; some may have no videos.
        confusions: Pairs of classes, the most frequent first.
        broken: Videos without a prediction, in the order of the data.
        settings: What the predictions depend on.
    """

    videos: int
    decoded: int
    correct_top1: int
    correct_top5: int
    classes: tuple[ClassAccuracy, ...]
    confusions: tuple[Confusion, ...]
    broken: tuple[BrokenVideo, ...]
    settings: Settings

    @property
    def top1(self) -> float | None:
        """Percent of the decoded videos; None without any."""
        return percent(self.correct_top1, self.decoded)

    @property
    def top5(self) -> float | None:
        """Percent of the decoded videos; None without any."""
        return percent(self.correct_top5, self.decoded)

    @property
    def top1_of_all(self) -> float | None:
        """Percent of all videos, the broken ones counted as wrong."""
        return percent(self.correct_top1, self.videos)

    @property
    def top5_of_all(self) -> float | None:
        """Percent of all videos, the broken ones counted as wrong."""
        return percent(self.correct_top5, self.videos)

    @property
    def mean_per_class(self) -> float | None:
        """Mean of the top-1 accuracies, in percent, of the classes that have decoded videos."""
        accuracies = [each.top1 for each in self.classes if each.top1 is not None]
        return sum(accuracies) / len(accuracies) if accuracies else None

    def name(self, index: int) -> str:
        """A class's name, or its number as text."""
        return self.classes[index].name

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``json.dumps``; ``per_class.csv`` has the classes."""
        return {
            "top1": self.top1,
            "top5": self.top5,
            "mean_per_class": self.mean_per_class,
            "top1_of_all": self.top1_of_all,
            "top5_of_all": self.top5_of_all,
            "videos": self.videos,
            "decoded": self.decoded,
            "correct_top1": self.correct_top1,
            "correct_top5": self.correct_top5,
            "broken": [asdict(each) for each in self.broken],
            "classes": [asdict(each) | {"top1": each.top1, "top5": each.top5} for each in self.classes],
            "confusions": [
                {**asdict(each), "label_name": self.name(each.label), "predicted_name": self.name(each.predicted)}
                for each in self.confusions
            ],
            "settings": self.settings,
        }


def report_from(path: str | os.PathLike[str]) -> Report:
    """Computes the numbers anew from predictions that were saved.

    Args:
        path: ``predictions.parquet``, or the folder that an evaluation wrote.

    Raises:
        FileNotFoundError: There is none, or the run is not finished.
        ValueError: The file is not such a table.
    """
    return make_report(*read_predictions(Path(path)))


def make_report(predictions: Sequence[VideoPrediction], settings: Settings) -> Report:
    """Counts."""
    decoded = [each for each in predictions if each.error is None]
    top1 = Counter(each.label for each in decoded if each.label == each.top_classes[0])
    top5 = Counter(each.label for each in decoded if each.label in each.top_classes[:5])
    videos = Counter(each.label for each in decoded)
    broken = Counter(each.label for each in predictions if each.error is not None)
    names = settings["class_names"] or [str(index) for index in range(settings["num_classes"])]
    wrong = Counter((each.label, each.top_classes[0]) for each in decoded if each.label != each.top_classes[0])
    return Report(
        videos=len(predictions),
        decoded=len(decoded),
        correct_top1=top1.total(),
        correct_top5=top5.total(),
        classes=tuple(
            ClassAccuracy(index, name, videos[index], broken[index], top1[index], top5[index])
            for index, name in enumerate(names)
        ),
        confusions=tuple(
            Confusion(label, predicted, count, 100 * count / videos[label])
            for (label, predicted), count in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
        ),
        broken=tuple(BrokenVideo(each.file, each.error) for each in predictions if each.error is not None),
        settings=settings,
    )


def percent(part: int, whole: int) -> float | None:
    """``part`` in percent of ``whole``; None of nothing."""
    return 100 * part / whole if whole else None
