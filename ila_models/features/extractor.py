"""Features of videos: one call for a video, an iterator for many."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..data.transforms import create_transform
from ..factory import create_model
from ..ila_vit import ILAVisionTransformer
from .ahead import WindowedVideos, decode_ahead
from .decoding import Chunk
from .levels import Level, check_levels, check_model, compute, row_shape
from .result import Failure, Features, joined, name_of
from .windows import Padding, Unit, Window, WindowSettings


class FeatureExtractor:
    """Takes features of videos, window by window, while the next ones are decoded.

    ::

        extractor = FeatureExtractor("ila_vit_b16.openai", levels=["clip", "frame"], window=2.0, stride=1.0)
        features = extractor("video.mp4")
        features["clip"]  # [W, E]
        features.spans  # [W, 2], seconds

    Attributes:
        model: The model that runs.
        levels: What is taken, in the order of :data:`~ila_models.features.levels.LEVELS`.
        settings: How videos are cut into windows.
        batch_size: Windows that go through the model at once.
    """

    def __init__(
        self,
        model: ILAVisionTransformer | str,
        *,
        levels: str | Sequence[str] = "clip",
        window: float | None = None,
        stride: float | None = None,
        unit: Unit = "seconds",
        padding: Padding = "shorten",
        num_frames: int | None = None,
        batch_size: int = 8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        compile: bool = False,
        **arguments: Any,
    ) -> None:
        """Prepares a model.

        Args:
            model: A model, which is put into evaluation mode, and on ``device`` and into ``dtype`` where they are
                given, for good; or a name for :func:`~ila_models.create_model`, which then makes a pretrained model for
                inference (``fused=True``), without a head unless a level needs it.
            levels: One level or several; see :data:`~ila_models.features.levels.LEVELS`.
            window: Length of a window; None makes one window of the whole video.
            stride: From the start of a window to the next; None puts them end to end.
            unit: Of ``window`` and ``stride``: "seconds" or "frames".
            padding: At the end of a video: "shorten" the last window, "shift" it back, "repeat" the last frame, "drop".
            num_frames: Frames that the model sees of a window, the middles of equal segments; None takes the model's.
            batch_size: Windows that go through the model at once, of one video or of several.
            device: Where the model runs; None leaves a model where it is, and puts a named one on a GPU if there is
                one.
            dtype: Of the model; None leaves a model's, and a named one has bfloat16 on a GPU and float32 elsewhere.
            compile: Run the model through ``torch.compile``, for any number of windows.
            arguments: Of :func:`~ila_models.create_model`, with a name only: ``checkpoint_path``, ``class_names``, ...

        Raises:
            ValueError: An argument is out of range.
            TypeError: ``arguments`` go with a name only.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is out of range: give at least 1")
        # All that can be wrong without a model, before one is fetched.
        self.batch_size = batch_size
        self.levels = check_levels(levels)
        settings = WindowSettings(
            num_frames=2 if num_frames is None else num_frames,
            window=window,
            stride=stride,
            unit=unit,
            padding=padding,
        )
        if isinstance(model, str):
            model, device, dtype = _create(model, self.levels, device, dtype, arguments)
        elif arguments:
            raise TypeError(f"{', '.join(arguments)} make a model of a name; this one is made already")
        check_model(self.levels, model)
        self.model = model.eval().to(device=device, dtype=dtype)
        self.settings = replace(settings, num_frames=model.num_frames) if num_frames is None else settings
        self._transform = create_transform(self.model)
        self._compute = torch.compile(compute, dynamic=True) if compile else compute

    def __call__(self, source: Any, *, fps: float | None = None) -> Features:
        """Takes all features of a video.

        Args:
            source: What :func:`~ila_models.load_video` takes: a path, URL, bytes, file object or frames.
            fps: Frames a second, of frames; a video has time stamps of its own.

        Raises:
            FileNotFoundError: There is no such file.
            TypeError: The source is of a wrong kind.
            ValueError: The windows need ``fps``, or make no sense.
            VideoError: The video cannot be used; a subclass of ValueError.
        """
        return joined(list(self.stream(source, fps=fps)))

    def stream(self, source: Any, *, fps: float | None = None) -> Iterator[Features]:
        """Takes features of a video batch by batch, in memory for a batch: for long videos and many tokens.

        Args:
            source: See :meth:`__call__`.
            fps: See :meth:`__call__`.

        Yields:
            Features of up to ``batch_size`` windows, in order; of a video without windows, one part without rows.

        Raises:
            FileNotFoundError, TypeError, ValueError: See :meth:`__call__`.
        """
        for _, part, _ in self._parts([source], num_workers=0, fps=fps):
            if isinstance(part, Failure):
                assert part.error is not None, "an error of this process is at hand"
                raise part.error
            yield part

    def iter(
        self, sources: Iterable[Any], *, num_workers: int = 0, on_error: Literal["raise", "yield"] = "raise"
    ) -> Iterator[Features | Failure]:
        """Takes features of many videos, decoded by processes while the model is busy.

        Args:
            sources: Paths or addresses.
            num_workers: Processes that decode, each a video of its own; 0 decodes in a thread of this one. A script
                that asks for processes must do its work under ``if __name__ == "__main__":``: they import it.
            on_error: What to do with a video that cannot be used: "raise" its error, or "yield" a
                :class:`~ila_models.features.result.Failure` in its place and go on.

        Yields:
            A result for each video, as they are done; with one worker or none, in the order of ``sources``.

        Raises:
            TypeError: ``sources`` is one video.
            ValueError: An argument is out of range, or a video cannot be used.
            RuntimeError: A decoding process died.
        """
        if isinstance(sources, str | bytes | os.PathLike):
            raise TypeError(f"sources is one video, {sources!r}: give a list, or call the extractor itself")
        if num_workers < 0:
            raise ValueError(f"num_workers={num_workers} is out of range: give 0 or more")
        if on_error not in ("raise", "yield"):
            raise ValueError(f"on_error={on_error!r} is not known: use 'raise' or 'yield'")
        listed = list(sources)
        begun: dict[int, list[Features]] = {}
        for number, part, is_last in self._parts(listed, num_workers=min(num_workers, len(listed)), fps=None):
            if isinstance(part, Failure):
                begun.pop(number, None)
                if on_error == "raise":
                    raise part.error or ValueError(f"{part.source}: {part.reason}")
                yield part
                continue
            begun.setdefault(number, []).append(part)
            if is_last:
                yield joined(begun.pop(number))

    def _parts(
        self, sources: Sequence[Any], *, num_workers: int, fps: float | None
    ) -> Iterator[tuple[int, Features | Failure, bool]]:
        """Features batch by batch, those of a video in order, with the video's number and whether they are its last."""
        videos = WindowedVideos(sources, self.settings, self._transform, fps)
        rows: list[_Row] = []
        for chunk in decode_ahead(videos, num_workers=num_workers):
            rows += _rows(chunk)
            # What has no rows of its own comes after what came before it.
            must_flush = not chunk.windows
            while len(rows) >= self.batch_size or (must_flush and rows):
                yield from self._run(rows[: self.batch_size], sources)
                del rows[: self.batch_size]
            name = name_of(sources[chunk.source])
            if chunk.failure is not None:
                yield chunk.source, Failure(source=name, reason=chunk.failure, error=chunk.error), True
            elif not chunk.windows:
                yield chunk.source, self._nothing(name), True
        if rows:
            yield from self._run(rows, sources)

    def _run(self, rows: Sequence[_Row], sources: Sequence[Any]) -> Iterator[tuple[int, Features, bool]]:
        """Features of up to a batch of windows, of one video after the other."""
        values = self._values(torch.stack([row.clip for row in rows]))
        start = 0
        for number, group in itertools.groupby(rows, key=lambda row: row.source):
            own = list(group)
            stop = start + len(own)
            features = Features(
                source=name_of(sources[number]),
                spans=torch.tensor([(row.window.start, row.window.end) for row in own], dtype=torch.float64),
                frames=torch.tensor([row.window.frames for row in own]),
                values={level: rows_of[start:stop] for level, rows_of in values.items()},
            )
            yield number, features, own[-1].is_last
            start = stop

    # Not in inference mode, whose tensors nobody may train on.
    @torch.no_grad()
    def _values(self, clips: Tensor) -> dict[Level, Tensor]:
        """Levels of uint8 clips [B, T, 3, h, w], on the CPU."""
        like = self.model.pos_embed
        if like.device.type == "cuda":
            clips = clips.pin_memory()
        video = self._transform.normalize(clips.to(like.device, non_blocking=True)).to(like.dtype)
        found = self._compute(self.model, video, self.levels)
        return {level: values.float().cpu() for level, values in found.items()}

    def _nothing(self, source: str) -> Features:
        """Features of a video without windows."""
        return Features(
            source=source,
            spans=torch.empty(0, 2, dtype=torch.float64),
            frames=torch.empty(0, self.settings.num_frames, dtype=torch.int64),
            values={
                level: torch.empty(0, *row_shape(level, self.model, self.settings.num_frames)) for level in self.levels
            },
        )


@dataclass(frozen=True)
class _Row:
    """A window that waits for the model."""

    source: int
    window: Window
    clip: Tensor
    is_last: bool


def _rows(chunk: Chunk) -> list[_Row]:
    count = len(chunk.windows)
    return [
        _Row(chunk.source, window, clip, chunk.is_last and place == count - 1)
        for place, (window, clip) in enumerate(zip(chunk.windows, chunk.clips, strict=True))
    ]


def _create(
    name: str,
    levels: Sequence[Level],
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    arguments: dict[str, Any],
) -> tuple[ILAVisionTransformer, torch.device, torch.dtype]:
    """A model of a name for inference, with the device and the dtype that it is to have."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    where = torch.device(device or accelerator or "cpu")
    if not {"logits", "pre_head"} & set(levels) and arguments.get("class_names") is None:
        # Without a head, class names and their features need not be had, nor the last block's patch tokens computed.
        arguments = {"num_classes": 0, **arguments}
    options = {"pretrained": arguments.get("checkpoint_path") is None, "fused": True, **arguments}
    return create_model(name, **options), where, dtype or (torch.bfloat16 if where.type == "cuda" else torch.float32)
