"""Evaluation: the numbers, the same ones by any number of processes and after any stop, and what is refused.

Most clips here are frames drawn from a file's number, so that a thousand of them need no decoding.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet
import pytest
import torch
import torch.multiprocessing
from clips import write_clip
from drawn_videos import CLASSES, drawn, numbered_videos, one_of_three, run_numbered, small_model
from tiny import make_model
from torch import Tensor

from ila_models.data.annotations import LabelledVideos
from ila_models.evaluation import evaluate, report_from
from ila_models.evaluation.predictions import VideoPrediction
from ila_models.evaluation.report import make_report
from ila_models.evaluation.report_files import report_text, write_report
from ila_models.evaluation.run import VIDEOS_PER_PART
from ila_models.predict import predict_probabilities
from ila_models.weights.manifest import preprocessing


class Asked:
    """A source that notes what it is asked for."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, path: str) -> Tensor:
        self.paths.append(path)
        return drawn(path)


def rows(folder: Path) -> list[dict[str, Any]]:
    return pyarrow.parquet.ParquetFile(folder / "predictions.parquet").read(use_threads=False).to_pylist()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of 1,003 clips."""
    folder = tmp_path_factory.mktemp("alone")
    run_numbered(folder)
    return folder


# The numbers


def test_probabilities_are_those_of_predict(tmp_path: Path) -> None:
    model = make_model(depth=1)
    model.pretrained_cfg = {"img_size": (64, 64), **preprocessing("ila")}
    for number in range(5):
        write_clip(tmp_path / f"{number}.mp4", frames=10 + 3 * number, size=(96, 72))
    videos = LabelledVideos(tmp_path, tuple(f"{number}.mp4" for number in range(5)), (0, 1, 2, 3, 4))
    for views, (clips, crops) in enumerate([(1, 1), (2, 3)]):
        folder = tmp_path / f"out{views}"
        evaluate(model, videos, clips=clips, crops=crops, batch_size=4, output=folder, save_probabilities=True)  # type: ignore[arg-type]
        for row in rows(folder):
            wanted = predict_probabilities(model, tmp_path / row["file"], clips=clips, crops=crops)  # type: ignore[arg-type]
            torch.testing.assert_close(torch.tensor(row["probabilities"]), wanted, rtol=0, atol=1e-6)
            assert row["top_classes"] == wanted.argsort(descending=True).tolist()
            assert row["top_probabilities"] == [row["probabilities"][index] for index in row["top_classes"]]


def test_the_table_holds_what_was_counted(alone: Path) -> None:
    table, report = rows(alone), report_from(alone)
    broken = [row for row in table if row["error"]]
    whole = [row for row in table if not row["error"]]
    assert [row["file"] for row in table] == list(numbered_videos(1003).paths)
    assert [row["label"] for row in table] == list(numbered_videos(1003).labels)
    assert (report.videos, report.decoded) == (1003, 993)
    assert [(each.file, each.reason) for each in report.broken] == [
        (f"folder/{number}.mp4", f"folder/{number}.mp4 is broken") for number in range(50, 1003, 100)
    ]
    assert all(row["top_classes"] == [] and row["probabilities"] is None for row in broken)
    order = [sorted(range(CLASSES), key=lambda index: -row["probabilities"][index]) for row in whole]
    assert [row["top_classes"] for row in whole] == [each[:5] for each in order]
    right = [row["label"] == each[0] for row, each in zip(whole, order, strict=True)]
    in_five = [row["label"] in each[:5] for row, each in zip(whole, order, strict=True)]
    assert (report.correct_top1, report.correct_top5) == (sum(right), sum(in_five))
    assert 0 < report.correct_top1 < report.correct_top5 < report.decoded
    assert report.top1 == pytest.approx(100 * sum(right) / 993)
    assert report.top1_of_all == pytest.approx(100 * sum(right) / 1003)
    assert sum(each.videos for each in report.confusions) == 993 - sum(right)


def predictions(pairs: Sequence[tuple[int, Sequence[int] | None]]) -> list[VideoPrediction]:
    return [
        VideoPrediction(f"{number}.mp4", label, top or (), error="broken" if top is None else None)
        for number, (label, top) in enumerate(pairs)
    ]


SETTINGS = {
    "model": "some_model",
    "num_classes": 4,
    "class_names": ["jump", "run", "sit", "fly"],
    "views": "4x3",
    "views_mode": "random",
    "seed": 3,
}


def test_report_by_hand(tmp_path: Path) -> None:
    said = [(0, (0, 1)), (0, (1, 0)), (0, (1, 2)), (0, (2, 3)), (1, (1, 0)), (1, (0, 1)), (2, (2, 1)), (2, None)]
    report = make_report(predictions(said), SETTINGS)
    assert (report.videos, report.decoded, report.correct_top1, report.correct_top5) == (8, 7, 3, 5)
    assert [each.top1 for each in report.classes] == [25, 50, 100, None]
    assert [each.top5 for each in report.classes] == [50, 100, 100, None]
    assert report.mean_per_class == pytest.approx((25 + 50 + 100) / 3)
    assert [(each.label, each.predicted, each.videos, each.share) for each in report.confusions] == [
        (0, 1, 2, 50),
        (0, 2, 1, 25),
        (1, 0, 1, 50),
    ]
    text = report_text(report)
    for line in (
        "some_model on 8 videos, 4x3 views at random (seed 3)",
        "  top-1            42.9%  (3 of 7)",
        "  mean per class   58.3%",
        "  1 videos are broken and not counted above; with them as wrong: top-1 37.5%, top-5 62.5%",
        "  1 of the model's 4 classes have no videos",
        "worst classes\n   25.0%  jump\n   50.0%  run\nmost confused\n       2x  jump taken for run",
        "broken videos\n  7.mp4: broken",
    ):
        assert line in text
    write_report(report, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == report.as_json()
    with (tmp_path / "per_class.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["name"], row["videos"], row["broken"], row["top1"]) for row in table] == [
        ("jump", "4", "0", "25.00"),
        ("run", "2", "0", "50.00"),
        ("sit", "1", "1", "100.00"),
        ("fly", "0", "0", ""),
    ]
    assert [(row["most_confused_with"], row["confused_videos"]) for row in table] == [
        ("run", "2"),
        ("jump", "1"),
        ("", "0"),
        ("", "0"),
    ]


def test_report_of_nothing_but_broken_videos() -> None:
    report = make_report(predictions([(0, None), (1, None)]), SETTINGS)
    assert (report.top1, report.mean_per_class, report.top1_of_all) == (None, None, 0)
    assert "  top-1                -  (0 of 0)" in report_text(report)


def test_equal_probabilities_go_to_the_lower_number() -> None:
    model = small_model()
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.zero_()
    report = evaluate(model, numbered_videos(20), source=drawn, num_workers=0)
    assert report.correct_top1 == sum(label == 0 for label in numbered_videos(20).labels)


def test_answers_that_are_not_finite_are_reported() -> None:
    model = small_model()
    with torch.no_grad():
        model.norm.weight.fill_(float("nan"))
    report = evaluate(model, numbered_videos(20), source=drawn, num_workers=0)
    assert report.decoded == 0
    assert report.broken[0].reason.startswith("the model's answer is not finite")


def test_random_views_depend_on_seed_and_path_alone(tmp_path: Path) -> None:
    def run(name: str, count: int, **arguments: Any) -> list[Any]:
        run_numbered(tmp_path / name, count=count, clips=2, **arguments)
        return [row["probabilities"] for row in rows(tmp_path / name)]

    drawn_once = run("once", 20, views_mode="random", seed=1)
    torch.testing.assert_close(run("fewer", 9, views_mode="random", seed=1), drawn_once[:9], rtol=0, atol=1e-6)
    assert run("again", 20, views_mode="random", seed=1, num_workers=1) == drawn_once
    assert run("other", 20, views_mode="random", seed=2) != drawn_once
    assert run("fixed", 20) != drawn_once


def test_the_model_is_left_as_it_was() -> None:
    model = small_model().train()
    model.blocks.eval()
    modes = [module.training for module in model.modules()]
    evaluate(model, numbered_videos(3), source=drawn, num_workers=0)
    assert [module.training for module in model.modules()] == modes


# Broken videos


def test_broken_files_are_reported_by_the_workers(tmp_path: Path) -> None:
    model = small_model()
    write_clip(tmp_path / "good.mp4", frames=12)
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:900])
    (tmp_path / "empty.mp4").touch()
    names = ("text.mp4", "good.mp4", "cut.mp4", "gone.mp4", "empty.mp4")
    report = evaluate(model, LabelledVideos(tmp_path, names, (0, 1, 2, 3, 4)), num_workers=2)
    assert report.decoded == 1
    reasons = {each.file: each.reason for each in report.broken}
    assert list(reasons) == [name for name in names if name != "good.mp4"]
    assert "is not a video that can be read" in reasons["text.mp4"]
    assert "No such video" in reasons["gone.mp4"]
    assert "is empty (0 bytes)" in reasons["empty.mp4"]
    assert "cut.mp4" in reasons["cut.mp4"]


def dying(path: str) -> Tensor:
    if path.endswith("/5.mp4"):
        os.kill(os.getpid(), signal.SIGKILL)
    return drawn(path)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_video_that_ends_its_decoder_ends_nothing_else(num_workers: int, tmp_path: Path, alone: Path) -> None:
    report = run_numbered(tmp_path, count=40, source=dying, num_workers=num_workers)
    assert (report.videos, report.decoded) == (40, 39)
    reasons = {each.file: each.reason for each in report.broken}
    assert reasons["folder/5.mp4"].startswith("it ended the process that decoded it 2 times (signal SIGKILL)")
    usual = [row for row in rows(alone)[:40] if row["file"] != "folder/5.mp4"]
    assert [row for row in rows(tmp_path) if row["file"] != "folder/5.mp4"] == usual


# Several processes


def test_three_processes_say_the_same(tmp_path: Path, alone: Path) -> None:
    torch.multiprocessing.spawn(one_of_three, (tmp_path,), nprocs=3)
    assert rows(tmp_path / "out") == rows(alone)  # to the last bit
    assert report_from(tmp_path / "out") == report_from(alone)
    for rank in range(3):
        assert (tmp_path / f"seen_by_{rank}").read_text() == str(report_from(alone).correct_top1)


# Each process writes a file of its own: what several of them print may come out mingled.
TORCHRUN = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from drawn_videos import run_numbered
torch.set_num_threads(1)
out = Path(sys.argv[1])
said = Path(f"said_by_{{os.environ['RANK']}}")
said.write_text(f"{{run_numbered(out).decoded}} decoded\\n")
try:
    run_numbered(out, count=1002)
except ValueError as error:
    said.write_text(said.read_text() + str(error))
"""


def test_torchrun_with_two_processes_says_the_same(tmp_path: Path, alone: Path) -> None:
    (tmp_path / "program.py").write_text(TORCHRUN.format(tests=os.path.dirname(__file__)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finished = subprocess.run(
        [*launcher, "program.py", "out"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, finished.stderr
    for rank in range(2):
        decoded, refused = (tmp_path / f"said_by_{rank}").read_text().splitlines()
        assert decoded == "993 decoded"
        assert refused.startswith("out holds predictions of other settings: videos is 1003 there and 1002 now")
    assert rows(tmp_path / "out") == rows(alone)


# Stopped, and gone on with


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from drawn_videos import drawn_slowly, run_numbered
torch.set_num_threads(1)
if __name__ == "__main__":
    run_numbered(Path("out"), source=drawn_slowly, num_workers=2)
"""


def test_a_run_that_was_killed_goes_on(tmp_path: Path, alone: Path) -> None:
    (tmp_path / "program.py").write_text(KILLED.format(tests=os.path.dirname(__file__)))
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path) as process:
        deadline = time.monotonic() + 120
        while len(list(out.glob("parts/*.parquet"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert len(started) >= 2
    assert psutil.wait_procs(started, timeout=30)[1] == []  # nobody is left behind
    finished = {
        name
        for path in out.glob("parts/*.parquet")
        for name in pyarrow.parquet.ParquetFile(path).read(["file"], use_threads=False)["file"].to_pylist()
    }
    assert 3 * VIDEOS_PER_PART <= len(finished) < 1003
    with pytest.raises(FileNotFoundError, match=r"the run is not finished \(\d+ parts are\), the same command goes on"):
        report_from(out)
    source = Asked()
    report = run_numbered(out, source=source)
    assert set(source.paths) == set(numbered_videos(1003).paths) - finished
    assert len(source.paths) == 1003 - len(finished)
    assert rows(out) == rows(alone)
    assert report == report_from(alone)
    again = Asked()
    assert run_numbered(out, source=again) == report
    assert again.paths == []
    assert not (out / "parts").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clips": 2}, "views is '1x1' there and '2x1' now"),
        (
            {"views_mode": "random"},
            "seed is None there and 0 now; views_mode is 'deterministic' there",
        ),
        ({"save_probabilities": False}, "all_probabilities is True there and False now"),
        ({"model": small_model(1)}, "weights_sha256 is '"),
        ({"videos": replace(numbered_videos(3), labels=(0, 1, 2))}, "videos_sha256 is '"),
        ({"videos": replace(numbered_videos(3), class_names=tuple("abcdefg"))}, "class_names is None there and ['a',"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    run_numbered(tmp_path, count=3)
    before = (tmp_path / "predictions.parquet").read_bytes()
    arguments: dict[str, Any] = {"model": small_model(), "videos": numbered_videos(3), "save_probabilities": True}
    with pytest.raises(ValueError, match="holds predictions of other settings") as caught:
        evaluate(**arguments | changes, output=tmp_path, source=drawn, num_workers=0)
    assert said in str(caught.value)
    assert str(caught.value).endswith("Give another folder, or delete this one to start anew")
    assert (tmp_path / "predictions.parquet").read_bytes() == before


def test_batches_and_workers_are_no_settings(tmp_path: Path) -> None:
    report = run_numbered(tmp_path, count=30)
    assert run_numbered(tmp_path, count=30, batch_size=5, num_workers=1) == report


def test_a_folder_in_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr("ila_models.evaluation.run._LOCK_SECONDS", 0.1)
    with FileLock(tmp_path / ".lock"), pytest.raises(ValueError, match="is in use by another run of ila-models"):
        run_numbered(tmp_path, count=3)


def test_a_full_disk_loses_nothing_that_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 4:  # the settings and two parts fit
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left on device"):
            run_numbered(tmp_path, count=60)
    assert sorted(os.listdir(tmp_path / "parts")) == ["part-00000.parquet", "part-00001.parquet"]
    source = Asked()
    assert run_numbered(tmp_path, count=60, source=source).videos == 60
    assert len(source.paths) == 60 - 2 * VIDEOS_PER_PART


def test_parquet_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ila_models.parquet.importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"takes pyarrow: pip install 'ila-models\[train\]'"):
        run_numbered(tmp_path, count=3)


def test_files_that_are_no_predictions(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such table of predictions: .*predictions\.parquet$"):
        report_from(tmp_path)
    file = tmp_path / "some.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), file)
    with pytest.raises(ValueError, match="a parquet file, but not of ila-models evaluate"):
        report_from(file)
    file.write_text("text")
    with pytest.raises(ValueError, match=r"some\.parquet: not a parquet file, or damaged"):
        report_from(file)


# Labels and classes


NAMES = ("jump", "Walk Slowly", "sit", "fly", "swim", "sing", "draw")


def named(*names: str) -> LabelledVideos:
    """Two videos and more, with labels that are names."""
    order = tuple(sorted(set(names)))
    return LabelledVideos(
        Path(), tuple(f"{number}.mp4" for number in range(len(names))), tuple(map(order.index, names)), order, True
    )


def test_names_are_matched_whatever_their_order(tmp_path: Path) -> None:
    model = small_model()
    model.class_names = NAMES
    evaluate(model, named("walk_slowly", "draw", "jump"), source=drawn, num_workers=0, output=tmp_path)
    assert [row["label"] for row in rows(tmp_path)] == [1, 6, 0]
    assert report_from(tmp_path).classes[1].name == "Walk Slowly"


@pytest.mark.parametrize(
    ("videos", "class_names", "said"),
    [
        (named("jump", "runs"), NAMES, "1 of the 2 classes in the annotations are none of the model's 7: 'runs'; the"),
        (named("jump", "sitt"), NAMES, "'sitt' (is 'sitt' 'sit'?)"),
        (named("jump", "JUMP"), NAMES, "several classes of the annotations ('JUMP', 'jump') are the same class"),
        (named("jump", "sit"), None, "the annotations name their classes ('jump', 'sit'), and the model does not name"),
        (numbered_videos(3), "none", "the model has no classes"),
        (
            replace(numbered_videos(3), labels=(1, 2, 7)),
            None,
            "label 7 is out of range: the model has 7 classes",
        ),
        (
            replace(numbered_videos(3), class_names=NAMES[:6]),
            None,
            "6 class names are given for the labels, and",
        ),
        (
            replace(numbered_videos(3), class_names=("sit", *NAMES[1:2], "jump", *NAMES[3:])),
            NAMES,
            "in another order than the model's: label 0 is 'sit' there and 'jump' in the model, so every",
        ),
        (
            replace(numbered_videos(3), class_names=(*NAMES[:6], "cook")),
            NAMES,
            "other than the model's: label 6 is 'cook' there and 'draw' in the model",
        ),
    ],
)
def test_labels_that_do_not_fit(videos: LabelledVideos, class_names: Any, said: str) -> None:
    model = small_model() if class_names != "none" else make_model(head="none")
    model.class_names = class_names
    model.pretrained_cfg = {"img_size": (64, 64), **preprocessing("clip")}
    with pytest.raises(ValueError, match=re.escape(said)):
        evaluate(model, videos, source=drawn, num_workers=0)


def test_labels_that_leave_classes_over_are_noted(caplog: pytest.LogCaptureFixture) -> None:
    videos = replace(numbered_videos(3), labels=(0, 1, 1))
    with caplog.at_level(logging.INFO, logger="ila_models"):
        evaluate(small_model(), videos, source=drawn, num_workers=0)
    assert "labels go up to 1, and the model has 7 classes" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"clips": 0}, "clips=0 is out of range"),
        ({"crops": 2}, "crops=2 is out of range"),
        ({"views_mode": "some"}, "views_mode='some' is not known: use 'deterministic' or 'random'"),
        ({"count": 0}, "there are no videos"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        run_numbered(None, **{"count": 3} | arguments)
