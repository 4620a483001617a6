"""Features of videos: windows, levels, every frame decoded once, and many videos at a time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from clips import decode_plainly, frame_numbers, write_clip
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_model

import ila_models
from ila_models import FeatureExtractor, VideoError
from ila_models.data.video import VideoReader
from ila_models.features import LEVELS, Failure, Features, Window, WindowSettings, plan_windows
from ila_models.features.ahead import in_a_thread
from ila_models.features.batch_size import MOST, largest_that_fits
from ila_models.features.windows import Padding
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.weights.manifest import preprocessing


def ready(**changes: Any) -> ILAVisionTransformer:
    model = make_model(**changes)
    model.pretrained_cfg = {"img_size": model.config.img_size, **preprocessing("ila")}
    return model


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5.5 seconds, 10 frames a second."""
    return write_clip(tmp_path_factory.mktemp("videos") / "video.mp4", frames=55, fps=10, size=(96, 80))


def cut(count: int, *, fps: float = 10.0, **settings: Any) -> list[Window]:
    return plan_windows([n / fps for n in range(count)], 1 / fps, WindowSettings(num_frames=2, **settings))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [(0, 5.5)]),
        ({"window": 2}, [(0, 2), (2, 4), (4, 5.5)]),
        ({"window": 2, "stride": 1}, [(0, 2), (1, 3), (2, 4), (3, 5), (4, 5.5)]),
        ({"window": 2, "stride": 1.5}, [(0, 2), (1.5, 3.5), (3, 5), (4.5, 5.5)]),
        ({"window": 2, "stride": 3}, [(0, 2), (3, 5)]),
        ({"window": 2, "padding": "drop"}, [(0, 2), (2, 4)]),
        ({"window": 2, "padding": "shift"}, [(0, 2), (2, 4), (3.5, 5.5)]),
        ({"window": 2, "padding": "repeat"}, [(0, 2), (2, 4), (4, 5.5)]),
        ({"window": 5.5}, [(0, 5.5)]),
        ({"window": 7}, [(0, 5.5)]),
        ({"window": 7, "padding": "shift"}, [(0, 5.5)]),
        ({"window": 7, "padding": "drop"}, []),
        ({"window": 20, "unit": "frames"}, [(0, 2), (2, 4), (4, 5.5)]),
        ({"window": 20, "stride": 10, "unit": "frames", "padding": "drop"}, [(0, 2), (1, 3), (2, 4), (3, 5)]),
    ],
)
def test_spans(settings: dict[str, Any], expected: list[tuple[float, float]]) -> None:
    spans = [(round(window.start, 6), round(window.end, 6)) for window in cut(55, **settings)]
    assert spans == expected


@pytest.mark.parametrize("padding", ["shorten", "shift", "repeat", "drop"])
@given(
    count=st.integers(1, 40),
    frame_seconds=st.floats(0.01, 20),
    window=st.floats(0.05, 30),
    stride=st.floats(0.05, 30),
)
def test_windows_lie_within_the_video(
    padding: Padding, count: int, frame_seconds: float, window: float, stride: float
) -> None:
    times = [number * frame_seconds for number in range(count)]
    settings = WindowSettings(num_frames=2, window=window, stride=stride, padding=padding)
    windows = plan_windows(times, frame_seconds, settings)
    end = times[-1] + frame_seconds
    assert all(0 <= each.start < each.end <= end for each in windows)
    assert [each.start for each in windows] == sorted({each.start for each in windows})
    assert all(0 <= frame < count for each in windows for frame in each.frames)


def test_frames_that_are_shown_longer_than_a_window() -> None:
    windows = plan_windows([0.0, 1.0, 2.0], 1.0, WindowSettings(num_frames=2, window=0.25, stride=0.25))
    assert [(each.start, each.end) for each in windows] == [(n / 4, n / 4 + 0.25) for n in range(12)]


def test_a_damaged_time_stamp_makes_no_million_windows() -> None:
    times = [*(number / 8 for number in range(15)), 20 * 86_400.0]
    with pytest.raises(ValueError, match="16 frames over 1,728,000 seconds would make 1,728,000 windows: a time stamp"):
        plan_windows(times, 0.125, WindowSettings(num_frames=2, window=2, stride=1))


def test_no_window_between_two_that_touch_is_left_out_by_rounding() -> None:
    windows = cut(1000, fps=10, window=0.1)  # 0.1 is no binary number
    assert [window.frames for window in windows] == [(number, number) for number in range(1000)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"window": 2, "padding": "shorten"}, [(5, 14), (25, 34), (43, 50)]),
        ({"window": 2, "padding": "shift"}, [(5, 14), (25, 34), (40, 49)]),
        ({"window": 2, "padding": "repeat"}, [(5, 14), (25, 34), (45, 54)]),
        ({"window": 20, "unit": "frames", "padding": "repeat"}, [(5, 14), (25, 34), (45, 54)]),
    ],
)
def test_frames_are_the_middles_of_equal_segments(settings: dict[str, Any], expected: list[tuple[int, ...]]) -> None:
    assert [window.frames for window in cut(55, **settings)] == expected


def test_a_repeated_last_frame_fills_the_window() -> None:
    (window,) = plan_windows([0.0, 0.1, 0.2], 0.1, WindowSettings(num_frames=4, window=0.8, padding="repeat"))
    assert window.frames == (1, 2, 2, 2)
    assert window.end == pytest.approx(0.3)


def test_variable_frame_rates() -> None:
    times = [0.0, 0.1, 0.2, 3.0, 3.1]
    windows = plan_windows(times, 0.1, WindowSettings(num_frames=2, window=1.0))
    assert [window.frames for window in windows] == [(0, 1), (2, 2), (2, 2), (3, 3)]
    assert windows[-1].end == pytest.approx(3.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window=0 is out of range: give a number of seconds above 0"),
        ({"window": float("nan")}, "window=nan is out of range"),
        ({"window": 1, "stride": -1}, "stride=-1 is out of range"),
        ({"stride": 1}, "stride=1 without a window"),
        ({"window": 1.5, "unit": "frames"}, "window=1.5 is not a whole number of frames"),
        ({"window": 1, "unit": "minutes"}, "unit='minutes' is not known"),
        ({"window": 1, "padding": "zero"}, "padding='zero' is not known"),
        ({"num_frames": 1}, "num_frames=1 is out of range"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowSettings(**{"num_frames": 4, **settings})


@pytest.mark.parametrize("head", ["text", "linear"])
@pytest.mark.parametrize("is_fused", [False, True])
def test_every_level_is_what_the_model_says_of_the_same_frames(head: Any, is_fused: bool, video: Path) -> None:
    model = ready(head=head)
    if is_fused:
        model.fuse()
    extractor = FeatureExtractor(model, levels=LEVELS, window=2, stride=1, batch_size=2)
    features = extractor(video)
    frames = decode_plainly(video)
    assert features.source == str(video)
    assert features.spans.tolist() == [[0, 2], [1, 3], [2, 4], [3, 5], [4, 5.5]]
    assert tuple(features.values) == LEVELS
    transform = ila_models.create_transform(model)
    with torch.inference_mode():
        clips = torch.stack([transform(frames[numbers]) for numbers in features.frames])
        logits, maps = model(clips, return_points=True)
        tokens = model.forward_features(clips)
        vectors = model.forward_head(tokens, pre_logits=True)
        expected = {
            "clip": vectors,
            "frame": model.forward_frames(tokens),
            "token": tokens,
            "logits": logits,
            "points": maps.points.transpose(0, 1),
        }
    for level, values in expected.items():
        assert features[level].shape == values.shape, level
        torch.testing.assert_close(features[level], values, rtol=1e-5, atol=1e-5, msg=level)
    assert features["pre_head"].shape == (5, 64)
    if head == "text":
        torch.testing.assert_close(features["pre_head"].norm(dim=1), torch.ones(5))
    else:
        torch.testing.assert_close(model.get_classifier()(features["pre_head"]), logits)


@pytest.mark.parametrize("levels", ["clip", ["frame", "clip"], ["logits"], ["points"]])
def test_one_level_alone_is_the_same(levels: Any, video: Path) -> None:
    model = ready(head="linear").fuse()
    alone = FeatureExtractor(model, levels=levels, window=2)(video)
    everything = FeatureExtractor(model, levels=LEVELS, window=2)(video)
    assert set(alone.values) == ({levels} if isinstance(levels, str) else set(levels))
    for level, values in alone.values.items():
        torch.testing.assert_close(values, everything[level], rtol=1e-5, atol=1e-5)
    with pytest.raises(KeyError, match="'token' was not extracted; there are"):
        alone["token"]


def test_without_windows_it_is_the_whole_video(video: Path) -> None:
    model = ready(head="linear")
    features = FeatureExtractor(model)(video)
    transform = ila_models.create_transform(model)
    with torch.inference_mode():
        tokens = model.forward_features(transform(ila_models.load_video(video, num_frames=4))[None])
        torch.testing.assert_close(features["clip"], model.forward_head(tokens, pre_logits=True))
    assert features.spans.tolist() == [[0, 5.5]]


def test_every_frame_is_decoded_once_and_in_order(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    decode = VideoReader.decode

    def noted(self: VideoReader, indices: Any) -> torch.Tensor:
        asked.extend(indices)
        found = decode(self, indices)
        assert frame_numbers(found) == list(indices)
        return found

    monkeypatch.setattr(VideoReader, "decode", noted)
    features = FeatureExtractor(ready(), window=3, stride=0.3, num_frames=7)(video)
    assert len(features) == 10
    assert asked == sorted(set(features.frames.flatten().tolist()))


def test_a_stream_comes_in_parts(video: Path) -> None:
    extractor = FeatureExtractor(ready(), levels=["clip", "frame"], window=1, stride=0.5, batch_size=4)
    whole = extractor(video)
    parts = list(extractor.stream(video))
    assert [len(part) for part in parts] == [4, 4, 2]
    for level in ("clip", "frame"):
        assert torch.equal(torch.cat([part[level] for part in parts]), whole[level])
    assert torch.equal(torch.cat([part.spans for part in parts]), whole.spans)


def test_a_stream_that_nobody_reads_on_stops_decoding(video: Path) -> None:
    stream = FeatureExtractor(ready(), window=0.2, batch_size=1).stream(video)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ila_models decoder"]


def test_a_video_without_windows_has_no_rows(video: Path) -> None:
    features = FeatureExtractor(ready(), window=60, padding="drop")(video)
    assert len(features) == 0
    assert features.spans.shape == (0, 2)
    assert features.frames.shape == (0, 4)


def test_frames_need_a_rate_where_windows_are_in_seconds(video: Path) -> None:
    model = ready()
    frames = decode_plainly(video)
    extractor = FeatureExtractor(model, window=2)
    with pytest.raises(ValueError, match=r"frames do not know their time: give fps, or unit='frames'"):
        extractor(frames)
    torch.testing.assert_close(extractor(frames, fps=10)["clip"], extractor(video)["clip"])
    by_frames = FeatureExtractor(model, window=20, unit="frames")(frames)
    torch.testing.assert_close(by_frames["clip"], extractor(video)["clip"])
    with pytest.raises(ValueError, match=r"fps=25 is for frames"):
        extractor(video, fps=25)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_many_videos(num_workers: int, video: Path, tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{n}.mp4", frames=10 + 7 * n, fps=10, size=(64, 64)) for n in range(5)]
    (tmp_path / "broken.mp4").write_bytes(video.read_bytes()[:2000])
    (tmp_path / "text.mp4").write_text("no video")
    sources = [*paths[:2], tmp_path / "broken.mp4", tmp_path / "text.mp4", tmp_path / "missing.mp4", *paths[2:]]
    extractor = FeatureExtractor(ready(), window=1, stride=0.5, batch_size=3)
    results = list(extractor.iter(sources, num_workers=num_workers, on_error="yield"))
    failed = {Path(each.source).name: each.reason for each in results if isinstance(each, Failure)}
    assert sorted(failed) == ["broken.mp4", "missing.mp4", "text.mp4"]
    assert all(name in reason for name, reason in failed.items())
    done = {each.source: each for each in results if isinstance(each, Features)}
    assert sorted(done) == sorted(map(str, paths))
    for path in paths:
        alone = extractor(path)
        assert torch.equal(done[str(path)].spans, alone.spans)
        torch.testing.assert_close(done[str(path)]["clip"], alone["clip"], rtol=1e-5, atol=1e-5)
    if num_workers < 2:
        assert [each.source for each in results] == list(map(str, sources))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_is_raised_where_nobody_wants_it_as_a_result(num_workers: int, video: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    results = FeatureExtractor(ready()).iter([video, tmp_path / "text.mp4", video], num_workers=num_workers)
    assert isinstance(next(results), Features)
    with pytest.raises(VideoError if num_workers == 0 else ValueError, match=r"text\.mp4"):
        list(results)


def test_errors_of_one_video_are_its_own(tmp_path: Path) -> None:
    extractor = FeatureExtractor(ready())
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4"):
        extractor(tmp_path / "nowhere.mp4")
    with pytest.raises(TypeError, match="not int"):
        extractor(7)


def test_a_name_makes_a_model_for_inference(video: Path) -> None:
    extractor = FeatureExtractor("ila_vit_nano8", window=2)
    assert extractor.model.fused
    assert extractor.model.num_classes == 0
    features = extractor(video)
    assert features["clip"].shape == (3, 128)
    with_head = FeatureExtractor("ila_vit_nano8", levels=["clip", "logits"], window=2)
    found = with_head(video)
    torch.testing.assert_close(found["clip"], features["clip"], rtol=1e-5, atol=1e-5)
    assert found["logits"].shape == (3, 10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"levels": "clips"}, ValueError, "levels 'clips' are not known"),
        ({"levels": []}, ValueError, "there are no levels"),
        ({"batch_size": 0}, ValueError, "batch_size=0 is out of range"),
        ({"num_classes": 3}, TypeError, "num_classes make a model of a name; this one is made already"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        FeatureExtractor(ready(), **arguments)


def test_levels_that_a_model_does_not_have() -> None:
    with pytest.raises(ValueError, match="'logits': the model has no classes"):
        FeatureExtractor(ready(head="none"), levels="logits")
    with pytest.raises(ValueError, match="'points': blocks of alignment='none' predict no points"):
        FeatureExtractor(ready(head="linear", alignment="none"), levels="points")


def test_a_thread_hands_on_items_and_errors_in_order() -> None:
    def items() -> Any:
        yield from range(10)
        raise LookupError("after nine")

    found = in_a_thread(items, ahead=2)
    assert [next(found) for _ in range(10)] == list(range(10))
    with pytest.raises(LookupError, match="after nine"):
        next(found)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_containers_that_round_time_stamps_make_the_same_windows(suffix: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / f"video.{suffix}", frames=240, fps=24, size=(64, 64))
    with VideoReader(path) as reader:
        times = reader.timestamps
    for settings in ({"padding": "drop"}, {"padding": "shorten"}, {"padding": "shift"}):
        windows = plan_windows(times, 1 / 24, WindowSettings(num_frames=2, window=2.0, **settings))
        assert [window.frames for window in windows] == [(start + 12, start + 35) for start in range(0, 240, 48)]
    overlapping = plan_windows(times, 1 / 24, WindowSettings(num_frames=2, window=2 / 24, stride=1 / 24))
    assert [window.frames for window in overlapping] == [(start, start) for start in range(239)]


def test_a_sliver_at_the_end_is_no_window() -> None:
    times = [number / 29.97 for number in range(60)]
    assert len(plan_windows(times, 1 / 29.97, WindowSettings(num_frames=2, window=2.0))) == 1


@pytest.mark.parametrize("padding", ["shorten", "shift", "repeat"])
def test_a_single_frame_is_a_window(padding: Any) -> None:
    (window,) = plan_windows([0.0], 0.04, WindowSettings(num_frames=2, window=1.0, padding=padding))
    assert window.frames == (0, 0)


def test_repeating_goes_by_the_clock() -> None:
    times = [0.0, *(9 + number / 10 for number in range(10))]  # to 10 seconds
    windows = plan_windows(times, 0.1, WindowSettings(num_frames=3, window=6.0, padding="repeat"))
    assert windows[1].frames == (6, 10, 10)  # of the 10 frames from 9 s on, and 20 times the last


def test_weights_are_random_only_when_asked_for(video: Path) -> None:
    given = FeatureExtractor("ila_vit_nano8", checkpoint_path=None, window=2)(video)
    assert torch.equal(given["clip"], FeatureExtractor("ila_vit_nano8", window=2)(video)["clip"])


def test_features_may_be_trained_on(video: Path) -> None:
    (part,) = FeatureExtractor(ready()).stream(video)
    torch.nn.Linear(64, 1)(part["clip"]).sum().backward()


class InALoader(torch.utils.data.Dataset[int]):
    """Extracts in a worker of somebody else's loader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        return len(FeatureExtractor("ila_vit_nano8", window=2)(self.path))


def test_extraction_within_another_loader(video: Path) -> None:
    loader = torch.utils.data.DataLoader(InALoader(video), num_workers=2, multiprocessing_context="forkserver")
    assert [int(rows) for rows in loader] == [3, 3]


def test_no_rows_have_the_shape_of_rows(video: Path) -> None:
    model = ready(head="linear")
    some = FeatureExtractor(model, levels=LEVELS, window=2)(video)
    none = FeatureExtractor(model, levels=LEVELS, window=60, padding="drop")(video)
    for level in LEVELS:
        assert none[level].shape == (0, *some[level].shape[1:]), level


def test_a_failure_keeps_no_frames(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = VideoReader.decode

    def breaks(self: VideoReader, indices: Any) -> torch.Tensor:
        frames = decode(self, indices)
        if max(indices) > 20:
            raise VideoError("frame 21 does not decode")
        return frames

    monkeypatch.setattr(VideoReader, "decode", breaks)
    (failure,) = FeatureExtractor(ready(), window=0.5).iter([video], on_error="yield")
    assert isinstance(failure, Failure)
    assert failure.error is not None
    entry = failure.error.__traceback__
    while entry is not None:
        assert not [value for value in entry.tb_frame.f_locals.values() if isinstance(value, torch.Tensor)]
        entry = entry.tb_next


def test_one_video_is_no_list(video: Path) -> None:
    with pytest.raises(TypeError, match="sources is one video"):
        list(FeatureExtractor(ready()).iter(str(video)))


def test_what_is_wrong_is_said_before_a_model_is_fetched() -> None:
    with pytest.raises(ValueError, match="levels 'clips' are not known"):
        FeatureExtractor("ila_vit_b16.openai", levels="clips")
    with pytest.raises(ValueError, match="window=0 is out of range"):
        FeatureExtractor("ila_vit_b16.openai", window=0)


def test_frames_of_several_sizes_are_refused() -> None:
    frames = [torch.zeros(64, 64, 3, dtype=torch.uint8), *torch.zeros(9, 80, 120, 3, dtype=torch.uint8)]
    with pytest.raises(ValueError, match="different sizes"):
        FeatureExtractor(ready(), num_frames=10)(frames)


def test_a_process_that_dies_after_its_last_video_costs_nothing(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ila_models.data.pool import Lost
    from ila_models.features import ahead

    class Dying(ahead.WorkerPool):  # type: ignore[type-arg, misc]
        def run(self, next_task: Any) -> Any:
            for event in super().run(next_task):
                yield Lost(event.task, "signal SIGKILL") if type(event).__name__ == "Finished" else event

    monkeypatch.setattr(ahead, "WorkerPool", Dying)
    found = list(FeatureExtractor(ready(), window=2).iter([video, video], num_workers=1))
    assert [len(features) for features in found] == [3, 3]


def test_a_batch_that_is_too_large_for_the_memory_is_halved(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ready()
    expected = FeatureExtractor(model, window=0.5, batch_size=1)(video)
    extractor = FeatureExtractor(model, window=0.5, batch_size=8)
    run, sizes = extractor.clip_model._run, []

    def with_little_memory(clips: torch.Tensor) -> Any:
        sizes.append(len(clips))
        if len(clips) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return run(clips)

    monkeypatch.setattr(extractor.clip_model, "_run", with_little_memory)
    found = extractor(video)
    assert sizes[:3] == [8, 4, 2]
    assert extractor.batch_size == 2
    torch.testing.assert_close(found["clip"], expected["clip"], rtol=1e-5, atol=1e-5)
    assert torch.equal(found.spans, expected.spans)

    def without_memory(clips: torch.Tensor) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(extractor.clip_model, "_run", without_memory)
    with pytest.raises(torch.OutOfMemoryError):
        extractor(video)


@pytest.mark.parametrize(("fits", "expected"), [(1, 1), (5, 4), (16, 16), (10_000, MOST)])
def test_the_largest_batch_that_fits(fits: int, expected: int) -> None:
    def run(size: int) -> None:
        if size > fits:
            raise torch.OutOfMemoryError("out of memory")

    assert largest_that_fits(run, torch.device("cuda")) == expected


def test_a_batch_that_fails_for_another_reason_is_an_error() -> None:
    def run(size: int) -> None:
        raise RuntimeError("illegal memory access")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        largest_that_fits(run, torch.device("cuda"))
    assert FeatureExtractor(ready(), batch_size="auto").batch_size == 8  # on a CPU nothing is tried
