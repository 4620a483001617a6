"""Which videos a data set has, and what they show: annotation files and class folders."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from .labels import AnnotationError, Entry, Problems, is_number, labels_are_numbers, numbers_of
from .text_files import csv_rows, has_all_fields, read_text
from .video_files import SUFFIXES_IN_WORDS, is_video_name, videos_below

PATH_COLUMNS = ("path", "file", "filename", "video", "video_path")
LABEL_COLUMNS = ("label", "class", "class_name", "label_name")


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

    def name(self, index: int) -> str:
        """What a video is called in messages."""
        return str(self.root / self.paths[index])

    def source(self, index: int) -> Path:
        """Where a video is read from."""
        return self.root / self.paths[index]

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
      videos, subfolders included, see :func:`~ila_models.data.video_files.videos_below`. Where all folder names are
      numbers, they are the labels.

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
        ValueError: ``data`` is empty, which as a path would be the current folder.
        AnnotationError: Videos are missing or stand twice, labels are out of range or unknown, or there are fewer than
            two classes. The message tells up to ten problems with their lines.
    """
    if not os.fspath(data):
        raise ValueError(f"data={data!r} is empty: name the folder of videos; '.' is the current one")
    root = Path(data)
    if not root.is_dir():
        raise FileNotFoundError(f"no such folder of videos: {root}")
    names = None if class_names is None else tuple(class_names)
    problems = Problems(Path(annotations) if annotations is not None else root)
    if annotations is None:
        entries, are_numbers = _class_folders(root, names, problems)
    else:
        entries, are_numbers = _read_file(Path(annotations), names, problems)
    paths = _checked_paths(entries, root, problems, allow_missing=allow_missing)
    labels, names = numbers_of(entries, names, problems, are_numbers=are_numbers)
    return LabelledVideos(root, tuple(paths), labels, names, labels_are_names=not are_numbers)


def read_class_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads class names: one a line, the first is label 0; or the released code's CSV with the columns ``id,name``.

    Raises:
        FileNotFoundError: There is no such file.
        AnnotationError: It holds no names, or one twice; or ids that are not 0, 1, 2, ... in order.
    """
    path = Path(path)
    text = read_text(path)
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    lines = [(number, line) for number, line in lines if line]
    problems = Problems(path)
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


def _read_file(path: Path, names: tuple[str, ...] | None, problems: Problems) -> tuple[list[Entry], bool]:
    """The entries of a file, and whether their labels are numbers."""
    text = read_text(path)
    first = next((line for line in text.split("\n") if line.strip()), None)
    if first is None:
        raise AnnotationError(f"{path}: empty: write a line `path label` for every video, or a CSV with a header")
    header = [field.strip(' "').lower() for field in first.strip().split(",")]
    if len(header) > 1 and (set(header) & {*PATH_COLUMNS, *LABEL_COLUMNS}):
        entries = list(_csv_entries(path, text, header, problems))
        are_numbers = labels_are_numbers(entries, names, problems)
    else:
        entries, are_numbers = list(_line_entries(text, problems)), True
    if not entries:
        problems.raise_any()
        raise AnnotationError(f"{path}: no video in it, only the header")
    return entries, are_numbers


def _line_entries(text: str, problems: Problems) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.rsplit(maxsplit=1)
        if len(fields) == 2 and is_number(fields[1]):
            yield Entry(f"line {number}", fields[0].strip(), fields[1])
        elif fields:
            problems.add(
                f"line {number}",
                f"{line.strip()!r} does not end in a blank and a number: write `path label`, or a CSV whose first line"
                f" is path,label",
            )


def _csv_entries(path: Path, text: str, header: list[str], problems: Problems) -> Iterator[Entry]:
    columns = []
    for kind, known in (("path", PATH_COLUMNS), ("label", LABEL_COLUMNS)):
        found = [column for column in header if column in known]
        if len(found) != 1:
            raise AnnotationError(
                f"{path}: its first line names the columns {', '.join(header)}: there must be one {kind} column, called"
                f" {' or '.join(known)}, and there {'is none' if not found else f'are {len(found)}'}"
            )
        columns.append(header.index(found[0]))
    for line, row in islice(csv_rows(text, problems), 1, None):
        place = f"line {line}"
        if not has_all_fields(row, header, place, problems):
            continue
        video, label = (row[column] for column in columns)
        if video and label:
            yield Entry(place, video, label)
        else:
            problems.add(place, f"the {'label' if video else 'path'} is empty")


def _rows_by_id(text: str, problems: Problems) -> Iterator[tuple[int, str]]:
    for expected, (line, row) in enumerate(islice(csv_rows(text, problems), 1, None)):
        if len(row) == 2 and row[0] == str(expected) and row[1]:
            yield line, row[1]
        else:
            problems.add(f"line {line}", f"{','.join(row)!r} is not `{expected},name`")


def _class_folders(root: Path, names: tuple[str, ...] | None, problems: Problems) -> tuple[list[Entry], bool]:
    """The entries of class folders, and whether the folders' names are labels."""
    entries = []
    inside = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    folders = [path for path in inside if path.is_dir()]
    if not folders:
        raise AnnotationError(f"{root}: no class folders in it: give an annotation file, or a folder for every class")
    for path in inside:
        if path not in folders and is_video_name(path.name):
            problems.add(path.name, "lies beside the class folders, not in one")
    for folder in folders:
        places = [f"{folder.name}/{Path(path).as_posix()}" for path in videos_below(folder)]
        if not places:
            problems.add(folder.name, f"no video in this class folder (looked for {SUFFIXES_IN_WORDS})")
        entries += [Entry(place, place, folder.name) for place in places]
    problems.raise_any()
    labels = {entry.label for entry in entries}
    return entries, all(map(is_number, labels)) and not labels <= set(names or ())


def _checked_paths(entries: Iterable[Entry], root: Path, problems: Problems, *, allow_missing: bool) -> Iterable[str]:
    first: dict[str, str] = {}
    paths = []
    absolute = os.path.abspath(root)
    for entry in entries:
        path = posixpath.normpath(entry.path)
        # However it is written: `a.mp4`, `../videos/a.mp4` and `/data/videos/a.mp4` may be one file.
        place = os.path.normpath(os.path.join(absolute, path))
        if place in first:
            problems.add(entry.place, f"{entry.path} stands in {first[place]} too")
            continue
        first[place] = entry.place
        paths.append(path)
        if not allow_missing and not os.path.isfile(root / path):
            problems.add(entry.place, f"no such video: {root / path}")
    return paths
