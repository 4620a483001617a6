"""Does a video file end where its own structure says that it ends? Read from its outermost boxes, without decoding."""

from __future__ import annotations

import os
from typing import BinaryIO

_ISO_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp")
_EBML_HEADER = b"\x1a\x45\xdf\xa3"
_EBML_SEGMENT = b"\x18\x53\x80\x67"


def missing_tail(file: BinaryIO) -> str | None:
    """Finds out whether the end of a video file is missing.

    Knows mp4 and mov (boxes), avi (RIFF chunks), webm and mkv (EBML elements). Lengths that the file leaves open, as
    live recordings do, are taken as they are, and so is anything that follows the last box.

    Args:
        file: the video, open for reading and seekable. Its position changes.

    Returns:
        What is missing, as the end of a sentence that starts with "the file"; None where nothing is known to be.
    """
    size = file.seek(0, os.SEEK_END)
    start = _read(file, 0, 12)
    if start[4:8] in _ISO_FIRST_BOXES:
        return _missing_iso(file, size)
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return _missing_riff(file, size)
    if start[:4] == _EBML_HEADER:
        return _missing_ebml(file, size)
    return None


def _missing_iso(file: BinaryIO, size: int) -> str | None:
    position = 0
    kinds = set()
    while position + 8 <= size:
        header = _read(file, position, 16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:  # the last box runs to the end of the file
            length = size - position
        if length < 8 or not kind.isalnum():
            break
        kinds.add(kind)
        if position + length > size:
            return _ends_inside(f"its '{kind.decode('ascii')}' box", size - position, length)
        position += length
    if b"moov" not in kinds:
        return "has no 'moov' box, the table of contents, which most writers put last"
    return None


def _missing_riff(file: BinaryIO, size: int) -> str | None:
    position = 0
    while position + 8 <= size:
        header = _read(file, position, 8)
        length = int.from_bytes(header[4:8], "little")
        if header[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):
            break
        if position + 8 + length > size:
            return _ends_inside("a 'RIFF' chunk", size - position, 8 + length)
        position += 8 + length + length % 2
    return None


def _missing_ebml(file: BinaryIO, size: int) -> str | None:
    position = 0
    while position + 2 <= size:
        header = _read(file, position, 12)
        id_length = _vint_length(header[0])
        if id_length > 4 or len(header) <= id_length:
            break
        size_length = _vint_length(header[id_length])
        if size_length > 8 or len(header) < id_length + size_length:
            break
        mask = (1 << 7 * size_length) - 1
        length = int.from_bytes(header[id_length : id_length + size_length], "big") & mask
        position += id_length + size_length
        if length == mask:  # unknown
            if header[:id_length] != _EBML_SEGMENT:
                break
            continue  # look at the children of the segment instead
        if position + length > size:
            name = "its segment" if header[:id_length] == _EBML_SEGMENT else "an element"
            return _ends_inside(name, size - position, length)
        position += length
    return None


def _vint_length(first_byte: int) -> int:
    """Length in bytes of an EBML number: one more than its leading zero bits, 9 where it is invalid."""
    return 9 - first_byte.bit_length()


def _ends_inside(name: str, present: int, declared: int) -> str:
    return f"ends inside {name}: {present:,} of its {declared:,} bytes are there"


def _read(file: BinaryIO, position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length)
