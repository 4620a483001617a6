"""Videos in tar files: found and read whatever they are called, and noticed where another one stands there."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from extraction_runs import TAR_HEADERS, pack

import ila_models
from ila_models.extraction.decoding import _content
from ila_models.extraction.inputs import find_videos
from ila_models.extraction.plan import Plan
from ila_models.extraction.run import check_run

MEMBERS = {
    "ascii": "a/1.mp4",
    "dots": "a/../../b/./1.mp4",
    "absolute": "//a//1.mp4",
    "not ASCII": "視頻/café.mp4",
    "no text": "caf\udce9.mp4",
    "question mark": "what?.mp4",
    "long": f"{'a' * 90}/{'b' * 90}/1.mp4",
    "long without slashes": f"{'a' * 180}.mp4",
    "cut within a character": f"{'a' * 99}{'é' * 40}.mp4",
    "very long": f"{'/'.join(['視頻' * 30] * 15)}.mp4",
}
NO_ROOM = ("long without slashes", "cut within a character", "very long")  # in a header of ustar


@pytest.mark.parametrize(
    ("name", "headers"), [(n, h) for n in MEMBERS for h in TAR_HEADERS if h != "ustar" or n not in NO_ROOM]
)
def test_members_of_any_name_are_read(name: str, headers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    members = [("first.mp4", b"1" * 700), (MEMBERS[name], b"2" * 700), ("last.mp4", b"3" * 700)]
    pack(Path("s.tar"), members, headers)
    found = check_run(["s.tar"], "out", num_workers=1, patience=1, resume=False)
    assert [item.file for item in found] == [f"{tmp_path}/s.tar:{member}" for member, _ in members]
    plan = Plan(tmp_path, videos_per_part=3)
    plan.append(found)
    assert plan.items(0) == found
    assert [_content(item) for item in plan.items(0)] == [content for _, content in members]


def test_a_header_may_call_a_member_by_any_name_if_one_before_it_has_the_true_one(tmp_path: Path) -> None:
    path = pack(tmp_path / "s.tar", [("видео.mp4", b"x" * 700)], "pax")
    (item,) = find_videos([path])
    header = tarfile.TarInfo("PaxHeader")  # as some programs write it
    header.size = 700
    content = path.read_bytes()
    path.write_bytes(content[: item.offset - 512] + header.tobuf(tarfile.USTAR_FORMAT) + content[item.offset :])
    assert list(find_videos([path])) == [item]
    assert _content(item) == b"x" * 700


@pytest.mark.parametrize("headers", TAR_HEADERS)
def test_another_member_in_a_video_s_place_is_noticed(headers: str, tmp_path: Path) -> None:
    path, content = tmp_path / "s.tar", bytes(700)
    pack(path, [("ä.mp4", content), ("ö.mp4", content)], headers)
    items = list(find_videos([path]))
    assert [_content(item) for item in items] == [content, content]
    pack(path, [("ö.mp4", content), ("ä.mp4", content)], headers)
    for item in items:
        with pytest.raises(ila_models.VideoError, match="is not where it was"):
            _content(item)
