"""Many numbered things made in processes, such as videos decoded; each comes in its turn, or why it cannot be had."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .pool import PATIENCE, TRIES, Item, Lost, Note, WorkerPool, loss_reason

_Made = TypeVar("_Made")
_TASKS_EACH = 2


@dataclass(frozen=True)
class GivenUp:
    """A thing that ended its process, or kept it busy for ever, as often as it may."""

    reason: str


def made_in_order(
    make: Callable[[int], _Made], numbers: Sequence[int], *, num_workers: int, at_once: int, preload: str
) -> Iterator[tuple[int, _Made | GivenUp]]:
    """Makes things in the order of ``numbers``, each of which stands there once.

    A process may die or hang over one: it is tried once more, and then given up. Nothing else is lost, but what that
    process had made and nobody had read is made again.

    Args:
        make: Makes one; what it raises ends the run. It is pickled, and so is what it makes.
        numbers: Of the things.
        num_workers: Processes; 0 makes them in this one.
        at_once: With how many a process goes on while this one is busy. No more than three times as many of each
            process are held for one that comes before them.
        preload: Module that ``make`` needs.

    Raises:
        RuntimeError: Something was raised in a process, or none can be started.
    """
    if num_workers == 0 or not numbers:
        yield from ((number, make(number)) for number in numbers)
        return
    count = len(numbers)
    # Tasks are places in ``numbers``; of those that wait, the first ones are always taken first.
    waiting = [tuple(range(start, min(start + at_once, count))) for start in range(0, count, at_once)]
    workers = min(num_workers, len(waiting))
    made: dict[int, Any] = {}
    missing, losses = set(range(count)), Counter[int]()
    turns: dict[tuple[int, ...], int] = {}
    wanted = 0

    def next_task() -> tuple[int, ...] | None:
        is_near = waiting and waiting[0][0] < wanted + _TASKS_EACH * at_once * workers
        return heapq.heappop(waiting) if is_near else None

    pool: WorkerPool[tuple[int, ...], Any] = WorkerPool(
        _Several(make, numbers),
        num_workers=workers,
        patience=PATIENCE,
        preload=preload,
        tasks_each=_TASKS_EACH,
        ahead=_TASKS_EACH * at_once,
    )
    with pool:
        for event in pool.run(next_task):
            if isinstance(event, Item) and isinstance(event.value, _Placed):
                if event.value.place in missing:  # it may come twice
                    made[event.value.place] = event.value.value
                    missing.remove(event.value.place)
            elif isinstance(event, Item):
                turns[event.task] = event.value
            elif isinstance(event, Lost) and (left := [place for place in event.task if place in missing]):
                culprit = turns.get(event.task, left[0])
                if culprit not in left:  # between two of them
                    culprit = left[0]
                losses[culprit] += 1
                if losses[culprit] >= TRIES:
                    made[culprit] = GivenUp(loss_reason(event.reason))
                    missing.remove(culprit)
                    left.remove(culprit)
                if left:
                    heapq.heappush(waiting, tuple(left))
            while wanted in made:
                yield numbers[wanted], made.pop(wanted)
                wanted += 1


@dataclass(frozen=True)
class _Placed:
    place: int
    value: Any


@dataclass(frozen=True)
class _Several(Generic[_Made]):
    """Several things as one task: a note says whose turn it is."""

    make: Callable[[int], _Made]
    numbers: Sequence[int]

    def __call__(self, places: tuple[int, ...]) -> Iterator[Any]:
        for place in places:
            yield Note(place)
            yield _Placed(place, self.make(self.numbers[place]))
