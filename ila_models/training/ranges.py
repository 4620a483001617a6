"""What the numbers of a configuration may be, each for itself and beside the others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import (
        AugmentationSection,
        DataSection,
        ModelSection,
        OptimizerSection,
        RunSection,
        ScheduleSection,
        TrainingConfig,
    )

_Checks = list[tuple[bool, str]]
"""What must hold, and what is said where it does not."""

_RUN_COUNTS = ("batch_size", "accumulate", "save_every", "validate_every")
_DECAYS = ("weight_decay", "alignment_weight_decay", "skip_weight_decay", "head_weight_decay")
_CHANCES = ("color_jitter", "grey", "erasing", "switch", "label_smoothing")


def contradictions(config: TrainingConfig) -> list[str]:
    """What is wrong between fields, or out of range. No comparison holds for nan, so that it is always out of range."""
    checks = [
        *_run(config.run),
        *_schedule(config.schedule),
        *_rates(config.optimizer, config.schedule),
        *_optimizer(config.optimizer),
        *_augmentation(config.augmentation),
        *_data(config.data, config.schedule),
        *_model(config.model),
    ]
    return [message for holds, message in checks if not holds]


def _run(run: RunSection) -> _Checks:
    return [
        *(_at_least(1, f"run.{name}", getattr(run, name)) for name in _RUN_COUNTS),
        (run.ema is None or 0 < run.ema < 1, f"run.ema is {run.ema}, give a decay between 0 and 1, or null"),
    ]


def _schedule(schedule: ScheduleSection) -> _Checks:
    return [
        _at_least(1, "schedule.epochs", schedule.epochs),
        _at_least(0, "schedule.shrink_window_from", schedule.shrink_window_from),
        _at_least(2, "schedule.short_frames", schedule.short_frames),
        (
            0 <= schedule.warmup_epochs < schedule.epochs,
            f"schedule.warmup_epochs is {schedule.warmup_epochs:g}, give at least 0 and less than the"
            f" {schedule.epochs} epochs",
        ),
        (
            0 <= schedule.short_epochs <= schedule.epochs,
            f"schedule.short_epochs is {schedule.short_epochs}, give 0 to {schedule.epochs}, the epochs",
        ),
    ]


def _rates(optimizer: OptimizerSection, schedule: ScheduleSection) -> _Checks:
    used = ("lr",) if optimizer.parameters == "all" else ("alignment_lr", "skip_lr", "head_lr")
    checks = [_number("schedule.min_lr", schedule.min_lr)]
    for name in ("lr", "alignment_lr", "skip_lr", "head_lr"):
        rate = getattr(optimizer, name)
        checks.append(_number(f"optimizer.{name}", rate))
        if name in used and 0 <= rate < schedule.min_lr:
            checks.append(
                (False, f"schedule.min_lr is {schedule.min_lr:g}, give at most optimizer.{name}, which is {rate:g}")
            )
    return checks


def _optimizer(optimizer: OptimizerSection) -> _Checks:
    decay, clip_norm = optimizer.layer_decay, optimizer.clip_norm
    return [
        *(_number(f"optimizer.{name}", getattr(optimizer, name)) for name in _DECAYS),
        _number("optimizer.similarity_weight", optimizer.similarity_weight),
        (
            decay is None or 0 < decay <= 1,
            f"optimizer.layer_decay is {decay}, give a factor above 0 and up to 1, or null",
        ),
        (
            all(0 <= beta < 1 for beta in optimizer.betas),
            f"optimizer.betas is {list(optimizer.betas)}, give two numbers from 0 to less than 1",
        ),
        (0 < optimizer.eps < math.inf, f"optimizer.eps is {optimizer.eps:g}, give a finite number above 0"),
        (
            clip_norm is None or 0 < clip_norm < math.inf,
            f"optimizer.clip_norm is {clip_norm}, give a finite number above 0, or null for no bound",
        ),
    ]


def _augmentation(augmentation: AugmentationSection) -> _Checks:
    return [
        (len(augmentation.crop_scales) > 0, "augmentation.crop_scales is empty, give (1.0,) for whole frames"),
        (
            all(0 < scale <= 1 for scale in augmentation.crop_scales),
            f"augmentation.crop_scales is {augmentation.crop_scales}, give numbers above 0 and up to 1",
        ),
        *(_number(f"augmentation.{name}", getattr(augmentation, name)) for name in ("mixup", "cutmix")),
        *(_chance(f"augmentation.{name}", getattr(augmentation, name)) for name in _CHANCES),
    ]


def _data(data: DataSection, schedule: ScheduleSection) -> _Checks:
    return [
        (data.kind == "motion" or data.train is not None, "data.train is missing: name the folder of videos"),
        (data.kind == "videos" or data.train_clips is not None, f"data.train_clips is missing, for {data.kind}"),
        _at_least(1, "data.train_clips", 1 if data.train_clips is None else data.train_clips),
        _at_least(1, "data.validation_clips", data.validation_clips),
        _at_least(0, "data.num_workers", data.num_workers),
        (
            0 <= data.easy_epochs <= schedule.epochs,
            f"data.easy_epochs is {data.easy_epochs}, give 0 to {schedule.epochs}, the epochs",
        ),
        (
            data.kind == "motion" or data.easy_epochs == 0,
            f"data.easy_epochs is {data.easy_epochs}, give 0: only data.kind=motion has easy clips",
        ),
    ]


def _model(model: ModelSection) -> _Checks:
    return [
        (
            not (model.pretrained and model.checkpoint),
            "model.pretrained and model.checkpoint are both given: choose one",
        ),
        _chance("model.dropout", model.dropout),
        (0 <= model.drop_path_rate < 1, f"model.drop_path_rate is {model.drop_path_rate:g}, give 0 to less than 1"),
    ]


def _at_least(lowest: int, name: str, value: int) -> tuple[bool, str]:
    return value >= lowest, f"{name} is {value}, give at least {lowest}"


def _number(name: str, value: float) -> tuple[bool, str]:
    return 0 <= value < math.inf, f"{name} is {value:g}, give a finite number from 0 on"


def _chance(name: str, value: float) -> tuple[bool, str]:
    return 0 <= value <= 1, f"{name} is {value:g}, give a chance between 0 and 1"
