"""What becomes of processes in the tests: killed at a certain moment, or at the end of their disk."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Children are forked, because to import torch once more takes seconds.
FORK = multiprocessing.get_context("fork")


def in_child(function: Callable[[], object]) -> multiprocessing.process.BaseProcess:
    """Runs a function in a child, which exits with 1 where it raises, and else with what it returns."""
    child = FORK.Process(target=lambda: sys.exit(function()), daemon=True)
    child.start()
    return child


def die_before(event: str, path: str) -> None:
    """From now on, a signal that cannot be caught ends this process just before it does this to such a file.

    Python announces what it is about to do with files to those who have asked once and for all: this is for children.
    """

    def hear(found: str, arguments: tuple[Any, ...]) -> None:
        if found == event and re.search(path, str(arguments[0])):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)


def use_small_disk(folder: Path, size: str) -> bool:
    """Mounts a disk of that size on a folder, for this process alone; says whether that may be done here."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    new_user, new_mounts = 0x10000000, 0x00020000
    if libc.unshare(new_mounts if os.geteuid() == 0 else new_mounts | new_user) != 0:
        return False
    mount = f"mount --make-rprivate / && mount -t tmpfs -o size={size} none '{folder}'"
    return subprocess.run(mount, shell=True, capture_output=True).returncode == 0


def enlarge_disk(folder: Path) -> None:
    """Makes room on it for whatever comes."""
    subprocess.run(["mount", "-o", "remount,size=256m", str(folder)], check=True)
