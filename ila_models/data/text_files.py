"""Text files that people write: lists, class names, CSV tables; what is wrong with one is said in the same words."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from .labels import AnnotationError, Problems


def read_text(path: str | os.PathLike[str]) -> str:
    """Reads a text file; a byte order mark, as some editors write it, is dropped.

    Args:
        path: The file, UTF-8.

    Raises:
        FileNotFoundError: There is no such file.
        AnnotationError: It is a folder, or not UTF-8 text.
        OSError: It cannot be read.
    """
    name = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {name}") from None
    except IsADirectoryError:
        raise AnnotationError(f"{name} is a folder: give a text file") from None
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{name}: not UTF-8 text (byte {error.start:,}): save it as UTF-8") from error
    if "\0" in text:
        raise AnnotationError(f"{name}: not a text file, it has zero bytes")
    return text


def csv_rows(text: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV, its header first, with the numbers of their lines; blank rows and blanks round fields go.

    Args:
        text: Of the file.
        problems: Where it is noted that the text is no CSV; the rows end there.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if any(fields):
                yield reader.line_num, fields
    except csv.Error as error:
        problems.add(f"line {reader.line_num}", f"not CSV: {error}")


def has_all_fields(row: Sequence[str], header: Sequence[str], place: str, problems: Problems) -> bool:
    """Whether a row has as many fields as the header; if not, that is noted as a problem of its place."""
    if len(row) == len(header):
        return True
    problems.add(place, f"{len(row)} fields, the first line has {len(header)}: put a field with commas in quotes")
    return False
