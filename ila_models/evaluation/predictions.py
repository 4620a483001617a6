"""Predictions on disk: parquet, written part by part as a run goes on, and merged at its end.

A folder holds ``settings.json``, ``parts/part-00000.parquet`` and so on while the run is not finished, and then
``predictions.parquet`` in their place. A file stands under its name only when all of it is on the disk, so a part that
is there is finished, however the run that wrote it ended.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..parquet import read_table, require_pyarrow, write_table
from ..settings import Settings, as_text, differences, read_settings, settings_bytes
from ..whole_files import write_atomically

if TYPE_CHECKING:
    import pyarrow

TABLE = "predictions.parquet"
_SETTINGS = "settings.json"
_PARTS = "parts"
_METADATA_KEY = b"ila_models.evaluation"


@dataclass(frozen=True)
class VideoPrediction:
    """What the model said to one video.

    Attributes:
        file: Its path as annotated.
        label: The right class, in the model's numbers.
        top_classes: The likeliest classes, the likeliest first; empty for a broken video.
        top_probabilities: Theirs.
        probabilities: Of all classes; None where they are not kept.
        error: Why there is no prediction; None if there is one.
    """

    file: str
    label: int
    top_classes: Sequence[int] = ()
    top_probabilities: Sequence[float] = ()
    probabilities: Sequence[float] | None = None
    error: str | None = None


class PredictionFolder:
    """The folder of one evaluation."""

    def __init__(self, folder: Path, settings: Settings, *, parts: int) -> None:
        """Takes a folder for settings that it was opened for, see :func:`open_folder`."""
        self.folder = folder
        self.table = folder / TABLE
        self._settings = settings
        self._parts = parts

    def finished(self) -> set[int]:
        """The parts that are there."""
        if self.table.exists():
            return set(range(self._parts))
        return {int(path.stem.partition("-")[2]) for path in (self.folder / _PARTS).glob("part-*.parquet")}

    def write_part(self, part: int, predictions: Sequence[VideoPrediction]) -> None:
        """Writes a part, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        write_table(self._part_path(part), _as_table(predictions, self._settings))

    def read_part(self, part: int) -> list[VideoPrediction]:
        """Reads a part that is there.

        Raises:
            ValueError: The file is damaged.
        """
        return _as_predictions(read_table(self._part_path(part)))

    def merge(self) -> None:
        """Makes one table of all parts.

        Raises:
            OSError: A part is not there, or the table cannot be written.
            ValueError: A part is damaged.
        """
        import pyarrow

        if not self.table.exists():
            if missing := sorted(set(range(self._parts)) - self.finished()):
                raise FileNotFoundError(
                    f"{self._part_path(missing[0])} is not there, nor are {len(missing) - 1} others: all machines of a"
                    " run must write into a folder that they share"
                )
            write_table(
                self.table, pyarrow.concat_tables(read_table(self._part_path(part)) for part in range(self._parts))
            )
        shutil.rmtree(self.folder / _PARTS, ignore_errors=True)

    def _part_path(self, part: int) -> Path:
        return self.folder / _PARTS / f"part-{part:05d}.parquet"


def open_folder(folder: Path, settings: Settings, *, parts: int) -> PredictionFolder:
    """Opens a folder for a run: a new one, or one whose run is to go on.

    Raises:
        OSError: It cannot be written to.
        RuntimeError: pyarrow is not installed.
        ValueError: It holds the predictions of other settings.
    """
    require_pyarrow("predictions", extra="train")
    noted = folder / _SETTINGS
    folder.mkdir(parents=True, exist_ok=True)
    if noted.exists():
        if different := differences(read_settings(noted), settings):
            raise ValueError(
                f"{folder} holds predictions of other settings: {'; '.join(different)}. Give another folder, or delete"
                " this one to start anew"
            )
    elif (folder / TABLE).exists() or (folder / _PARTS).exists():
        raise ValueError(f"{folder} holds predictions, but not their {_SETTINGS}: give another folder")
    else:
        write_atomically(noted, settings_bytes(settings))
    if not (folder / TABLE).exists():
        (folder / _PARTS).mkdir(exist_ok=True)
    return PredictionFolder(folder, settings, parts=parts)


def read_predictions(path: Path) -> tuple[list[VideoPrediction], Settings]:
    """Reads a finished table and the settings that it was made with.

    Args:
        path: ``predictions.parquet``, or its folder.

    Raises:
        FileNotFoundError: There is none; the message says so where the run is not finished.
        ValueError: The file is not such a table.
    """
    file = path / TABLE if path.is_dir() else path
    if not file.exists():
        parts = len(list((path / _PARTS).glob("part-*.parquet"))) if path.is_dir() else 0
        unfinished = f": the run is not finished ({parts} parts are), the same command goes on with it" if parts else ""
        raise FileNotFoundError(f"no such table of predictions: {file}{unfinished}")
    table = read_table(file)
    metadata = (table.schema.metadata or {}).get(_METADATA_KEY)
    if metadata is None or not {"file", "label", "top_classes", "error"} <= set(table.column_names):
        raise ValueError(f"{file}: a parquet file, but not of ila-models evaluate")
    return _as_predictions(table), json.loads(metadata)


def _as_table(predictions: Sequence[VideoPrediction], settings: Settings) -> pyarrow.Table:
    import pyarrow

    fields = [
        pyarrow.field("file", pyarrow.string(), nullable=False),
        pyarrow.field("label", pyarrow.int32(), nullable=False),
        pyarrow.field("top_classes", pyarrow.list_(pyarrow.int32()), nullable=False),
        pyarrow.field("top_probabilities", pyarrow.list_(pyarrow.float32()), nullable=False),
        pyarrow.field("error", pyarrow.string()),
    ]
    columns: list[list[object]] = [
        [as_text(each.file) for each in predictions],
        [each.label for each in predictions],
        [list(each.top_classes) for each in predictions],
        [list(each.top_probabilities) for each in predictions],
        [None if each.error is None else as_text(each.error) for each in predictions],
    ]
    if settings["all_probabilities"]:
        fields.append(pyarrow.field("probabilities", pyarrow.list_(pyarrow.float32())))
        columns.append([each.probabilities for each in predictions])
    schema = pyarrow.schema(fields, metadata={_METADATA_KEY: json.dumps(settings, ensure_ascii=False).encode()})
    arrays = [pyarrow.array(column, type=field.type) for column, field in zip(columns, fields, strict=True)]
    return pyarrow.Table.from_arrays(arrays, schema=schema)


def _as_predictions(table: pyarrow.Table) -> list[VideoPrediction]:
    return [VideoPrediction(**row) for row in table.to_pylist()]
