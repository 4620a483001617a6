"""What a video may be read from, what is refused, and how a truncated one is told from a whole one."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from clips import decode_plainly, frame_numbers, numbered_frame, write_audio, write_clip
from PIL import Image

from ila_models.data import VideoError, load_clips, load_video, segment_midpoints


@pytest.mark.parametrize("kind", ["str", "path", "bytes", "bytearray", "memoryview", "file", "BytesIO", "pipe"])
def test_sources(kind: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=10)
    file = path.open("rb")
    file.seek(100)
    data = path.read_bytes()
    pipe = io.BufferedReader(_Unseekable(data))
    source: Any = {
        "str": str(path), "path": path, "bytes": data, "bytearray": bytearray(data), "memoryview": memoryview(data),
        "file": file, "BytesIO": io.BytesIO(data), "pipe": pipe,
    }[kind]  # fmt: skip
    assert frame_numbers(load_video(source, num_frames=4)) == segment_midpoints(10, 4)
    assert not file.closed
    file.close()


class _Unseekable(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)


def test_sampling_rules(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=30)
    drawn = [
        frame_numbers(load_video(path, sampling="random_in_segments", generator=torch.Generator().manual_seed(seed)))
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert frame_numbers(load_video(path, sampling="all")) == list(range(30))
    assert frame_numbers(load_video(path, num_frames=2, sampling=lambda decoded, wanted: [decoded - 1, wanted])) == [
        29,
        2,
    ]
    with pytest.raises(ValueError, match="frame 30 of a video with the frames 0 to 29"):
        load_video(path, sampling=lambda decoded, _: [decoded])
    with pytest.raises(ValueError, match="chose no frame"):
        load_video(path, sampling=lambda *_: [])
    with pytest.raises(ValueError, match="'dense'"):
        load_video(path, sampling="dense")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_frames is 0"):
        load_video(path, num_frames=0)
    with pytest.raises(ValueError, match="A generator is for"):
        load_video(path, generator=torch.Generator())


def test_a_short_video_repeats_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "one.mp4", frames=1)
    assert frame_numbers(load_video(path)) == [0] * 8
    assert frame_numbers(load_clips(path)) == [0] * 32


def test_random_clips_repeat_with_the_generator(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", frames=60)
    first, second = (load_clips(path, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert first.shape == (4, 8, 3, 48, 64)
    assert torch.equal(first, second)
    assert not torch.equal(first, load_clips(path))


FRAMES = torch.from_numpy(np.stack([numbered_frame(number) for number in range(10)]))


@pytest.mark.parametrize(
    "source",
    [
        FRAMES,
        FRAMES.permute(0, 3, 1, 2),
        FRAMES.numpy(),
        FRAMES.permute(0, 3, 1, 2).numpy(),
        list(FRAMES.numpy()),
        [frame[..., ::-1] for frame in FRAMES.numpy()[..., ::-1].copy()],
        [np.frombuffer(frame.tobytes(), dtype=np.uint8).reshape(48, 64, 3) for frame in FRAMES.numpy()],
        list(FRAMES),
        [Image.fromarray(frame) for frame in FRAMES.numpy()],
        [Image.fromarray(frame).convert("RGBA") for frame in FRAMES.numpy()],
    ],
    ids=[
        "tensor-last",
        "tensor-first",
        "array-last",
        "array-first",
        "arrays",
        "turned",
        "read-only",
        "tensors",
        "images",
        "rgba",
    ],
)
def test_frames_already_decoded(source: Any) -> None:
    video = load_video(source, num_frames=4)
    assert torch.equal(video, FRAMES[segment_midpoints(10, 4)].permute(0, 3, 1, 2))
    assert video.is_contiguous()


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (FRAMES.float(), TypeError, "torch.float32"),
        (FRAMES.numpy().astype(np.float64), TypeError, "float64"),
        (FRAMES[None], ValueError, "one video at a time"),
        (torch.zeros(2, 3, 8, 3, dtype=torch.uint8), ValueError, "both ways"),
        (torch.zeros(2, 4, 8, 8, dtype=torch.uint8), ValueError, "no axis of 3 channels"),
        (FRAMES[:0], ValueError, "no frames"),
        ([], ValueError, "no frames"),
        (["a.mp4", "b.mp4"], TypeError, "one at a time"),
        ([FRAMES[0], FRAMES[1, :8]] * 2, ValueError, "different sizes"),
        ([FRAMES[0].permute(2, 0, 1)], ValueError, r"\[3, 48, 64\]"),
    ],
)
def test_wrong_frames_are_refused(source: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_video(source, num_frames=2)


@pytest.mark.parametrize("source", [None, 7, 1.5, {"path": "a.mp4"}, io.StringIO("text")])
def test_wrong_sources_are_refused(source: Any) -> None:
    with pytest.raises(TypeError, match="binary mode"):
        load_video(source)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "none.mp4")):
        load_video(tmp_path / "none.mp4")


def write_bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def write_picture(path: Path) -> None:
    Image.new("RGB", (32, 32)).save(path, format="jpeg")


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n/etc/hostname\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("directory", Path.mkdir, "is a directory"),
        ("empty.mp4", write_bytes(b""), "is empty"),
        ("notes.txt", write_bytes(b"no video\n" * 100), "is not a video"),
        ("zeros.mp4", write_bytes(bytes(5000)), "is not a video"),
        ("picture.mp4", write_picture, "is not a video"),
        ("playlist.m3u8", write_bytes(PLAYLIST), "is not a video"),
        ("sound.m4a", write_audio, r"no video track \(it holds: audio\)"),
    ],
)
def test_what_is_no_video(name: str, write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(VideoError, match=message) as caught:
        load_video(path)
    assert name in str(caught.value)
    if path.is_file() and path.stat().st_size:
        with pytest.raises(VideoError, match=message):
            load_video(path.read_bytes())


def test_a_video_track_without_frames(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError, match=r"none\.mp4"):
        load_video(path)


@pytest.mark.parametrize("share", [0.5, 0.75])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("moov_last.mp4", {}),
        ("moov_first.mp4", {"container_options": {"movflags": "faststart"}}),
        ("fragmented.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
        ("sound.mp4", {"container_options": {"movflags": "faststart"}, "audio_seconds": 3.0}),
        ("mpeg4.avi", {"codec": "mpeg4", "size": (160, 120)}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
        ("h264.mkv", {"audio_seconds": 3.0}),
        ("h264.flv", {"frames": 200}),
    ],
)
def test_a_truncated_video_says_so(name: str, settings: dict[str, Any], share: float, tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / name, **{"frames": 60, "options": {"g": "12"} if "codec" not in settings else {}, **settings}
    )
    whole = path.read_bytes()
    assert load_video(whole, num_frames=2).shape[0] == 2
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(VideoError, match="truncated") as caught:
        load_video(path)
    assert name in str(caught.value)


def test_a_video_that_lost_only_what_follows_its_frames_is_whole(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", codec="mpeg4", frames=60, size=(160, 120))
    data = path.read_bytes()
    video = load_video(data[: data.rindex(b"idx1") + 20], sampling="all")
    assert torch.equal(video, decode_plainly(path))


def test_sound_longer_than_the_pictures_is_no_truncation(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.flv", frames=30, audio_seconds=6.0, options={"bf": "0"})
    assert len(load_video(path, sampling="all")) == 30


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mp4", frames=10).read_bytes()
    assert len(load_video(data + bytes(1000), sampling="all")) == 10


def test_a_title_that_is_not_utf8_does_no_harm(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mkv", frames=4)
    titled = tmp_path / "titled.mkv"
    with av.open(str(whole)) as source, av.open(str(titled), "w") as target:
        target.metadata["title"] = "A title in Latin-1"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    data = titled.read_bytes()
    assert data.count(b"A title in Latin-1") == 1
    assert frame_numbers(load_video(data.replace(b"A title", b"A t\xeftle"), sampling="all")) == [0, 1, 2, 3]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    data = write_clip(tmp_path / "a.mp4", frames=10).read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/none.mp4":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if self.path == "/half.mp4" else data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


def test_addresses(server: str) -> None:
    assert frame_numbers(load_video(f"{server}/a.mp4", num_frames=4)) == segment_midpoints(10, 4)
    with pytest.raises(VideoError, match=r"none\.mp4: the server answered 404"):
        load_video(f"{server}/none.mp4")
    with pytest.raises(VideoError, match="download is truncated"):
        load_video(f"{server}/half.mp4")
    with pytest.raises(VideoError, match="only http"):
        load_video("s3://bucket/a.mp4")


def test_addresses_that_are_not_ascii(server: str) -> None:
    for path in ("größe.mp4", "a b.mp4", "a%20b.mp4?name=größe&x=1 2"):
        assert frame_numbers(load_video(f"{server}/{path}", num_frames=4)) == segment_midpoints(10, 4)
    with pytest.raises(VideoError, match=r"http://\[1/a\.mp4 cannot be read"):
        load_video("http://[1/a.mp4")


def test_a_path_that_cannot_seek(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mp4", frames=10).read_bytes()
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    assert frame_numbers(load_video(fifo, num_frames=4)) == segment_midpoints(10, 4)
    writer.join()


def test_a_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(VideoError, match=r"within 0\.2 seconds"):
        load_video(f"http://127.0.0.1:{silent.getsockname()[1]}/a.mp4", timeout=0.2)
