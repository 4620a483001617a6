"""Formats that features are kept in: each read back by its own library, and always of the same bytes."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import math
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet
import pytest
import safetensors
import torch
import webdataset

from ila_models.extraction.formats import FORMATS, Extracted, Format, check_format, writer
from ila_models.extraction.formats import parquet as parquet_format
from ila_models.extraction.items import VideoItem
from ila_models.features.levels import Level
from ila_models.features.result import Features

ROOT = Path(__file__).parents[1]
PROVENANCE: dict[str, Any] = {
    "model": "ila_vit_b16.openai",
    "settings": {"window": 2.0, "levels": ["clip"]},
    "by": "zoë",
}
STEM = "part-00007"
SHAPES: dict[Level, tuple[int, ...]] = {"clip": (6,), "frame": (4, 6), "token": (4, 5, 3)}
NAMES = (
    "plain",
    ".",
    ".hidden",
    "%2E",
    "some folder/v1.2/clip.final.cut",
    "100%/50%.x",
    "ünï/視頻 だ.mp4",
    "/".join(["f" * 90, "long" * 35]),
)


def extracted(name: str, windows: int = 3, shapes: dict[Level, tuple[int, ...]] = SHAPES, **item: Any) -> Extracted:
    """Features that are another for every name, with numbers that text would round."""
    numbers = torch.Generator().manual_seed(sum(name.encode()))
    values = {level: torch.randn(windows, *shape, generator=numbers) for level, shape in shapes.items()}
    starts = torch.arange(windows, dtype=torch.float64) / 3
    return Extracted(
        item=VideoItem(**{"file": f"/videos/{name}.mp4", "name": name, **item}),
        features=Features(
            source=name,
            spans=torch.stack([starts, starts + math.pi], dim=1),
            frames=torch.randint(1 << 40, (windows, 4), generator=numbers),
            values=values,
        ),
    )


def videos_of(format: Format) -> list[Extracted]:
    """Videos of difficult names, one without windows, one of no text and one that is a segment."""
    shapes: dict[Level, tuple[int, ...]] = {"clip": SHAPES["clip"]} if format == "actionformer" else SHAPES
    return [
        *(extracted(name, windows, shapes) for windows, name in enumerate(NAMES, start=1)),
        extracted("nothing", 0, shapes),
        extracted("segment/1.5-4", 2, shapes, file="/videos/bad\udcff.mp4", start=1.5, end=4.0),
    ]


def write(format: Format, folder: Path, videos: Sequence[Extracted]) -> list[str]:
    """Writes files, when all of them have been asked for, and returns their paths."""
    files = list(writer(format)(STEM, videos, PROVENANCE))
    for path, content in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with (folder / path).open("xb+") as stream:
            content(stream)
    return [path for path, _ in files]


def digests(provenance: Mapping[str, Any] = PROVENANCE) -> dict[str, str]:
    """SHA-256 of everything that every format writes, and of its paths."""
    found: dict[str, str] = {}
    for format in FORMATS:
        digest = hashlib.sha256()
        for path, content in writer(format)(STEM, videos_of(format), provenance):
            stream = io.BytesIO()
            content(stream)
            digest.update(path.encode() + stream.getvalue())
        found[format] = digest.hexdigest()
    return found


def arrays(features: Features) -> dict[str, np.ndarray]:
    named = [*features.values.items(), ("spans", features.spans), ("frames", features.frames)]
    return {name: tensor.numpy() for name, tensor in named}


def assert_same(found: dict[str, np.ndarray], video: Extracted) -> None:
    expected = arrays(video.features)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert np.array_equal(found[name], array), name


def described(video: Extracted) -> dict[str, Any]:
    file = r"/videos/bad\udcff.mp4" if video.item.start else video.item.file
    return {**PROVENANCE, "file": file, "name": video.item.name, "start": video.item.start, "end": video.item.end}


def test_npy(tmp_path: Path) -> None:
    videos = videos_of("npy")
    paths = write("npy", tmp_path, videos)
    assert paths[:5] == [f"plain.{each}.npy" for each in ("clip", "frame", "token", "spans", "frames")]
    assert len(set(paths)) == 5 * len(videos)
    for video in videos:
        names = ("clip", "frame", "token", "spans", "frames")
        assert_same({name: np.load(tmp_path / f"{video.item.name}.{name}.npy") for name in names}, video)


def test_actionformer(tmp_path: Path) -> None:
    videos = videos_of("actionformer")
    assert write("actionformer", tmp_path, videos) == [f"{video.item.name}.npy" for video in videos]
    for video in videos:
        rows = np.load(tmp_path / f"{video.item.name}.npy")
        assert rows.dtype == np.float32
        assert rows.shape == (len(video.features), 6)
        assert np.array_equal(rows, video.features["clip"].numpy())


def test_safetensors(tmp_path: Path) -> None:
    videos = videos_of("safetensors")
    paths = write("safetensors", tmp_path, videos)
    assert paths == [f"{video.item.name}.safetensors" for video in videos]
    for path, video in zip(paths, videos, strict=True):
        with safetensors.safe_open(tmp_path / path, framework="numpy") as file:
            assert_same({name: file.get_tensor(name) for name in file.keys()}, video)  # noqa: SIM118
            metadata = file.metadata()
        assert list(metadata) == ["ila_models"]
        assert json.loads(metadata["ila_models"]) == described(video)


def test_parquet(tmp_path: Path) -> None:
    videos = videos_of("parquet")
    assert write("parquet", tmp_path, videos) == ["part-00007.parquet"]
    table = pyarrow.parquet.read_table(tmp_path / "part-00007.parquet")
    assert table.column_names == ["file", "name", "window", "start", "end", "frames", *SHAPES]
    assert json.loads(table.schema.metadata[b"ila_models.extraction"]) == PROVENANCE
    assert table.schema.field("window").type == pyarrow.int32()
    assert table.schema.field("frames").type == pyarrow.list_(pyarrow.int64())
    assert table.schema.field("token").type == pyarrow.list_(pyarrow.float32(), 60)
    assert table["name"].to_pylist() == [video.item.name for video in videos for _ in range(len(video.features))]
    for video in videos:
        rows = table.filter(pyarrow.compute.field("name") == video.item.name)
        assert set(rows["file"].to_pylist()) == ({described(video)["file"]} if len(video.features) else set())
        assert rows["window"].to_pylist() == list(range(len(video.features)))
        found = {"spans": np.stack([rows["start"].to_numpy(), rows["end"].to_numpy()], axis=1)}
        found["frames"] = np.array(rows["frames"].to_pylist(), dtype=np.int64).reshape(-1, 4)
        for level in SHAPES:
            shape = [int(length) for length in table.schema.field(level).metadata[b"shape"].split(b",")]
            assert rows[level].null_count == 0
            found[level] = rows[level].combine_chunks().flatten().to_numpy().reshape(-1, *shape)
        assert_same(found, video)


def test_parquet_of_videos_without_windows(tmp_path: Path) -> None:
    write("parquet", tmp_path, [extracted("a", 0), extracted("b", 0)])
    table = pyarrow.parquet.read_table(tmp_path / "part-00007.parquet")
    assert table.num_rows == 0
    assert table.schema.field("frame").metadata[b"shape"] == b"4,6"


def test_row_groups_are_bounded_and_go_across_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_per_row = 4 * (6 + 24 + 60)
    monkeypatch.setattr(parquet_format, "_BYTES_PER_GROUP", 4 * bytes_per_row + 1)
    write("parquet", tmp_path, [extracted("a", 3), extracted("b", 2), extracted("c", 6)])
    with pyarrow.parquet.ParquetFile(tmp_path / "part-00007.parquet") as file:
        assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [4, 4, 3]


def test_webdataset(tmp_path: Path) -> None:
    videos = videos_of("webdataset")
    assert write("webdataset", tmp_path, videos) == ["part-00007.tar"]
    samples = list(webdataset.WebDataset(str(tmp_path / "part-00007.tar"), shardshuffle=False).decode())
    assert [sample["json"] for sample in samples] == [described(video) for video in videos]
    for sample, video in zip(samples, videos, strict=True):
        assert_same({key[:-4]: value for key, value in sample.items() if key.endswith(".npy")}, video)
    keys = [sample["__key__"] for sample in samples]
    assert keys[1:6] == ["%2E", "%2Ehidden", "%252E", "some folder/v1.2/clip%2Efinal%2Ecut", "100%/50%25%2Ex"]


def test_tar_files_say_nothing_of_who_wrote_them_and_are_whole(tmp_path: Path) -> None:
    write("webdataset", tmp_path, videos_of("webdataset"))
    with tarfile.open(tmp_path / "part-00007.tar", "r:") as archive:
        members = archive.getmembers()
    assert {(each.mtime, each.uid, each.gid, each.uname, each.gname, each.mode) for each in members} == {
        (0, 0, 0, "", "", 0o644)
    }
    assert len({each.name for each in members}) == len(members) == 6 * len(videos_of("webdataset"))
    assert (tmp_path / "part-00007.tar").read_bytes().endswith(bytes(1024))
    listed = subprocess.run(["tar", "-tf", tmp_path / "part-00007.tar"], capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == len(members)
    assert listed.stderr == ""


def test_hdf5(tmp_path: Path) -> None:
    videos = videos_of("hdf5")
    assert write("hdf5", tmp_path, videos) == ["part-00007.h5"]
    with h5py.File(tmp_path / "part-00007.h5") as file:
        assert json.loads(file.attrs["ila_models.extraction"]) == PROVENANCE
        groups = {group.attrs["name"]: group for group in file.values()}
        assert groups.keys() == {video.item.name for video in videos}
        assert {"%2E", "%252E", "100%25%2F50%25.x", ".hidden"} <= set(file)
        for video in videos:
            group = groups[video.item.name]
            assert_same({name: dataset[()] for name, dataset in group.items()}, video)
            expected = {name: value for name, value in described(video).items() if name not in PROVENANCE}
            assert dict(group.attrs) == {name: value for name, value in expected.items() if value is not None}


def test_bytes_depend_on_nothing_but_the_features() -> None:
    # This process's files are some seconds older than the others', who import torch first.
    here = digests()
    program = "import json, test_extraction_formats as tests; print(json.dumps(tests.digests()))"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    others = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    assert [json.loads(other.communicate()[0]) for other in others] == [here, here]


def test_bytes_do_not_depend_on_the_order_of_the_provenance() -> None:
    backwards = {**dict(reversed(PROVENANCE.items())), "settings": {"levels": ["clip"], "window": 2.0}}
    assert list(backwards) != list(PROVENANCE)
    assert digests(backwards) == digests(PROVENANCE)


@pytest.mark.parametrize("format", FORMATS)
def test_files_on_disk_and_in_memory_are_the_same(format: Format, tmp_path: Path) -> None:
    videos = videos_of(format)
    write(format, tmp_path, videos)
    for path, content in writer(format)(STEM, videos, PROVENANCE):
        stream = io.BytesIO()
        content(stream)
        assert not stream.closed
        assert stream.getvalue() == (tmp_path / path).read_bytes(), path


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_an_error(format: Format) -> None:
    _, content = next(iter(writer(format)(STEM, videos_of(format), PROVENANCE)))
    with pytest.raises(OSError, match="No space left on device"), open("/dev/full", "wb+") as stream:
        content(stream)


@pytest.mark.parametrize("format", FORMATS)
def test_one_level_of_vectors_goes_into_every_format(format: Format) -> None:
    assert check_format(format, ["clip"]) == format


@pytest.mark.parametrize(
    ("format", "levels", "message"),
    [
        ("csv", ["clip"], "format='csv' is not known: use one of npy, safetensors, parquet, webdataset, hdf5, act"),
        (
            "actionformer",
            ["clip", "frame"],
            "not clip, frame: extract one of clip, pre_head, logits",
        ),
        ("actionformer", ["token"], "holds a vector for every window, not token: extract one of clip"),
    ],
)
def test_formats_that_cannot_be_written(format: str, levels: list[Level], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_format(format, levels)


@pytest.mark.parametrize(("format", "package"), [("parquet", "pyarrow"), ("hdf5", "h5py")])
def test_packages_that_are_not_installed(format: Format, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=rf"format '{format}' takes {package}: pip install 'ila-models\[extract\]'"):
        check_format(format, ["clip"])
    assert check_format("npy", ["clip"]) == "npy"
