"""One process or several that evaluate together: started by ``torchrun``, ``accelerate launch``, or by hand."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

# Processes wait for the slowest, and a long video on a slow disk is no reason to give up.
_PATIENCE = timedelta(days=7)

_CALLS = itertools.count()

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: This one's number, from 0.
        count: How many there are.
        group: Their group, on the CPU; None for one alone.
    """

    rank: int = 0
    count: int = 1
    group: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prepares, merges and reports."""
        return self.rank == 0

    def wait(self) -> None:
        """Returns when all have come this far."""
        if self.group is not None:
            dist.monitored_barrier(self.group, timeout=_PATIENCE)

    def first(self, action: Callable[[], _Result]) -> _Result:
        """Has the first process do something, and gives its result to all.

        Raises:
            OSError, ValueError, RuntimeError: What the action raised, in every process, so that none is left waiting.
        """
        if self.group is None:
            return action()
        outcome: list[Any] = [None, None]
        if self.is_first:
            try:
                outcome[0] = action()
            except (OSError, ValueError, RuntimeError) as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome, src=dist.get_global_rank(self.group, 0), group=self.group)
        if outcome[1] is not None:
            self.wait()  # the first to leave takes the group with it, and the others are still listening
            raise outcome[1]
        return outcome[0]


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Joins the processes that the environment (``RANK``, ``WORLD_SIZE``) or torch.distributed knows of.

    Only the CPU talks, and only a few words are exchanged: gloo serves, whatever the devices are.
    """
    has_started = dist.is_available() and dist.is_initialized()
    if not has_started and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    group: Any
    if has_started:
        group = dist.new_group(backend="gloo", timeout=_PATIENCE)
    else:
        store, rank, count = _meeting()
        # Under a prefix of its own, since what the processes of an earlier call told each other is still there.
        store = dist.PrefixStore(f"ila_models.evaluation.{next(_CALLS)}", store)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=_PATIENCE)
        group = dist.group.WORLD
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), group)
    finally:
        dist.destroy_process_group(group)


@functools.cache
def _meeting() -> tuple[dist.Store, int, int]:
    """Where the processes meet by their launcher's word, this one's number, and their count."""
    from torch.distributed.rendezvous import rendezvous

    return next(iter(rendezvous("env://", timeout=_PATIENCE)))
