"""Processes that do tasks: what comes of them, and what happens when one dies, hangs, or loses its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from ila_models.data.pool import AHEAD, Event, Finished, Item, Lost, Note, WorkerPool


def do(task: str) -> Iterator[Any]:
    """What tasks of tests say: a word and a number."""
    word, _, number = task.partition(" ")
    for count in range(int(number or "1")):
        yield torch.full((3,), count)
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "leave":
        os._exit(3)
    if word == "hang":
        time.sleep(1000)
    if word == "raise":
        raise KeyError("a bug")


def note(task: str) -> Iterator[int]:
    """Writes down how far it has come."""
    for count in range(40):
        Path(task).write_text(str(count))
        yield count


def pool(work: Callable[[str], Iterator[Any]] = do, *, workers: int = 1, patience: float = 60) -> WorkerPool[str, Any]:
    return WorkerPool(work, num_workers=workers, patience=patience, preload="ila_models.data.pool")


def run(workers: WorkerPool[str, Any], *tasks: str) -> list[Event[str, Any]]:
    waiting = deque(tasks)
    return list(workers.run(lambda: waiting.popleft() if waiting else None))


def test_all_that_comes_of_tasks_comes_in_order() -> None:
    tasks = [f"task{letter} 7" for letter in "abcdefgh"]
    with pool(workers=3) as workers:
        events = run(workers, *tasks)
        again = run(workers, "more 2")
    for task in tasks:
        own = [event for event in events if event.task == task]
        assert [int(event.value[0]) for event in own if isinstance(event, Item)] == list(range(7))
        assert isinstance(own[-1], Finished)
    assert len(events) == 8 * 8
    assert [type(event) for event in again] == [Item, Item, Finished]


@pytest.mark.parametrize(("word", "reason"), [("die", "signal SIGKILL"), ("leave", "exit code 3")])
def test_a_process_that_ends_takes_its_task_with_it_and_no_other(word: str, reason: str) -> None:
    with pool() as workers:
        events = run(workers, "one 2", f"{word} 1", "two 2", "three 2")
    assert [event for event in events if isinstance(event, Lost)] == [Lost(f"{word} 1", reason)]
    done = [event.task for event in events if isinstance(event, Finished)]
    assert sorted(done) == ["one 2", "three 2", "two 2"]


@pytest.mark.parametrize("word", ["die", "leave"])
def test_tasks_behind_one_that_ends_its_process_are_done_by_another(word: str) -> None:
    with WorkerPool(do, num_workers=1, patience=60, preload="ila_models.data.pool", tasks_each=3) as workers:
        events = run(workers, "one 2", f"{word} 1", "two 2", "three 2", "four 2")
    assert [event.task for event in events if isinstance(event, Lost)] == [f"{word} 1"]
    done = [event.task for event in events if isinstance(event, Finished)]
    assert sorted(done) == ["four 2", "one 2", "three 2", "two 2"]


def test_a_process_with_two_tasks_goes_on_while_nobody_asks(tmp_path: Path) -> None:
    tasks = deque(str(tmp_path / name) for name in ("one", "two", "three"))
    with WorkerPool(touch, num_workers=1, patience=60, preload="ila_models.data.pool", tasks_each=2) as workers:
        events = workers.run(lambda: tasks.popleft() if tasks else None)
        next(events)
        until = time.monotonic() + 30
        while not (tmp_path / "two").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
        assert sum(isinstance(event, Finished) for event in events) == 3


def touch(task: str) -> Iterator[int]:
    Path(task).touch()
    yield 0


def test_a_process_that_gives_nothing_any_more_is_ended() -> None:
    with pool(patience=1.5) as workers:
        events = run(workers, "hang 2", "one 1")
    (lost,) = [event for event in events if isinstance(event, Lost)]
    assert lost == Lost("hang 2", "nothing came of it for 1.5 seconds")
    assert isinstance(events[-1], Finished)


def test_a_process_that_hangs_is_noticed_while_others_are_busy() -> None:
    left_to_do = 0
    tasks = deque(["hang 1", *("busy 40" for _ in range(200))])
    with pool(busy, workers=2, patience=1.5) as workers:
        for event in workers.run(lambda: tasks.popleft() if tasks else None):
            if isinstance(event, Lost):
                left_to_do = len(tasks)
                tasks.clear()
    assert left_to_do > 100


def busy(task: str) -> Iterator[int]:
    """Says something again and again, or nothing any more."""
    if task.startswith("hang"):
        time.sleep(1000)
    for count in range(int(task.split()[1])):
        time.sleep(0.01)
        yield count


def test_a_large_task_is_taken_by_a_process_that_hangs() -> None:
    with pool(patience=1.5) as workers:
        events = run(workers, "hang 1", f"large{'e' * 5_000_000} 1")
    assert [type(event) for event in events] == [Item, Lost, Item, Finished]


def crash_behind(task: str) -> Iterator[Any]:
    """Some items, and one note each; then the process ends."""
    for count in range(4):
        yield Note(count)
        yield torch.full((1000,), count)
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_stands_behind_an_item_that_is_lost_does_not_count() -> None:
    with pool(crash_behind) as workers:
        tasks = deque(["die", "live"])
        seen: dict[str, list[Any]] = {"die": [], "live": []}
        ends = []
        for event in workers.run(lambda: tasks.popleft() if tasks else None):
            time.sleep(0.3)  # a slow reader: the process is gone before its items are read
            if isinstance(event, Item):
                seen[event.task].append(event.value if isinstance(event.value, int) else float(event.value[0]))
            else:
                ends.append((event.task, type(event)))
    assert ends == [("die", Lost), ("live", Finished)]
    assert [value for value in seen["die"] if isinstance(value, int)] == [0, 1, 2, 3]  # the notes come
    items = [value for value in seen["die"] if isinstance(value, float)]
    assert items == [0.0, 1.0, 2.0, 3.0][: len(items)]  # without a gap
    assert seen["live"] == [0, 0.0, 1, 1.0, 2, 2.0, 3, 3.0]


def test_a_bug_in_a_task_ends_the_run_and_is_shown() -> None:
    with pool() as workers, pytest.raises(RuntimeError, match=r"(?s)Traceback.*KeyError: 'a bug'"):
        run(workers, "raise 1")


def test_a_process_waits_for_what_it_has_made_to_be_used(tmp_path: Path) -> None:
    made = tmp_path / "made"
    waiting = deque([str(made)])
    with pool(note) as workers:
        events = workers.run(lambda: waiting.popleft() if waiting else None)
        for used in range(1, 4):
            next(events)
            time.sleep(0.5)
            assert int(made.read_text()) <= used + AHEAD
        assert int(made.read_text()) >= AHEAD - 1  # it does work ahead
        assert len(list(events)) == 40 - 3 + 1


def test_nobody_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import os, signal, sys, psutil
sys.path.insert(0, sys.argv[1])
from test_pool import pool

if __name__ == "__main__":
    with pool(workers=2) as workers:
        tasks = iter(["one 100", "hang 1"])
        events = workers.run(lambda: next(tasks, None))
        for _ in range(3):
            next(events)
        print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    done = subprocess.run(
        [sys.executable, str(program), str(Path(__file__).parent)], capture_output=True, text=True, timeout=120
    )
    children = [int(pid) for pid in done.stdout.split()]
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(children) >= 3
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(map(psutil.pid_exists, children)):
        time.sleep(0.1)
    left = [pid for pid in children if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert left == []
