"""Downloads files of Google Drive with gdown: by one process at a time, resumed if need be, whole or not at all."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
from pathlib import Path

from huggingface_hub import constants as hub_constants
from huggingface_hub.utils import are_progress_bars_disabled

from .cache import locked
from .errors import CheckpointError, UnavailableError
from .files import file_sha256, read_tensor_file

_logger = logging.getLogger(__name__)

# In the folder of one download. While gdown writes, it appends eight characters of its choice and ".part".
_WHOLE = "checkpoint"

# So many bytes at the beginning tell one checkpoint from everything else that could come.
_HEAD = 1024


# Seconds without a byte after which a connection counts as broken. It must not hold the lock for ever.
_SILENCE = 60


class _RubbishError(CheckpointError):
    """What was downloaded is no checkpoint, or cannot become one, and has been deleted."""


def fetch_drive_file(file_id: str, destination: Path) -> Path:
    """A file of Google Drive at ``destination``, whole and readable as a checkpoint, or not at all.

    A file that is there is returned without a look at the network. Several processes that ask at once make one
    download. One that breaks off leaves what it has beside ``destination``, and the next call goes on from there.
    No cookies are read from or written to the user's home. gdown's progress bar is shown where stderr is a terminal,
    unless huggingface_hub's bars are switched off (``HF_HUB_DISABLE_PROGRESS_BARS``).

    That the file can be read does not make it the right one: compare its hash where one is known.

    Args:
        file_id: The id in the file's address, ``https://drive.google.com/file/d/ID/view``.
        destination: Where the file is to stand; its folder is made where there is none.

    Returns:
        ``destination``.

    Raises:
        UnavailableError: ``HF_HUB_OFFLINE`` is set, Drive cannot be reached or does not hand the file out (its quota,
            for instance), or it cannot be written.
        CheckpointError: What came is no checkpoint.
    """
    if destination.is_file():
        return destination
    if hub_constants.HF_HUB_OFFLINE:
        raise UnavailableError(f"Google Drive file {file_id}: HF_HUB_OFFLINE is set, and there is no {destination}")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with locked(destination):
            if not destination.is_file():
                _download(file_id, destination)
    except OSError as error:
        raise UnavailableError(f"Google Drive file {file_id}: {_why_not_written(error, destination.parent)}") from error
    return destination


def _download(file_id: str, destination: Path) -> None:
    scratch = destination.with_name(f".{destination.name}.download")
    scratch.mkdir(exist_ok=True)
    try:
        path = _fetch_into(scratch, file_id)
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(path, destination)
    finally:
        if not _kept_bytes(scratch):
            shutil.rmtree(scratch, ignore_errors=True)
    if _logger.isEnabledFor(logging.INFO):
        _logger.info("%s: sha256 %s", destination, file_sha256(destination))


def _fetch_into(scratch: Path, file_id: str) -> Path:
    """The whole file somewhere in ``scratch``, from what an earlier call left there where possible."""
    begun = _left_by_an_earlier_call(scratch)
    if begun is not None:
        if _fault(begun) is None:
            return begun  # interrupted between its last byte and its move
        if begun.name != _WHOLE and begun.stat().st_size >= _HEAD:
            try:
                return _ask_drive(scratch, file_id, begun=begun.stat().st_size)
            except _RubbishError as error:
                _logger.warning("%s; starting anew", error)
    _empty(scratch)
    return _ask_drive(scratch, file_id, begun=0)


def _left_by_an_earlier_call(scratch: Path) -> Path | None:
    """The one file in ``scratch``. gdown goes on with none where it finds two, so that others than the largest go."""
    files = sorted(scratch.iterdir(), key=lambda path: path.stat().st_size)
    for superseded in files[:-1]:
        superseded.unlink()
    return files[-1] if files else None


def _ask_drive(scratch: Path, file_id: str, *, begun: int) -> Path:
    """Let gdown download the file, after the first ``begun`` bytes that are there.

    Raises:
        UnavailableError: Drive did not give it. What came so far stays in ``scratch``.
        _RubbishError: It gave something else, and ``scratch`` is empty.
    """
    import gdown
    from gdown.exceptions import DownloadError, FileURLRetrievalError
    from requests import RequestException

    whole = scratch / _WHOLE
    try:
        # Drive's questions are answered within one session, which keeps its cookies in memory. resume: what is there
        # is gone on with, and gdown keeps its partial file under a name that it finds again.
        gdown.download(
            id=file_id,
            output=str(whole),
            quiet=_is_quiet(),
            use_cookies=False,
            resume=True,
            timeout=_SILENCE,
        )
    except FileURLRetrievalError as error:
        message = f"Google Drive file {file_id}: {_what_drive_says(error)}"
        raise UnavailableError(_with_kept(message, scratch)) from error
    except (DownloadError, RequestException) as error:
        never_broke = not isinstance(error, RequestException) and not isinstance(error.__cause__, RequestException)
        if begun and never_broke and _kept_bytes(scratch) == begun:
            # gdown would say so again in every call.
            _empty(scratch)
            raise _RubbishError(f"Google Drive file {file_id}: the download cannot be continued") from error
        raise UnavailableError(_with_kept(f"Google Drive file {file_id}: {_what_broke(error)}", scratch)) from error
    except OSError as error:
        message = f"Google Drive file {file_id}: {_why_not_written(error, scratch.parent)}"
        raise UnavailableError(_with_kept(message, scratch)) from error
    except (KeyError, ValueError) as error:
        # From a page without a Content-Type, for instance.
        raise UnavailableError(
            f"Google Drive file {file_id}: gdown makes no sense of the answer ({type(error).__name__}: {error}). Is"
            f" there a proxy or a login page between here and Google Drive?"
        ) from error

    fault = _fault(whole)
    if fault is not None:
        _empty(scratch)
        raise _RubbishError(f"Google Drive file {file_id}: what came was not kept: {fault}")
    return whole


def _is_quiet() -> bool:
    return are_progress_bars_disabled() or sys.stderr is None or not sys.stderr.isatty()


def _fault(path: Path) -> str | None:
    """Why a file is not a whole checkpoint; None where it is one."""
    try:
        read_tensor_file(path)
    except CheckpointError as error:
        # Without the path, where nothing will be left.
        return str(error).replace(f"{path}: ", "")
    return None


def _kept_bytes(scratch: Path) -> int:
    return sum(path.stat().st_size for path in scratch.iterdir())


def _empty(scratch: Path) -> None:
    for path in scratch.iterdir():
        path.unlink()


def _with_kept(message: str, scratch: Path) -> str:
    kept = _kept_bytes(scratch)
    if not kept:
        return message
    return f"{message}. {kept} bytes of it are kept in {scratch}, and the next try goes on from there"


def _what_drive_says(error: Exception) -> str:
    # gdown wraps Drive's sentence in lines and words of its own.
    text = " ".join(str(error).split()).removeprefix("Failed to retrieve file url: ")
    if "too many users" in text.lower() or "quota" in text.lower():
        return (
            "Google Drive's quota for this file is spent for now: try again in a day, or download it in a browser while"
            " logged in"
        )
    return (
        "Google Drive answers with a web page instead of the file, as it does where a file is gone or private:"
        f" {text.partition('. ')[0]}"
    )


def _what_broke(error: Exception) -> str:
    from requests import HTTPError, RequestException
    from requests.exceptions import ChunkedEncodingError

    if isinstance(error, HTTPError):
        return f"Google Drive answers {_first_line(error)}"
    if isinstance(error, RequestException) and not isinstance(error, ChunkedEncodingError):
        return f"Google Drive cannot be reached: {_first_line(error)}"
    return f"the connection to Google Drive broke off: {_first_line(error)}"


def _why_not_written(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no room for it on the disk of {folder}, where {shutil.disk_usage(folder).free} bytes are free"
    return f"it cannot be written in {folder}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
