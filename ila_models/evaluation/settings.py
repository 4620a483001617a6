"""What the numbers of an evaluation depend on. Predictions are added only to those of the same settings."""

from __future__ import annotations

import hashlib

from torch import nn

from ..data.annotations import LabelledVideos
from ..data.transforms import VideoTransform
from ..settings import Settings, as_text, model_name, transform_settings, weights_sha256
from .decoding import Views


def describe_settings(
    model: nn.Module,
    videos: LabelledVideos,
    views: Views,
    transform: VideoTransform,
    *,
    videos_per_part: int,
    save_probabilities: bool,
) -> Settings:
    """Everything that the predictions depend on, but for the machine, the batch size and the number of processes."""
    return {
        "model": model_name(model),
        "weights_sha256": weights_sha256(model),
        "num_frames": model.num_frames,
        **transform_settings(transform),
        "views": f"{views.clips}x{views.crops}",
        "views_mode": views.mode,
        "seed": views.seed if views.mode == "random" else None,
        "num_classes": model.num_classes,
        "video_prompts": model.has_video_prompts,
        "class_names": None if videos.class_names is None else [as_text(name) for name in videos.class_names],
        "videos": len(videos),
        "videos_sha256": _videos_sha256(videos),
        "videos_per_part": videos_per_part,
        "all_probabilities": save_probabilities,
    }


def _videos_sha256(videos: LabelledVideos) -> str:
    digest = hashlib.sha256()
    for path, label in zip(videos.paths, videos.labels, strict=True):
        digest.update(f"{as_text(path)}\t{label}\n".encode())
    return digest.hexdigest()
