"""Labels as people write them, names or numbers, and all that is wrong with them told at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

PROBLEMS_SHOWN = 10


class AnnotationError(ValueError):
    """Annotations that cannot be used; the message names the file, the lines, and what is wrong with each."""


@dataclass(frozen=True)
class Entry:
    """One video as it is annotated; ``place`` is where that stands, for messages."""

    place: str
    path: str
    label: str


def numbers_by_name(wanted: Iterable[str], names: Sequence[str]) -> dict[str, int]:
    """Which of ``names`` the wanted ones are; those that are none are left out.

    A name that is none to the letter may be one but for capitals, underscores and blanks (``arm_wrestling``), as the
    names of folders are, where this tells names apart.
    """
    exact = {name: number for number, name in enumerate(names)}
    folded = {_folded(name): number for number, name in enumerate(names)}
    loose = folded if len(folded) == len(exact) else {}
    found = {name: exact.get(name, loose.get(_folded(name))) for name in wanted}
    return {name: number for name, number in found.items() if number is not None}


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


class Problems:
    """What is wrong with a file, collected to be told at once."""

    def __init__(self, file: Path) -> None:
        """Begins with none; ``file`` is named before all of them."""
        self.file = file
        self._found: list[str] = []
        self._count = 0

    @property
    def are_told(self) -> bool:
        """Whether more would only be counted."""
        return self._count >= PROBLEMS_SHOWN

    def add(self, place: str, problem: str) -> None:
        """Notes a problem; only the first few are kept."""
        self._count += 1
        if self._count <= PROBLEMS_SHOWN:
            self._found.append(f"{place}: {problem}")

    def raise_any(self) -> None:
        """Tells the problems, if there are any.

        Raises:
            AnnotationError: There are.
        """
        if not self._found:
            return
        if self._count == 1:
            raise AnnotationError(f"{self.file}, {self._found[0]}")
        more = [f"and {self._count - PROBLEMS_SHOWN:,} more"] if self._count > PROBLEMS_SHOWN else []
        raise AnnotationError("\n  ".join([f"{self.file}: {self._count:,} problems:", *self._found, *more]))


def labels_are_numbers(entries: list[Entry], names: tuple[str, ...] | None, problems: Problems) -> bool:
    """Whether labels that may be either are numbers, rather than names.

    Raises:
        AnnotationError: Some are numbers, and others names.
    """
    labels = {entry.label: entry for entry in reversed(entries)}
    if names is not None and set(labels) <= set(names):
        return False
    number = next((entry for label, entry in labels.items() if is_number(label)), None)
    name = next((entry for label, entry in labels.items() if not is_number(label)), None)
    if number is not None and name is not None and names is None:
        problems.add(
            number.place,
            f"label {number.label} is a number, and {name.label!r} in {name.place} a name: write one kind throughout,"
            " or give a file of class names in which all of them stand",
        )
        problems.raise_any()
    return name is None


def numbers_of(
    entries: Sequence[Entry], names: tuple[str, ...] | None, problems: Problems, *, are_numbers: bool
) -> tuple[tuple[int, ...], tuple[str, ...] | None]:
    """The label of every entry as a number from 0, and the names of the classes where they are known.

    Args:
        entries: At least one.
        names: Names by number; None takes the entries' own names in their order, if their labels are names.
        problems: Where what is wrong is added to.
        are_numbers: Whether labels are numbers.

    Raises:
        AnnotationError: There are problems, or fewer than two classes.
    """
    if are_numbers:
        labels = _numbered(entries, names, problems)
    else:
        names = names or tuple(sorted({entry.label for entry in entries}))
        labels = _named(entries, names, problems)
    problems.raise_any()
    if len(set(labels)) < 2:
        raise AnnotationError(
            f"{problems.file}: all {len(labels)} videos are of one class, {entries[0].label!r}: a data set needs at"
            " least two"
        )
    return tuple(labels), names


def _numbered(entries: Iterable[Entry], names: tuple[str, ...] | None, problems: Problems) -> list[int]:
    labels = []
    for entry in entries:
        if not is_number(entry.label):
            problems.add(entry.place, f"label {entry.label!r} is not a number")
            continue
        label = int(entry.label)
        labels.append(label)
        if label < 0:
            problems.add(entry.place, f"label {label} is out of range: labels start at 0")
        elif names is not None and label >= len(names):
            problems.add(
                entry.place, f"label {label} is out of range: {len(names)} class names are given, 0 to {len(names) - 1}"
            )
    return labels


def _named(entries: Iterable[Entry], names: tuple[str, ...], problems: Problems) -> list[int]:
    numbers = numbers_by_name({entry.label for entry in entries}, names)
    for entry in entries:
        if entry.label not in numbers:
            near = get_close_matches(entry.label, names, n=1) if not problems.are_told else []
            hint = f": did you mean {near[0]!r}?" if near else f", which has {len(names)}"
            problems.add(entry.place, f"{entry.label!r} is not among the class names{hint}")
    return [numbers.get(entry.label, -1) for entry in entries]


def is_number(text: str) -> bool:
    """Whether a label is written as a whole number."""
    return re.fullmatch(r"-?[0-9]{1,9}", text) is not None
