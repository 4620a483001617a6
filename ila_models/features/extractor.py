"""Features of videos: one call for a video, an iterator for many."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from ..data.decoders import Decoder, check_decoder
from ..data.transforms import create_transform
from ..video_model import VideoModel
from .ahead import WindowedVideos, decode_ahead
from .batches import Batches, ClipModel, Part
from .creation import create_for_levels, default_device, default_dtype
from .decoding import Restarted
from .levels import check_levels, check_model
from .result import Failure, Features, joined, name_of
from .windows import Padding, Unit, WindowSettings


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
        transform: How frames are resized, cropped and normalised.
        decoder: What decodes videos.
        clip_model: The model with its batch size.
    """

    def __init__(
        self,
        model: VideoModel | str,
        *,
        levels: str | Sequence[str] = "clip",
        window: float | None = None,
        stride: float | None = None,
        unit: Unit = "seconds",
        padding: Padding = "shorten",
        num_frames: int | None = None,
        batch_size: int | Literal["auto"] = 8,
        decoder: Decoder = "pyav",
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
            batch_size: Windows that go through the model at once, of one video or of several; "auto" tries how many fit
                the GPU's memory. Where they turn out to be too many, half as many go on.
            decoder: What decodes videos: "pyav", "torchcodec", or "torchcodec:cuda"; see
                :func:`~ila_models.data.decoders.open_video`.
            device: Where the model runs; None leaves a model where it is, and puts a named one on a GPU if there is
                one.
            dtype: Of the model; None leaves a model's, and a named one has bfloat16 on a GPU and float32 elsewhere.
            compile: Run the model through ``torch.compile``, for any number of windows.
            arguments: Of :func:`~ila_models.create_model`, with a name only: ``checkpoint_path``, ``class_names``, ...

        Raises:
            ValueError: An argument is out of range.
            TypeError: ``arguments`` go with a name only.
            RuntimeError: The decoder does not work on this machine.
        """
        if batch_size != "auto" and batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is out of range: give at least 1, or 'auto'")
        # All that can be wrong without a model, before one is fetched.
        self.decoder = check_decoder(decoder)
        self.levels = check_levels(levels)
        settings = WindowSettings(
            num_frames=2 if num_frames is None else num_frames,
            window=window,
            stride=stride,
            unit=unit,
            padding=padding,
        )
        if isinstance(model, str):
            device = torch.device(device) if device is not None else default_device()
            dtype = default_dtype(device) if dtype is None else dtype
            model = create_for_levels(model, self.levels, **{"fused": True, **arguments})
        elif arguments:
            raise TypeError(f"{', '.join(arguments)} make a model of a name; this one is made already")
        check_model(self.levels, model)
        self.model = model.eval().to(device=device, dtype=dtype)
        self.settings = replace(settings, num_frames=model.num_frames) if num_frames is None else settings
        self.transform = create_transform(self.model)
        self.clip_model = ClipModel(
            self.model,
            self.levels,
            self.transform,
            num_frames=self.settings.num_frames,
            batch_size=batch_size,
            compile=compile,
        )

    @property
    def batch_size(self) -> int:
        """Windows that go through the model at once; less than was asked for where they did not fit."""
        return self.clip_model.batch_size

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
        for part in self._parts([source], num_workers=0, fps=fps):
            assert isinstance(part, Part), "a thread does not end by itself"
            if isinstance(part.result, Failure):
                assert part.result.error is not None, "an error of this process is at hand"
                raise part.result.error
            yield part.result

    def iter(
        self, sources: Iterable[Any], *, num_workers: int = 0, on_error: Literal["raise", "yield"] = "raise"
    ) -> Iterator[Features | Failure]:
        """Takes features of many videos, decoded by processes while the model is busy.

        Args:
            sources: Paths or addresses.
            num_workers: Processes that decode, each a video of its own; 0 decodes in a thread of this one. A script
                that asks for processes must do its work under ``if __name__ == "__main__":``: they import it.
            on_error: What to do with a video that cannot be used: "raise" its error, or "yield" a
                :class:`~ila_models.features.result.Failure` in its place and go on. A video that ends its decoding
                process twice, or keeps it busy for half an hour and gives nothing, is one.

        Yields:
            A result for each video, as they are done; with one worker or none, in the order of ``sources``.

        Raises:
            TypeError: ``sources`` is one video.
            ValueError: An argument is out of range, or a video cannot be used.
            RuntimeError: No decoding process can be started.
        """
        if isinstance(sources, str | bytes | os.PathLike):
            raise TypeError(f"sources is one video, {sources!r}: give a list, or call the extractor itself")
        if num_workers < 0:
            raise ValueError(f"num_workers={num_workers} is out of range: give 0 or more")
        if on_error not in ("raise", "yield"):
            raise ValueError(f"on_error={on_error!r} is not known: use 'raise' or 'yield'")
        listed = list(sources)
        begun: dict[int, list[Features]] = {}
        for part in self._parts(listed, num_workers=min(num_workers, len(listed)), fps=None):
            if isinstance(part, Restarted):
                begun.pop(part.source, None)
            elif isinstance(part.result, Failure):
                begun.pop(part.source, None)
                if on_error == "raise":
                    raise part.result.error or ValueError(f"{part.result.source}: {part.result.reason}")
                yield part.result
            else:
                begun.setdefault(part.source, []).append(part.result)
                if part.is_last:
                    yield joined(begun.pop(part.source))

    def _parts(self, sources: Sequence[Any], *, num_workers: int, fps: float | None) -> Iterator[Part | Restarted]:
        """Features batch by batch, those of a video in order."""
        videos = WindowedVideos(sources, self.settings, self.transform, fps, self.decoder)
        batches = Batches(self.clip_model, lambda number: name_of(sources[number]))
        for chunk in decode_ahead(videos, num_workers=num_workers):
            if isinstance(chunk, Restarted):
                batches.drop(chunk.source)
                yield chunk
            else:
                yield from batches.add(chunk)
        yield from batches.flush()
