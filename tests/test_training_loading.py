"""Batches that processes make ahead, and videos that end those processes."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_model
from torch import Tensor

from ila_models.data import VideoError
from ila_models.data.transforms import create_transform
from ila_models.training.augment import ClipAugmentation
from ila_models.training.batches import ClipKey, StepBatches
from ila_models.training.clips import Batch, VideoClips
from ila_models.training.config import AugmentationSection
from ila_models.training.errors import TrainingError
from ila_models.training.loading import BatchLoader, _is_of_a_lost_process, deadly_videos
from ila_models.training.validation import MeasuredVideos, measure
from ila_models.weights.manifest import preprocessing

CONTRACT = preprocessing("ila")


class Drawn:
    """Twelve videos that are drawn; some end the process that reads them, or are broken."""

    def __init__(self, kind: str = "deadly", *, which: tuple[int, ...] = (3,), once_in: Path | None = None) -> None:
        self.labels = tuple(range(12))
        self.kind, self.which, self.once_in = kind, which, once_in

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        return f"{index}.mp4"

    def source(self, index: int) -> Tensor:
        if index in self.which and self.kind == "broken":
            raise VideoError("broken")
        if index in self.which and self._kills(index):
            os.kill(os.getpid(), signal.SIGKILL)
        drawn = torch.Generator().manual_seed(index)
        return torch.randint(256, (6, 3, 64, 64), dtype=torch.uint8, generator=drawn)

    def _kills(self, index: int) -> bool:
        if self.once_in is None:
            return True
        noted = self.once_in / str(index)
        try:
            noted.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch looks for dead processes every five seconds."""
    look = torch.utils.data.dataloader._MultiProcessingDataLoaderIter._try_get_data
    monkeypatch.setattr(look, "__defaults__", (0.3,))


def four(_: int) -> int:
    return 4


def batches(videos: Any, *, num_workers: int) -> list[Batch]:
    augmentation = ClipAugmentation(AugmentationSection(), img_size=(32, 32), contract=CONTRACT)
    clips = VideoClips(videos, frames_in=four, augmentation=augmentation)
    steps = StepBatches(samples=12, batch_size=4, epochs=3, seed=7)
    return list(BatchLoader(clips, steps, num_workers=num_workers, pin_memory=False))


def test_deadly_videos_are_replaced_as_broken_ones_are(caplog: pytest.LogCaptureFixture) -> None:
    expected = batches(Drawn("broken"), num_workers=0)
    with caplog.at_level(logging.WARNING):
        found = batches(Drawn(), num_workers=2)
    assert len(found) == 9
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.frames, other.frames)
        assert torch.equal(one.labels, other.labels)
        assert one.seeds == other.seeds
        assert [line.partition(":")[0] for line in one.broken] == [line.partition(":")[0] for line in other.broken]
    told = [line for batch in found for line in batch.broken]
    assert len(told) >= 3
    assert all("3.mp4: it ended the process that decoded it 3 times (signal SIGKILL)" in line for line in told)
    assert "a process that makes clips is gone (DataLoader worker (pid" in caplog.text


def test_what_ends_its_process_once_is_not_given_up(tmp_path: Path) -> None:
    found = batches(Drawn(which=(3, 8), once_in=tmp_path), num_workers=1)
    assert [line for batch in found for line in batch.broken] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "8"]


def test_where_no_video_is_to_blame_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ila_models.training.loading.deadly_videos", lambda *_, **__: {})
    with pytest.raises(TrainingError, match=r"go on dying .* is there memory for data.num_workers=1\?"):
        batches(Drawn(), num_workers=1)


def test_how_torch_says_that_a_process_is_gone() -> None:
    assert _is_of_a_lost_process(RuntimeError("Pin memory thread exited unexpectedly"))
    assert _is_of_a_lost_process(EOFError())
    assert _is_of_a_lost_process(ConnectionResetError(104, "Connection reset by peer"))
    assert not _is_of_a_lost_process(RuntimeError("Caught RuntimeError in DataLoader worker process 0."))
    assert not _is_of_a_lost_process(FileNotFoundError("Caught FileNotFoundError in DataLoader worker process 0."))
    assert not _is_of_a_lost_process(OSError(28, "No space left on device"))


def test_videos_that_are_tried_may_all_be_broken() -> None:
    augmentation = ClipAugmentation(AugmentationSection(), img_size=(32, 32), contract=CONTRACT)
    clips = VideoClips(Drawn("broken", which=tuple(range(12))), frames_in=four, augmentation=augmentation)  # type: ignore[arg-type]
    assert deadly_videos(clips, [ClipKey(0, 1, 5)], num_workers=1) == {}


def test_a_bug_is_shown_as_it_is() -> None:
    class Wrong(Drawn):
        def source(self, index: int) -> Tensor:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        batches(Wrong(), num_workers=0)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_deadly_videos_count_as_wrong_in_the_validation(num_workers: int) -> None:
    from accelerate import Accelerator

    model = make_model(head="linear", num_classes=12)
    transform = create_transform({**CONTRACT, "img_size": 64})
    videos = Drawn("broken" if num_workers == 0 else "deadly")
    samples = MeasuredVideos(videos, 4, transform)  # type: ignore[arg-type]
    found = measure(model, samples, Accelerator(cpu=True), batch_size=5, num_workers=num_workers)
    assert (found.clips, found.broken) == (12, 1)
    whole = [index for index in range(12) if index != 3]
    with torch.inference_mode():
        logits = torch.cat([model(samples[index].clip[None]) for index in whole])
    order = logits.argsort(dim=1, descending=True)
    wanted = torch.tensor(whole)
    assert found.top1 == pytest.approx(100 * float((order[:, 0] == wanted).sum()) / 12)
    assert found.top5 == pytest.approx(100 * float((order[:, :5] == wanted[:, None]).sum()) / 12)
