"""Things made in processes, in order, whatever happens to the processes."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from ila_models.data.in_order import GivenUp, made_in_order


def square(number: int) -> int:
    time.sleep(random.Random(number).random() / 200)
    return number * number


def deadly(number: int) -> int:
    if number % 10 == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


class Once:
    """Dies over every number the first time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, number: int) -> int:
        try:
            (self.folder / str(number)).touch(exist_ok=False)
        except FileExistsError:
            return square(number)
        os._exit(3)


class Early:
    """Notes what is begun; the first one takes long."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, number: int) -> int:
        (self.folder / str(number)).touch()
        time.sleep(1 if number == 0 else 0)
        return len(list(self.folder.iterdir()))


def made(make: object, numbers: range, *, workers: int, at_once: int = 3) -> list[tuple[int, int | GivenUp]]:
    found = made_in_order(make, numbers, num_workers=workers, at_once=at_once, preload="ila_models.data.in_order")  # type: ignore[arg-type]
    return list(found)


@pytest.mark.parametrize("workers", [0, 1, 3, 40])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_all_come_in_order(workers: int, count: int) -> None:
    numbers = range(100, 100 + 2 * count, 2)
    assert made(square, numbers, workers=workers) == [(number, number * number) for number in numbers]


@pytest.mark.parametrize(("workers", "at_once"), [(1, 1), (1, 4), (3, 1), (3, 4)])
def test_what_ends_its_process_is_given_up_and_nothing_else(workers: int, at_once: int) -> None:
    found = made(deadly, range(30), workers=workers, at_once=at_once)
    assert [number for number, _ in found] == list(range(30))
    given_up = [(number, value) for number, value in found if isinstance(value, GivenUp)]
    assert [number for number, _ in given_up] == [7, 17, 27]
    assert all("2 times (signal SIGKILL)" in value.reason for _, value in given_up)
    assert [value for number, value in found if number % 10 != 7] == [n * n for n in range(30) if n % 10 != 7]


@pytest.mark.parametrize(("workers", "at_once"), [(1, 5), (4, 1), (3, 2)])
def test_what_ends_its_process_once_is_made(workers: int, at_once: int, tmp_path: Path) -> None:
    assert made(Once(tmp_path), range(12), workers=workers, at_once=at_once) == [(n, n * n) for n in range(12)]


def test_what_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ila_models.data.in_order.PATIENCE", 1.0)
    (found,) = made(sleepy, range(1), workers=1)
    assert isinstance(found[1], GivenUp)
    assert "nothing came of it for 1 seconds" in found[1].reason


def sleepy(_: int) -> None:
    time.sleep(600)


def test_no_process_runs_far_ahead_of_a_slow_one(tmp_path: Path) -> None:
    found = made(Early(tmp_path), range(100), workers=2, at_once=2)
    # Of what begins before 2 * at_once * workers = 8, the last task ends at 9.
    assert found[0][1] <= 10
    assert len(found) == 100


def failing(number: int) -> int:
    raise KeyError(number)


def test_a_bug_ends_the_run() -> None:
    with pytest.raises(RuntimeError, match=r"KeyError: 5"):
        made(failing, range(5, 6), workers=1)
