"""From a video to named probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .data import create_transform, load_clips, load_video
from .video_model import VideoModel

VIEWS_PER_PASS = 3
"""Views that go through the model at once, which bounds the memory of many views."""


@dataclass(frozen=True)
class Prediction:
    """One class and how likely the model finds it.

    Attributes:
        label: The class's name, or its number as text where the model does not know names.
        index: Its number, from 0.
        probability: In [0, 1].
    """

    label: str
    index: int
    probability: float


def predict_video(
    model: VideoModel,
    source: Any,
    *,
    clips: int = 1,
    crops: Literal[1, 3] = 1,
    topk: int = 5,
) -> list[Prediction]:
    """Classifies one video.

    Args:
        model: In evaluation mode, with classes.
        source: What :func:`~ila_models.data.load_video` takes: a path, URL, bytes, file object or frames.
        clips: Clips along time. One takes the middle of every segment; more, the multi-view rule of the released
            evaluation.
        crops: Crops of every clip: the centre, or both ends and the centre of the long side.
        topk: Classes to return, the likeliest first; no more than there are.

    Raises:
        ValueError: An argument is out of range, or the model has no classes.
        FileNotFoundError: There is no such file.
        VideoError: The video cannot be used; a subclass of ValueError.
    """
    if topk < 1:
        raise ValueError(f"topk={topk} is out of range: give at least 1")
    if model.num_classes == 0:
        raise ValueError("the model has no classes: create it with class_names=[...], or call model.set_classes([...])")
    probabilities = predict_probabilities(model, source, clips=clips, crops=crops)
    top = probabilities.topk(min(topk, len(probabilities)))
    return [
        Prediction(model.class_names[index] if model.class_names else str(index), index, probability)
        for probability, index in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    ]


@torch.inference_mode()
def predict_probabilities(model: VideoModel, source: Any, *, clips: int = 1, crops: Literal[1, 3] = 1) -> Tensor:
    """Probabilities [C] of one video: the mean over its views of the softmax; see :func:`predict_video`."""
    if clips == 1:
        frames = load_video(source, num_frames=model.num_frames)
    else:
        frames = load_clips(source, num_frames=model.num_frames, num_clips=clips)
    views = create_transform(model, crops=crops)(frames)
    views = views[None] if views.ndim == 4 else views
    weight = model.temporal.pos_embed
    logits = [model(part.to(weight.device, weight.dtype)) for part in views.split(VIEWS_PER_PASS)]
    return torch.cat(logits).float().softmax(dim=-1).mean(dim=0).cpu()
