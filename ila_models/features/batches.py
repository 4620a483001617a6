"""From chunks of clips to rows of features: batches of windows, of one video or of several."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..data.transforms import VideoTransform
from ..video_model import VideoModel
from .batch_size import free_unused, is_out_of_memory, largest_that_fits
from .decoding import Chunk
from .levels import Level, compute, row_shape
from .result import Failure, Features
from .windows import Window

logger = logging.getLogger(__name__)


class ClipModel:
    """A model that takes the frames of clips as they are decoded, as many as its device's memory holds.

    Attributes:
        model: The model.
        levels: What is taken of a clip.
        num_frames: Frames of a clip.
        batch_size: Clips that go through the model at once. It is halved where they turn out to be too many.
    """

    def __init__(
        self,
        model: VideoModel,
        levels: Sequence[Level],
        transform: VideoTransform,
        *,
        num_frames: int,
        batch_size: int | Literal["auto"],
        compile: bool,
    ) -> None:
        """Prepares it; ``batch_size="auto"`` tries how much fits."""
        self.model = model
        self.levels = levels
        self.num_frames = num_frames
        self._transform = transform
        self._compute = torch.compile(compute, dynamic=True) if compile else compute
        self.batch_size = largest_that_fits(self._try, self._device) if batch_size == "auto" else batch_size

    @property
    def _device(self) -> torch.device:
        return self.model.temporal.pos_embed.device

    def _try(self, clips: int) -> None:
        height, width = self._transform.img_size
        self._run(torch.zeros(clips, self.num_frames, 3, height, width, dtype=torch.uint8))

    def __call__(self, clips: Tensor) -> dict[Level, Tensor]:
        """Takes the levels of uint8 clips [B, T, 3, h, w]: float32 [B, ...] by level, on the CPU.

        Raises:
            RuntimeError: Not even one clip fits the memory, or the model fails for another reason.
        """
        parts, start = [], 0
        while start < len(clips):
            batch = clips[start : start + self.batch_size]
            try:
                parts.append(self._run(batch))
            except RuntimeError as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
                self.batch_size = len(batch) // 2
                logger.warning("%d clips at once are too many for the memory: on with %d", len(batch), self.batch_size)
            else:
                start += len(batch)
                continue
            free_unused(self._device)  # after the error, which holds what the batch had
        return {level: torch.cat([part[level] for part in parts]) for level in self.levels}

    # Not in inference mode, whose tensors nobody may train on.
    @torch.no_grad()
    def _run(self, clips: Tensor) -> dict[Level, Tensor]:
        like = self.model.temporal.pos_embed
        if like.device.type == "cuda":
            clips = clips.pin_memory()
        video = self._transform.normalize(clips.to(like.device, non_blocking=True)).to(like.dtype)
        found = self._compute(self.model, video, self.levels)
        return {level: values.float().cpu() for level, values in found.items()}

    @property
    def row_bytes(self) -> int:
        """Memory that the features of a clip take."""
        shapes = (row_shape(level, self.model, self.num_frames) for level in self.levels)
        return sum(torch.float32.itemsize * math.prod(shape) for shape in shapes)

    def nothing(self, source: str) -> Features:
        """Features of a video without windows."""
        return Features(
            source=source,
            spans=torch.empty(0, 2, dtype=torch.float64),
            frames=torch.empty(0, self.num_frames, dtype=torch.int64),
            values={level: torch.empty(0, *row_shape(level, self.model, self.num_frames)) for level in self.levels},
        )


@dataclass(frozen=True)
class Part:
    """Some of a video's features, or why there are none.

    Attributes:
        source: The video's number.
        result: Rows in order, or the reason.
        is_last: No more of this video come.
    """

    source: int
    result: Features | Failure
    is_last: bool


class Batches:
    """Windows that wait for the model until there are enough of them, or somebody asks for them."""

    def __init__(self, model: ClipModel, name: Callable[[int], str]) -> None:
        """Begins with none; ``name`` tells what a video of a number is called."""
        self._model = model
        self._name = name
        self._rows: list[_Row] = []

    def add(self, chunk: Chunk) -> Iterator[Part]:
        """Takes windows, and gives the features of as many as make whole batches."""
        self._rows += _rows(chunk)
        if chunk.windows:
            while len(self._rows) >= self._model.batch_size:
                yield from self._run(self._model.batch_size)
            return
        # What has no rows of its own comes after what came before it.
        yield from self.flush()
        name = self._name(chunk.source)
        if chunk.failure is None:
            yield Part(chunk.source, self._model.nothing(name), is_last=True)
        else:
            yield Part(chunk.source, Failure(source=name, reason=chunk.failure, error=chunk.error), is_last=True)

    def flush(self) -> Iterator[Part]:
        """Gives the features of all that waits."""
        while self._rows:
            yield from self._run(self._model.batch_size)

    def drop(self, source: int) -> None:
        """Forgets what waits of a video."""
        self._rows = [row for row in self._rows if row.source != source]

    def _run(self, count: int) -> Iterator[Part]:
        rows, self._rows = self._rows[:count], self._rows[count:]
        values = self._model(torch.stack([row.clip for row in rows]))
        start = 0
        for number, group in itertools.groupby(rows, key=lambda row: row.source):
            own = list(group)
            stop = start + len(own)
            features = Features(
                source=self._name(number),
                spans=torch.tensor([(row.window.start, row.window.end) for row in own], dtype=torch.float64),
                frames=torch.tensor([row.window.frames for row in own]),
                values={level: rows_of[start:stop] for level, rows_of in values.items()},
            )
            yield Part(number, features, is_last=own[-1].is_last)
            start = stop


@dataclass(frozen=True)
class _Row:
    """A window that waits for the model."""

    source: int
    window: Window
    clip: Tensor
    is_last: bool


def _rows(chunk: Chunk) -> list[_Row]:
    count = len(chunk.windows)
    # Copied, since what another process sent is shared memory, of which a system has little.
    clips = chunk.clips.clone() if chunk.clips.is_shared() else chunk.clips
    return [
        _Row(chunk.source, window, clip, chunk.is_last and place == count - 1)
        for place, (window, clip) in enumerate(zip(chunk.windows, clips, strict=True))
    ]
