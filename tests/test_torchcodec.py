"""Torchcodec as a decoder: the frames of VideoReader or an error, and messages that say what is missing.

torchcodec takes FFmpeg's shared libraries, which a machine need not have. Those inside PyAV serve, but only in a
process that starts with them: this file, run as a program, is that process.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from clips import frame_numbers, write_audio, write_clip
from torch import Tensor

from ila_models.data import VideoError, VideoReader
from ila_models.data.decoders import check_decoder, open_video
from ila_models.data.sources import VideoSource
from ila_models.data.torchcodec_reader import TorchcodecReader

CLOSED = {"g": "12", "bf": "3"}
OPEN = {**CLOSED, "x264-params": "open-gop=1"}
TIMES = [500 + 20 * i + 7 * i * i for i in range(30)]
SAME: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": CLOSED},
    "h264_open.mp4": {"options": OPEN},
    "h264_open.mkv": {"options": OPEN},
    "h264_fragmented.mp4": {"options": CLOSED, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "h264_variable_late.mp4": {"options": CLOSED, "timestamps": TIMES},
    "h264_variable_late.mkv": {"options": CLOSED, "timestamps": TIMES},
    "h264_with_sound.mp4": {"options": CLOSED, "audio_seconds": 2.0},
    "h264_odd_444.mp4": {"options": CLOSED, "pix_fmt": "yuv444p", "size": (65, 49)},
    "h264_narrow.mp4": {"options": CLOSED, "size": (36, 52)},
    "h264_bt709.mp4": {"options": {**CLOSED, "x264-params": "colormatrix=bt709"}},
    "h264_full_range.mp4": {"options": {**CLOSED, "x264-params": "fullrange=on"}},
    "h264_one_frame.mp4": {"frames": 1},
    "h265_open.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:open-gop=1:bframes=4:keyint=12"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "12", "cpu-used": "8", "deadline": "realtime"}},
    "av1.mkv": {"codec": "libsvtav1", "options": {"g": "12", "preset": "12"}},
    "turned_90.mp4": {"options": CLOSED, "size": (64, 32), "rotation": 90},
    "turned_180.mp4": {"options": CLOSED, "size": (64, 32), "rotation": 180},
    "turned_270.mp4": {"options": CLOSED, "size": (64, 32), "rotation": -90},
}
# torchcodec interpolates chroma in another way where FFmpeg has no fixed one.
SAME_BUT_FOR_EDGES: dict[str, dict[str, Any]] = {
    "h264_10_bit.mp4": {"options": CLOSED, "pix_fmt": "yuv420p10le"},
    "vp9_odd.webm": {"codec": "libvpx-vp9", "options": {"g": "12", "cpu-used": "8"}, "size": (65, 49)},
}
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "mpeg4.avi": ("not in avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
    "mpeg4.mp4": ("a packet of mpeg4 need not hold exactly one frame", {"codec": "mpeg4", "options": {"bf": "2"}}),
    "h264.ts": ("not in mpegts", {"options": CLOSED}),
    "h264_refreshed_bit_by_bit.mkv": (
        "its key frames do not decode on their own",
        {"options": {"g": "12", "bf": "0", "x264-params": "intra-refresh=1"}},
    ),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process saw in which torchcodec finds FFmpeg's libraries."""
    folder = tmp_path_factory.mktemp("torchcodec")
    clips = {**SAME, **SAME_BUT_FOR_EDGES, **{name: settings for name, (_, settings) in REFUSED.items()}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SVT_LOG", "0")
        for name, settings in clips.items():
            write_clip(folder / name, **{"frames": 30, **settings})
    write_mirrored(folder / "mirrored.mp4")
    write_damaged(folder / "damaged.mp4")
    whole = (folder / "h264.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) - 500])
    write_audio(folder / "sound.m4a")

    inside_pyav = Path(av.__file__).parents[1] / "av.libs"
    libraries = list(inside_pyav.glob("lib*.so.*"))
    assert libraries, f"PyAV's libraries are not in {inside_pyav}, where its wheels for Linux have them"
    links = tmp_path_factory.mktemp("ffmpeg")
    for library in libraries:  # libavutil-5809ad29.so.60.26.102 is to be found as libavutil.so.60
        stem, _, version = library.name.partition(".so.")
        (links / f"{stem.rpartition('-')[0]}.so.{version.partition('.')[0]}").symlink_to(library)

    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{links}{os.pathsep}{inside_pyav}",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    command = [sys.executable, __file__, str(folder)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def write_mirrored(path: Path) -> None:
    data = write_clip(path, frames=3, size=(64, 32), rotation=180).read_bytes()
    turned = struct.pack(">5i", -65536, 0, 0, 0, -65536)
    place = data.index(turned, data.index(b"tkhd"))
    path.write_bytes(data[:place] + struct.pack(">5i", -65536, 0, 0, 0, 65536) + data[place + 20 :])


def write_damaged(path: Path) -> None:
    """Writes 30 frames in groups of ten, of which the second begins with zeros."""
    data = write_clip(path, frames=30, options={"g": "10", "bf": "0", "sc_threshold": "0"}).read_bytes()
    with av.open(str(path)) as container:
        packet = next(bytes(packet) for number, packet in enumerate(container.demux(video=0)) if number == 10)
    path.write_bytes(data.replace(packet, bytes(len(packet))))


@pytest.mark.parametrize("name", [*SAME, *SAME_BUT_FOR_EDGES])
def test_frames_are_those_of_the_other_reader(name: str, report: dict[str, Any]) -> None:
    seen = report[name]
    expected = 1 if name == "h264_one_frame.mp4" else 30
    assert seen["frames"] == [expected, expected]
    assert seen["numbers"] == list(range(expected))
    assert seen["timestamps"][0] == seen["timestamps"][1]
    assert seen["fps"][0] == seen["fps"][1]
    assert seen["size"][0] == seen["size"][1]
    if name in SAME:
        assert seen["largest_difference"] <= 2
    assert seen["mean_difference"] < 1
    assert seen["layout"] == ["torch.uint8", True, "cpu"]


@pytest.mark.parametrize("name", REFUSED)
def test_where_a_search_may_mislead_it_is_an_error(name: str, report: dict[str, Any]) -> None:
    kind, message = report[name]["error"]
    assert kind == "VideoError"
    assert name in message
    assert REFUSED[name][0] in message
    assert "decoder='pyav'" in message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mirrored.mp4", "does not turn its pictures as players do"),
        ("truncated.mp4", "is truncated"),
        ("sound.m4a", "has no video track"),
    ],
)
def test_unusable_videos_say_why(name: str, reason: str, report: dict[str, Any]) -> None:
    kind, message = report[name]["error"]
    assert kind == "VideoError"
    assert name in message
    assert reason in message


def test_a_damaged_group_is_an_error_where_it_is_needed(report: dict[str, Any]) -> None:
    before, first, inside, after, again = report["requests_of_damaged"]
    for kind, message in (first, inside):
        assert kind == "VideoError"
        assert "damaged.mp4: torchcodec cannot decode it (Could not push packet to decoder: Invalid data" in message
    assert (before, after, again) == ([9], [20], [3, 4])


def test_every_kind_of_source(report: dict[str, Any]) -> None:
    assert report["sources"] == {"bytes": [7, 2], "memoryview": [7, 2], "file": [7, 2], "file_is_closed": False}


def test_a_decoder_is_tried_on_a_video(report: dict[str, Any]) -> None:
    assert report["check_decoder"] == "torchcodec"


class StandIn:
    """What torchcodec's decoder shows of itself, over the frames that PyAV decodes."""

    def __init__(self, source: Any, **settings: Any) -> None:
        source.seek(0)
        with VideoReader(source) as reader:
            self.frames = reader.decode(range(len(reader)))
            self.seconds = torch.tensor(reader.timestamps, dtype=torch.float64)
        self.metadata = SimpleNamespace(rotation=None, begin_stream_seconds_from_content=0.0)
        self.settings = settings

    def __len__(self) -> int:
        return len(self.frames)

    def get_frames_at(self, numbers: list[int]) -> Any:
        return SimpleNamespace(data=self.frames[numbers], pts_seconds=self.seconds[numbers])


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", frames=6)


def put_in_place(monkeypatch: pytest.MonkeyPatch, change: Callable[[StandIn], None] = lambda decoder: None) -> None:
    def decoder(source: Any, **settings: Any) -> StandIn:
        made = StandIn(source, **settings)
        change(made)
        return made

    monkeypatch.setitem(sys.modules, "torchcodec.decoders", SimpleNamespace(VideoDecoder=decoder))


def raise_instead(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def decoder(source: Any, **settings: Any) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "torchcodec.decoders", SimpleNamespace(VideoDecoder=decoder))


def test_a_name_opens_its_reader(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch)
    with open_video(clip) as plain, open_video(clip, decoder="torchcodec") as other:
        assert isinstance(plain, VideoReader)
        assert isinstance(other, TorchcodecReader)
        assert torch.equal(plain.decode([4, 1]), other.decode([4, 1]))
    assert check_decoder("pyav") == "pyav"


def test_an_unknown_name(clip: Path) -> None:
    for use in (check_decoder, lambda name: open_video(clip, decoder=name)):
        with pytest.raises(
            ValueError, match="decoder='decord' is unknown: choose one of pyav, torchcodec, torchcodec:"
        ):
            use("decord")


def test_torchcodec_is_missing(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torchcodec", "torchcodec.decoders"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeError, match=r"pip install 'ila-models\[torchcodec\]'"):
        open_video(clip, decoder="torchcodec")


def test_ffmpeg_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = RuntimeError(
        "Could not load libtorchcodec. Likely causes:\n" + "1. FFmpeg is not properly installed\n" * 99
    )
    raise_instead(monkeypatch, reasons)
    check_decoder.cache_clear()
    with pytest.raises(RuntimeError, match=r"cannot load FFmpeg's shared libraries \(FFmpeg 4 to 8\)") as caught:
        check_decoder("torchcodec")
    _, second = str(caught.value).splitlines()
    assert "apt install ffmpeg" in second
    assert "decoder='pyav'" in second
    assert caught.value.__cause__ is reasons


def test_the_device_is_missing(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    check_decoder.cache_clear()
    with pytest.raises(RuntimeError, match="device='cuda': torch finds 0 CUDA devices"):
        check_decoder("torchcodec:cuda")
    with pytest.raises(ValueError, match="device='mps': torchcodec decodes on 'cpu'"):
        TorchcodecReader(clip, device="mps")


def test_a_full_gpu_is_not_the_video_s_fault(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_instead(monkeypatch, RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    with pytest.raises(RuntimeError, match="out of memory"):
        open_video(clip, decoder="torchcodec")


def test_a_decoder_that_fails_its_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    check_decoder.cache_clear()
    raise_instead(monkeypatch, RuntimeError("add_stream, /src/SingleStreamDecoder.cpp:330, Codec not found\nframe #0"))
    with pytest.raises(
        RuntimeError, match=r"does not decode h264 on this machine: .* \(Codec not found\); use decoder="
    ):
        check_decoder("torchcodec")

    def swap(decoder: StandIn) -> None:
        decoder.frames = decoder.frames.flip(0)

    put_in_place(monkeypatch, swap)
    with pytest.raises(RuntimeError, match=r"decodes pictures of grey \[50, 110, 170\] as"):
        check_decoder("torchcodec")


def test_another_number_of_frames(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_one(decoder: StandIn) -> None:
        decoder.frames = decoder.frames[:5]

    put_in_place(monkeypatch, lose_one)
    with pytest.raises(
        VideoError, match=r"clip\.mp4: torchcodec finds 5 frames where PyAV finds 6; use decoder='pyav'"
    ):
        TorchcodecReader(clip)


def test_another_frame_than_asked_for(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shift(decoder: StandIn) -> None:
        decoder.seconds[3:] += 1 / 30

    put_in_place(monkeypatch, shift)
    with TorchcodecReader(clip) as reader:
        assert frame_numbers(reader.decode([2, 0])) == [2, 0]
        with pytest.raises(
            VideoError, match=r"yields the frame at 0\.133 seconds for frame 3, which is shown at 0\.100"
        ):
            reader.decode([2, 3])
        assert frame_numbers(reader.decode([1])) == [1]


def test_pictures_of_another_size(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crop(decoder: StandIn) -> None:
        decoder.frames = decoder.frames[..., :40, :]

    put_in_place(monkeypatch, crop)
    with TorchcodecReader(clip) as reader, pytest.raises(VideoError, match="pictures of 64x40 pixels, not of 64x48"):
        reader.decode([0])


def test_a_reader_refuses_what_it_cannot_do(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch)
    reader = TorchcodecReader(clip)
    for index in (6, -1):
        with pytest.raises(ValueError, match=f"Frame {index} is out of range"):
            reader.decode([index])
    with pytest.raises(TypeError):
        reader.decode([1.5])  # type: ignore[list-item]
    assert reader.decode([]).shape == (0, 3, 48, 64)
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="is closed"):
        reader.decode([0])


def test_a_loader_s_worker_decodes_with_one_thread(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    put_in_place(monkeypatch, lambda decoder: threads.append(decoder.settings["num_ffmpeg_threads"]))
    TorchcodecReader(clip).close()
    monkeypatch.setattr("ila_models.data.torchcodec_reader.is_worker", lambda: True)
    TorchcodecReader(clip).close()
    assert threads == [0, 1]


def compare(path: Path) -> dict[str, Any]:
    """Decodes a video with both readers: in any order and repeated, all of it, and single frames backwards."""
    with VideoReader(path) as plain, TorchcodecReader(path) as reader:
        count = min(len(plain), len(reader))
        expected = plain.decode(range(count))
        requests: list[list[int]] = [np.random.default_rng(0).integers(0, count, 40).tolist(), list(range(count))]
        requests += [[number] for number in reversed(range(count))]
        decoded = torch.cat([reader.decode(request) for request in requests])
        difference = (decoded.int() - expected[[number for request in requests for number in request]].int()).abs()
        whole = reader.decode(range(count))
        return {
            "frames": [len(plain), len(reader)],
            "numbers": numbers_of(whole, turned=int(path.stem[7:]) if path.stem.startswith("turned") else 0),
            "timestamps": [plain.timestamps, reader.timestamps],
            "fps": [plain.fps, reader.fps],
            "size": [[plain.width, plain.height], [reader.width, reader.height]],
            "largest_difference": int(difference.max()),
            "mean_difference": float(difference.float().mean()),
            "layout": [str(whole.dtype), whole.is_contiguous(), str(whole.device)],
        }


def numbers_of(video: Tensor, *, turned: int = 0) -> list[int]:
    return frame_numbers(video.rot90(-(turned // 90), (-2, -1)))


def answer_of(reader: TorchcodecReader, numbers: Iterable[int]) -> list[Any]:
    try:
        return list(frame_numbers(reader.decode(numbers)))
    except VideoError as error:
        return [type(error).__name__, str(error)]


def observe(folder: Path) -> dict[str, Any]:
    """Everything that takes a torchcodec that decodes, in one go."""
    seen: dict[str, Any] = {"check_decoder": check_decoder("torchcodec")}
    for path in sorted(folder.iterdir()):
        try:
            if path.name != "damaged.mp4":
                seen[path.name] = compare(path)
        except Exception as error:
            seen[path.name] = {"error": [type(error).__name__, str(error)]}
    with TorchcodecReader(folder / "damaged.mp4") as reader:
        requests = ([9], [10], [15], [20], [3, 4])
        seen["requests_of_damaged"] = [answer_of(reader, request) for request in requests]
    data = (folder / "h264.mp4").read_bytes()
    with (folder / "h264.mp4").open("rb") as file:
        sources: dict[str, VideoSource] = {"bytes": data, "memoryview": memoryview(data), "file": file}
        seen["sources"] = {}
        for name, source in sources.items():
            with TorchcodecReader(source) as reader:
                seen["sources"][name] = frame_numbers(reader.decode([7, 2]))
        seen["sources"]["file_is_closed"] = file.closed
    return seen


if __name__ == "__main__":
    print(json.dumps(observe(Path(sys.argv[1]))))
