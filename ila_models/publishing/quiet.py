"""Publishing loads a checkpoint many times, to compare and to verify: nobody wants to read of each."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

_LOADERS = ("ila_models.factory", "ila_models.convert")


@contextlib.contextmanager
def quiet_loads() -> Iterator[None]:
    """Silences what loading and converting say of a file and its progress; warnings are let through."""
    loggers = [logging.getLogger(name) for name in _LOADERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
