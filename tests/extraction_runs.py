"""Folders of videos to extract from, the command as a user runs it, and what it leaves on the disk."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

from clips import write_clip

from ila_models.data.motion import write_motion_videos

BROKEN = 10
TAR_HEADERS = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}


def write_videos(folder: Path, *, count: int) -> Path:
    """Motion videos, a long one, and ten that are broken in five ways."""
    write_motion_videos(folder, count=count, seed=1)
    write_clip(folder / "long.mp4", frames=400, fps=10)
    whole = sorted(folder.glob("*/*.mp4"))[0].read_bytes()
    for number in range(BROKEN // 5):
        (folder / f"empty-{number}.mp4").write_bytes(b"")
        (folder / f"text-{number}.mp4").write_text("no video")
        (folder / f"cut-{number}.mp4").write_bytes(whole[: len(whole) // (2 + number)])
        (folder / f"noise-{number}.mp4").write_bytes(random.Random(number).randbytes(5000))
        (folder / f"zeros-{number}.avi").write_bytes(bytes(3000 + number))
    return folder


def command(videos: Path, out: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "ila_models", "--quiet", "extract", str(videos), "--model", "ila_vit_nano8"]
    return [*program, "--device", "cpu", "--workers", "2", "--out", str(out), *more]


def run(arguments: Sequence[str], **environment: str) -> str:
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=600, env={**os.environ, **environment, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_and_kill(arguments: Sequence[str], out: Path, *, after_pieces: int, and_seconds: float) -> bool:
    """Kills the command and all its processes once it has written so many pieces, and some time has passed.

    Returns:
        Whether it was still at work.
    """
    wanted = count_pieces(out) + after_pieces
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and count_pieces(out) < wanted:
        time.sleep(0.005)
    time.sleep(and_seconds)
    if is_at_work := process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return is_at_work


def count_pieces(out: Path) -> int:
    return sum(1 for _ in out.glob(".extraction/records/*/*.parquet"))


def contents(out: Path) -> dict[str, bytes]:
    """All files but locks, by their paths."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def pack(path: Path, members: Sequence[tuple[str, bytes]], headers: str) -> Path:
    """A tar file of members, with headers of one of the formats."""
    with tarfile.open(path, "w", format=TAR_HEADERS[headers], encoding="utf-8", errors="surrogateescape") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
