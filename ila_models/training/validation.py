"""Accuracy while training: one view of every clip, counted exactly whatever the number of processes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import Dataset

from ..data import VideoError, VideoTransform, load_video
from ..data.annotations import LabelledVideos
from ..data.in_order import GivenUp, made_in_order
from ..data.motion import VALIDATION_SEED, motion_clips
from ..data.shards import ShardedVideos
from ..video_model import VideoModel

_logger = logging.getLogger(__name__)


class Sample(NamedTuple):
    """A normalised clip [T, 3, S, S], its label, and whether it could be had; if not, the clip is zeros."""

    clip: Tensor
    label: int
    usable: bool


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Percent of clips whose class is the likeliest, and among the five likeliest; a broken one counts as wrong."""

    top1: float
    top5: float
    clips: int
    broken: int


class MeasuredMotion(Dataset[Sample]):
    """The validation clips of :mod:`ila_models.data.motion`."""

    def __init__(self, clips: int, num_frames: int, img_size: int, transform: VideoTransform) -> None:
        """Takes how many, of what kind."""
        self._clips, self._num_frames, self._img_size, self._transform = clips, num_frames, img_size, transform

    def __len__(self) -> int:
        """How many."""
        return self._clips

    def name(self, index: int) -> str:
        """What one is called."""
        return f"validation clip {index}"

    def __getitem__(self, index: int) -> Sample:
        """Makes one."""
        frames, labels = motion_clips(
            [index], seed=VALIDATION_SEED, num_frames=self._num_frames, img_size=self._img_size
        )
        return Sample(self._transform(frames[0]), int(labels[0]), True)


class MeasuredVideos(Dataset[Sample]):
    """One view of every video."""

    def __init__(self, videos: LabelledVideos | ShardedVideos, num_frames: int, transform: VideoTransform) -> None:
        """Takes the videos and what is done to their frames."""
        self._videos, self._num_frames, self._transform = videos, num_frames, transform

    def __len__(self) -> int:
        """How many."""
        return len(self._videos)

    def name(self, index: int) -> str:
        """What one is called."""
        return self._videos.name(index)

    def __getitem__(self, index: int) -> Sample:
        """Decodes one."""
        label = self._videos.labels[index]
        try:
            frames = load_video(self._videos.source(index), num_frames=self._num_frames)
        except (OSError, VideoError) as error:
            _logger.warning("not used: %s: %s", self.name(index), error)
            return Sample(torch.zeros(self._num_frames, 3, *self._transform.img_size), label, False)
        return Sample(self._transform(frames), label, True)


@torch.inference_mode()
def measure(
    model: VideoModel,
    samples: MeasuredMotion | MeasuredVideos,
    accelerator: Accelerator,
    *,
    batch_size: int,
    num_workers: int,
) -> Accuracy:
    """Measures a model, which is left in evaluation mode; every process takes its own clips, none twice."""
    model.eval()
    total = len(samples)
    own = range(accelerator.process_index, total, accelerator.num_processes)
    counts = torch.zeros(4, device=accelerator.device, dtype=torch.int64)
    at_once = max(1, batch_size // max(num_workers, 1))
    made = made_in_order(samples.__getitem__, own, num_workers=num_workers, at_once=at_once, preload=__name__)
    while batch := list(islice(made, batch_size)):
        for number, sample in batch:
            if isinstance(sample, GivenUp):
                _logger.warning("not used: %s: %s", samples.name(number), sample.reason)
        usable = [sample for _, sample in batch if isinstance(sample, Sample) and sample.usable]
        right = torch.zeros(2, dtype=torch.int64)
        if usable:
            with accelerator.autocast():
                logits = model(torch.stack([sample.clip for sample in usable]).to(accelerator.device))
            best = logits.topk(min(5, logits.shape[1])).indices.cpu()
            hits = best == torch.tensor([sample.label for sample in usable])[:, None]
            right = torch.stack([hits[:, 0].sum(), hits.any(dim=1).sum()])
        counts += torch.tensor([*right.tolist(), len(batch), len(batch) - len(usable)], device=counts.device)
    top1, top5, clips_seen, broken = accelerator.reduce(counts, reduction="sum").tolist()
    return Accuracy(top1=100 * top1 / clips_seen, top5=100 * top5 / clips_seen, clips=clips_seen, broken=broken)
