"""Which videos a data set has, and what they show: annotation files and class folders."""

from __future__ import annotations

import csv
import io
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

VIDEO_SUFFIXES = frozenset(
    (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"),
)
"""Files that are taken out of class folders; a file that an annotation names is always taken."""

PATH_COLUMNS = ("path", "file", "filename", "video", "video_path")
LABEL_COLUMNS = ("label", "class", "class_name", "label_name")

PROBLEMS_SHOWN = 10


class AnnotationError(ValueError):
    """Annotations that cannot be used; the message names the file, the lines, and what is wrong with each."""


@dataclass(frozen=True)
class LabelledVideos:
    """Videos and their classes.

    Attributes:
        root: The folder that the paths start from.
        paths: One a video, with forward slashes.
        labels: Class numbers from 0, one a video.
        class_names: Names by number; None where the annotations hold numbers and nobody named them.
        labels_are_names: The annotations name their classes, so that the numbers are ours and may be renumbered by
            name; False where they hold numbers.
    """

    root: Path
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...] | None = None
    labels_are_names: bool = False

    def __len__(self) -> int:
        """How many videos there are."""
        return len(self.paths)

    @property
    def num_classes(self) -> int:
        """Classes: as many as have names, else one more than the highest label."""
        return len(self.class_names) if self.class_names is not None else max(self.labels, default=-1) + 1

    def spread(self, count: int) -> LabelledVideos:
        """At most ``count`` of the videos, evenly from the first to the last.

        Raises:
            ValueError: ``count`` is below 1.
        """
        if count < 1:
            raise ValueError(f"{count} videos are too few: give at least 1")
        chosen = [number * len(self) // count for number in range(count)] if count < len(self) else range(len(self))
        return replace(
            self,
            paths=tuple(self.paths[index] for index in chosen),
            labels=tuple(self.labels[index] for index in chosen),
        )


@dataclass(frozen=True)
class _Entry:
    """One video as it is annotated; ``place`` is where that stands, for messages."""

    place: str
    path: str
    label: str


def read_annotations(
    data: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    allow_missing: bool = False,
) -> LabelledVideos:
    """Reads which videos there are and what they show. The format is told from the contents.

    Formats:

    - lines ``path label``, as the released code has them: the label is a number, and stands behind the last blank;
    - CSV whose first line names the columns: one of ``path, file, filename, video, video_path`` and one of ``label,
      class, class_name, label_name``, in any order and among others; labels are names or numbers;
    - without a file, class folders: every folder of ``data`` is a class of that name, in order of names, and holds
      videos, subfolders included. Where all folder names are numbers, they are the labels.

    Args:
        data: The folder that the paths start from.
        annotations: The file, UTF-8; None for class folders.
        class_names: Names by number, see :func:`read_class_names`. Where labels are names, they must be among these;
            capitals and underscores do not matter.
        allow_missing: Keep videos whose file is not there.

    Returns:
        The videos, in the order of the file or of the folders.

    Raises:
        FileNotFoundError: There is no such folder or file.
        AnnotationError: Videos are missing or stand twice, labels are out of range or unknown, or there are fewer than
            two classes. The message tells up to ten problems with their lines.
    """
    root = Path(data)
    if not root.is_dir():
        raise FileNotFoundError(f"no such folder of videos: {root}")
    names = None if class_names is None else tuple(class_names)
    problems = _Problems(Path(annotations) if annotations is not None else root)
    if annotations is None:
        entries, are_numbers = _class_folders(root, names, problems)
    else:
        entries, are_numbers = _read_file(Path(annotations), names, problems)
    paths = _checked_paths(entries, root, problems, allow_missing=allow_missing)
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
    return LabelledVideos(root, tuple(paths), tuple(labels), names, labels_are_names=not are_numbers)


def read_class_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads class names: one a line, the first is label 0; or the released code's CSV with the columns ``id,name``.

    Raises:
        FileNotFoundError: There is no such file.
        AnnotationError: It holds no names, or one twice; or ids that are not 0, 1, 2, ... in order.
    """
    path = Path(path)
    text = _read_text(path)
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    lines = [(number, line) for number, line in lines if line]
    problems = _Problems(path)
    if lines and lines[0][1].replace(" ", "").lower() == "id,name":
        lines = list(_rows_by_id(text, problems))
    first: dict[str, int] = {}
    for number, name in lines:
        if name in first:
            problems.add(f"line {number}", f"{name!r} stands in line {first[name]} too")
        first.setdefault(name, number)
    problems.raise_any()
    if not lines:
        raise AnnotationError(f"{path}: no class names: write one a line")
    return tuple(name for _, name in lines)


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


class _Problems:
    """What is wrong with a file, collected to be told at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._found: list[str] = []
        self._count = 0

    @property
    def are_told(self) -> bool:
        """Whether more would only be counted."""
        return self._count >= PROBLEMS_SHOWN

    def add(self, place: str, problem: str) -> None:
        self._count += 1
        if self._count <= PROBLEMS_SHOWN:
            self._found.append(f"{place}: {problem}")

    def raise_any(self) -> None:
        if not self._found:
            return
        if self._count == 1:
            raise AnnotationError(f"{self.file}, {self._found[0]}")
        more = [f"and {self._count - PROBLEMS_SHOWN:,} more"] if self._count > PROBLEMS_SHOWN else []
        raise AnnotationError("\n  ".join([f"{self.file}: {self._count:,} problems:", *self._found, *more]))


def _read_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise AnnotationError(f"{path} is a folder: give a text file") from None
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text (byte {error.start:,}): save it as UTF-8") from error
    if "\0" in text:
        raise AnnotationError(f"{path}: not a text file, it has zero bytes")
    return text


def _read_file(path: Path, names: tuple[str, ...] | None, problems: _Problems) -> tuple[list[_Entry], bool]:
    """The entries of a file, and whether their labels are numbers."""
    text = _read_text(path)
    first = next((line for line in text.split("\n") if line.strip()), None)
    if first is None:
        raise AnnotationError(f"{path}: empty: write a line `path label` for every video, or a CSV with a header")
    header = [field.strip(' "').lower() for field in first.strip().split(",")]
    if len(header) > 1 and (set(header) & {*PATH_COLUMNS, *LABEL_COLUMNS}):
        entries = list(_csv_entries(path, text, header, problems))
        are_numbers = _are_numbers(entries, names, problems)
    else:
        entries, are_numbers = list(_line_entries(text, problems)), True
    if not entries:
        problems.raise_any()
        raise AnnotationError(f"{path}: no video in it, only the header")
    return entries, are_numbers


def _line_entries(text: str, problems: _Problems) -> Iterator[_Entry]:
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.rsplit(maxsplit=1)
        if len(fields) == 2 and _is_number(fields[1]):
            yield _Entry(f"line {number}", fields[0].strip(), fields[1])
        elif fields:
            problems.add(
                f"line {number}",
                f"{line.strip()!r} does not end in a blank and a number: write `path label`, or a CSV whose first line"
                f" is path,label",
            )


def _csv_entries(path: Path, text: str, header: list[str], problems: _Problems) -> Iterator[_Entry]:
    columns = []
    for kind, known in (("path", PATH_COLUMNS), ("label", LABEL_COLUMNS)):
        found = [column for column in header if column in known]
        if len(found) != 1:
            raise AnnotationError(
                f"{path}: its first line names the columns {', '.join(header)}: there must be one {kind} column, called"
                f" {' or '.join(known)}, and there {'is none' if not found else f'are {len(found)}'}"
            )
        columns.append(header.index(found[0]))
    for line, row in _rows_below_header(text, problems):
        place = f"line {line}"
        if len(row) != len(header):
            problems.add(
                place, f"{len(row)} fields, the first line has {len(header)}: put a field with commas in quotes"
            )
            continue
        video, label = (row[column] for column in columns)
        if video and label:
            yield _Entry(place, video, label)
        else:
            problems.add(place, f"the {'label' if video else 'path'} is empty")


def _rows_below_header(text: str, problems: _Problems) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV after its first, with the numbers of their lines; blank rows and blanks round fields go."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    is_header = True
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if any(fields) and not is_header:
                yield reader.line_num, fields
            is_header = is_header and not any(fields)
    except csv.Error as error:
        problems.add(f"line {reader.line_num}", f"not CSV: {error}")


def _rows_by_id(text: str, problems: _Problems) -> Iterator[tuple[int, str]]:
    for expected, (line, row) in enumerate(_rows_below_header(text, problems)):
        if len(row) == 2 and row[0] == str(expected) and row[1]:
            yield line, row[1]
        else:
            problems.add(f"line {line}", f"{','.join(row)!r} is not `{expected},name`")


def _class_folders(root: Path, names: tuple[str, ...] | None, problems: _Problems) -> tuple[list[_Entry], bool]:
    """The entries of class folders, and whether the folders' names are labels."""
    entries = []
    inside = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    folders = [path for path in inside if path.is_dir()]
    if not folders:
        raise AnnotationError(f"{root}: no class folders in it: give an annotation file, or a folder for every class")
    for path in inside:
        if path not in folders and path.suffix.lower() in VIDEO_SUFFIXES:
            problems.add(path.name, "lies beside the class folders, not in one")
    for folder in folders:
        videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
        if not videos:
            problems.add(folder.name, f"no video in this class folder (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
        entries += [_Entry(place := path.relative_to(root).as_posix(), place, folder.name) for path in videos]
    problems.raise_any()
    labels = {entry.label for entry in entries}
    return entries, all(map(_is_number, labels)) and not labels <= set(names or ())


def _are_numbers(entries: list[_Entry], names: tuple[str, ...] | None, problems: _Problems) -> bool:
    """Whether labels of a CSV are numbers."""
    labels = {entry.label: entry for entry in reversed(entries)}
    if names is not None and set(labels) <= set(names):
        return False
    number = next((entry for label, entry in labels.items() if _is_number(label)), None)
    name = next((entry for label, entry in labels.items() if not _is_number(label)), None)
    if number is not None and name is not None and names is None:
        problems.add(
            number.place,
            f"label {number.label} is a number, and {name.label!r} in {name.place} a name: write one kind throughout,"
            " or give a file of class names in which all of them stand",
        )
        problems.raise_any()
    return name is None


def _checked_paths(entries: Iterable[_Entry], root: Path, problems: _Problems, *, allow_missing: bool) -> Iterable[str]:
    first: dict[str, str] = {}
    for entry in entries:
        path = posixpath.normpath(entry.path)
        if path in first:
            problems.add(entry.place, f"{entry.path} stands in {first[path]} too")
            continue
        first[path] = entry.place
        if not allow_missing and not os.path.isfile(root / path):
            problems.add(entry.place, f"no such video: {root / path}")
    return first


def _numbered(entries: Iterable[_Entry], names: tuple[str, ...] | None, problems: _Problems) -> list[int]:
    labels = []
    for entry in entries:
        if not _is_number(entry.label):
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


def _named(entries: Iterable[_Entry], names: tuple[str, ...], problems: _Problems) -> list[int]:
    numbers = numbers_by_name({entry.label for entry in entries}, names)
    for entry in entries:
        if entry.label not in numbers:
            near = get_close_matches(entry.label, names, n=1) if not problems.are_told else []
            hint = f": did you mean {near[0]!r}?" if near else f", which has {len(names)}"
            problems.add(entry.place, f"{entry.label!r} is not among the class names{hint}")
    return [numbers.get(entry.label, -1) for entry in entries]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,9}", text) is not None
