"""Videos in WebDataset shards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from shard_files import write_shard

from ila_models.data import load_video
from ila_models.data.labels import AnnotationError
from ila_models.data.motion import encode_clip, motion_clips
from ila_models.data.shards import read_shards


def test_samples_of_several_shards_in_order(tmp_path: Path) -> None:
    write_shard(tmp_path / "b-1.tar", {"0.mp4": b"four", "0.cls": "1", "x/1.cls": "0\n", "x/1.mp4": b"five!"})
    write_shard(tmp_path / "b-0.tar", {"7.mp4": b"zero", "7.json": json.dumps({"label": 2, "caption": "surfing"})})
    videos = read_shards(tmp_path / "b-*.tar")
    assert [videos.name(index) for index in range(len(videos))] == [
        f"{tmp_path}/b-0.tar:7.mp4",
        f"{tmp_path}/b-1.tar:0.mp4",
        f"{tmp_path}/b-1.tar:x/1.mp4",
    ]
    assert [videos.source(index) for index in range(3)] == [b"zero", b"four", b"five!"]
    assert videos.labels == (2, 1, 0)
    assert videos.num_classes == 3
    assert videos.class_names is None
    assert len(read_shards(tmp_path / "b-1.tar")) == 2


def test_names_and_other_members(tmp_path: Path) -> None:
    members = {"a.mp4": b"a", "a.cls": "arm_wrestling", "a.txt": "said", "b.side.mkv": b"b", "b.cls": "Yoga"}
    shard = write_shard(tmp_path / "s.tar", members)
    assert read_shards(shard).class_names == ("Yoga", "arm_wrestling")
    named = read_shards(shard, class_names=["yoga", "surfing", "arm wrestling"])
    assert named.labels == (2, 0)
    assert named.num_classes == 3
    with pytest.raises(AnnotationError, match=r"s\.tar:b\.side\.mkv: 'Yoga' is not among the class names"):
        read_shards(shard, class_names=["arm wrestling", "surfing"])


def test_a_video_is_decoded_from_its_shard(tmp_path: Path) -> None:
    clips, _ = motion_clips([0, 1], seed=5, num_frames=4)
    encoded = [encode_clip(clip, 8) for clip in clips]
    shard = write_shard(tmp_path / "s.tar", {"0.mp4": encoded[0], "0.cls": "0", "1.mp4": encoded[1], "1.cls": "1"})
    videos = read_shards(shard)
    for index in range(2):
        assert torch.equal(load_video(videos.source(index), num_frames=4), load_video(encoded[index], num_frames=4))


def test_a_damaged_header_does_not_end_a_shard_in_silence(tmp_path: Path) -> None:
    samples = {f"{number}.{kind}": str(number % 2) for number in range(4) for kind in ("mp4", "cls")}
    shard = write_shard(tmp_path / "s.tar", samples)
    assert len(read_shards(shard)) == 4
    content = bytearray(shard.read_bytes())
    content[4 * 1024] ^= 1  # of the third sample's name, behind which is enough for two classes
    shard.write_bytes(content)
    with pytest.raises(AnnotationError, match="at byte 4,096 there is neither a member nor the end"):
        read_shards(shard)


def test_what_macos_adds_is_passed_over(tmp_path: Path) -> None:
    members = {"a/0.mp4": b"zero", "a/._0.mp4": b"attributes", "a/0.cls": "0", "a/._0.cls": "\0", "a/.1.mp4": b"no"}
    videos = read_shards(write_shard(tmp_path / "s.tar", {**members, "b.mp4": b"one", "b.cls": "1"}))
    assert (videos.names, videos.labels) == (("a/0.mp4", "b.mp4"), (0, 1))
    assert videos.source(0) == b"zero"


def test_a_label_may_stand_twice_if_it_is_the_same(tmp_path: Path) -> None:
    members = {"0.mp4": b"zero", "0.cls": "3", "0.json": '{"label": 3}', "1.mp4": b"one", "1.cls": "1"}
    assert read_shards(write_shard(tmp_path / "s.tar", members)).labels == (3, 1)


def test_a_member_that_was_appended_once_more_is_told(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", {"0.mp4": b"zero", "0.cls": "0", "1.mp4": b"one", "1.cls": "1"})
    write_shard(shard, {"0.mp4": b"anew", "0.cls": "1"}, mode="a")
    with pytest.raises(AnnotationError) as caught:
        read_shards(shard)
    assert "2 problems:\n" in str(caught.value)
    assert "s.tar:0.mp4: 0.mp4 is a video of the same sample" in str(caught.value)
    assert "s.tar:0.cls: label '1' of 0, which is '0' by 0.cls" in str(caught.value)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"0.mp4": b"a", "0.cls": "0", "1.mp4": b"b"}, r"s\.tar:1\.mp4: no label: put 1\.cls beside it"),
        ({"0.mp4": b"a", "0.cls": "0", "1.cls": "1"}, r"s\.tar:1: a label without a video"),
        ({"0.mp4": b"a", "0.cls": " "}, r"s\.tar:0\.cls: holds no label"),
        ({"0.mp4": b"a", "0.json": "{"}, r"s\.tar:0\.json: holds no label"),
        ({"0.mp4": b"a", "0.cls": b"\xff"}, r"s\.tar:0\.cls: holds no label"),
        ({"0.mp4": b"a", "0.cls": "0", "1.mp4": b"b", "1.cls": "0"}, "all 2 videos are of one class, '0'"),
        ({"0.mp4": b"a", "0.cls": "0", "1.mp4": b"b", "1.cls": "-1"}, r"s\.tar:1\.mp4: label -1 is out of range"),
        ({"0.txt": b"a"}, "no video in 1 shards"),
        ({"._0.mp4": b"a", "x/.0.mp4": b"a"}, "no video in 1 shards"),
        (
            {"0.l.mp4": b"a", "0.cls": "0", "0.r.mp4": b"b"},
            r"s\.tar:0\.r\.mp4: 0\.l\.mp4 is a video of the same sample, 0: name one of them anew",
        ),
        (
            {"0.mp4": b"a", "0.cls": "0", "0.json": '{"label": 1}'},
            r"s\.tar:0\.json: label '1' of 0, which is '0' by 0\.cls: leave one of them",
        ),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, bytes | str], message: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=message):
        read_shards(write_shard(tmp_path / "s.tar", members))


def test_files_that_are_no_shards(tmp_path: Path) -> None:
    whole = write_shard(tmp_path / "s.tar", {"0.cls": "0", "0.mp4": bytes(5000), "1.cls": "1", "1.mp4": bytes(5000)})
    second = 2 * 512 + 512 + 5120  # where the second sample begins
    for length in (7000, second + 1024, second + 100, second, 600, 100):
        cut = tmp_path / "cut.tar"
        cut.write_bytes(whole.read_bytes()[:length])
        with pytest.raises(AnnotationError, match=r"cut\.tar: no uncompressed tar file, or cut off"):
            read_shards(cut)
    packed = write_shard(tmp_path / "packed.tar", {"0.mp4": b"a", "0.cls": "0"}, mode="w:gz")
    with pytest.raises(AnnotationError, match="no uncompressed tar file"):
        read_shards(packed)
    with pytest.raises(FileNotFoundError, match=r"no such shards: .*; write \{000\.\.127\} as a wildcard"):
        read_shards(tmp_path / "train-{000..009}.tar")
