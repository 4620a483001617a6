"""``ila-models visualize``, and the pictures of the docs, which it can draw again."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import CLIP_CONFIG, name_architecture, openai_clip, write_plain
from clips import write_clip
from PIL import Image

from ila_models.cli.main import main

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program")
    write_plain(folder / "clip.pt", openai_clip().state_dict())
    for name in ("a.mp4", "more/a.mp4"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_clip(folder / name, frames=12)
    (folder / "broken.mp4").write_bytes(b"not a video " * 100)
    return folder


@pytest.fixture
def program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    name_architecture("ila_vit_tiny_clip", CLIP_CONFIG, monkeypatch)
    monkeypatch.chdir(folder)
    weights = ("--model", "ila_vit_tiny_clip", "--checkpoint", "clip.pt", "--classes", "surfing,tai chi")

    def run(*arguments: str) -> int:
        return main(["visualize", *arguments, *weights])

    return run


def test_the_program_goes_on_past_a_broken_video(
    program: Any, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert (
        program("a.mp4", "broken.mp4", "more/a.mp4", "--blocks", "0", "--num-frames", "2", "--out", str(tmp_path)) == 1
    )
    said = capsys.readouterr()
    assert "failed: broken.mp4" in said.err
    assert "1 of 3 videos failed" in said.err
    names = ["contact_sheet_light.png", "points_light.gif", "points_light.mp4", "rollout_light.png"]
    names += ["timeline_light.png"]
    for name in ("a", "a-2"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == names
        assert str(tmp_path / name / "points_light.gif") in said.out.splitlines()
    assert not (tmp_path / "broken").exists()


def test_any_error_of_a_video_is_that_video_s(
    program: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("ila_models.cli.visualize.capture_video", fail)
    assert program("a.mp4", "more/a.mp4", "--out", str(tmp_path)) == 1
    failures = ["failed: a.mp4: MemoryError", "failed: more/a.mp4: MemoryError", "2 of 2 videos failed"]
    assert capsys.readouterr().err.splitlines()[-3:] == failures


def test_the_program_draws_both_themes(program: Any, tmp_path: Path) -> None:
    both = ("--theme", "both", "--blocks", "0", "--num-frames", "2", "--window", "0.2")
    assert program("a.mp4", *both, "--out", str(tmp_path)) == 0
    assert len(list((tmp_path / "a").glob("*_dark.*"))) == len(list((tmp_path / "a").glob("*_light.*"))) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--blocks", "0,9"], "blocks 9 are out of range: the model has blocks 0 to"),
        (["--blocks=-1"], "blocks -1 are out of range"),
        (["--blocks", "first"], "'first' is not a list of block numbers"),
        (["--stride", "1"], "stride=1.0 without a window"),
        (["--topk", "0"], "--topk 0 is out of range"),
    ],
)
def test_the_program_refuses_before_it_reads_a_video(
    arguments: list[str], message: str, program: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    try:
        status = program("a.mp4", *arguments, "--out", str(tmp_path))
    except SystemExit as left:  # argparse leaves so
        status = left.code
    assert status in (1, 2)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# The docs


def test_the_pictures_of_the_docs_can_be_drawn_again(tmp_path: Path) -> None:
    runpy.run_path(str(DOCS / "draw_points.py"))["draw"](tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert len(drawn) == 8
    page = (DOCS / "visualize.md").read_text(encoding="utf-8")
    for name in drawn:
        assert f"pictures/{name}" in page
        committed = Image.open(DOCS / "pictures" / name)
        again = Image.open(tmp_path / name)
        # matplotlib's letters differ from version to version by some pixels.
        assert np.abs(np.subtract(again.size, committed.size)).max() <= 8
        assert (tmp_path / name).stat().st_size < 600_000
