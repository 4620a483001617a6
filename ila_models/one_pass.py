"""One pass at a time through a model whose layers keep something until its end."""

from __future__ import annotations

import contextlib
import threading
from contextlib import AbstractContextManager

import torch


class OnePass:
    """A lock of a model's own: a copy has another, and a pickle takes none along."""

    def __init__(self) -> None:
        """Nobody has it."""
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[type[OnePass], tuple[()]]:
        """Copied and pickled as a fresh one."""
        return OnePass, ()

    def held(self) -> AbstractContextManager[object]:
        """Waits until no other thread has it. A compiled pass keeps nothing in its layers, and does not wait."""
        return contextlib.nullcontext() if torch.compiler.is_compiling() else self._lock
