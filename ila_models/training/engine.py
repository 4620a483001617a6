"""The run: steps, measurements, checkpoints, and the model at the end."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from ..publishing.bundle import save_pretrained
from .augment import ClipAugmentation
from .batch_norm import convert_batch_norms
from .batches import StepBatches, seed_of
from .buffers import share_buffers
from .checkpoint import RunState, load_state, save_state
from .clips import Batch
from .config import TrainingConfig
from .errors import TrainingError
from .finite import clipped_gradient_norm, is_to_be_stepped, stop_at
from .loading import BatchLoader
from .log import RunLog, draw_curves
from .mixing import ClipMixup
from .parameters import make_optimizer
from .processes import alone_in, join_processes
from .same_run import check_same_config, check_same_data
from .schedule import FramesByEpoch, make_scheduler, set_window_offset
from .sources import Needs, make_source
from .start import make_model
from .validation import Accuracy, measure

_logger = logging.getLogger(__name__)

MODEL_FOLDER = "model"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run that came to its end.

    Attributes:
        folder: Where its files are.
        steps: Steps done, those of earlier parts of the run included.
        accuracy: On the validation data at the end; None without such data.
        best: The best top-1 of all measurements, in percent, those of earlier parts of the run included; None without.
        seconds: Time spent in steps.
    """

    folder: Path
    steps: int
    accuracy: Accuracy | None
    best: float | None
    seconds: float


def train(config: TrainingConfig, folder: Path, *, stop_after: int | None = None) -> Result:
    """Trains a model, or goes on with what stands in ``folder``.

    Started by ``torchrun`` or ``accelerate launch``, the processes share every step. The folder gets
    ``checkpoint.pt`` (the state to go on from), ``log.jsonl``, ``tensorboard/``, ``curves.png``, and in ``model/`` what
    :func:`~ila_models.save_pretrained` writes.

    Args:
        config: What to do.
        folder: Where to; made if need be.
        stop_after: Steps of this call after which it ends as if it had been interrupted; None for none.

    Raises:
        TrainingError: Loss or gradient are not finite, the folder holds another run or one of other data, another
            process trains there, the processes do not find each other, or a file cannot be written.
        ValueError: Data and model do not fit, the batch cannot be split, or ``stop_after`` is below 1.
        FileNotFoundError: Data or weights are not there.
    """
    if stop_after is not None and stop_after < 1:
        raise ValueError(f"stop_after (--stop-after) is {stop_after}, give at least 1 step, or leave it out")
    accelerator = join_processes(config)
    with alone_in(folder, accelerator):
        run = Run(config, folder, accelerator)
        try:
            return run.to_the_end(stop_after)
        except OSError as error:
            raise TrainingError(
                f"step {run.step}: {error}. The last checkpoint in {folder} is untouched: mend what is wrong, and run"
                f" the same command again to go on from there"
            ) from error
        finally:
            run.close()


class Run:
    """Everything that a run holds while it runs."""

    def __init__(self, config: TrainingConfig, folder: Path, accelerator: Accelerator) -> None:
        """Builds model, data and optimizer, and reads the state that stands in the folder."""
        settings = config.run
        self.config, self.folder, self.accelerator = config, folder, accelerator
        self.processes = accelerator.num_processes
        state = load_state(folder)
        if state is not None:
            check_same_config(config, state, folder)

        torch.manual_seed(seed_of(settings.seed))
        source = make_source(config)
        self.data = source.described
        if state is not None:
            check_same_data(self.data, state, folder)
        self.model = make_model(config.model, source.class_names)
        convert_batch_norms(self.model, settings.batch_norm)
        self.model.set_grad_checkpointing(settings.grad_checkpointing)
        optimizer = make_optimizer(self.model, config.optimizer)
        self.model.pretrained_cfg |= source.contract
        contract = self.model.pretrained_cfg
        self.augmentation = ClipAugmentation(config.augmentation, img_size=self.model.img_size, contract=contract)
        needs = Needs(
            num_frames=self.model.num_frames,
            frames_in=FramesByEpoch(self.model.num_frames, config.schedule),
            img_size=self.model.img_size,
            contract=contract,
            augmentation=self.augmentation,
        )
        self.train_clips = source.train(needs)
        self.validation_clips = None if source.validation is None else source.validation(needs)
        self.mixup = ClipMixup(config.augmentation, num_classes=self.model.num_classes)
        self.step = 0
        self.best: float | None = None
        self.seconds = 0.0
        if state is not None:
            self.model.load_state_dict(state.model)
            self.step, self.best, self.seconds = state.step, state.best, state.seconds
            _logger.info("going on from step %d of %s", self.step, folder)
        self.batches = StepBatches(
            samples=len(self.train_clips),  # type: ignore[arg-type]
            batch_size=settings.batch_size,
            epochs=config.schedule.epochs,
            seed=settings.seed,
            in_order=source.in_order,
            first_step=self.step,
            process=self.accelerator.process_index,
            processes=self.processes,
        )
        self.scheduler = make_scheduler(optimizer, config.schedule, steps_per_epoch=self.batches.steps_per_epoch)
        self.wrapped: nn.Module
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        if state is not None:
            # Only now, when the weights are where they will stay: moments go where their weights are.
            optimizer.load_state_dict(state.optimizer)
            if self.accelerator.scaler is not None and state.scaler:  # it has none that began at another precision
                self.accelerator.scaler.load_state_dict(state.scaler)
        self.ema = self._make_ema(state)
        self.device = self.accelerator.device
        self.log: RunLog | None = None

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.schedule.epochs * self.batches.steps_per_epoch

    def to_the_end(self, stop_after: int | None) -> Result:
        """Does the steps that are left; see :func:`train`."""
        settings = self.config.run
        last = self.total_steps if stop_after is None else min(self.total_steps, self.step + stop_after)
        loader = BatchLoader(
            self.train_clips,
            self.batches,
            num_workers=self.config.data.num_workers,
            pin_memory=self.device.type == "cuda",
        )
        if self.accelerator.is_main_process:
            self.log = RunLog(self.folder, resume_from=self.step)
        accuracy = None
        batches = iter(loader)
        while self.step < last:
            started = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - started
            epoch = self.step // self.batches.steps_per_epoch
            numbers = self._do_step(batch, epoch)
            self.seconds += time.perf_counter() - started
            self._tell(numbers | {"epoch": epoch, "seconds": self.seconds, "data_seconds": waited}, batch.broken)
            self.step += 1
            ends_epoch = self.step % self.batches.steps_per_epoch == 0
            if self.step == self.total_steps or (ends_epoch and (epoch + 1) % settings.validate_every == 0):
                accuracy = self._measure()
            if self.step % settings.save_every == 0 or self.step == last:
                self._save()
        if self.step == self.total_steps:
            self._finish()
        return Result(folder=self.folder, steps=self.step, accuracy=accuracy, best=self.best, seconds=self.seconds)

    def close(self) -> None:
        """Ends the log."""
        if self.log is not None:
            self.log.close()

    def _do_step(self, batch: Batch, epoch: int) -> dict[str, float]:
        """One step of all processes: forward and backward of every part, then the optimizer."""
        model, settings = self.model, self.config.run
        model.train()
        set_window_offset(model, epoch, self.config.schedule)
        self.scheduler.step_update(self.step)
        # Whatever is random on the device (dropout, stochastic depth) follows from the step, and differs by process.
        torch.manual_seed(seed_of(settings.seed, self.step, self.accelerator.process_index))
        clips, targets = self._prepare(batch)
        self.optimizer.zero_grad()
        loss = similarity = torch.zeros((), device=self.device)
        parts = list(zip(clips.chunk(settings.accumulate), targets.chunk(settings.accumulate), strict=True))
        for number, (clip, target) in enumerate(parts):
            waits = number < len(parts) - 1
            with self.accelerator.no_sync(self.wrapped) if waits else contextlib.nullcontext():
                with self.accelerator.autocast():
                    logits = self.wrapped(clip)
                part_loss = F.cross_entropy(logits.float(), target)
                # None where a baseline stands in the place of alignment.
                part_similarity = torch.zeros_like(part_loss) if model.alignment_loss is None else model.alignment_loss
                whole = part_loss + self.config.optimizer.similarity_weight * part_similarity.float()
                self.accelerator.backward(whole / len(parts))
            loss = loss + part_loss.detach() / len(parts)
            similarity = similarity + part_similarity.detach() / len(parts)
        loss, similarity = self.accelerator.reduce(torch.stack([loss, similarity]), reduction="mean")
        if not torch.isfinite(loss + similarity):
            self._stop_at("loss", batch, clips, targets)
        norm = clipped_gradient_norm(model, self.accelerator, clip_norm=self.config.optimizer.clip_norm)
        if not is_to_be_stepped(norm, self.accelerator):
            self._stop_at("gradient", batch, clips, targets)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(model, step=self.step)
            # The average of a schedule's offsets is none of them.
            set_window_offset(self.ema.module, epoch, self.config.schedule)
        rates = {group["part"]: group["lr"] for group in self.optimizer.param_groups}
        return {
            "loss": loss.item(),
            "similarity_loss": similarity.item(),
            **({} if norm is None else {"gradient_norm": norm}),
            **{f"lr_{part}": rate for part, rate in rates.items()},
        }

    def _prepare(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Frames to normalised, erased, mixed clips, and labels to targets."""
        contract = self.model.pretrained_cfg
        mean, std = (torch.tensor(contract[name], device=self.device).view(3, 1, 1) for name in ("mean", "std"))
        clips = batch.frames.to(self.device, non_blocking=True).float().div_(255).sub_(mean).div_(std)
        erased = torch.stack(
            [self.augmentation.erase(clip, seed=seed) for clip, seed in zip(clips, batch.seeds, strict=True)]
        )
        return self.mixup(erased, batch.labels.to(self.device), seed=batch.seeds[0])

    def _measure(self) -> Accuracy | None:
        if self.validation_clips is None:
            return None
        self._share_buffers()
        model = self.model if self.ema is None else self.ema.module
        found = measure(
            model,
            self.validation_clips,
            self.accelerator,
            batch_size=max(1, self.config.run.batch_size // self.processes),
            num_workers=self.config.data.num_workers,
        )
        self.best = found.top1 if self.best is None else max(self.best, found.top1)
        _logger.info(
            "step %d: top-1 %.2f %%, top-5 %.2f %%, best top-1 %.2f %%", self.step, found.top1, found.top5, self.best
        )
        if self.log is not None:
            self.log.write(self.step - 1, "validation", top1=found.top1, top5=found.top5, clips=found.clips)
        return found

    def _tell(self, numbers: dict[str, Any], broken: list[str]) -> None:
        if self.log is None:
            return
        self.log.write(self.step, "step", **numbers)
        for message in broken:
            _logger.warning("not used: %s", message)
            self.log.write(self.step, "broken", message=message)
        if self.step % 50 == 0:
            _logger.info(
                "step %d of %d: loss %.3f, similarity loss %.3f",
                self.step,
                self.total_steps,
                numbers["loss"],
                numbers["similarity_loss"],
            )

    def _save(self) -> None:
        self.accelerator.wait_for_everyone()
        self._share_buffers()
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            save_state(
                RunState(
                    step=self.step,
                    model=self.model.state_dict(),
                    optimizer=self.optimizer.state_dict(),
                    scaler={} if scaler is None else scaler.state_dict(),
                    ema=None if self.ema is None else self.ema.module.state_dict(),
                    best=self.best,
                    seconds=self.seconds,
                    config=self.config.as_dict(),
                    data=self.data,
                ),
                self.folder,
            )
        self.accelerator.wait_for_everyone()

    def _finish(self) -> None:
        """Writes the model and the curves."""
        if not self.accelerator.is_main_process:
            return
        trained = self.model if self.ema is None else self.ema.module
        trained.eval()
        save_pretrained(trained, self.folder / MODEL_FOLDER)
        draw_curves(self.folder)

    def _share_buffers(self) -> None:
        share_buffers(self.model, None if self.ema is None else self.ema.module)

    def _stop_at(self, what: str, batch: Batch, clips: Tensor, targets: Tensor) -> None:
        inputs = {"frames": batch.frames, "clips": clips.cpu(), "targets": targets.cpu()}
        stop_at(what, self.step, self.folder, process=self.accelerator.process_index, **inputs)

    def _make_ema(self, state: RunState | None) -> ModelEmaV3 | None:
        if self.config.run.ema is None:
            return None
        ema = ModelEmaV3(self.model, decay=self.config.run.ema)
        if state is not None and state.ema is not None:
            ema.module.load_state_dict(state.ema)
        return ema
