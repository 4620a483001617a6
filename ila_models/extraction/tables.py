"""Videos that a text file names: lists, a path a line, and CSV tables, which may cut videos into segments."""

from __future__ import annotations

import functools
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..data.annotations import PATH_COLUMNS
from ..data.labels import AnnotationError, Problems
from ..data.text_files import csv_rows, has_all_fields, read_text
from .item_names import address_name, is_address, path_name, safe_name
from .items import VideoItem

_START_COLUMNS = ("start", "start_time", "start_seconds")
_END_COLUMNS = ("end", "end_time", "end_seconds")
_NAME_COLUMNS = ("name", "id")


class _Segment(NamedTuple):
    """A row of a table; an empty name is to be made of the path."""

    path: str
    start: float | None
    end: float | None
    name: str


class _Columns(NamedTuple):
    """Where the fields stand in a row; None where a table has no such column."""

    path: int
    start: int | None
    end: int | None
    name: int | None


def videos_of_list(file: str) -> Iterator[VideoItem]:
    """The videos of a list, in its order. Whether they are there is not looked at.

    Args:
        file: UTF-8 text with a path or an address a line; empty lines and lines that start with ``#`` are left out.
            Relative paths start from the list's folder.

    Yields:
        Videos, named by their paths as they are written; of absolute paths, by what follows the deepest folder that
        all the absolute paths of the list are in.

    Raises:
        FileNotFoundError: There is no such file.
        AnnotationError: The list is a folder or not UTF-8 text, or names no video.
        OSError: It cannot be read.
    """
    lines = (line.strip() for line in read_text(file).split("\n"))
    paths = [line for line in lines if line and not line.startswith("#")]
    if not paths:
        raise AnnotationError(f"{file}: no video in it: write a path or an address a line")
    for path, name in _files_and_names(paths, os.path.dirname(file)):
        yield VideoItem(file=path, name=name)


def videos_of_table(file: str) -> Iterator[VideoItem]:
    """The videos and segments of a CSV table, in its order. Whether they are there is not looked at.

    Args:
        file: CSV, UTF-8, whose first line names the columns, in any order and among others: ``path`` (or ``file``,
            ``filename``, ``video``, ``video_path``), which is as in a list; perhaps ``start`` and ``end`` (or
            ``start_time`` or ``start_seconds``, and so on), in seconds from the first frame, where an empty field is
            the video's own start or end; and perhaps ``name`` (or ``id``).

    Yields:
        Videos, named by the column, else as in a list, followed by their seconds if they are segments:
        ``clip_12.000_15.500``, ``clip_0.000_15.500`` without a start, ``clip_12.000_end`` without an end.

    Raises:
        FileNotFoundError: There is no such file.
        AnnotationError: The table is a folder, not UTF-8 text, or has no row; columns are missing or stand twice,
            fields are too many or too few, a path is empty, a segment stands twice, or a time is not a number,
            negative, infinite or not after the start. The message tells up to ten problems with their lines.
    """
    problems = Problems(Path(file))
    segments = list(_segments(read_text(file), problems))
    problems.raise_any()
    for (path, start, end), count in Counter(segment[:3] for segment in segments).items():
        if count > 1:
            until = "the end" if end is None else f"{end:g}"
            problems.add(path, f"seconds {start or 0:g} to {until} stand in {count} rows: write each segment once")
    problems.raise_any()
    if not segments:
        raise AnnotationError(f"{file}: no video in it: write a line `path,start,end`, and a line for every segment")
    named = _files_and_names([segment.path for segment in segments], os.path.dirname(file))
    for segment, (path, name) in zip(segments, named, strict=True):
        name = safe_name(segment.name) if segment.name else name + _seconds_in_name(segment)
        yield VideoItem(file=path, name=name, start=segment.start, end=segment.end)


def _files_and_names(paths: Sequence[str], folder: str) -> Iterator[tuple[str, str]]:
    """Where each video is, seen from the working directory, and its name."""
    parents = {os.path.dirname(os.path.normpath(path)) for path in paths if os.path.isabs(path)}
    # By twos, as commonpath splits all that it is given at once.
    common = functools.reduce(lambda one, other: os.path.commonpath((one, other)), parents) if parents else ""
    for path in paths:
        if is_address(path):
            yield path, address_name(path)
        elif os.path.isabs(path):
            yield path, path_name(os.path.relpath(path, common))
        else:
            yield os.path.join(folder, path), path_name(path)


def _segments(text: str, problems: Problems) -> Iterator[_Segment]:
    header: list[str] = []
    columns = None
    for line, fields in csv_rows(text, problems):
        place = f"line {line}"
        if not header:
            header = [field.lower() for field in fields]
            columns = _columns(header, place, problems)
        elif has_all_fields(fields, header, place, problems) and columns is not None:
            yield _segment(fields, columns, place, problems)


def _columns(header: list[str], place: str, problems: Problems) -> _Columns | None:
    """Where the columns stand; None, and a problem, if that cannot be told."""
    if not any(column in PATH_COLUMNS for column in header):
        problems.add(place, f"no column of paths: name one of {', '.join(header)} {' or '.join(PATH_COLUMNS)}")
        return None
    # An id beside a name is a column like any other.
    names = _NAME_COLUMNS[:1] if _NAME_COLUMNS[0] in header else _NAME_COLUMNS
    found = []
    for known in (PATH_COLUMNS, _START_COLUMNS, _END_COLUMNS, names):
        positions = [position for position, column in enumerate(header) if column in known]
        if len(positions) > 1:
            same = ", ".join(header[position] for position in positions)
            problems.add(place, f"the columns {same} say the same: leave one of them and rename the others")
        found.append(positions[0] if positions else None)
    path, *others = found
    return None if path is None else _Columns(path, *others)


def _segment(fields: list[str], columns: _Columns, place: str, problems: Problems) -> _Segment:
    path, start_text, end_text, name = ("" if column is None else fields[column] for column in columns)
    if not path:
        problems.add(place, "the path is empty")
    start = _seconds(start_text, "start", place, problems)
    end = _seconds(end_text, "end", place, problems)
    if end is not None and end <= (start or 0.0):
        problems.add(place, f"the end, {end:g}, is not after the start, {start or 0.0:g}")
    return _Segment(path, start, end, name)


def _seconds(text: str, side: str, place: str, problems: Problems) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds) and seconds >= 0:
        return abs(seconds)  # of -0, 0
    problems.add(place, f"the {side}, {text!r}, is not a number of seconds from 0 on, such as 12.5")
    return None


def _seconds_in_name(segment: _Segment) -> str:
    if segment.start is None and segment.end is None:
        return ""
    return f"_{segment.start or 0.0:.3f}_{'end' if segment.end is None else format(segment.end, '.3f')}"
