"""How decoding processes are started."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext


def worker_context(num_workers: int, *, preload: str | None = None) -> BaseContext | None:
    """Makes worker processes that are no copies of this one; None where there are none.

    A fork of a process that has threads (FFmpeg's, torch's, parquet's) inherits their locks as they stand, and hangs
    where one was taken.

    Args:
        num_workers: How many there will be.
        preload: Module that all of them need, imported once for all.
    """
    if not num_workers:
        return None
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    if preload is not None:
        context.set_forkserver_preload([preload])
    return context
