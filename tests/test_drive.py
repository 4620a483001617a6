"""Downloads of Google Drive: the real gdown and a Drive on the loopback interface."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import gdown
import pytest
import torch
from drive_server import ACCOUNTS, CONTENT, DRIVE, DriveFile, DriveServer, serve
from filelock import FileLock
from huggingface_hub import constants as hub_constants
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from safetensors.torch import save

from ila_models.weights.drive import fetch_drive_file
from ila_models.weights.errors import CheckpointError, UnavailableError

# gdown reads half a MiB at a time: what breaks off before the first of them leaves nothing.
PIECE = 512 * 1024
# Children are forked, because to import torch once more takes seconds.
FORK = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def torch_file(**options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save({"model": {"weight": torch.randn(3 * PIECE // 4 + 1000)}}, stream, **options)
    return stream.getvalue()


CONTENT_BYTES = torch_file()
EVERY_FORMAT = {
    "zip": CONTENT_BYTES,
    "legacy": torch_file(_use_new_zipfile_serialization=False),
    "safetensors": save({"weight": torch.randn(3 * PIECE // 4 + 1000)}),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DriveServer]:
    with serve(tmp_path_factory.mktemp("drive")) as server:
        yield server


@pytest.fixture
def drive(running: DriveServer, monkeypatch: pytest.MonkeyPatch) -> DriveServer:
    """Drive with one file, "ID"; gdown and its children in this process find it."""
    for name in ("NO_PROXY", "ALL_PROXY", "HTTPS_PROXY", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.files.clear()
    running.requests.clear()
    running.files["ID"] = DriveFile(CONTENT_BYTES)
    return running


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "google_drive" / "ID"


def partial_file(destination: Path) -> Path | None:
    """What is there of a download that was interrupted."""
    with contextlib.suppress(FileNotFoundError):
        files = list(destination.with_name(f".{destination.name}.download").iterdir())
        assert len(files) <= 1
        return files[0] if files else None
    return None


def left(destination: Path) -> set[str]:
    """All that stands in the cache but the lock."""
    return {path.name for path in destination.parent.iterdir()} - {f".{destination.name}.lock"}


def refused(destination: Path) -> str:
    """The message of a call that must fail, and leave no weights."""
    with pytest.raises(CheckpointError) as caught:
        fetch_drive_file("ID", destination)
    assert not destination.exists()
    message = str(caught.value)
    assert "Google Drive file ID: " in message
    told_as_damaged = not isinstance(caught.value, UnavailableError)
    assert told_as_damaged == ("what came was not kept" in message), "all else is nobody's fault but the network's"
    return message


def in_child(function: Callable[[], object]) -> multiprocessing.process.BaseProcess:
    """Runs a function in a child, which exits with 1 where it raises."""
    child = FORK.Process(target=function, daemon=True)
    child.start()
    return child


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# What Drive answers


@pytest.mark.parametrize("kind", EVERY_FORMAT)
def test_a_file_comes_whole_and_is_asked_for_once(kind: str, drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].content = EVERY_FORMAT[kind]
    for _ in range(2):
        assert fetch_drive_file("ID", destination) == destination
    assert destination.read_bytes() == EVERY_FORMAT[kind]
    assert [(asked.host, asked.start) for asked in drive.requests] == [(DRIVE, None), (CONTENT, None)]
    assert left(destination) == {"ID"}


def test_the_virus_scan_page_is_followed(drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].page = "scan"
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES
    (sent,) = drive.downloads
    assert sent.host == CONTENT
    assert "confirm=t" in sent.path


def test_cookies_are_left_alone(drive: DriveServer, destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = destination.parents[1] / "home"
    home.mkdir(parents=True)
    # gdown looked for the home folder when it was imported.
    monkeypatch.setattr(sys.modules["gdown.download"], "home", str(home))
    cookies = str(home / ".cache/gdown/cookies.txt")
    monkeypatch.setattr(sys.modules["gdown.download"], "DEFAULT_COOKIES_FILE", cookies, raising=False)
    fetch_drive_file("ID", destination)
    assert list(home.iterdir()) == []


def test_a_spent_quota_is_explained(drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].page = "quota"
    message = refused(destination)
    assert message.endswith(
        "Google Drive's quota for this file is spent for now: try again in a day, or download it in a browser while"
        " logged in"
    )
    assert left(destination) == set()


def test_a_missing_file(drive: DriveServer, destination: Path) -> None:
    del drive.files["ID"]
    assert "a web page instead of the file, as it does where a file is gone or private" in refused(destination)
    assert left(destination) == set()


def test_a_private_file(drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].page = "private"
    assert "as it does where a file is gone or private: Cannot retrieve the public link" in refused(destination)
    assert drive.requests[-1].host == ACCOUNTS
    assert left(destination) == set()


def test_an_error_of_the_server(drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].page = "error"
    assert "a web page instead of the file" in refused(destination)
    assert left(destination) == set()


def test_a_web_page_that_claims_to_be_the_file_is_not_kept(drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].page = "attachment"
    message = refused(destination)
    assert "what came was not kept: this looks like a web page, not a checkpoint" in message
    assert ".download" not in message  # nothing is left there
    assert left(destination) == set()
    drive.files["ID"].page = None
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES


def test_an_answer_that_gdown_does_not_understand(drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].page = "untyped"
    assert "gdown makes no sense of the answer" in refused(destination)
    assert left(destination) == set()


def test_a_damaged_file_is_not_kept(drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].content = CONTENT_BYTES[:-4000]  # whole as far as HTTP knows
    assert "what came was not kept: begins as a zip archive but is cut off or damaged" in refused(destination)
    assert left(destination) == set()


def test_drive_cannot_be_reached(drive: DriveServer, destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # where nobody listens
    assert "Google Drive cannot be reached: " in refused(destination)
    assert left(destination) == set()


def test_a_certificate_of_somebody_else(drive: DriveServer, destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert "Google Drive cannot be reached: " in refused(destination)
    assert drive.requests == []


def test_offline_nothing_is_asked(drive: DriveServer, destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    assert f"HF_HUB_OFFLINE is set, and there is no {destination}" in refused(destination)
    assert drive.requests == []
    destination.parent.mkdir(parents=True)
    destination.write_bytes(CONTENT_BYTES)
    assert fetch_drive_file("ID", destination) == destination


# Interruptions


@pytest.mark.parametrize("page", [None, "scan"])
@pytest.mark.parametrize("kind", EVERY_FORMAT)
def test_a_cut_download_is_continued(kind: str, page: Any, drive: DriveServer, destination: Path) -> None:
    drive.files["ID"] = DriveFile(EVERY_FORMAT[kind], page=page, cuts={0: PIECE + 1000})
    message = refused(destination)
    assert "the connection to Google Drive broke off: " in message
    begun = partial_file(destination)
    assert begun is not None
    size = begun.stat().st_size
    assert f"{size} bytes of it are kept in {begun.parent}, and the next try goes on from there" in message
    assert fetch_drive_file("ID", destination).read_bytes() == EVERY_FORMAT[kind]
    assert PIECE <= size == drive.requests[-1].start
    assert left(destination) == {"ID"}


def test_a_download_is_continued_as_often_as_it_takes(drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].cuts = {0: PIECE, PIECE: PIECE}
    for _ in range(2):
        refused(destination)
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES
    assert [asked.start for asked in drive.downloads if asked.start] == [PIECE, 2 * PIECE]


def test_a_cut_before_anything_came_leaves_what_there_was(drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].cuts = {0: PIECE, PIECE: 0}
    for _ in range(2):
        assert f"{PIECE} bytes of it are kept" in refused(destination)
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES
    assert drive.requests[-1].start == PIECE


def test_quota_spent_in_between_leaves_what_there_was(drive: DriveServer, destination: Path) -> None:
    drive.files["ID"].cuts = {0: PIECE}
    refused(destination)
    drive.files["ID"].page = "quota"
    message = refused(destination)
    assert "quota for this file is spent" in message
    assert f"{PIECE} bytes of it are kept" in message
    drive.files["ID"].page = None
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES
    assert drive.requests[-1].start == PIECE


def test_a_killed_download_is_continued(drive: DriveServer, destination: Path) -> None:
    go_on = threading.Event()
    drive.files["ID"] = DriveFile(CONTENT_BYTES, cuts={0: PIECE + PIECE // 2}, stalled=go_on)
    child = in_child(partial(fetch_drive_file, "ID", destination))
    wait_until(lambda: (found := partial_file(destination)) is not None and found.stat().st_size)
    child.kill()
    child.join()
    go_on.set()
    assert child.exitcode == -signal.SIGKILL
    assert not destination.exists()
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES
    assert [asked.start for asked in drive.downloads] == [None, None, PIECE]
    assert left(destination) == {"ID"}


@pytest.mark.parametrize("name", ["checkpoint", "checkpointabcd1234.part"])
def test_a_process_killed_behind_the_last_byte_has_not_worked_in_vain(
    name: str, drive: DriveServer, destination: Path
) -> None:
    scratch = destination.with_name(".ID.download")
    scratch.mkdir(parents=True)
    (scratch / name).write_bytes(CONTENT_BYTES)
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES
    assert drive.requests == []
    assert left(destination) == {"ID"}


@pytest.mark.parametrize("name", ["checkpoint", "checkpointabcd1234.part"])
@pytest.mark.parametrize(
    "rubbish", [b"", b"a few bytes", b"<!DOCTYPE html>" * 9000, CONTENT_BYTES + CONTENT_BYTES[:PIECE]]
)
def test_rubbish_that_lies_there_does_no_harm(rubbish: bytes, name: str, drive: DriveServer, destination: Path) -> None:
    scratch = destination.with_name(".ID.download")
    scratch.mkdir(parents=True)
    (scratch / name).write_bytes(rubbish)
    (scratch / "checkpointefgh5678.part").write_bytes(rubbish[:-1])  # two at once stop gdown
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES
    assert left(destination) == {"ID"}


@pytest.mark.parametrize("kind", EVERY_FORMAT)
def test_a_server_that_ignores_ranges_sends_the_file_anew(kind: str, drive: DriveServer, destination: Path) -> None:
    drive.files["ID"] = DriveFile(EVERY_FORMAT[kind], cuts={0: PIECE}, resumable=False)
    refused(destination)
    assert fetch_drive_file("ID", destination).read_bytes() == EVERY_FORMAT[kind]
    assert PIECE in [asked.start for asked in drive.requests]
    assert left(destination) == {"ID"}


@pytest.mark.parametrize("status", [HTTPStatus.FORBIDDEN, HTTPStatus.INTERNAL_SERVER_ERROR])
def test_a_server_that_refuses_ranges_sends_the_file_anew(
    status: HTTPStatus, drive: DriveServer, destination: Path
) -> None:
    drive.files["ID"] = DriveFile(CONTENT_BYTES, cuts={0: PIECE}, range_status=status)
    refused(destination)
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES
    assert left(destination) == {"ID"}


# Several processes


def test_ten_processes_make_one_download(drive: DriveServer, destination: Path) -> None:
    together = FORK.Barrier(10)

    def fetch() -> None:
        together.wait()
        assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES

    children = [in_child(fetch) for _ in range(10)]
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 10
    assert len(drive.downloads) == 1
    assert left(destination) == {"ID"}


def test_who_waits_says_so_once(drive: DriveServer, destination: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ila_models")
    destination.parent.mkdir(parents=True)
    with FileLock(destination.with_name(".ID.lock")):
        waiting = threading.Thread(target=fetch_drive_file, args=("ID", destination))
        waiting.start()
        wait_until(lambda: caplog.messages)
        destination.write_bytes(CONTENT_BYTES)  # the other process is done
        time.sleep(0.2)
    waiting.join()
    assert caplog.messages == [f"another process is at work on {destination}: waiting for it"]
    assert drive.requests == []


# What cannot be written


def with_small_disk(folder: Path, answer: Path) -> None:
    """Mounts a disk of 700 KB on a folder, for this process alone, and downloads to it."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_user, new_mounts = 0x10000000, 0x00020000
    if libc.unshare(new_mounts if os.geteuid() == 0 else new_mounts | new_user) != 0:
        return
    mounted = subprocess.run(
        f"mount --make-rprivate / && mount -t tmpfs -o size=700k none '{folder}'", shell=True, capture_output=True
    )
    if mounted.returncode != 0:
        return
    answer.write_text(refused(folder / "ID"))


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk for one process")
def test_a_full_disk(drive: DriveServer, tmp_path: Path) -> None:
    folder, answer = tmp_path / "disk", tmp_path / "answer"
    folder.mkdir()
    child = in_child(partial(with_small_disk, folder, answer))
    child.join(60)
    assert child.exitcode == 0
    if not answer.exists():
        pytest.skip("no disk can be mounted here")
    message = answer.read_text()
    assert f"no room for it on the disk of {folder}, where 0 bytes are free" in message
    assert f"bytes of it are kept in {folder / '.ID.download'}, and the next try goes on from there" in message


def test_room_that_is_made_lets_a_download_go_on(
    drive: DriveServer, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = gdown.download

    def fill_the_disk(*, output: str, **options: Any) -> None:
        Path(f"{output}abcd1234.part").write_bytes(CONTENT_BYTES[:PIECE])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("gdown.download", fill_the_disk)
    message = refused(destination)
    assert "no room for it on the disk of" in message
    assert f"{PIECE} bytes of it are kept" in message
    monkeypatch.setattr("gdown.download", download)
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES
    assert drive.requests[-1].start == PIECE


def with_small_files(destination: Path, answer: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (PIECE, PIECE))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    answer.write_text(refused(destination))


def test_a_limit_on_the_size_of_files(drive: DriveServer, destination: Path, tmp_path: Path) -> None:
    child = in_child(partial(with_small_files, destination, tmp_path / "answer"))
    child.join(60)
    assert child.exitcode == 0
    message = (tmp_path / "answer").read_text()
    assert f"it cannot be written in {destination.parent}: [Errno {errno.EFBIG}]" in message
    assert f"{PIECE} bytes of it are kept" in message
    assert fetch_drive_file("ID", destination).read_bytes() == CONTENT_BYTES


def test_a_folder_that_cannot_be_made(drive: DriveServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert f"it cannot be written in {tmp_path / 'cache'}: " in refused(tmp_path / "cache" / "ID")
    assert drive.requests == []


# What is shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "disabled", "shown"),
    [(Terminal, False, True), (Terminal, True, False), (io.StringIO, False, False), (None, False, False)],
)
def test_progress_is_shown_on_terminals_only(
    stream: type[io.StringIO] | None,
    disabled: bool,
    shown: bool,
    drive: DriveServer,
    destination: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stderr = stream() if stream else None
    monkeypatch.setattr(sys, "stderr", stderr)
    before = are_progress_bars_disabled()
    (disable_progress_bars if disabled else enable_progress_bars)()
    try:
        fetch_drive_file("ID", destination)
    finally:
        (disable_progress_bars if before else enable_progress_bars)()
    written = stderr.getvalue() if stderr else ""
    assert ("100%" in written) is shown
    assert bool(written) is shown
    assert capfd.readouterr() == ("", "")


def test_the_hash_is_logged(drive: DriveServer, destination: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ila_models")
    fetch_drive_file("ID", destination)
    (message,) = caplog.messages
    assert message.startswith(f"{destination}: sha256 ")
