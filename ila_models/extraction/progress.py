"""A progress bar: videos done and failed, windows a second, the time that is left."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .folder import FeatureFolder

_SECONDS_TO_LOOK_AT_OTHERS = 10.0


@dataclass(frozen=True, kw_only=True)
class Done:
    """Videos that are done: how many, with how many rows, and how many of them failed."""

    videos: int = 0
    rows: int = 0
    failed: int = 0


class Progress:
    """Counts videos as they are done, and shows the count on stderr. A context manager."""

    def __init__(self, folder: FeatureFolder, *, is_shown: bool) -> None:
        """Starts at what is done of a folder; ``is_shown`` is whether there is a bar at all."""
        from tqdm import tqdm

        self._count_finished = folder.count_finished_videos
        self._rows = self._failed = 0
        self._begun = self._looked = time.monotonic()
        # Where stderr is a log file, one line in ten seconds is enough.
        self._bar: Any = tqdm(
            total=folder.plan.num_videos,
            initial=folder.count_finished_videos(),
            unit="video",
            disable=not is_shown,
            mininterval=0.5,
            maxinterval=10,
        )

    def __enter__(self) -> Progress:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leaves the bar as it stands."""
        if not self._bar.disable:
            self._bar.n = self._count_finished()
        self._bar.close()

    def count(self, done: Done) -> None:
        """Counts videos as done; others' are looked up now and then."""
        if self._bar.disable or not done.videos:
            return
        self._rows += done.rows
        self._failed += done.failed
        now = time.monotonic()
        failed = f", {self._failed} failed" if self._failed else ""
        self._bar.set_postfix_str(f"{self._rows / (now - self._begun):.1f} clips/s{failed}", refresh=False)
        self._bar.update(done.videos)
        if now - self._looked > _SECONDS_TO_LOOK_AT_OTHERS:
            self._looked = now
            self._bar.update(self._count_finished() - self._bar.n)
