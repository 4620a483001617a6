"""Decoding: every frame equals plain sequential decoding, little is decoded, and unusable videos say why."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from clips import decode_plainly, frame_numbers, numbered_frame, write_clip

from ila_models.data import VideoError, VideoReader, clip_views, load_clips, load_video
from ila_models.data.playback import Playback

CLOSED = {"g": "12", "bf": "3"}
CLIPS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": CLOSED},
    "h264_open.mp4": {"options": {**CLOSED, "x264-params": "open-gop=1"}},
    "h264_open.mkv": {"options": {**CLOSED, "x264-params": "open-gop=1"}},
    "h264_intra_refresh.mkv": {"options": {"g": "12", "x264-params": "intra-refresh=1"}},
    "h264.ts": {"options": CLOSED},
    "h264.avi": {"options": CLOSED},
    "h264.flv": {"options": {"g": "12", "bf": "0"}, "audio_seconds": 4.0},
    "h264_fragmented.mp4": {
        "options": CLOSED,
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "h264_10_bit.mp4": {"pix_fmt": "yuv420p10le", "options": CLOSED},
    "h264_odd_444.mp4": {"pix_fmt": "yuv444p", "size": (65, 49), "options": CLOSED},
    "h264_variable.mp4": {"timestamps": [500 + 20 * i + 7 * i * i for i in range(48)], "options": CLOSED},
    "h264_long_sound.mp4": {"audio_seconds": 4.0, "options": CLOSED},
    "h264.h264": {"options": CLOSED},
    "h265_open.mp4": {
        "codec": "libx265",
        "options": {"x265-params": "log-level=none:open-gop=1:bframes=4:keyint=12"},
    },
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}},
    "vp9_odd.webm": {
        "codec": "libvpx-vp9",
        "size": (65, 49),
        "options": {"g": "12", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"},
    },
    "vp8_hidden_frames.webm": {
        "codec": "libvpx",
        "options": {"g": "12", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"},
    },
    "av1.mkv": {"codec": "libsvtav1", "options": {"g": "12", "preset": "12"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"g": "12", "preset": "12"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
}
DECODES_FROM_THE_START = {
    "h264.avi", "h264.h264", "vp8_hidden_frames.webm", "mpeg4.avi", "mpeg4.mp4", "mjpeg.avi", "h264_intra_refresh.mkv",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVT_LOG", "0")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per frame that a decoder produced for a request."""
    seen: list[int] = []
    count = Playback._counted

    def counted(self: Playback, frames: list[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        seen.extend(0 for _ in frames)
        return count(self, frames)

    monkeypatch.setattr(Playback, "_counted", counted)
    return seen


def long_clip(path: Path, *, frames: int = 600) -> Path:
    return write_clip(path, frames=frames, size=(32, 32), options={"g": "20", "bf": "2", "preset": "ultrafast"})


def shorten_by_edit_list(path: Path, *, first: int, count: int, fps: int = 30, ticks_per_frame: int = 512) -> None:
    """Makes an mp4 start at a later frame and end early, by its edit list alone."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12
    _, media_time = struct.unpack_from(">Ii", data, entry)
    struct.pack_into(">Ii", data, entry, count * 1000 // fps, media_time + first * ticks_per_frame)
    path.write_bytes(data)


@pytest.mark.parametrize("name", sorted(CLIPS))
def test_every_frame_equals_plain_decoding(name: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / name, **{"frames": 48, **CLIPS[name]})
    expected = decode_plainly(path)
    order = np.random.default_rng(0).integers(0, len(expected), 30).tolist()
    with VideoReader(path) as reader:
        assert len(reader) == len(expected)
        assert (reader.height, reader.width) == expected.shape[-2:]
        assert torch.equal(reader.decode(order), expected[order])
        sparse = [0, 5, 9, 10, 22, 41]
        assert torch.equal(reader.decode(sparse), expected[sparse])
        for index in (len(reader) - 1, 0, 13, 12, 11, 37, 38):  # alone, and mostly backwards
            assert torch.equal(reader.decode([index])[0], expected[index])
        assert torch.equal(reader.decode(range(len(reader))), expected)
        assert reader._can_seek == (name not in DECODES_FROM_THE_START)
        assert len(reader.timestamps) == len(expected)
        assert reader.timestamps[0] == 0
    assert frame_numbers(expected) == list(range(48))


def test_an_edit_list_cuts_frames_away(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "cut.mp4", frames=60, options=CLOSED)
    shorten_by_edit_list(path, first=20, count=30)
    with VideoReader(path) as reader:
        assert frame_numbers(reader.decode(range(len(reader)))) == list(range(20, 50))
        assert frame_numbers(reader.decode([29, 0, 17])) == [49, 20, 37]
    assert frame_numbers(decode_plainly(path)) == list(range(20, 50))


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotation_is_applied(degrees: int, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "turned.mp4", frames=5, size=(64, 32), rotation=degrees)
    expected = decode_plainly(path).rot90(degrees // 90, (-2, -1))
    with VideoReader(path) as reader:
        assert (reader.height, reader.width) == expected.shape[-2:]
        assert torch.equal(reader.decode(range(5)), expected)


def test_a_mirror_is_applied_and_a_slant_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "turned.mp4", frames=3, size=(64, 32), rotation=180)
    data = path.read_bytes()
    upside_down = struct.pack(">9i", -65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30)
    place = data.index(upside_down[:20], data.index(b"tkhd"))
    mirrored = struct.pack(">5i", -65536, 0, 0, 0, 65536)
    slanted = struct.pack(">5i", 46341, 46341, 0, -46341, 46341)
    video = load_video(data[:place] + mirrored + data[place + 20 :], sampling="all")
    assert torch.equal(video, decode_plainly(path).flip(-1))
    with pytest.raises(VideoError, match="no quarter turn"):
        load_video(data[:place] + slanted + data[place + 20 :])


def test_timestamps_of_a_variable_frame_rate(tmp_path: Path) -> None:
    times = [500 + 20 * i + 7 * i * i for i in range(20)]
    with VideoReader(write_clip(tmp_path / "a.mkv", frames=20, timestamps=times)) as reader:
        assert reader.timestamps == pytest.approx([(time - 500) / 1000 for time in times])


def test_frame_rate(tmp_path: Path) -> None:
    with VideoReader(write_clip(tmp_path / "a.avi", codec="mpeg4", frames=10, fps=25)) as reader:
        assert reader.fps == 25
        assert reader.timestamps == pytest.approx([i / 25 for i in range(10)])


def test_colours_come_as_rgb(tmp_path: Path) -> None:
    red = np.zeros((32, 32, 3), dtype=np.uint8)
    red[..., 0] = 255
    video = load_video(write_clip(tmp_path / "red.mp4", frames=[red] * 3), num_frames=2)
    assert video.shape == (2, 3, 32, 32)
    assert (video[:, 0] > 220).all()
    assert (video[:, 1:] < 40).all()


def test_few_frames_decode_few_groups(tmp_path: Path, decoded: list[int]) -> None:
    path = long_clip(tmp_path / "long.mp4")
    with VideoReader(path) as reader:
        assert frame_numbers(reader.decode([590, 3, 301])) == [590, 3, 301]
        # three groups of 20, and what the decoder's threads are ahead by
        assert len(decoded) <= 3 * (20 + 20)


def test_frames_of_one_group_are_decoded_in_one_pass(tmp_path: Path, decoded: list[int]) -> None:
    path = long_clip(tmp_path / "long.mp4", frames=100)
    with VideoReader(path) as reader:
        reader.decode([79, 61, 70, 61, 65])
        assert len(decoded) <= 20 + 20
        decoded.clear()
        for index in range(80, 90):  # going on from where the last request ended
            assert frame_numbers(reader.decode([index])) == [index]
        assert len(decoded) <= 20 + 20


def test_frames_that_nobody_needs_are_passed_over(tmp_path: Path, decoded: list[int]) -> None:
    path = write_clip(
        tmp_path / "a.mp4", frames=90, options={"g": "90", "bf": "2", "b-pyramid": "0", "sc_threshold": "0"}
    )
    expected = decode_plainly(path)
    for sparse in ([7, 30, 89], [1, 2, 3, 40, 88], [29]):
        decoded.clear()
        with VideoReader(path) as reader:
            assert torch.equal(reader.decode(sparse), expected[sparse])
            assert len(decoded) <= sparse[-1] / 3 + 25, "of three frames, no other leans on two"
            after = range(sparse[-1] + 1, min(sparse[-1] + 9, 90))
            assert torch.equal(reader.decode(after), expected[list(after)])
            assert reader._may_skip, "nothing had to be decoded again"


def test_a_decoder_that_passes_over_too_much_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=40, options={"g": "40", "bf": "2"})
    expected = decode_plainly(path)
    monkeypatch.setattr(Playback, "_nobody_wants", lambda self, packet: self.skips)
    with VideoReader(path) as reader:
        assert torch.equal(reader.decode([3, 4, 5, 20]), expected[[3, 4, 5, 20]])
        assert not reader._may_skip


def test_clips_are_decoded_in_one_pass(tmp_path: Path, decoded: list[int]) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=50, options={"g": "50"})
    clips = load_clips(path, num_frames=4, num_clips=3)
    assert [frame_numbers(clip) for clip in clips] == clip_views(50, 4, 3)
    assert len(decoded) <= 50


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    pictures = [numbered_frame(1, size=(320, 240))] * 800  # 184 MB when all are decoded
    path = write_clip(tmp_path / "long.mp4", frames=pictures, options={"g": "50", "preset": "ultrafast"})
    avi = write_clip(tmp_path / "long.avi", codec="mpeg4", frames=pictures)
    # In a process of its own, for a peak of its own; the first video loads what every video needs.
    code = (
        "import resource, sys; from ila_models.data import load_video\n"
        "assert 'av' not in sys.modules\n"
        "load_video(sys.argv[1])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "videos = [load_video(path) for path in sys.argv[2:]]\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    short = write_clip(tmp_path / "short.mp4", frames=pictures[:50], options={"preset": "ultrafast"})
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", code, *map(str, (short, path, avi, path))]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(answer.stdout) * unit < 60e6


def test_a_damaged_frame_is_an_error_where_it_is_needed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", frames=30, options={"g": "1", "bf": "0"})
    with av.open(str(path)) as container:
        packet = next(packet for number, packet in enumerate(container.demux(video=0)) if number == 20)
        payload = bytes(packet)
    data = path.read_bytes()
    place = data.index(payload)
    damaged = data[:place] + bytes(len(payload)) + data[place + len(payload) :]
    with VideoReader(damaged) as reader:
        assert frame_numbers(reader.decode([10, 25])) == [10, 25]
        with pytest.raises(VideoError, match="frame 20 of 30 does not decode"):
            reader.decode([20])
        assert frame_numbers(reader.decode([11, 21])) == [11, 21]


def test_a_change_of_size_is_refused(tmp_path: Path) -> None:
    parts = [
        write_clip(tmp_path / f"{size}.h264", frames=5, size=(size, size), options={"bf": "0"}).read_bytes()
        for size in (32, 64)
    ]
    with VideoReader(b"".join(parts)) as reader:
        assert (reader.width, reader.height, len(reader)) == (32, 32, 10)
        assert frame_numbers(reader.decode([4])) == [4]
        with pytest.raises(VideoError, match="changes from 32x32 to 64x64 pixels at frame 5"):
            reader.decode([5])


def test_reader_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    reader = VideoReader(write_clip(tmp_path / "a.mp4", frames=5))
    for index in (5, -1):
        with pytest.raises(ValueError, match=f"Frame {index} is out of range"):
            reader.decode([index])
    with pytest.raises(TypeError):
        reader.decode([1.5])  # type: ignore[list-item]
    assert reader.decode([]).shape == (0, 3, 48, 64)
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="is closed"):
        reader.decode([0])


def test_a_loader_s_worker_decodes_with_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = tmp_path / "clip.mp4"
    write_clip(clip)
    expected = load_video(clip, num_frames=4)
    monkeypatch.setattr("ila_models.data.container.is_worker", lambda: True)
    with VideoReader(clip) as reader:
        assert reader._container.stream.codec_context.thread_count == 1
    assert torch.equal(load_video(clip, num_frames=4), expected)
