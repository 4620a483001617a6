"""A progress bar with the accuracy so far."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from .predictions import VideoPrediction


class Progress:
    """Counts videos as they are done, and shows the count on stderr. A context manager."""

    def __init__(self, total: int, *, is_shown: bool) -> None:
        """Starts at none of ``total`` videos."""
        from tqdm import tqdm

        self._decoded = self._right = self._broken = 0
        # Where stderr is a log file, one line in ten seconds is enough.
        self._bar: Any = tqdm(total=total, unit="video", disable=not is_shown, mininterval=0.5, maxinterval=10)

    def __enter__(self) -> Progress:
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()

    def count(self, *predictions: VideoPrediction) -> None:
        """Counts videos as done."""
        for each in predictions:
            if each.error is not None:
                self._broken += 1
                continue
            self._decoded += 1
            self._right += each.label == each.top_classes[0]
        said = f"top-1 {100 * self._right / self._decoded:.1f}%" if self._decoded else ""
        broken = f"{self._broken} broken" if self._broken else ""
        self._bar.set_postfix_str(", ".join(filter(None, (said, broken))), refresh=False)
        self._bar.update(len(predictions))
