"""The motion dataset as a repository of the Hub: its files, its card, and the way there and back."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import huggingface_hub
import pytest
from hub.cards import check_card
from hub.server import HubServer
from huggingface_hub import DatasetCard

import ila_models
from ila_models.cli.main import main
from ila_models.data.motion import MOTION_CLASSES, twin
from ila_models.publishing.motion_dataset import write_motion_dataset

COUNTS = {"train": 40, "validation": 10, "test": 10}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest there is; no test changes it."""
    return write_motion_dataset(tmp_path_factory.mktemp("dataset") / "motion10", count=40)


def rows(dataset: Path, split: str) -> list[dict[str, str]]:
    with (dataset / split / "metadata.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_split_holds_every_class_equally_often(dataset: Path) -> None:
    for split, count in COUNTS.items():
        found = rows(dataset, split)
        assert Counter(row["label"] for row in found) == dict.fromkeys(MOTION_CLASSES, count // 10)
        for row in found:
            label = int(row["label_id"])
            assert (row["label"], row["twin"]) == (MOTION_CLASSES[label], MOTION_CLASSES[twin(label)])
            assert row["file_name"].partition("/")[0] == row["label"].replace(" ", "_")


def test_the_tables_and_the_hub_s_patterns_name_all_the_videos_and_no_other(dataset: Path) -> None:
    configs = DatasetCard.load(dataset / "README.md").data.to_dict()["configs"]
    (config,) = configs
    assert [each["split"] for each in config["data_files"]] == list(COUNTS)
    for each in config["data_files"]:
        table, pattern = each["path"]
        assert (dataset / table).is_file()
        videos = sorted(path.relative_to(dataset / each["split"]).as_posix() for path in dataset.glob(pattern))
        assert len(videos) == COUNTS[each["split"]]
        assert videos == sorted(row["file_name"] for row in rows(dataset, each["split"]))


def test_no_video_is_in_two_splits(dataset: Path) -> None:
    videos = [content for name, content in contents(dataset).items() if name.endswith(".mp4")]
    assert len(set(videos)) == len(videos) == sum(COUNTS.values())


def test_the_card_tells_the_hub_what_it_is(dataset: Path) -> None:
    text = (dataset / "README.md").read_text(encoding="utf-8")
    assert check_card(text) == ([], [])
    data = DatasetCard(text).data.to_dict()
    assert data["task_categories"] == ["video-classification"]
    assert data["size_categories"] == ["n<1K"]
    assert data["license"] == "mit"
    assert data["pretty_name"].startswith("Motion")
    assert {"video", "arxiv:2304.10465"} <= set(data["tags"])
    assert "https://arxiv.org/abs/2304.10465" in text
    assert "No single frame tells twins apart" in text
    assert all(name in text for name in MOTION_CLASSES)


def test_the_command_that_the_card_names_writes_the_same_bytes(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"^ila-models (dataset .+)$", (dataset / "README.md").read_text(), re.MULTILINE)
    assert main(["--quiet", *command.split()]) == 0
    assert contents(tmp_path / "motion10") == contents(dataset)


def test_a_run_that_was_stopped_goes_on_and_is_not_published_before(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ila_models.data.motion import writing

    encode, encoded = writing.encode_clip, []

    def encode_some(*arguments: object) -> bytes:
        if len(encoded) == 45:  # into the second split
            raise KeyboardInterrupt
        encoded.append(arguments)
        return encode(*arguments)  # type: ignore[arg-type]

    folder = tmp_path / "motion10"
    with monkeypatch.context() as patch:
        patch.setattr(writing, "encode_clip", encode_some)
        with pytest.raises(KeyboardInterrupt):
            write_motion_dataset(folder, count=40)
    assert main(["--quiet", "publish", "dataset", str(folder), "--namespace", "owner"]) == 1
    assert "README.md is missing" in capsys.readouterr().err
    write_motion_dataset(folder, count=40)
    assert contents(folder) == contents(dataset)


def test_a_larger_one_adds_to_a_smaller_one_and_not_the_other_way(tmp_path: Path) -> None:
    folder = tmp_path / "motion10"
    write_motion_dataset(folder, count=40, img_size=32)
    small = contents(folder)
    write_motion_dataset(folder, count=80, img_size=32)
    large = contents(folder)
    assert {name for name in small if name.endswith(".mp4")} < {name for name in large if name.endswith(".mp4")}
    assert len(rows(folder, "train")) == 80
    with pytest.raises(ValueError, match=r"train holds 40 videos more than the 40 that are asked for"):
        write_motion_dataset(folder, count=40, img_size=32)
    with pytest.raises(ValueError, match="holds videos made of"):
        write_motion_dataset(folder, count=80, img_size=32, seed=1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--count", "50"], "count=50 is no multiple of 40"),
        (["--count", "0"], "count=0 is no multiple of 40"),
        (["--seed", "1000000"], "seed=1000000 is out of range"),
        (["--count", "40", "--img-size", "33"], "img_size is 33"),
    ],
)
def test_arguments_out_of_range(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--quiet", "dataset", "motion", str(tmp_path / "out"), *arguments]) == 1
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.mp4"))


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds files that are not of a motion dataset: name an empty folder"):
        write_motion_dataset(tmp_path, count=40)
    assert contents(tmp_path) == {"README.md": b"years of work"}
    with pytest.raises(NotADirectoryError, match="is a file"):
        write_motion_dataset(tmp_path / "README.md", count=40)


def test_it_is_published_and_comes_back_as_its_card_says(
    dataset: Path, hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--quiet", "publish", "dataset", str(dataset), "--namespace", "owner"]
    assert main(command) == 0
    assert "dataset owner/motion10 v1" in capsys.readouterr().out
    repository = hub.repository("owner/motion10", "dataset")
    assert set(repository.head.files) - {".gitattributes"} == set(contents(dataset))
    assert [commit.title for commit in repository.commits][1:] == ["Release motion10"], "one commit"
    assert hub.unknown == []
    assert main(command) == 0
    assert "was there already" in capsys.readouterr().out

    (example,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", (dataset / "README.md").read_text(), re.DOTALL)
        if "snapshot_download" in block
    ]
    exec(example.replace("OWNER/", "owner/"), {})
    said = capsys.readouterr().out
    shown = rows(dataset, "test")[0]["label"]
    assert said.startswith(f"[Prediction(label={shown!r}"), "the shipped checkpoint knows the first video"
    folder = Path(huggingface_hub.snapshot_download("owner/motion10", repo_type="dataset"))
    model = ila_models.create_model("ila_vit_nano8", pretrained=True)
    answers = [
        ila_models.predict_video(model, folder / "test" / row["file_name"])[0].label == row["label"]
        for row in rows(folder, "test")
    ]
    assert sum(answers) >= 8, "videos keep what the checkpoint sees in the clips"
