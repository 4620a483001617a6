"""From a video to the views that a model sees, in worker processes; a video that cannot be used tells why."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..data.in_order import GivenUp, made_in_order
from ..data.loading import load_clips, load_video
from ..data.transforms import VideoTransform

ViewsMode = Literal["deterministic", "random"]
_VIEWS_AT_ONCE = 8
"""Views with which a process goes on while the model is busy."""


@dataclass(frozen=True)
class Views:
    """Which parts of a video a model sees.

    Attributes:
        clips: Clips along time, at least 1.
        crops: Crops of every clip: 1 or 3.
        mode: "deterministic", as :func:`~ila_models.predict_video` takes them, or "random": frames drawn inside their
            segments as the released code does.
        seed: Of the random draws. A video's draw depends on this and on its path alone.

    Raises:
        ValueError: A field is out of its range.
    """

    clips: int = 1
    crops: Literal[1, 3] = 1
    mode: ViewsMode = "deterministic"
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the fields."""
        if self.clips < 1:
            raise ValueError(f"clips={self.clips} is out of range: give at least 1")
        if self.crops not in (1, 3):
            raise ValueError(f"crops={self.crops} is out of range: give 1 (centre) or 3 (along the long side)")
        if self.mode not in ("deterministic", "random"):
            raise ValueError(f"views_mode={self.mode!r} is not known: use 'deterministic' or 'random'")

    def frames(self, source: Any, *, path: str, num_frames: int) -> Tensor:
        """Decodes the frames of all clips, uint8 [T, 3, H, W] or [clips, T, 3, H, W]."""
        if self.mode == "random":
            digest = hashlib.sha256(f"{self.seed}:{path}".encode("utf-8", "backslashreplace")).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            return load_clips(source, num_frames=num_frames, num_clips=self.clips, generator=generator)
        if self.clips == 1:
            return load_video(source, num_frames=num_frames)
        return load_clips(source, num_frames=num_frames, num_clips=self.clips)


@dataclass(frozen=True)
class FolderSource:
    """Finds the video of a path in a folder."""

    root: Path

    def __call__(self, path: str) -> Path:
        """The file."""
        return self.root / path


class DecodedVideos:
    """The views [V, T, 3, h, w] of every video, float32; for one that cannot be used, the reason as text."""

    def __init__(
        self,
        paths: Sequence[str],
        source: Callable[[str], Any],
        views: Views,
        transform: VideoTransform,
        num_frames: int,
    ) -> None:
        """Keeps what the workers need; nothing is opened."""
        self.paths = paths
        self.views_per_video = views.clips * views.crops
        self._source = source
        self._views = views
        self._transform = transform
        self._num_frames = num_frames

    def __getitem__(self, index: int) -> Tensor | str:
        """Decodes a video."""
        path = self.paths[index]
        try:
            frames = self._views.frames(self._source(path), path=path, num_frames=self._num_frames)
            views = self._transform(frames)
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            # One bad file of many thousands must not end the run; it is reported with this reason.
            return str(error) or type(error).__name__
        return views if views.ndim == 5 else views[None]


def decode(
    videos: DecodedVideos, indices: Sequence[int], *, num_workers: int
) -> Generator[tuple[int, Tensor | str], None, None]:
    """Decodes videos in this order, in ``num_workers`` processes (0: in this one).

    A video that ends its process, or keeps it busy for ever, is tried once more, and then given up with a reason.

    Raises:
        RuntimeError: No process can be started.
    """
    at_once = max(1, _VIEWS_AT_ONCE // videos.views_per_video)
    for index, views in made_in_order(
        videos.__getitem__, indices, num_workers=num_workers, at_once=at_once, preload=__name__
    ):
        yield index, views.reason if isinstance(views, GivenUp) else views
