"""What a video may be read from: a path, an http(s) address, bytes, a binary file object."""

from __future__ import annotations

import http.client
import io
import logging
import os
import re
import shutil
import string
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

logger = logging.getLogger(__name__)

VideoSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"

_BLOCK = 1 << 20


class VideoError(ValueError):
    """A video that cannot be used; the message names it, says why, and what to do."""


def open_source(source: VideoSource, *, timeout: float) -> tuple[str, BinaryIO, bool]:
    """Opens a source for reading from its first byte, with seeking.

    Args:
        source: a path, an http or https address, the bytes of a video file, or a file object opened in binary mode.
            What cannot seek (an address, a pipe) is copied to a temporary file that vanishes when it is closed.
        timeout: seconds without an answer or without data after which a download gives up.

    Returns:
        The source's name for messages, the open file, and whether the caller must close it (False for a file object
        that was handed in).

    Raises:
        FileNotFoundError: there is no file at the path.
        TypeError: the source is none of these.
        VideoError: a directory, an empty source, an address that cannot be read.
    """
    if isinstance(source, str) and re.match(r"https?://", source, re.IGNORECASE):
        return source, _download(source, timeout=timeout), True
    if isinstance(source, str) and re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):
        raise VideoError(
            f"{source}: only http:// and https:// addresses are read; download the video and give its path."
        )
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        return str(path), _open_path(path), True
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "<bytes>", _not_empty(io.BytesIO(source), "<bytes>"), True
    if callable(getattr(source, "read", None)):
        return _adopt(source)
    raise TypeError(
        f"A video source is a path, an http(s) address, bytes or a file object opened in binary mode, not "
        f"{type(source).__name__}."
    )


def _open_path(path: Path) -> BinaryIO:
    if path.is_dir():
        raise VideoError(f"{path} is a directory; give the path of one video file.")
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"No such video: {path} (looked in {Path.cwd()}).") from None
    if file.seekable():
        return _not_empty(file, str(path))
    with file:
        return _copied(file, str(path))


def _copied(file: BinaryIO, name: str) -> BinaryIO:
    """What cannot seek, as a file that can."""
    copy = _temporary_file()
    shutil.copyfileobj(file, copy, _BLOCK)
    return _not_empty(copy, name)


def _adopt(file: BinaryIO) -> tuple[str, BinaryIO, bool]:
    name = f"<file object {getattr(file, 'name', type(file).__name__)}>"
    if isinstance(file, io.TextIOBase):
        raise TypeError(f"{name} is opened as text; open it in binary mode ('rb').")
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        return name, _not_empty(file, name, ours=False), False
    return name, _copied(file, name), True


def _download(url: str, *, timeout: float) -> BinaryIO:
    file = _temporary_file()
    try:
        with urllib.request.urlopen(_ascii(url), timeout=timeout) as response:
            expected = response.headers.get("Content-Length")
            shutil.copyfileobj(response, file, _BLOCK)
    except urllib.error.HTTPError as error:
        file.close()
        raise VideoError(f"{url}: the server answered {error.code} {error.reason}; check the address.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: no address at all
        file.close()
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            reason = f"no answer within {timeout:g} seconds"
        raise VideoError(f"{url} cannot be read: {reason}; try again, or download it and give its path.") from error
    received = file.tell()
    if expected is not None and received != int(expected):
        file.close()
        raise VideoError(f"{url}: the download is truncated, {received:,} of {int(expected):,} bytes came; try again.")
    logger.debug("downloaded %s, %d bytes", url, received)
    return _not_empty(file, url)


def _ascii(url: str) -> str:
    """An address as the protocol has it: a host in IDNA, all else that is not ASCII, and blanks, by percent signs."""
    parts = urllib.parse.urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    quoted = [urllib.parse.quote(part, safe=string.punctuation) for part in (parts.path, parts.query)]
    return urllib.parse.urlunsplit((parts.scheme, user + at + host, *quoted, ""))


def _temporary_file() -> BinaryIO:
    return cast(BinaryIO, tempfile.TemporaryFile(prefix="ila_models_"))


def _not_empty(file: BinaryIO, name: str, *, ours: bool = True) -> BinaryIO:
    if file.seek(0, os.SEEK_END) == 0:
        if ours:
            file.close()
        raise VideoError(f"{name} is empty (0 bytes); fetch the video again.")
    file.seek(0)
    return file
