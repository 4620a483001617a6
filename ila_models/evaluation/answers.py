"""What a model says to videos: views in batches that mix videos, probabilities averaged over a video's views."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..video_model import VideoModel
from .predictions import VideoPrediction

TOP = 5
"""Classes that are kept of every prediction."""


@torch.inference_mode()
def answers(
    model: VideoModel, items: Iterator[tuple[int, Tensor | str]], batch_size: int
) -> Iterator[tuple[int, list[float] | str]]:
    """The number of every video with its probabilities [C], or with the reason why there are none, as they come."""
    weight = model.temporal.pos_embed
    failures: list[tuple[int, str]] = []
    expected: dict[int, int] = {}

    def usable() -> Iterator[tuple[int, Tensor]]:
        for index, views in items:
            if isinstance(views, str):
                failures.append((index, views))
            else:
                expected[index] = len(views)
                yield index, views

    logits: dict[int, list[Tensor]] = {}
    for owners, batch in mixed_batches(usable(), batch_size):
        for index, row in zip(owners, model(batch.to(weight.device, weight.dtype)).cpu(), strict=True):
            logits.setdefault(index, []).append(row)
        for index in dict.fromkeys(owners):
            if len(logits[index]) == expected[index]:
                probabilities = softmax_mean(logits.pop(index))
                yield index, probabilities or "the model's answer is not finite: its numbers overflow, or are damaged"
        yield from failures
        failures.clear()
    yield from failures


def as_prediction(answer: list[float] | str, *, file: str, label: int, save_probabilities: bool) -> VideoPrediction:
    """An answer as it is kept: the likeliest classes, or why there is none."""
    if isinstance(answer, str):
        return VideoPrediction(file, label, error=answer)
    # Of equal probabilities, the class of the lower number is the likelier one, on every machine.
    top = sorted(range(len(answer)), key=lambda number: (-answer[number], number))[:TOP]
    return VideoPrediction(file, label, top, [answer[number] for number in top], answer if save_probabilities else None)


def mixed_batches(videos: Iterator[tuple[int, Tensor]], batch_size: int) -> Iterator[tuple[list[int], Tensor]]:
    """Batches of views [B, T, 3, h, w] across videos, with the number of the video that each view is of."""
    owners: list[int] = []
    waiting: list[Tensor] = []
    for index, views in videos:
        for view in views:
            owners.append(index)
            waiting.append(view)
            if len(waiting) == batch_size:
                yield owners, torch.stack(waiting)
                owners, waiting = [], []
    if waiting:
        yield owners, torch.stack(waiting)


def softmax_mean(logits: list[Tensor]) -> list[float] | None:
    """Probabilities [C] of a video from the logits of its views; None where they are not finite."""
    probabilities = torch.stack(logits).float().softmax(dim=-1).mean(dim=0)
    values = probabilities.tolist()
    return values if all(map(math.isfinite, values)) else None
