"""The app as a process of its own, and a browser without a window to use it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_PATIENCE = 120.0  # seconds: a busy machine imports torch and gradio slowly


@dataclass(frozen=True, kw_only=True)
class RunningApp:
    """An app that answers.

    Attributes:
        url: Its address, with a slash at the end.
        process: Which it is.
        temporary: The folder that its system gives it for temporary files.
        said: What it has written so far, line by line.
    """

    url: str
    process: subprocess.Popen[str]
    temporary: Path
    said: list[str]


@contextmanager
def running(command: Sequence[str], folder: Path, **environment: str) -> Iterator[RunningApp]:
    """Runs Python with a command that serves on ``GRADIO_SERVER_PORT``, without a network, until the context ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = folder / "temporary"
    temporary.mkdir()
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "TMPDIR": str(temporary),
        "GRADIO_SERVER_PORT": str(port),
        **environment,
    }
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    assert process.stdout is not None
    threading.Thread(target=said.extend, args=(process.stdout,), daemon=True).start()
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_for(url, process, said)
        yield RunningApp(url=url, process=process, temporary=temporary, said=said)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_for(url: str, process: subprocess.Popen[str], said: list[str]) -> None:
    """Returns when the app answers."""
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        assert process.poll() is None, "".join(said)
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"no answer in {_PATIENCE} seconds: {''.join(said)}")


def find_chromium() -> str:
    """Chromium's path: ``ILA_MODELS_CHROMIUM``, or what is on the PATH; the test is skipped where there is none.

    With ``ILA_MODELS_REQUIRE_BROWSER=1``, as .ci/run has it, it fails instead.
    """
    named = os.environ.get("ILA_MODELS_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("ILA_MODELS_REQUIRE_BROWSER") == "1":
        pytest.fail("there is no Chromium: install it, or set ILA_MODELS_CHROMIUM to its path")
    if found is None:
        pytest.skip("there is no Chromium: install it, or set ILA_MODELS_CHROMIUM to its path")
    return found
