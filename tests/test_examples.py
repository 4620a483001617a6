"""The examples, as their README runs them, on videos that are made for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from ila_models.data.motion import write_motion_videos

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments, "--model", "ila_vit_nano8"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples") / "videos"
    write_motion_videos(folder, count=200, seed=1)
    return folder


def test_search_finds_videos_of_the_same_motion(videos: Path) -> None:
    query = sorted((videos / "growing").iterdir())[0]
    (videos / "broken.mp4").write_text("no video")
    lines = run("search.py", str(videos), "--query", str(query), "--top", "6", "--workers", "0").splitlines()
    (videos / "broken.mp4").unlink()
    assert re.match(r"left out: .*broken\.mp4", lines[0])
    found = [line.split("  ")[-1] for line in lines[2:]]
    assert found[0] == str(query)  # itself
    assert sum("/growing/" in path for path in found) >= 5


def test_a_linear_probe_tells_the_motions_apart(videos: Path) -> None:
    said = run("linear_probe.py", str(videos))
    accuracy, tested, trained = re.match(r"([\d.]+)% of (\d+) videos right, trained on (\d+)", said).groups()
    assert (tested, trained) == ("40", "160")
    assert float(accuracy) >= 80


def test_features_for_localisation(videos: Path, tmp_path: Path) -> None:
    command = ("localisation_features.py", str(videos), "--out", str(tmp_path), "--window", "0.5", "--stride", "0.25")
    assert run(*command, "--workers", "1") == f"200 videos in {tmp_path}\n"
    windows = json.loads((tmp_path / "windows.json").read_text())
    assert len(windows) == 200
    for name, spans in windows.items():
        assert numpy.load(tmp_path / f"{name}.npy").shape == (len(spans), 128)
        assert spans[0] == [0.0, 0.5]
    name = sorted(windows)[0]
    before = (tmp_path / f"{name}.npy").stat().st_mtime_ns
    (tmp_path / "windows.json").write_text(json.dumps({each: windows[each] for each in list(windows)[:199]}))
    assert run(*command, "--workers", "0") == f"200 videos in {tmp_path}\n"
    assert json.loads((tmp_path / "windows.json").read_text()).keys() == windows.keys()
    assert (tmp_path / f"{name}.npy").stat().st_mtime_ns == before
