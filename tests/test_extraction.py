"""Features of many videos on disk: what is in them, and that no work is lost, done twice, or mixed with other work."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tarfile
import time
from functools import partialmethod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pyarrow.parquet
import pytest
import torch
import webdataset
from clips import write_clip
from extraction_runs import BROKEN, command, contents, count_pieces, pack, run, run_and_kill, write_videos
from safetensors.numpy import load_file
from shard_files import write_shard

import ila_models
from ila_models import FeatureExtractor, Features
from ila_models.extraction import Summary, extract
from ila_models.extraction.decoding import _content
from ila_models.extraction.folder import FeatureFolder
from ila_models.extraction.formats import FORMATS
from ila_models.extraction.inputs import find_videos
from ila_models.extraction.job import ExtractionJob
from ila_models.extraction.row_store import RowStore
from ila_models.extraction.shares import Share, share_of_environment
from ila_models.extraction.unique_names import Names

WINDOWS: dict[str, Any] = {"window": 0.5, "stride": 0.25}


def job(**changes: Any) -> ExtractionJob:
    return ExtractionJob(**{"model": "ila_vit_nano8", "device": "cpu", **WINDOWS, **changes})


def do(out: Path, *inputs: Path, **options: Any) -> Summary:
    changes = {name: options.pop(name) for name in list(options) if name in ExtractionJob.__dataclass_fields__}
    return extract(job(**changes), inputs, out, num_workers=1, **options)


def index(out: Path) -> list[dict[str, Any]]:
    return pyarrow.parquet.read_table(out / "index.parquet").to_pylist()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    (folder / "b").mkdir()
    for number, name in enumerate(("a", "b/a", "b/c", "d")):
        write_clip(folder / f"{name}.mp4", frames=10 + 3 * number, fps=10)
    return folder


def read_back(format: str, out: Path) -> dict[str, np.ndarray]:
    """The clip features of every video by name, by the format's own library."""
    if format in ("npy", "actionformer"):
        suffix = ".clip.npy" if format == "npy" else ".npy"
        files = {path.relative_to(out).as_posix().removesuffix(suffix): path for path in out.rglob(f"*{suffix}")}
        return {name: np.load(path) for name, path in files.items()}
    if format == "safetensors":
        files = {path.relative_to(out).with_suffix("").as_posix(): path for path in out.rglob("*.safetensors")}
        return {name: load_file(path)["clip"] for name, path in files.items()}
    found: dict[str, Any] = {}
    if format == "parquet":
        for path in sorted(out.glob("part-*.parquet")):
            for row in pyarrow.parquet.read_table(path).to_pylist():
                found.setdefault(row["name"], []).append(row["clip"])
        return {name: np.array(rows, dtype=np.float32) for name, rows in found.items()}
    if format == "webdataset":
        shards = [str(path) for path in sorted(out.glob("part-*.tar"))]
        for sample in webdataset.WebDataset(shards, shardshuffle=False).decode():
            found[sample["json"]["name"]] = sample["clip.npy"]
        return found
    for path in out.glob("part-*.h5"):
        with h5py.File(path) as file:
            found |= {group.attrs["name"]: group["clip"][:] for group in file.values()}
    return found


@pytest.mark.parametrize("format", FORMATS)
def test_features_are_what_the_model_says_of_the_same_frames(format: Any, videos: Path, tmp_path: Path) -> None:
    summary = do(tmp_path / "out", videos, format=format, videos_per_part=3)
    assert (summary.videos, summary.failed) == (4, ())
    model = ila_models.create_model("ila_vit_nano8", pretrained=True).eval()
    transform = ila_models.create_transform(model)
    found = read_back(format, tmp_path / "out")
    rows = {row["name"]: row for row in index(tmp_path / "out")}
    assert set(found) == set(rows) == {"a", "b/a", "b/c", "d"}
    for name, features in found.items():
        video = ila_models.load_video(videos / f"{name}.mp4", sampling="all")
        expected = FeatureExtractor(model, **WINDOWS)(video, fps=10)
        np.testing.assert_allclose(rows[name]["spans"], expected.spans)
        assert rows[name]["rows"] == len(features) >= 3
        with torch.inference_mode():
            clips = torch.stack([transform(video[numbers]) for numbers in expected.frames])
            by_hand = model.forward_head(model.forward_features(clips), pre_logits=True)
        np.testing.assert_allclose(features, by_hand.numpy(), rtol=1e-5, atol=1e-5)


def test_the_index_tells_of_every_video(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    shard = tmp_path / "shard.tar"
    content = (videos / "a.mp4").read_bytes()
    with tarfile.open(shard, "w") as archive:
        info = tarfile.TarInfo("x:y.mp4")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    summary = do(tmp_path / "out", videos / "a.mp4", tmp_path / "broken.mp4", shard)
    whole, broken, packed = index(tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    for row in (whole, broken, packed):
        assert row["model"] == settings["model"] == "ila_vit_nano8.motion_8x64"
        assert row["weights_sha256"] == settings["weights_sha256"]
        assert json.loads(row["settings"]) == settings
    stat = (videos / "a.mp4").stat()
    assert (whole["status"], whole["size"], whole["mtime_ns"]) == ("done", stat.st_size, stat.st_mtime_ns)
    assert broken["status"] == "failed"
    assert broken["output"] is None
    assert "is not a video that can be read" in broken["reason"]
    assert summary.failed == ((str(tmp_path / "broken.mp4"), broken["reason"]),)
    assert (packed["file"], packed["name"], packed["output"]) == (f"{shard}:x:y.mp4", "x:y", "x:y")
    assert (packed["size"], len(packed["sha256"])) == (len(content), 64)
    a, b = (np.load(tmp_path / "out" / f"{name}.clip.npy") for name in ("a", "x:y"))
    np.testing.assert_array_equal(a, b)


def test_segments_of_a_table(tmp_path: Path) -> None:
    write_clip(tmp_path / "v.mp4", frames=50, fps=10)
    (tmp_path / "t.csv").write_text("path,start,end\nv.mp4,1.0,2.5\nv.mp4,,\nv.mp4,4.5,99\nv.mp4,7,8\n")
    do(tmp_path / "out", tmp_path / "t.csv", window=1.0, stride=1.0)
    part, whole, end, beyond = index(tmp_path / "out")
    assert part["name"] == "v_1.000_2.500"
    assert part["spans"] == [pytest.approx([1, 2]), pytest.approx([2, 2.5])]
    assert len(whole["spans"]) == 5
    assert end["spans"] == [pytest.approx([4.5, 5.0])]
    assert beyond["status"] == "failed"
    assert "seconds 7 to 8 are none of it: it lasts 5 seconds" in beyond["reason"]
    frames = np.load(tmp_path / "out" / "v_1.000_2.500.frames.npy")
    assert frames.min() >= 10
    assert frames.max() < 25
    features = np.load(tmp_path / "out" / "v_1.000_2.500.clip.npy")
    np.testing.assert_allclose(features[0], np.load(tmp_path / "out" / "v.clip.npy")[1], rtol=1e-5, atol=1e-5)


def test_a_later_run_does_only_what_is_missing(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    do(out, videos / "a.mp4", videos / "b")
    before = contents(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.npy")}
    assert do(out, videos / "a.mp4", videos / "b").videos == 3
    assert contents(out) == before
    summary = do(out, videos)  # among them two that are there
    assert [row["name"] for row in index(out)] == ["a", "a-2", "c", "d"]
    assert summary.videos == 4
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_failed_videos_are_done_again_when_asked(videos: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.mp4"
    (tmp_path / "list.txt").write_text(f"{late}\n{videos / 'a.mp4'}\n{tmp_path / 'never.mp4'}\n")
    out = tmp_path / "out"
    assert len(do(out, tmp_path / "list.txt").failed) == 2
    late.write_bytes((videos / "d.mp4").read_bytes())
    assert len(do(out, tmp_path / "list.txt").failed) == 2  # left alone
    summary = do(out, tmp_path / "list.txt", retry_failed=True)
    assert summary.videos == 3
    assert [file for file, _ in summary.failed] == [str(tmp_path / "never.mp4")]
    assert (out / f"{index(out)[-2]['output']}.clip.npy").exists()
    again = do(out, tmp_path / "list.txt", retry_failed=True)
    assert (again.videos, len(again.failed)) == (3, 1)


def test_other_settings_are_refused(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    do(out, videos / "a.mp4")
    for changes, message in (
        ({"window": 0.75}, "window is 0.5 there and 0.75 now"),
        ({"format": "parquet"}, "format is 'npy' there and 'parquet' now"),
        ({"levels": "frame"}, r"levels\[0\] is 'clip' there and 'frame' now"),
        ({"dtype": "bfloat16"}, "dtype is 'float32' there and 'bfloat16' now"),
    ):
        with pytest.raises(ValueError, match=f"{out} holds features of other settings: .*{message}"):
            do(out, videos / "a.mp4", **changes)
    with pytest.raises(FileNotFoundError, match="new holds no features to go on with"):
        do(tmp_path / "new", videos / "a.mp4", resume=True)
    assert not (tmp_path / "new").exists()
    assert do(out, videos / "a.mp4", resume=True).videos == 1


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"videos_per_part": 0}, {}, "videos_per_part=0 is out of range"),
        ({"dtype": "int8"}, {}, "dtype='int8' is not known"),
        (
            {"levels": ["clip", "frame"], "format": "actionformer"},
            {},
            "a vector for every window, not clip, frame",
        ),
        ({"format": "csv"}, {}, "format='csv' is not known"),
        ({"batch_size": 0}, {}, "batch_size=0 is out of range"),
        ({}, {"num_workers": 0}, r"num_workers=0 \(--workers\): decoding takes a process, give at least 1"),
        ({}, {"patience": float("nan")}, r"patience=nan \(--timeout\): give a number of seconds above 0"),
        ({"videos_per_part": 2.5}, {}, "videos_per_part=2.5 is out of range"),
    ],
)
def test_arguments_that_make_no_sense(
    changes: dict[str, Any], options: dict[str, Any], message: str, videos: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        extract(job(**changes), [videos], tmp_path / "out", **{"num_workers": 1, **options})
    assert not (tmp_path / "out").exists()


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", count=60)
    options = ("--window", "0.5", "--stride", "0.25", "--videos-per-part", "4", "--level", "clip", "--level", "frame")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    said = run(command(videos, whole, *options, "--json"))
    assert len(json.loads(said)["failed"]) == BROKEN
    chance = random.Random(5)
    stopped = 0
    for _ in range(6):
        stopped += run_and_kill(
            command(videos, killed, *options),
            killed,
            after_pieces=chance.randrange(1, 4),
            and_seconds=chance.uniform(0, 0.2),
        )
    assert stopped >= 5
    assert run(command(videos, killed, *options, "--json")).replace(str(killed), str(whole)) == said
    assert contents(killed) == contents(whole)
    names = {Path(row["name"]).name.partition("-")[0] for row in index(whole) if row["status"] == "failed"}
    assert names == {"empty", "text", "cut", "noise", "zeros"}


def test_two_runs_on_one_folder_share_the_work(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", count=40)
    options = ("--window", "0.5", "--videos-per-part", "2", "--format", "webdataset")
    run(command(videos, tmp_path / "alone", *options))
    both = command(videos, tmp_path / "both", *options)
    others = [
        subprocess.Popen([*both, "--share", f"{number}/2"], stderr=subprocess.PIPE, text=True) for number in range(2)
    ]
    # A third one is killed while the two are at work: what it had taken is left to them.
    run_and_kill(both, tmp_path / "both", after_pieces=2, and_seconds=0.1)
    for process in others:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")


POISON = """
import os, signal, time
import av

original = av.open

def poisoned(file, *args, **kwargs):
    head = file.read(6)
    file.seek(0)
    if head == b"POISON":
        os.kill(os.getpid(), signal.SIGSEGV)
    if head == b"SLEEPY":
        time.sleep(1000)
    return original(file, *args, **kwargs)

av.open = poisoned
"""


def test_a_file_that_ends_its_process_twice_is_given_up_and_named(videos: Path, tmp_path: Path) -> None:
    folder, program = tmp_path / "videos", tmp_path / "program"
    folder.mkdir()
    program.mkdir()
    (program / "sitecustomize.py").write_text(POISON)
    for name in ("a", "d"):
        (folder / f"{name}.mp4").write_bytes((videos / f"{name}.mp4").read_bytes())
    (folder / "b.mp4").write_bytes(b"POISON" * 100)
    (folder / "c.mp4").write_bytes(b"SLEEPY" * 100)
    arguments = command(folder, tmp_path / "out", "--window", "0.5", "--timeout", "6", "--json")
    summary = json.loads(run(arguments, PYTHONPATH=str(program)))
    reasons = {Path(each["file"]).name: each["reason"] for each in summary["failed"]}
    assert set(reasons) == {"b.mp4", "c.mp4"}
    assert reasons["b.mp4"].startswith("it ended the process that decoded it 2 times (signal SIGSEGV)")
    assert "(nothing came of it for 6 seconds)" in reasons["c.mp4"]
    assert [row["rows"] > 0 for row in index(tmp_path / "out")] == [True, False, False, True]


def test_finished_work_of_others_survives_a_crash(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slow model: the process that decodes is gone before what it sent is read.
    folder, program = tmp_path / "videos", tmp_path / "program"
    folder.mkdir()
    program.mkdir()
    (program / "sitecustomize.py").write_text(POISON + SLOW_MODEL)
    write_clip(folder / "a.mp4", frames=60, fps=10)
    (folder / "b.mp4").write_bytes(b"POISON" * 100)
    for name in ("c", "d", "e"):
        (folder / f"{name}.mp4").write_bytes((videos / "d.mp4").read_bytes())
    options = ("--window", "0.5", "--videos-per-part", "3", "--json")
    summary = json.loads(run(command(folder, tmp_path / "out", *options), PYTHONPATH=str(program)))
    assert [Path(each["file"]).name for each in summary["failed"]] == ["b.mp4"]
    (folder / "b.mp4").unlink()
    do(tmp_path / "good", folder, window=0.5, stride=None)
    rows = {row["name"]: row["spans"] for row in index(tmp_path / "good")}
    assert {row["name"]: row["spans"] for row in index(tmp_path / "out") if row["status"] == "done"} == rows
    for name in rows:
        expected = np.load(tmp_path / "good" / f"{name}.clip.npy")
        np.testing.assert_allclose(np.load(tmp_path / "out" / f"{name}.clip.npy"), expected, rtol=1e-5, atol=1e-5)

    monkeypatch.setenv("PYTHONPATH", f"{program}{os.pathsep}{Path(__file__).parent}")
    (folder / "b.mp4").write_bytes(b"POISON" * 100)
    listing = [str(folder / f"{name}.mp4") for name in "abcde"]
    said = run([sys.executable, "-c", ITERATE, *listing])
    assert sorted(said.split()) == ["a:12", "b:failed", "c:4", "d:4", "e:4"]


SLOW_MODEL = """
import sys
from importlib.machinery import PathFinder

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name != "ila_models.features.batches":
            return None
        spec = PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def slowly(module):
            load(module)
            run = module.ClipModel._run
            module.ClipModel._run = lambda self, clips: (time.sleep(0.4), run(self, clips))[1]
        spec.loader.exec_module = slowly
        return spec

sys.meta_path.insert(0, Slow())
"""

ITERATE = """
import sys
from pathlib import Path
from ila_models import FeatureExtractor, Features

if __name__ == "__main__":
    extractor = FeatureExtractor("ila_vit_nano8", window=0.5, device="cpu", batch_size=2)
    for result in extractor.iter(sys.argv[1:], num_workers=1, on_error="yield"):
        print(Path(result.source).stem, len(result) if isinstance(result, Features) else "failed", sep=":")
"""


def test_a_tar_that_was_written_anew_is_noticed_and_a_retry_finds_its_way(videos: Path, tmp_path: Path) -> None:
    good = (videos / "a.mp4").read_bytes()
    other = (videos / "d.mp4").read_bytes()
    shard = write_shard(tmp_path / "s.tar", {"a.mp4": b"x" * len(other), "b.mp4": good})  # type: ignore[dict-item]
    out = tmp_path / "out"
    assert [file for file, _ in do(out, shard).failed] == [f"{shard}:a.mp4"]
    assert f"{shard}:a.mp4 is not a video" in index(out)[0]["reason"]
    write_shard(tmp_path / "s.tar", {"c.mp4": other, "a.mp4": good, "b.mp4": good})  # type: ignore[dict-item]
    summary = do(out, shard, retry_failed=True)
    assert (summary.videos, summary.failed) == (3, ())
    np.testing.assert_array_equal(np.load(out / "a.clip.npy"), np.load(out / "b.clip.npy"))
    assert len(np.load(out / "c.clip.npy")) > len(np.load(out / "a.clip.npy"))

    item = next(iter(find_videos([shard])))
    write_shard(tmp_path / "s.tar", {"z.mp4": other})  # type: ignore[dict-item]
    with pytest.raises(ila_models.VideoError, match=r"s\.tar:c\.mp4 is not where it was when .*s\.tar was listed"):
        _content(item)


def test_a_file_is_the_same_video_from_every_folder(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    do(out, videos / "b")
    monkeypatch.chdir(videos)
    assert do(out, Path("b")).videos == do(out, Path("./b")).videos == 2
    monkeypatch.chdir(videos / "b")
    assert do(out, Path(".")).videos == 2
    assert all(Path(row["file"]).is_absolute() for row in index(out))


def test_features_may_go_where_the_videos_are(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.mp4", "b/c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((videos / name).read_bytes())
    assert do(tmp_path, tmp_path).videos == 2
    assert [row["output"] for row in index(tmp_path)] == ["a", "b/c"]
    assert do(tmp_path, tmp_path).videos == 2  # nothing of what was written is taken for a video
    monkeypatch.chdir(tmp_path)
    pack(Path("s.tar"), [("d.mp4", (videos / "d.mp4").read_bytes())], "pax")
    summary = do(Path("."), Path("a.mp4"), Path("s.tar"))
    assert (summary.videos, summary.failed) == (3, ())


@pytest.mark.parametrize("format", FORMATS)
def test_no_file_of_an_extraction_is_called_as_a_video(format: Any, videos: Path, tmp_path: Path) -> None:
    name = "c.mp4"  # names come from tables too, and may end as videos do
    (tmp_path / "t.csv").write_text(f"path,name\n{videos}/a.mp4,{name}\n")
    out = tmp_path / "out"
    do(out, tmp_path / "t.csv", format=format)
    assert index(out)[0]["name"] == name
    with pytest.raises(FileNotFoundError, match="no video in the folder"):
        list(find_videos([out]))


def test_names_do_not_reach_the_folder_s_own_files(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "part-000000-0000.mp4").write_bytes((videos / "a.mp4").read_bytes())
    table = tmp_path / "t.csv"
    table.write_text(f"path,name\n{tmp_path}/part-000000-0000.mp4,\n{videos}/d.mp4,.extraction/records/0/zz\n")
    out = tmp_path / "out"
    do(out, table)
    (out / ".extraction" / "records" / "0" / ".nfs0001").write_text("a file system's own")
    assert do(out, table).videos == 2
    first, second = index(out)
    assert first["output"] == first["name"]
    assert first["name"].endswith("part-000000-0000")
    assert second["name"] == second["output"] == "_extraction/records/0/zz"
    assert (out / "_extraction/records/0/zz.clip.npy").exists()


def test_a_folder_of_other_things_is_left_alone(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds other things: its settings\.json is no extraction's"):
        do(tmp_path, videos / "a.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["settings.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is a file: give a folder for the features"):
        do(tmp_path / "file", videos / "a.mp4")


def test_two_runs_that_find_different_videos(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    do(out, videos / "a.mp4")
    _, settings = job().prepare()
    older = FeatureFolder(out, settings)
    do(out, videos / "d.mp4")
    assert older.finished_parts() == {0}
    assert older.count_finished_videos() == 1
    summary = older.finish(lambda folder: folder.plan.num_videos)
    assert summary == 2


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write = FeatureFolder.write

    def full(self: FeatureFolder, part: int, path: str, content: Any) -> None:
        if part == 2:
            raise OSError(28, "No space left on device", path)
        write(self, part, path, content)

    monkeypatch.setattr(FeatureFolder, "write", full)
    with pytest.raises(OSError, match="No space left on device"):
        do(out, videos, videos_per_part=1)
    assert not (out / "index.parquet").exists()
    assert count_pieces(out) == 2
    monkeypatch.undo()
    do(out, videos, videos_per_part=1)
    do(tmp_path / "whole", videos, videos_per_part=1)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_run_that_ends_early_takes_its_scratch_with_it(
    error: BaseException, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spilled = []

    def end(self: FeatureFolder, part: int, first: int, records: Any) -> None:
        spilled.extend(path for path in (tmp_path / ".extraction" / "unfinished").rglob("clip"))
        raise error

    monkeypatch.setattr(RowStore, "__init__", partialmethod(RowStore.__init__, bytes_in_memory=0))
    monkeypatch.setattr(FeatureFolder, "record", end)
    with pytest.raises(type(error)):
        do(tmp_path, videos / "a.mp4")
    assert spilled
    assert list((tmp_path / ".extraction" / "unfinished").iterdir()) == []


def test_rows_that_memory_does_not_hold_are_on_disk_until_they_are_written(tmp_path: Path) -> None:
    parts = [
        Features(
            source="video",
            spans=torch.rand(3, 2, dtype=torch.float64),
            frames=torch.randint(100, (3, 4)),
            values={"frame": torch.randn(3, 4, 8), "clip": torch.randn(3, 8)},
        )
        for _ in range(7)
    ]
    in_memory = RowStore(tmp_path / "memory")
    on_disk = RowStore(tmp_path / "disk", bytes_in_memory=1000)
    for part in parts:
        in_memory.add(part)
        on_disk.add(part)
    expected, found = in_memory.all(), on_disk.all()
    assert not (tmp_path / "memory").exists()
    assert (tmp_path / "disk" / "frame").stat().st_size == 21 * 4 * 8 * 4
    assert len(found) == 21
    for name in ("frame", "clip"):
        assert torch.equal(found[name], expected[name])
        assert torch.equal(found[name], torch.cat([part[name] for part in parts]))
    assert torch.equal(found.spans, expected.spans)
    assert torch.equal(found.frames, expected.frames)


def test_tokens_of_a_long_video_do_not_stay_in_memory(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"levels": ["token", "clip"], "batch_size": 2}
    do(tmp_path / "memory", videos, **options)
    spills = []
    monkeypatch.setattr(RowStore, "__init__", partialmethod(RowStore.__init__, bytes_in_memory=50_000))
    to_disk = RowStore._to_disk
    monkeypatch.setattr(RowStore, "_to_disk", lambda self: (spills.append(self), to_disk(self)))
    do(tmp_path / "disk", videos, **options)
    assert len(spills) >= 4
    assert contents(tmp_path / "disk") == contents(tmp_path / "memory")


def test_shares_are_every_nth_part_and_then_the_others() -> None:
    shares = [list(Share(number, 3).of(8)) for number in range(3)]
    assert [share[:3] for share in shares] == [[0, 3, 6], [1, 4, 7], [2, 5, 0]]
    assert all(sorted(share) == list(range(8)) for share in shares)
    with pytest.raises(ValueError, match="share 3 of 3: shares are numbered from 0"):
        Share(3, 3)


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, Share(0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, Share(3, 8)),
        ({"RANK": "3"}, Share(0, 1)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "30",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_MAX": "40",
            },
            Share(2, 4),
        ),
        (
            {
                "SLURM_ARRAY_TASK_ID": "0",
                "SLURM_ARRAY_TASK_COUNT": "1",
                "SLURM_ARRAY_TASK_MIN": "0",
                "SLURM_ARRAY_TASK_MAX": "0",
            },
            Share(0, 1),
        ),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, Share(1, 2)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "RANK": "0", "WORLD_SIZE": "4"}, Share(0, 4)),
    ],
)
def test_the_share_that_a_launcher_gives(environment: dict[str, str], share: Share) -> None:
    assert share_of_environment(environment) == share


def test_a_launcher_that_says_nonsense() -> None:
    with pytest.raises(ValueError, match="RANK='one' is not a whole number"):
        share_of_environment({"RANK": "one", "WORLD_SIZE": "2"})


def test_names_are_all_different_and_short_enough_for_a_file_system() -> None:
    names = Names()
    assert [names.give(name) for name in ("a", "a", "a-2", "a", "b/a")] == ["a", "a-2", "a-2-2", "a-3", "b/a"]
    long = names.give(f"folder/{'ü' * 200}")
    assert len(long.encode()) <= 7 + 200
    assert long != names.give(f"folder/{'ü' * 200}x")


def test_ray_gives_the_same_though_an_actor_is_killed(tmp_path: Path) -> None:
    videos = write_videos(tmp_path / "videos", count=30)
    options = ("--window", "0.5", "--videos-per-part", "4", "--format", "safetensors")
    run(command(videos, tmp_path / "local", *options))
    arguments = command(videos, tmp_path / "ray", *options, "--engine", "ray", "--actors", "2", "--json")
    arguments[arguments.index("--workers") + 1] = "1"
    program = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    killed: psutil.Process | None = None
    while program.poll() is None and killed is None:
        time.sleep(0.02)
        if count_pieces(tmp_path / "ray") >= 2:
            killed = next(process for process in psutil.process_iter() if "MapWorker" in process.name())
            killed.kill()
    said, errors = program.communicate(timeout=600)
    assert program.returncode == 0, errors
    assert killed is not None
    assert len(json.loads(said)["failed"]) == BROKEN
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
