"""The zip container that both `torch.save` and TorchScript write: its directory, checked before anything is read.

torch writes tensors uncompressed, so that a file can be mapped into memory. A tensor that is compressed, or a directory
that promises more bytes than the file has, was made by something else.
"""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from .errors import CheckpointError
from .unpickler import Storage, check_pickle

ZIP_MAGIC = b"PK\x03\x04"

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, …, length of the name, length of the extra field

# What zipfile raises on a damaged file, encrypted records included.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class TorchZip:
    """The directory of one archive.

    Attributes:
        path: The file.
        size: Its bytes.
        records: Record names below the archive's one folder, such as "data.pkl" and "data/0", and where each stands.
    """

    path: Path
    size: int
    records: dict[str, zipfile.ZipInfo]

    @property
    def is_torchscript(self) -> bool:
        """Whether TorchScript wrote it; torch itself goes by the same record."""
        return "constants.pkl" in self.records

    def require_stored(self, names: Iterable[str]) -> None:
        """Check that these records are uncompressed and together not larger than the file.

        Raises:
            CheckpointError: One is not, as in a zip bomb.
        """
        records = [self.records[name] for name in names]
        for record in records:
            if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
                raise CheckpointError(
                    f"{self.path}: its record {record.filename} is compressed ({record.compress_size} bytes that would "
                    f"become {record.file_size}); torch never writes tensors so. Refused before unpacking it."
                )
        claimed = sum(record.file_size for record in records)
        if claimed > self.size:
            raise CheckpointError(
                f"{self.path}: its records claim {claimed} bytes, the file has {self.size}. Refused before reading it."
            )

    def read(self, name: str) -> bytes:
        """Read one record whole; its checksum is verified.

        Raises:
            CheckpointError: The record is damaged or compressed.
        """
        self.require_stored([name])
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(self.records[name])
        except _ZIP_ERRORS as error:
            raise CheckpointError(f"{self.path}: damaged, its record {name} cannot be read ({error}).") from error

    def read_pickle(self, is_allowed: Callable[[str], bool]) -> bytes:
        """Read "data.pkl" and look it over.

        Raises:
            CheckpointError: The record is damaged, or the pickle is one that `check_pickle` refuses.
        """
        data = self.read("data.pkl")
        check_pickle(io.BytesIO(data), size=len(data), path=self.path, is_allowed=is_allowed)
        return data

    def require_byte_order(self) -> None:
        """Check that numbers are stored as this machine has them.

        Raises:
            CheckpointError: They are not.
        """
        if "byteorder" in self.records and self.read("byteorder") != sys.byteorder.encode():
            raise CheckpointError(
                f"{self.path}: its numbers are not {sys.byteorder}-endian, as this machine's are. Load it where it was "
                "made and save its state_dict() with safetensors."
            )

    def require_storage(self, storage: Storage) -> None:
        """Check that a storage has a record, of the right size.

        Raises:
            CheckpointError: It has none, or of another size.
        """
        name = f"data/{storage.key}"
        if name not in self.records:
            raise CheckpointError(f"{self.path}: damaged, a tensor needs the record {name}, which is not there.")
        size = self.records[name].file_size
        if storage.nbytes != size:
            raise CheckpointError(
                f"{self.path}: damaged, storage {name} should have {storage.elements} elements of {storage.dtype}, it "
                f"has {size} bytes."
            )

    def map_storages(self) -> Callable[[Storage], torch.UntypedStorage]:
        """Map the file, and give the function that cuts a storage out of the mapping.

        The mapping is private: writing to a tensor never reaches the file.
        """
        mapped = torch.UntypedStorage.from_file(str(self.path), False, self.size)

        def cut(storage: Storage) -> torch.UntypedStorage:
            self.require_storage(storage)
            start = self.start(f"data/{storage.key}")
            return mapped[start : start + storage.nbytes]

        return cut

    def start(self, name: str) -> int:
        """Give the offset in the file, in bytes, of a stored record's first byte.

        Raises:
            CheckpointError: No such record begins there, or it would end behind the file's end.
        """
        record = self.records[name]
        header = b""
        if 0 <= record.header_offset < self.size:
            with self.path.open("rb") as stream:
                stream.seek(record.header_offset)
                header = stream.read(_LOCAL_HEADER.size)
        if len(header) == _LOCAL_HEADER.size:
            magic, name_length, extra_length = _LOCAL_HEADER.unpack(header)
            start = record.header_offset + _LOCAL_HEADER.size + name_length + extra_length
            if magic == ZIP_MAGIC and start + record.file_size <= self.size:
                return int(start)
        raise CheckpointError(f"{self.path}: damaged, its record {name} is not where the zip directory says.")


def read_directory(path: Path) -> TorchZip:
    """Read the directory of a zip archive that torch wrote.

    Raises:
        CheckpointError: The archive is cut off, or another program's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except _ZIP_ERRORS as error:
        raise CheckpointError(
            f"{path}: begins as a zip archive but is cut off or damaged ({error}). Download or copy it again."
        ) from error
    names = [record.filename for record in records]
    if len(set(names)) != len(names):
        raise CheckpointError(f"{path}: a zip archive in which several records have one name; torch writes none such.")
    roots = [name.removesuffix("/data.pkl") for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise CheckpointError(
            f"{path}: a zip archive, but neither torch.save nor TorchScript wrote it: it holds {_few(names)}, and no "
            "data.pkl. If the checkpoint is inside, unzip it first."
        )
    prefix = f"{roots[0]}/"
    inside = {r.filename.removeprefix(prefix): r for r in records if r.filename.startswith(prefix)}
    return TorchZip(path=path, size=path.stat().st_size, records=inside)


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "nothing"
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
