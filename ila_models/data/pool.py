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

from .workers import end_with_parent, worker_context

_Task = TypeVar("_Task")
_Item = TypeVar("_Item")

AHEAD = 16
"""How much waits to be used, where nobody says otherwise."""
PATIENCE = 1800.0
"""Seconds in which no window of a video comes after which its decoder is ended. An hour of avi, which has to be decoded
from its start, takes minutes."""
TRIES = 2
"""How often a video may end the process that decodes it."""
_SECONDS_TO_LOOK_AGAIN = 1.0
_SECONDS_TO_BEGIN = 120.0  # a busy machine takes long to import torch
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


@dataclass(frozen=True)
class Note:
    """An item that says how far a task has come. It comes even if the items before it are lost with their process.

    Attributes:
        value: Anything without tensors.
    """

    value: Any


Event = Item[_Task, _Item] | Finished[_Task] | Lost[_Task]


def loss_reason(how: str, *, times: int = TRIES) -> str:
    """Why a video is given up that has ended its decoders; ``how`` says in what way the last one went."""
    return f"it ended the process that decoded it {times} times ({how}): try it alone, or leave it out"


class WorkerPool(Generic[_Task, _Item]):
    """Processes that do tasks. A context manager; they end with it, and with the process that started them.

    Attributes:
        patience: Seconds in which nothing comes of a task after which its process is ended.
    """

    def __init__(
        self,
        work: Callable[[_Task], Iterator[_Item | Note]],
        *,
        num_workers: int,
        patience: float,
        preload: str,
        weigh: Callable[[_Item], int] | None = None,
        tasks_each: int = 1,
        ahead: int = AHEAD,
    ) -> None:
        """Starts the processes.

        Args:
            work: Does a task. It is pickled, as are tasks and items; what it raises ends the run.
            num_workers: How many processes, at least 1.
            patience: See above.
            preload: Module that ``work`` needs, imported once for all processes.
            weigh: What an item counts towards ``ahead``; None is 1.
            tasks_each: Tasks that a process has at most, so that it need not wait for the next one while nobody asks
                for events. With more than one, they must be small, since they wait in a pipe, and items of a task may
                come twice, where the process that made them first is gone.
            ahead: How much, by weight, waits to be used at most, of every process; an item that weighs more waits
                alone.
        """
        self.patience = patience
        self._tasks_each = tasks_each
        self._work = work
        self._weigh = weigh
        self._ahead = ahead
        self._context: Any = worker_context(num_workers, preload=preload)
        self._workers: list[_Worker[_Task]] = []
        try:
            for _ in range(num_workers):
                self._workers.append(self._start())
        except BaseException:
            self.close()
            raise

    def _start(self) -> _Worker[_Task]:
        return _Worker(self._context, self._work, self._weigh, self._ahead)

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
            next_task: Gives one whenever a process is free, or None while there is none; it is asked again after every
                event. Once it gives None and all tasks are done, the run is over.

        Yields:
            What happens. The items of a task come in order, those of several tasks mixed. Before a task is lost, the
            notes of how far it came have come, but perhaps not all items.

        Raises:
            RuntimeError: A task raised an error, which its text tells; or no process can be started.
        """
        returned: deque[_Task] = deque()
        while True:
            for count in range(self._tasks_each):
                for worker in self._workers:
                    if len(worker.tasks) > count:
                        continue
                    task = returned.popleft() if returned else next_task()
                    if task is not None:
                        worker.give(task)
            if not any(worker.tasks for worker in self._workers):
                return
            for number, worker in self._with_news():
                try:
                    event = worker.receive()
                except EOFError:
                    tasks, reason = list(worker.tasks), worker.end()
                    if not worker.has_begun:
                        raise RuntimeError(
                            f"a decoding process ended as it started ({reason}): a script that starts processes must"
                            " do its work under `if __name__ == '__main__':`, in a file of its own"
                        ) from None
                    self._workers[number] = self._start()
                    returned.extend([*worker.unread, *tasks[1:]])
                    if tasks:
                        yield Lost(tasks[0], reason)
                    continue
                if event is not None:
                    yield event

    def _with_news(self) -> list[tuple[int, _Worker[_Task]]]:
        """Processes that have sent something, or are gone; waits for one."""
        while True:
            for worker in self._workers:
                silence = time.monotonic() - worker.last_sign
                patience = self.patience if worker.has_begun else max(self.patience, _SECONDS_TO_BEGIN)
                if worker.tasks and silence > patience and not worker.has_news():
                    worker.kill(f"nothing came of it for {patience:g} seconds")
            by_pipe = {worker.pipe: (number, worker) for number, worker in enumerate(self._workers)}
            ready = multiprocessing.connection.wait(list(by_pipe), timeout=_SECONDS_TO_LOOK_AGAIN)
            if ready:
                return [by_pipe[pipe] for pipe in ready]


@dataclass(eq=False)
class _Worker(Generic[_Task]):
    """A process, seen from the one that started it."""

    context: Any
    work: Callable[[_Task], Iterator[Any]]
    weigh: Callable[[Any], int] | None
    ahead: int
    tasks: deque[_Task] = field(default_factory=deque)  # the first one is under way
    unread: list[_Task] = field(default_factory=list)  # done, but not all that came of them could be read
    last_sign: float = 0.0
    has_begun: bool = False
    is_damaged: bool = False
    killed_because: str | None = None

    def __post_init__(self) -> None:
        """Starts it."""
        self.pipe, far_end = self.context.Pipe()
        self.process = self.context.Process(
            target=_serve, args=(far_end, self.work, self.weigh, self.ahead), name="ila_models decoder", daemon=True
        )
        self.process.start()
        far_end.close()
        self.last_sign = time.monotonic()

    def give(self, task: _Task) -> None:
        """Sends a task, which has its turn once those before it are done."""
        if not self.tasks:
            self.last_sign = time.monotonic()
        self.tasks.append(task)
        with suppress(OSError):  # it is gone, which reading tells as well
            self.pipe.send(task)

    def has_news(self) -> bool:
        """Whether there is something to read; that it is gone counts."""
        try:
            return bool(self.pipe.poll())
        except OSError:
            return True

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
        except Exception as error:  # the memory of an item is gone with its process
            # From here on nothing is whole, whatever else it has said; only how far it came still counts.
            self.is_damaged = True
            self.process.join(timeout=_SECONDS_TO_DIE)
            self.kill(f"an item of it could not be read ({error})")
            return None
        if kind == "ready":
            self.has_begun = True
            return None
        if kind == "raised":
            raise RuntimeError(_told(value))
        assert self.tasks, "only a process with a task says anything of one"
        task = self.tasks[0]
        if kind == "note":
            return Item(task, value)
        if self.is_damaged:
            if kind == "finished" and len(self.tasks) > 1:
                self.unread.append(self.tasks.popleft())
            return None
        if kind == "finished":
            self.tasks.popleft()
            return Finished(task)
        with suppress(OSError):
            self.pipe.send(_Used())
        return Item(task, value)

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


def _told(text: str) -> str:
    """A worker's error for people, where they can do something about it."""
    if "unable to allocate shared memory" in text or ("No space left on device" in text and "shm" in text):
        return "shared memory (/dev/shm) is full: decode with fewer workers, or give it more (docker run --shm-size=2g)"
    return text


@dataclass(frozen=True)
class _Used:
    """Tells a process that its oldest item no longer waits."""


def _serve(
    pipe: Connection, work: Callable[[Any], Iterator[Any]], weigh: Callable[[Any], int] | None, ahead: int
) -> None:
    """What a process does, until nobody is at the other end of its pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    end_with_parent()
    torch.set_num_threads(1)
    tasks: deque[Any] = deque()
    waiting: deque[int] = deque()

    def hear() -> None:
        said = pipe.recv()
        if isinstance(said, _Used):
            waiting.popleft()
        else:
            tasks.append(said)

    with _until_nobody_listens():
        pipe.send(("ready", None))
        while True:
            while not tasks:
                hear()
            try:
                for item in work(tasks.popleft()):
                    if isinstance(item, Note):
                        pipe.send(("note", item.value))
                        continue
                    weight = 1 if weigh is None else weigh(item)
                    while waiting and sum(waiting) + weight > ahead:
                        hear()
                    waiting.append(weight)
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
