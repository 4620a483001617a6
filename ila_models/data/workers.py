"""How decoding processes are started."""

from __future__ import annotations

import multiprocessing
import os
import threading
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


def end_with_parent(worker: int = 0) -> None:
    """Has this process end when the one that started it is gone: a loader's ``worker_init_fn``.

    torch's own watch is on the worker's parent in the system's sense, which for a fork server is not that process.

    Args:
        worker: Its number, which a loader says and nobody needs.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, name="ila_models watch", daemon=True).start()


def is_worker() -> bool:
    """Whether this process is one of several that share the cores, as a loader's workers are."""
    return multiprocessing.parent_process() is not None
