"""Rates, window offsets and frames as functions of the step, so that a resumed run needs to remember none of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.scheduler import CosineLRScheduler

from ..alignment import WINDOW_OFFSET
from ..video_model import VideoModel
from .config import ScheduleSection


def make_scheduler(
    optimizer: torch.optim.Optimizer, section: ScheduleSection, *, steps_per_epoch: int
) -> CosineLRScheduler:
    """Rates that rise from 0 in a straight line, then fall along a cosine to ``min_lr``.

    ``scheduler.step_update(step)`` sets them for any step, counted from 0.
    """
    return CosineLRScheduler(
        optimizer,
        t_initial=section.epochs * steps_per_epoch - round(section.warmup_epochs * steps_per_epoch),
        lr_min=section.min_lr,
        warmup_t=round(section.warmup_epochs * steps_per_epoch),
        warmup_lr_init=0.0,
        warmup_prefix=True,
        t_in_epochs=False,
    )


@dataclass(frozen=True)
class FramesByEpoch:
    """Frames of a clip in an epoch, counted from 0: few in the short epochs at the beginning, then the model's."""

    num_frames: int
    section: ScheduleSection

    def __call__(self, epoch: int) -> int:
        """How many."""
        return self.section.short_frames if epoch < self.section.short_epochs else self.num_frames


def window_offset(epoch: int, section: ScheduleSection) -> float:
    """The offset of the nine masks in an epoch, counted from 0: halved in ``shrink_window_from`` and ever after."""
    return WINDOW_OFFSET * 0.5 ** max(0, epoch - section.shrink_window_from + 1)


def set_window_offset(model: VideoModel, epoch: int, section: ScheduleSection) -> None:
    """Sets the model's offset for an epoch; it is saved with the weights."""
    model.set_window_offset(window_offset(epoch, section))
