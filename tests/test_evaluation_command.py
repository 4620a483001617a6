"""``ila-models evaluate``: what it prints and writes, what it refuses, and which GPU a process takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from checkpoint_files import CLIP_CONFIG, name_architecture, openai_clip, write_plain
from clips import write_clip

from ila_models import create_model
from ila_models.cli.main import main
from ila_models.predict import predict_probabilities

WORDS = ("surfing", "tai chi", "arm wrestling")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of nine videos, one of them broken, a list of them, and CLIP's weights."""
    folder = tmp_path_factory.mktemp("workplace")
    lines = []
    for number in range(9):
        label = number % 3
        path = folder / "videos" / WORDS[label].replace(" ", "_") / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, frames=10 + number)
        lines.append(f"{path.relative_to(folder / 'videos')} {label}\n")
    path.write_bytes(b"broken")
    (folder / "list.txt").write_text("".join(lines))
    (folder / "classes.txt").write_text("\n".join(WORDS))
    write_plain(folder / "clip.pt", openai_clip().state_dict())
    return folder


@pytest.fixture
def program(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    name_architecture("ila_vit_tiny_clip", CLIP_CONFIG, monkeypatch)
    monkeypatch.chdir(workplace)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        weights = ("--model", "ila_vit_tiny_clip", "--checkpoint", "clip.pt")
        status = main(["evaluate", *weights, "--data", "videos", "--workers", "0", *arguments])
        return status, *capsys.readouterr()

    return run


def test_command(program: Any, workplace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--annotations", "list.txt", "--classes", "classes.txt", "--views", "2x3", "--out", str(out))
    status, text, progress = program(*arguments)
    assert status == 0
    assert re.search(r"100%\|.* 9/9 .*top-1 \d+\.\d%, 1 broken", progress)
    assert text.startswith("ila_vit_tiny_clip on 9 videos, 2x3 views\n")
    assert "1 videos are broken and not counted above" in text
    assert re.search(r"broken videos\n  arm_wrestling/8\.mp4: .*not a video", text)
    model = create_model("ila_vit_tiny_clip", checkpoint_path="clip.pt", class_names=list(WORDS))
    right = sum(
        int(predict_probabilities(model, f"videos/{path}", clips=2, crops=3).argmax()) == int(label)
        for path, label in (line.rsplit(" ", 1) for line in (workplace / "list.txt").read_text().splitlines()[:8])
    )
    assert f"({right} of 8)" in text
    saved = json.loads((out / "report.json").read_text())
    assert (saved["correct_top1"], saved["decoded"], saved["settings"]["class_names"]) == (right, 8, list(WORDS))
    assert (out / "per_class.csv").read_text().startswith("index,name,videos,broken,")
    status, text, _ = program(*arguments, "--json")  # nothing is left to do
    assert status == 0
    assert json.loads(text) == saved


def test_command_on_class_folders(program: Any) -> None:
    listed = json.loads(program("--annotations", "list.txt", "--classes", "classes.txt", "--json")[1])
    status, text, _ = program("--classes", "classes.txt", "--json")
    found = json.loads(text)
    assert status == 0
    assert found["correct_top1"] == listed["correct_top1"]
    assert [each["videos"] for each in found["classes"]] == [each["videos"] for each in listed["classes"]] == [3, 3, 2]
    status, text, _ = program("--json")  # CLIP is told the folders' names
    found = json.loads(text)
    assert status == 0
    assert [each["name"] for each in found["classes"]] == ["arm_wrestling", "surfing", "tai_chi"]
    assert [each["videos"] for each in found["classes"]] == [2, 3, 3]


def test_command_takes_a_part(program: Any) -> None:
    status, text, _ = program("--json", "--limit", "3", "--views-mode", "random", "--seed", "7")
    found = json.loads(text)
    assert status == 0
    assert (found["videos"], found["settings"]["seed"], found["settings"]["views_mode"]) == (3, 7, "random")


def test_quiet_command(program: Any, capsys: pytest.CaptureFixture[str]) -> None:
    weights = ("--model", "ila_vit_tiny_clip", "--checkpoint", "clip.pt")
    assert main(["--quiet", "evaluate", *weights, "--data", "videos", "--workers", "0", "--limit", "3"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--annotations", "gone.txt"), "no such file: gone.txt"),
        (("--annotations", "classes.txt"), "classes.txt: 3 problems:"),
        (("--annotations", "list.txt"), "the model has no classes"),
        (("--limit", "0"), "0 videos are too few"),
        (("--batch-size", "0"), "batch_size=0"),
        (("--out", "list.txt"), "list.txt"),
    ],
)
def test_command_refuses(program: Any, arguments: tuple[str, ...], said: str) -> None:
    status, text, errors = program(*arguments)
    assert status == 1
    assert text == ""
    assert "ila-models: error: " in errors
    assert said in errors


def test_one_gpu_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from ila_models.cli.processes import process_device

    assert process_device("cpu") == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert process_device("cpu") == "cpu"
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert process_device("auto") == process_device("cuda") == "cuda:1"
    assert process_device("cuda:0") == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 2 of this machine has no GPU, torch sees 2: start 2 processes"):
        process_device("auto")
    # SLURM's tasks: all GPUs are shown to each, or one only.
    monkeypatch.setenv("SLURM_LOCALID", "1")
    monkeypatch.delenv("LOCAL_RANK")
    assert process_device("auto") == "cuda:1"
    monkeypatch.setenv("SLURM_GPUS_PER_TASK", "2")
    assert process_device("auto") == "cuda"
    monkeypatch.delenv("SLURM_GPUS_PER_TASK")
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    assert process_device("auto") == "cuda"
