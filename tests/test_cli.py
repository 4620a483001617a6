"""The program: what it prints, what it refuses, and its exit status. Small models, and one of a real size."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpoint_files import (
    CLIP_CONFIG,
    RELEASED_CONFIG,
    name_architecture,
    openai_clip,
    timm_clip,
    write_plain,
)
from clips import write_clip
from released import released_state

from ila_models import __version__, create_model, info, list_pretrained, predict_video
from ila_models.cli.main import main, parse
from ila_models.predict import predict_probabilities
from ila_models.weights.recognise import read_checkpoint

NAMES = ["surfing", "tai chi", "arm wrestling"]
CLASSES = ",".join(NAMES)


class Program:
    """Runs command lines in this process, in a folder with the files that they need."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.status = 0
        self.out = ""
        self.err = ""

    def __call__(self, *arguments: str) -> int:
        self._capsys.readouterr()
        try:
            self.status = main(list(arguments))
        except SystemExit as left:  # argparse leaves so
            self.status = int(left.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return self.status

    def predict(self, *arguments: str) -> int:
        """With the small CLIP's weights and three classes."""
        weights = ("--model", "ila_vit_tiny_clip", "--checkpoint", "clip.pt")
        classes = () if "--classes" in arguments else ("--classes", CLASSES)
        return self("predict", *arguments, *weights, *classes)

    @property
    def records(self) -> list[dict[str, Any]]:
        """What ``--json`` printed."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints and videos, good and bad, which no test changes."""
    folder = tmp_path_factory.mktemp("files")
    write_plain(folder / "clip.pt", openai_clip().state_dict())
    write_plain(folder / "image.pt", timm_clip().state_dict())
    write_plain(folder / "ssv2.pth", released_state("ssv2_tiny"))
    write_clip(folder / "a.mp4", frames=20)
    (folder / "broken.mp4").write_bytes(b"not a video " * 100)
    (folder / "folder" / "deeper").mkdir(parents=True)
    write_clip(folder / "folder" / "c.webm", codec="libvpx-vp9", frames=12)
    shutil.copy(folder / "a.mp4", folder / "folder" / "deeper" / "B.MP4")
    (folder / "folder" / "notes.txt").write_text("not a video")
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _names() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        name_architecture("ila_vit_tiny", RELEASED_CONFIG, monkeypatch)
        name_architecture("ila_vit_tiny_clip", CLIP_CONFIG, monkeypatch)
        yield


@pytest.fixture
def program(files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.chdir(files)
    return Program(files, capsys)


# predict


def test_predict_prints_a_table(program: Program) -> None:
    assert program.predict("a.mp4") == 0
    model = create_model("ila_vit_tiny_clip", checkpoint_path="clip.pt", class_names=NAMES)
    expected = [f"  {each.probability:6.1%}  {each.label}" for each in predict_video(model, "a.mp4")]
    assert program.out.splitlines() == ["a.mp4", *expected]
    assert "recognised as CLIP in the layout of OpenAI" in program.err


def test_predict_prints_json(program: Program) -> None:
    assert program.predict("a.mp4", "folder/c.webm", "--json") == 0
    assert [record["video"] for record in program.records] == ["a.mp4", "folder/c.webm"]
    for record in program.records:
        predictions = record["predictions"]
        assert {each["index"]: each["label"] for each in predictions} == dict(enumerate(NAMES))
        probabilities = [each["probability"] for each in predictions]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("form", ["table", "json"])
def test_bad_files_among_good_ones(program: Program, form: str) -> None:
    videos = ["gone.mp4", "a.mp4", "broken.mp4", "folder/c.webm"]
    assert program.predict(*videos, *(["--json"] if form == "json" else [])) == 1
    *_, first, second, last = program.err.splitlines()
    assert first.startswith("failed: gone.mp4: ")
    assert second.startswith("failed: broken.mp4 is not a video that can be read")
    assert last == "2 of 4 videos failed"
    if form == "table":
        assert [line for line in program.out.splitlines() if not line.startswith(" ")] == ["a.mp4", "folder/c.webm"]
    else:
        assert [record["video"] for record in program.records] == videos
        assert ["error" in record for record in program.records] == [True, False, True, False]
        assert f"failed: gone.mp4: {program.records[0]['error']}" == first


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("CUDA error: out of memory"), "CUDA error: out of memory"),
        (MemoryError(), "MemoryError"),
        (TypeError("frames of no kind"), "frames of no kind"),
    ],
)
def test_any_error_of_a_video_is_that_video_s(
    error: Exception, reason: str, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(model: Any, source: str, **options: Any) -> Any:
        if source != "a.mp4":
            raise error
        return predict_video(model, source, **options)

    monkeypatch.setattr("ila_models.cli.predict.predict_video", fail)
    assert program.predict("b.mp4", "a.mp4", "c.mp4", "--json") == 1
    assert [record.get("error") for record in program.records] == [reason, None, reason]
    assert program.records[1]["predictions"]
    failures = [f"failed: b.mp4: {reason}", f"failed: c.mp4: {reason}", "2 of 3 videos failed"]
    assert program.err.splitlines()[-3:] == failures


def test_directory(program: Program) -> None:
    assert program.predict("folder", "a.mp4", "--json") == 0
    assert [record["video"] for record in program.records] == ["folder/c.webm", "folder/deeper/B.MP4", "a.mp4"]
    assert program.records[1]["predictions"] == program.records[2]["predictions"]


def test_hidden_files_of_a_directory_are_left_out(program: Program, tmp_path: Path) -> None:
    (tmp_path / ".trash").mkdir()
    for name in ("._a.mp4", ".trash/a.mp4", "a.mp4"):
        shutil.copy("a.mp4", tmp_path / name)
    (tmp_path / "up").symlink_to(tmp_path)
    assert program.predict(f"{tmp_path}/", "--json") == 0
    assert [record["video"] for record in program.records] == [f"{tmp_path}/a.mp4"]


def test_empty_directory(program: Program) -> None:
    assert program.predict("a.mp4", "empty") == 1
    assert program.out == ""
    assert re.search(r"error: empty: no video file in this directory \(looked for \.3gp,", program.err)


def test_classes_from_a_file(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text("\n surfing \n\ntai chi, slowly\nkämpfen\n", encoding="utf-8")
    assert program.predict("a.mp4", "--json", "--classes", f"@{file}") == 0
    assert {each["label"] for each in program.records[0]["predictions"]} == {"surfing", "tai chi, slowly", "kämpfen"}


def test_classes_from_the_released_code_s_table(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text('id,name\n0,abseiling\n1,"riding, or walking, with horse"\n2,zumba\n', encoding="utf-8-sig")
    assert program.predict("a.mp4", "--json", "--classes", f"@{file}") == 0
    found = {each["label"] for each in program.records[0]["predictions"]}
    assert found == {"abseiling", "riding, or walking, with horse", "zumba"}


def test_blanks_round_classes_do_not_count(program: Program) -> None:
    assert program.predict("a.mp4", "--json", "--classes", " surfing ,tai chi") == 0
    spaced = program.records
    program.predict("a.mp4", "--json", "--classes", "surfing,tai chi")
    assert spaced == program.records


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        ("", "class names are empty"),
        ("surfing,,tai chi", "positions [1] are blank"),
        ("surfing,tai chi,surfing", "class names are repeated: 'surfing'"),
        ("@gone.txt", "gone.txt"),
        ("@empty/nothing.txt", "nothing.txt"),
    ],
)
def test_bad_classes(program: Program, classes: str, reason: str) -> None:
    assert program.predict("a.mp4", "--classes", classes) == 1
    assert program.out == ""
    assert program.err.splitlines()[-1].startswith("ila-models: error: ")
    assert reason in program.err


def test_no_classes(program: Program) -> None:
    assert program("predict", "a.mp4", "--model", "ila_vit_tiny_clip", "--checkpoint", "clip.pt") == 1
    assert program.out == ""
    assert "no classes" in program.err


def test_linear_head(program: Program) -> None:
    model = ("--model", "ila_vit_tiny", "--checkpoint", "ssv2.pth")
    assert program("predict", "a.mp4", *model, "--topk", "2") == 0
    assert re.fullmatch(r"a\.mp4(\n +\d+\.\d%  \d+){2}\n", program.out)  # the file does not know its classes' names
    assert program("predict", "a.mp4", *model, "--classes", CLASSES) == 1
    assert program.out == ""
    assert "linear head, which cannot take new class names" in program.err


@pytest.mark.parametrize(("views", "clips", "crops"), [("1x1", 1, 1), ("2x3", 2, 3), ("2x1", 2, 1)])
def test_views(program: Program, views: str, clips: int, crops: Any) -> None:
    assert program.predict("a.mp4", "--json", "--views", views) == 0
    model = create_model("ila_vit_tiny_clip", checkpoint_path="clip.pt", class_names=NAMES)
    expected = predict_probabilities(model, "a.mp4", clips=clips, crops=crops)
    found = {each["index"]: each["probability"] for each in program.records[0]["predictions"]}
    assert found == pytest.approx(dict(enumerate(expected.tolist())), abs=1e-6)


@pytest.mark.parametrize("views", ["4", "x3", "4x", "4x2", "0x1", "-1x1", "4x3x1", "4 x 3", "four", ""])
def test_bad_views(program: Program, views: str) -> None:
    assert program.predict("a.mp4", f"--views={views}") == 2
    assert "is not CLIPSxCROPS: at least 1 clip, 1 or 3 crops, such as 4x3" in program.err


@pytest.mark.parametrize(("topk", "count"), [(1, 1), (3, 3), (10, 3)])
def test_topk(program: Program, topk: int, count: int) -> None:
    assert program.predict("a.mp4", "--json", "--topk", str(topk)) == 0
    assert len(program.records[0]["predictions"]) == count


@pytest.mark.parametrize(
    ("option", "value", "status", "reason"),
    [
        ("--topk", "0", 1, "--topk 0 is out of range: give at least 1"),
        ("--topk", "many", 2, "--topk"),
        ("--num-frames", "1", 1, "num_frames=1 is out of range"),
        ("--device", "nonsense", 1, "nonsense"),
        ("--text-tower", "image.pt", 1, "holds no text tower"),
        ("--text-tower", "gone.pt", 1, "gone.pt"),
    ],
)
def test_bad_options(program: Program, option: str, value: str, status: int, reason: str) -> None:
    assert program.predict("a.mp4", option, value) == status
    assert program.out == ""
    assert reason in program.err.splitlines()[-1]


def test_frames(program: Program) -> None:
    assert program.predict("a.mp4", "--json", "--num-frames", "5") == 0
    model = create_model("ila_vit_tiny_clip", checkpoint_path="clip.pt", class_names=NAMES, num_frames=5)
    assert program.records[0]["predictions"][0]["label"] == predict_video(model, "a.mp4")[0].label


def test_text_tower(program: Program) -> None:
    image_only = ("predict", "a.mp4", "--model", "ila_vit_tiny_clip", "--checkpoint", "image.pt", "--classes", CLASSES)
    assert program(*image_only) == 1
    assert "--text-tower FILE" in program.err
    assert program(*image_only, "--text-tower", "clip.pt", "--json") == 0
    assert len(program.records[0]["predictions"]) == 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ila_vit_b61", "unknown model 'ila_vit_b61': did you mean ila_vit_b16 or"),
        ("resnet", "unknown model 'resnet': "),
        ("ila_vit_b16.imagenet", "ila_vit_b16 has no tag 'imagenet': its tags are k400_8x224,"),
    ],
)
@pytest.mark.parametrize("command", [["predict", "a.mp4", "--model"], ["info"]])
def test_unknown_model(program: Program, command: list[str], name: str, reason: str) -> None:
    assert program(*command, name) == 1
    assert program.out == ""
    assert program.err.startswith(f"ila-models: error: {reason}")


def test_no_checkpoint(program: Program) -> None:
    assert program("predict", "a.mp4", "--model", "ila_vit_tiny", "--checkpoint", "gone.pth") == 1
    assert "error: checkpoint 'gone.pth': no such file, and not a Hub id" in program.err


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_a_file_name_that_is_not_text(program: Program, tmp_path: Path) -> None:
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")
    shutil.copy("a.mp4", strange)
    assert program.predict(strange, "a.mp4", "--json") == 0
    assert len(program.records) == 2


# convert


def test_convert(program: Program, tmp_path: Path) -> None:
    out = str(tmp_path / "out.safetensors")
    assert program("convert", "clip.pt", out) == 0
    layout = read_checkpoint("clip.pt").layout
    use = f"use it with: ila-models predict VIDEO --model ila_vit_tiny_clip --checkpoint {out}"
    assert program.out.splitlines() == [f"{out}: {layout}", use]
    assert program.predict("a.mp4", "--json") == 0
    wanted = program.records
    _, _, command = use.partition(": ila-models ")
    arguments = command.replace("VIDEO", "a.mp4").split()
    assert program(*arguments, "--json", "--classes", CLASSES) == 0  # as it was told
    assert program.records == wanted


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        ("gone.pth", "out.safetensors", "gone.pth"),
        ("broken.mp4", "out.safetensors", "broken.mp4: not a checkpoint"),
        ("ssv2.pth", "ssv2.pth", "choose another"),
        ("ssv2.pth", ".", "is a directory: name the file to write"),
    ],
)
def test_convert_refuses(program: Program, source: str, destination: str, reason: str) -> None:
    before = sorted(program.folder.iterdir())
    assert program("convert", source, destination) == 1
    assert program.out == ""
    assert program.err.splitlines()[-1].startswith("ila-models: error: ")
    assert reason in program.err
    assert sorted(program.folder.iterdir()) == before


@pytest.mark.parametrize("quiet", [True, False])
def test_quiet(program: Program, tmp_path: Path, quiet: bool) -> None:
    assert program(*(["--quiet"] if quiet else []), "convert", "ssv2.pth", str(tmp_path / "out.safetensors")) == 0
    assert (program.err == "") is quiet


# info and list


def test_info(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    model_info = functools.cache(info.model_info)  # seconds each
    monkeypatch.setattr("ila_models.cli.catalogue.model_info", model_info)
    assert program("info", "ila_vit_b32", "ila_vit_b16.ssv2_8x224") == 0
    first, second = program.out.split("\n\n")
    for name, text, head in (
        ("ila_vit_b32", first, "400 classes, text head"),
        ("ila_vit_b16.ssv2_8x224", second, "174 classes, linear head"),
    ):
        counted = model_info(name)
        assert text.startswith(f"{name}\n")
        for fact in (
            f"{counted.parameters / 1e6:.1f} M, {counted.backbone_parameters / 1e6:.1f} M without the head",
            f"{counted.macs / 1e9:.1f} G a clip ({head})",
            f"{counted.backbone_macs / 1e9:.1f} G to the video embedding",
            "8 frames of 224x224 pixels",
            "https://drive.google.com/file/d/",
        ):
            assert fact in text
    assert "paper's GFLOPs   40, for its token form" in first
    assert "top-1 81.3, top-5 95.0 on Kinetics-400" in first
    assert "top-1 65.0, top-5 89.2 on Something-Something v2" in second


def test_list(program: Program) -> None:
    assert program("list") == 0
    names = [line.split()[0] for line in program.out.splitlines()]
    assert names[:4] == ["ila_vit_b32", "ila_vit_b16", "ila_vit_l14", "ila_vit_l14_336"]
    assert names[-len(list_pretrained()) :] == list_pretrained()
    assert program("list", "*l14_336.*") == 0
    assert [line.split()[0] for line in program.out.splitlines()] == list_pretrained("*l14_336.*")
    assert program.out.count("(default)") == 1


def test_list_without_a_match(program: Program) -> None:
    assert program("list", "*resnet*") == 1
    assert program.out == ""
    assert "nothing matches '*resnet*'" in program.err


# The program as a whole


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ([], ["--version", "--quiet", "predict", "list", "info", "convert"]),
        (
            ["predict"],
            [
                "VIDEO",
                "--model",
                "--checkpoint",
                "--classes",
                "--text-tower",
                "--views",
                "--num-frames",
                "--topk",
                "--json",
                "--device",
                "examples",
            ],
        ),
        (["list"], ["PATTERN"]),
        (["info"], ["NAME"]),
        (["convert"], ["SRC", "DST"]),
    ],
)
def test_help(program: Program, command: list[str], options: list[str]) -> None:
    assert program(*command, "--help") == 0
    assert program.err == ""
    _, _, explained = program.out.partition("\n\n")  # after the usage
    for option in options:
        assert re.search(rf"^ *{option}\b[^\n]*\n? +\w", explained, re.MULTILINE), option  # and something is said of it


def test_version(program: Program) -> None:
    assert program("--version") == 0
    assert program.out == f"ila-models {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["predict"], ["predict", "a.mp4"], ["info"], ["convert", "a"]])
def test_not_understood(program: Program, arguments: list[str]) -> None:
    assert program(*arguments) == 2
    assert program.out == ""
    assert program.err.startswith("usage: ila-models")


def test_files_of_templates_that_cannot_be_read(program: Program, tmp_path: Path) -> None:
    assert program.predict("a.mp4", "--template", "@gone.txt") == 1
    assert program.err == "ila-models: error: no such file: gone.txt\n"
    assert program.predict("a.mp4", "--template", "@folder") == 1
    assert program.err == "ila-models: error: folder is a folder: give a text file\n"
    latin = tmp_path / "latin.txt"
    latin.write_bytes("vidéo de {}".encode("latin-1"))
    assert program.predict("a.mp4", "--template", f"@{latin}") == 1
    assert program.err == f"ila-models: error: {latin}: not UTF-8 text (byte 3): save it as UTF-8\n"


WITH_MODEL = ["--model", "ila_vit_tiny_clip", "--checkpoint", "clip.pt"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["predict", "a.mp4", "", *WITH_MODEL], "VIDEO"),
        (["predict", "a.mp4", "--model", "ila_vit_tiny_clip", "--checkpoint", ""], "--checkpoint"),
        (["visualize", " ", *WITH_MODEL], "VIDEO"),
        (["visualize", "a.mp4", "--out", "", *WITH_MODEL], "--out"),
        (["extract", "", "--out", "features", *WITH_MODEL], "INPUT"),
        (["extract", "a.mp4", "--out", "", *WITH_MODEL], "--out"),
        (["evaluate", "--data", "", *WITH_MODEL], "--data"),
        (["evaluate", "--data", "folder", "--annotations", "", *WITH_MODEL], "--annotations"),
        (["train", "--config", "ila_vit_nano8.motion_8x64", "--out", ""], "--out"),
        (["demo", "--out", ""], "--out"),
        (["dataset", "motion", ""], "OUT"),
        (["space", ""], "OUT"),
        (["export", "", "--model", "ila_vit_nano8"], "FILE"),
        (["convert", "", "b.safetensors"], "SRC"),
        (["verify", ""], "NAME|FILE"),
    ],
)
def test_an_empty_path_is_not_the_current_folder(program: Program, arguments: list[str], name: str) -> None:
    assert program(*arguments) == 2
    assert program.out == ""
    assert re.search(rf"argument {re.escape(name)}: ' ?' is empty: is a variable of the shell not set\?", program.err)


def test_fields_of_a_configuration_stand_anywhere() -> None:
    fields = ["run.seed=1", "run.batch_size=5", "data.train=null"]
    command = ["train", "--config", "X", fields[0], "--out", "Y", fields[1], "--stop-after", "3", fields[2]]
    options = parse(command)
    assert options.overrides == fields
    assert (options.config, options.out, options.stop_after) == ("X", Path("Y"), 3)
    assert parse(["train", *fields, "--config", "X", "--out", "Y"]).overrides == fields
    assert parse(["train", "--config", "X", "--out", "Y"]).overrides == []


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["train", "--config", "X", "a.b=1", "--out", "Y", "--bogus=2", "c.d=5"], "--bogus=2 (fields of the config"),
        (["train", "--config", "X", "a.b=1", "--out", "Y", "runs", "c.d=5"], "runs (fields of the configuration are"),
        (["demo", "run.seed=1"], "run.seed=1\n"),
        (["predict", "a.mp4", "--model", "X", "b.mp4", "--bogus"], "b.mp4 --bogus\n"),
    ],
)
def test_what_stands_behind_options_and_is_no_field(program: Program, arguments: list[str], wrong: str) -> None:
    assert program(*arguments) == 2
    assert f"ila-models: error: unrecognized arguments: {wrong}" in program.err


def test_interrupt(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ila_models.cli.predict.predict_video", interrupted)
    assert program.predict("a.mp4") == 130
    assert program.err.splitlines()[-1] == "ila-models: interrupted"


def test_console_script_at_full_size(clip_b32: Path, files: Path) -> None:
    script = Path(sysconfig.get_path("scripts")) / "ila-models"
    weights = ("--model", "ila_vit_b32", "--checkpoint", clip_b32)
    finished = subprocess.run(
        [script, "predict", "a.mp4", "gone.mp4", *weights, "--classes", CLASSES, "--device", "cpu"],
        cwd=files,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 1, finished.stderr
    title, *lines = finished.stdout.splitlines()
    assert title == "a.mp4"
    assert {re.fullmatch(r" +\d+\.\d%  (.*)", line)[1] for line in lines} == set(NAMES)  # type: ignore[index]
    recognised, *failures = finished.stderr.splitlines()
    assert recognised.startswith(
        f"{clip_b32}: recognised as CLIP in the layout of OpenAI and open_clip (PyTorch file, width 768,"
    )
    assert failures[0].startswith("failed: gone.mp4: ")
    assert failures[1:] == ["1 of 2 videos failed"]  # and nobody's warnings


def test_a_reader_that_has_enough() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ila_models", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=300) in (0, 1)
