"""Files that are taken for videos: each kind is decoded, and the pages name all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from clips import frame_numbers, write_clip

from ila_models.data import VideoReader
from ila_models.data.video_files import VIDEO_SUFFIXES, is_video_name

DOCS = Path(__file__).parents[1] / "docs"

# For those whose writer takes no h264.
ENCODED: dict[str, dict[str, Any]] = {
    ".asf": {"codec": "wmv2"},
    ".gif": {"codec": "gif", "pix_fmt": "rgb8"},
    ".mpeg": {"codec": "mpeg1video"},
    ".mpg": {"codec": "mpeg1video"},
    ".ogv": {"codec": "libvpx"},
    ".vob": {"codec": "mpeg2video"},
    ".webm": {"codec": "libvpx"},
    ".wmv": {"codec": "wmv2"},
}


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_videos_of_every_suffix_are_decoded(suffix: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / f"clip{suffix}", frames=20, fps=25, **ENCODED.get(suffix, {}))
    assert is_video_name(path.name)
    with VideoReader(path) as reader:
        assert frame_numbers(reader.decode(range(len(reader)))) == list(range(20))


@pytest.mark.parametrize("page", ["your_videos.md", "extraction.md"])
def test_pages_name_all_suffixes(page: str) -> None:
    (listed,) = re.findall(r"(?:`\.\w+`,?\s+){5,}or `\.\w+`", (DOCS / page).read_text(encoding="utf-8"))
    assert re.findall(r"`(\.\w+)`", listed) == sorted(VIDEO_SUFFIXES)


@pytest.mark.parametrize("name", [".mp4", "._clip.mp4", ".clip.mp4", "clip", "mp4", "clip.mp4.part", "clip.npy"])
def test_other_names_are_no_videos(name: str) -> None:
    assert not is_video_name(name)
