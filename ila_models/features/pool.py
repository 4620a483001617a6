"""Processes that work ahead, one task after another; one that dies or hangs takes no more than its task with it.

A decoder is native code that reads what strangers wrote: a file can crash it, or keep it busy for ever. torch's
DataLoader ends the whole run then, and does not say by which file.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, TypeVar

import torch
import torch.multiprocessing  # has tensors sent through shared memory

from ..data.workers import worker_context

_Task = TypeVar("_Task")
_Item = TypeVar("_Item")

ITEMS_AHEAD = 4
"""Items that wait to be used at most, for every process."""
_TASKS_AT_ONCE = 2  # the one under way, and one more, so that no process waits for an answer between two
_SECONDS_TO_LOOK_AGAIN = 1.0
_SECONDS_TO_DIE = 5.0  # until the system says of a dead process how it died


@dataclass(frozen=True)
class Item(Generic[_Task, _Item]):
    """Something that came of a task."""

    task: _Task
    value: _Item


@dataclass(frozen=True)
class Finished(Generic[_Task]):
    """No more comes of a task."""

    task: _Task


@dataclass(frozen=True)
class Lost(Generic[_Task]):
    """The process that was at work on a task is gone, and what came of it is not all; ``reason`` says how it went."""

    task: _Task
    reason: str


Event = Item[_Task, _Item] | Finished[_Task] | Lost[_Task]


class WorkerPool(Generic[_Task, _Item]):
    """Processes that do tasks. A context manager; they end with it, and with the process that started them.

    Attributes:
        patience: Seconds in which nothing comes of a task after which its process is ended.
    """

    def __init__(
        self, work: Callable[[_Task], Iterator[_Item]], *, num_workers: int, patience: float, preload: str
    ) -> None:
        """Starts the processes.

        Args:
            work: Does a task. It is pickled, as are tasks and items; what it raises ends the run.
            num_workers: How many processes, at least 1.
            patience: See above.
            preload: Module that ``work`` needs, imported once for all processes.
        """
        self.patience = patience
        self._work = work
        self._context: Any = worker_context(num_workers, preload=preload)
        self._workers: list[_Worker[_Task]] = []
        try:
            for _ in range(num_workers):
                self._workers.append(_Worker(self._context, work))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> WorkerPool[_Task, _Item]:
        """Returns itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the processes."""
        self.close()

    def close(self) -> None:
        """Ends the processes, whatever they are at."""
        for worker in self._workers:
            worker.kill("the run is over")
            worker.end()

    def run(self, next_task: Callable[[], _Task | None]) -> Iterator[Event[_Task, _Item]]:
        """Does tasks until there are no more.

        Args:
            next_task: Gives one whenever a process could take it, or None while there is none; it is asked again after
                every event. Once it gives None and all tasks are done, the run is over.

        Yields:
            What happens. The items of a task come in order, those of several tasks mixed.

        Raises:
            RuntimeError: A task raised an error, which its text tells; or no process can be started.
        """
        refused: deque[_Task] = deque()  # tasks that a process that died had not begun
        while True:
            for tasks_before in range(_TASKS_AT_ONCE):
                for worker in self._workers:
                    if len(worker.tasks) <= tasks_before:
                        task = refused.popleft() if refused else next_task()
                        if task is None:
                            break
                        worker.give(task)
            if not any(worker.tasks for worker in self._workers):
                return
            for number, worker in self._with_news():
                try:
                    event = worker.receive()
                except EOFError:
                    tasks = list(worker.tasks)
                    refused.extendleft(reversed(tasks[1:]))
                    reason = worker.end()
                    if not worker.has_begun:
                        raise RuntimeError(
                            f"a decoding process ended as it started ({reason}): a script that starts processes must"
                            " do its work under `if __name__ == '__main__':`"
                        ) from None
                    self._workers[number] = _Worker(self._context, self._work)
                    if tasks:
                        yield Lost(tasks[0], reason)
                    continue
                if event is not None:
                    yield event

    def _with_news(self) -> list[tuple[int, _Worker[_Task]]]:
        """Processes that have sent something, or are gone; waits for one."""
        while True:
            by_pipe = {worker.pipe: (number, worker) for number, worker in enumerate(self._workers)}
            ready = multiprocessing.connection.wait(list(by_pipe), timeout=_SECONDS_TO_LOOK_AGAIN)
            if ready:
                return [by_pipe[pipe] for pipe in ready]
            for worker in self._workers:
                if worker.tasks and time.monotonic() - worker.last_sign > self.patience:
                    worker.kill(f"nothing came of it for {self.patience:g} seconds")


@dataclass(eq=False)
class _Worker(Generic[_Task]):
    """A process, seen from the one that started it."""

    context: Any
    work: Callable[[_Task], Iterator[Any]]
    tasks: deque[_Task] = field(default_factory=deque)
    last_sign: float = 0.0
    has_begun: bool = False
    killed_because: str | None = None

    def __post_init__(self) -> None:
        """Starts it."""
        self.pipe, far_end = self.context.Pipe()
        self.process = self.context.Process(
            target=_serve, args=(far_end, self.work), name="ila_models decoder", daemon=True
        )
        self.process.start()
        far_end.close()
        self.last_sign = time.monotonic()

    def give(self, task: _Task) -> None:
        """Sends a task."""
        if not self.tasks:
            self.last_sign = time.monotonic()
        self.tasks.append(task)
        with suppress(OSError):  # it is gone, which reading tells as well
            self.pipe.send(task)

    def receive(self) -> Event[_Task, Any] | None:
        """What it has sent; None for what is of no use.

        Raises:
            EOFError: It is gone.
            RuntimeError: A task raised an error.
        """
        try:
            content = self.pipe.recv_bytes()
        except OSError as error:
            raise EOFError from error
        self.last_sign = time.monotonic()
        try:
            kind, value = ForkingPickler.loads(content)
        except Exception as error:  # the memory of an item is gone with its process; what it said later still counts
            self.process.join(timeout=_SECONDS_TO_DIE)
            self.kill(f"an item of it could not be read ({error})")
            return None
        if kind == "ready":
            self.has_begun = True
            return None
        if kind == "raised":
            raise RuntimeError(value)
        if kind == "finished":
            return Finished(self.tasks.popleft())
        with suppress(OSError):
            self.pipe.send(_Used())
        return Item(self.tasks[0], value)

    def kill(self, why: str) -> None:
        """Ends it because of what it does, or does not do; one that is dead already keeps its own reason."""
        if self.process.is_alive():
            self.killed_because = why
            self.process.kill()

    def end(self) -> str:
        """Ends it, and says how it ended."""
        self.pipe.close()
        self.process.join(timeout=_SECONDS_TO_DIE)  # one that died by itself has a reason of its own
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return self.killed_because or how


@dataclass(frozen=True)
class _Used:
    """Tells a process that one of its items no longer waits."""


def _serve(pipe: Connection, work: Callable[[Any], Iterator[Any]]) -> None:
    """What a process does, until nobody is at the other end of its pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    torch.set_num_threads(1)
    tasks: deque[Any] = deque()
    waiting = 0

    def hear() -> None:
        nonlocal waiting
        said = pipe.recv()
        if isinstance(said, _Used):
            waiting -= 1
        else:
            tasks.append(said)

    with _until_nobody_listens():
        pipe.send(("ready", None))
        while True:
            while not tasks:
                hear()
            try:
                for item in work(tasks.popleft()):
                    while waiting >= ITEMS_AHEAD:
                        hear()
                    waiting += 1
                    pipe.send(("item", item))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise
            except Exception:  # whatever it is, the other end has to know
                pipe.send(("raised", traceback.format_exc()))
                continue
            pipe.send(("finished", None))


@contextmanager
def _until_nobody_listens() -> Iterator[None]:
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        yield
