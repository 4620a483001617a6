"""The app: what it refuses, what it answers, and the page itself in Chromium."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from aligned_models import aligned_model
from app_process import RunningApp, find_chromium, running
from checkpoint_files import CLIP_CONFIG, name_architecture, openai_clip, write_plain
from clips import write_clip
from playwright.sync_api import Browser, Page, Request, sync_playwright

import ila_models
from ila_models import save_pretrained
from ila_models.app import Limits, launch
from ila_models.app.examples import EXAMPLE_MOTIONS, write_examples
from ila_models.app.limits import check_video
from ila_models.app.models import OfferedModels, read_class_names
from ila_models.app.prediction import answer, draw_points
from ila_models.app.refusal import RefusedError
from ila_models.app.replies import Replies
from ila_models.app.texts import about
from ila_models.app.timeline import timeline_html
from ila_models.cli.main import main
from ila_models.data.motion import MOTION_CLASSES, TEST_SEED, encode_clip, motion_clips
from ila_models.visualize import WindowPredictions

NANO = "ila_vit_nano8.motion_8x64"
SMALL = Limits(megabytes=1, seconds=10, frames=150, pixels=100 * 100)


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A video that no model was trained on, and what it shows."""
    clips, labels = motion_clips([3], seed=TEST_SEED + 7)
    path = tmp_path_factory.mktemp("motion") / "a motion.mp4"
    path.write_bytes(encode_clip(clips[0], 8))
    return path, MOTION_CLASSES[int(labels[0])]


@pytest.fixture(scope="module")
def offered() -> OfferedModels:
    return OfferedModels([NANO])


# What is refused, before a frame is decoded


@pytest.fixture
def no_frame_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*arguments: object) -> None:
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr("ila_models.data.video.VideoReader.__init__", decode)


@pytest.mark.usefixtures("no_frame_is_decoded")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"frames": 30, "size": (128, 96)}, "has frames of 128 x 96 pixels"),
        ({"frames": 110, "fps": 10}, "is longer than 10 seconds"),
        ({"frames": 160, "fps": 100}, "has more than 150 frames"),
        (
            {"frames": 110, "fps": 10, "codec": "libvpx", "container_options": {"live": "1"}},
            "is longer than 10 seconds",
        ),
    ],
)
def test_a_video_that_is_too_large_is_refused_by_its_header(
    options: dict[str, object], reason: str, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / f"large.{'webm' if 'codec' in options else 'mp4'}", **options)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match=f"“{path.name}” {reason}.*Please choose a"):
        check_video(path, SMALL)


@pytest.mark.usefixtures("no_frame_is_decoded")
def test_a_file_is_refused_by_its_size_alone(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    path.write_bytes(b"\0" * (SMALL.bytes + 1))
    with pytest.raises(RefusedError, match=r"“large.mp4” has 1 MB, and 1 MB is the most"):
        check_video(path, SMALL)
    path.write_bytes(b"")
    with pytest.raises(RefusedError, match=r"“large.mp4” is empty. Please choose another file."):
        check_video(path, SMALL)


def test_an_upload_that_was_deleted_meanwhile_is_asked_for_again(
    tmp_path: Path, offered: OfferedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.mp4"
    replies = Replies(offered=offered, limits=SMALL, scratch=tmp_path)
    for check in (check_video, lambda *_: None):  # gone before the check, and between it and the decoding
        monkeypatch.setattr("ila_models.app.prediction.check_video", check)
        refusal, *_ = next(replies.recognise(str(path), NANO, None))
        assert refusal.visible
        assert refusal.value.startswith("“clip.mp4” is no longer here: uploads are deleted within an hour. Please up")


def test_what_a_browser_records_is_taken(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "recorded.webm", frames=30, codec="libvpx", container_options={"live": "1"})
    check_video(path, SMALL)


@pytest.mark.parametrize("kind", ["noise", "cut off"])
def test_a_broken_video_is_refused_in_words(kind: str, tmp_path: Path, offered: OfferedModels) -> None:
    whole = write_clip(tmp_path / "whole.mp4", frames=60).read_bytes()
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"not a video" * 500 if kind == "noise" else whole[: len(whole) * 2 // 3])
    with offered.lend(NANO) as loaded, pytest.raises(RefusedError) as refusal:
        answer(loaded, path, class_names=[], limits=SMALL)
    assert str(refusal.value).startswith("“broken.mp4” cannot be read as a video.")
    assert str(tmp_path) not in str(refusal.value), "the server's folders are nobody's business"


@pytest.mark.parametrize("number", [0, -1, float("nan")])
def test_limits_are_above_zero(number: float) -> None:
    with pytest.raises(ValueError, match="the limit seconds="):
        Limits(seconds=number)


def test_the_page_says_the_limits() -> None:
    assert str(Limits()) == "up to 100 MB, 3 minutes, 12000 frames, and 9.4 megapixels a frame"
    small = Limits(megabytes=2.5, seconds=90, frames=500, pixels=2_000_000)
    assert str(small) == "up to 2.5 MB, 90 seconds, 500 frames, and 2 megapixels a frame"


# Models and class names


def test_class_names_are_read_as_people_type_them() -> None:
    assert read_class_names(" surfing, tai chi,\n\narm wrestling ,") == ["surfing", "tai chi", "arm wrestling"]
    assert read_class_names(" \n,") == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("surfing", "“surfing” alone leaves nothing to choose"),
        ("a, b, a", "These class names stand twice: a"),
        (",".join(map(str, range(201))), "These are 201 class names, and 200 is the most"),
        ("a, " + "b" * 300, "is too long"),
    ],
)
def test_class_names_that_cannot_be(text: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        read_class_names(text)


def test_a_model_that_reads_class_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, motion: tuple[Path, str]
) -> None:
    name = name_architecture("ila_vit_tiny_clip", CLIP_CONFIG, monkeypatch)
    write_plain(tmp_path / "clip.pt", openai_clip().state_dict())
    models = OfferedModels([name], checkpoint=str(tmp_path / "clip.pt"))
    with models.lend(name) as loaded:
        assert "Type class names for it to choose among" in about(loaded)
        with pytest.raises(RefusedError, match="has no classes of its own"):
            answer(loaded, motion[0], class_names=[], limits=Limits())
        names = ["surfing", "tai chi", "arm wrestling"]
        found = answer(loaded, motion[0], class_names=names, limits=Limits()).probabilities
        model = ila_models.create_model(name, checkpoint_path=tmp_path / "clip.pt", class_names=names)
        for each in ila_models.predict_video(model, motion[0]):
            assert found[each.label] == pytest.approx(each.probability, abs=1e-5)
    assert not list(tmp_path.rglob("class_features")), "what people type is not kept"


def test_a_model_of_fixed_classes_says_so(offered: OfferedModels, motion: tuple[Path, str]) -> None:
    with offered.lend(NANO) as loaded:
        assert f"It chooses among {', '.join(MOTION_CLASSES)}, whatever it is shown." in about(loaded)
        with pytest.raises(RefusedError, match="knows its own classes only"):
            answer(loaded, motion[0], class_names=["a", "b"], limits=Limits())


def test_an_image_model_with_alignment_is_offered_too(motion: tuple[Path, str], tmp_path: Path) -> None:
    model = aligned_model()
    model.class_names = tuple("abcdefg")
    name = f"local-dir:{save_pretrained(model, tmp_path / 'model')}"
    with OfferedModels([name]).lend(name) as loaded:
        found = answer(loaded, motion[0], class_names=[], limits=Limits())
        assert found.probabilities.keys() == set("abcdefg")
        assert found.capture.clip.alignment is not None
        assert "It chooses among a, b, c, d, e, f, g" in about(loaded)
        with pytest.raises(RefusedError, match="knows its own classes only"):
            answer(loaded, motion[0], class_names=["x", "y"], limits=Limits())


def test_only_what_is_listed_is_loaded(offered: OfferedModels) -> None:
    with (
        pytest.raises(RefusedError, match="'hf-hub:somebody/else' is not offered here"),
        offered.lend("hf-hub:somebody/else"),
    ):
        pass
    broken = OfferedModels(["ila_vit_b16"])  # whose weights nobody has here
    with pytest.raises(RefusedError, match=r"ila_vit_b16 cannot be loaded\. The reason: "), broken.lend("ila_vit_b16"):
        pass


def test_choosing_a_model_tells_of_it_and_shows_the_box_for_class_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = name_architecture("ila_vit_tiny_clip", CLIP_CONFIG, monkeypatch)
    write_plain(tmp_path / "clip.pt", openai_clip().state_dict())
    ila_models.save_pretrained(ila_models.create_model(name, checkpoint_path=tmp_path / "clip.pt"), tmp_path / "reads")
    reads = f"local-dir:{tmp_path / 'reads'}"
    replies = Replies(offered=OfferedModels([NANO, reads, "ila_vit_b16"]), limits=Limits(), scratch=tmp_path)
    for chosen, words in ((NANO, "whatever it is shown"), (reads, f"The weights of {reads}. Type class names")):
        said, names, refusal = replies.introduce(chosen)
        assert words in said
        assert (names.visible, names.value, refusal.visible) == (chosen == reads, "", False)
    *_, refusal = replies.introduce("ila_vit_b16")
    assert refusal.visible
    assert refusal.value.startswith("ila_vit_b16 cannot be loaded.")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--checkpoint", "a.pt"], "--checkpoint is the weights of one model"),
        (["--model", "ila_vit_b61"], "ila_vit_b61 cannot be loaded. The reason: unknown model 'ila_vit_b61'"),
        (["--max-seconds", "0"], "the limit seconds=0.0 is out of range"),
        (["--port", "99999"], "port=99999 is out of range: give one from 1 to 65535, or none for the first free one"),
        (["--port", "-1"], "port=-1 is out of range: give one from 1 to 65535"),
    ],
)
def test_command_lines_that_cannot_be(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quiet", "app", *arguments]) == 1
    assert reason in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--quiet", "app", "--port", str(port)]) == 1
    assert f"port {port} is taken" in capsys.readouterr().err


def test_without_gradio_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ila_models.app.interface", "ila_models.app.replies"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(RuntimeError, match=r"the app takes gradio: pip install 'ila-models\[app\]'"):
        launch([NANO])


# What is answered


def test_the_answer_is_that_of_predict_video(offered: OfferedModels, motion: tuple[Path, str], tmp_path: Path) -> None:
    path, shown = motion
    model = ila_models.create_model(NANO, pretrained=True)
    with offered.lend(NANO) as loaded:
        found = answer(loaded, path, class_names=[], limits=Limits())
    expected = {each.label: each.probability for each in ila_models.predict_video(model, path, topk=10)}
    assert found.probabilities == pytest.approx(expected, abs=1e-6)
    assert max(expected, key=expected.__getitem__) == shown
    assert found.over_time is None, "one second is one window"
    animation, sheet = draw_points(found.capture, tmp_path, theme="dark")
    assert animation is not None
    assert ila_models.load_video(animation, num_frames=2).shape[0] == 2
    assert sheet is not None
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_a_longer_video_is_answered_over_time(offered: OfferedModels, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.mp4", frames=90, fps=10)
    with offered.lend(NANO) as loaded:
        found = answer(loaded, path, class_names=[], limits=Limits()).over_time
    assert found is not None
    assert found.spans.tolist() == [[0, 2], [2, 4], [4, 6], [6, 8], [8, 9]]


def test_the_timeline_shows_each_window_of_each_class_and_trusts_no_name() -> None:
    spans = torch.tensor([[0.0, 2.0], [2.0, 4.0]], dtype=torch.float64)
    probabilities = torch.tensor([[0.1, 0.9], [0.75, 0.25]])
    html = timeline_html(WindowPredictions(spans=spans, probabilities=probabilities, labels=("<b>x</b>", "y")), topk=5)
    assert html.count('class="window"') == 4
    assert html.count("likeliest") == 2 + 1  # and in the words below
    assert "2.0 to 4.0 s: 75%" in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "<b>" not in html


def test_the_model_is_right_about_the_examples(offered: OfferedModels, tmp_path: Path) -> None:
    paths = write_examples(tmp_path)
    with offered.lend(NANO) as loaded:
        for path, shown in zip(paths, EXAMPLE_MOTIONS, strict=True):
            found = answer(loaded, path, class_names=[], limits=Limits()).probabilities
            assert max(found, key=found.__getitem__) == shown


# The page, in Chromium


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The program itself, with small limits."""
    find_chromium()
    command = ["-m", "ila_models", "app", "--max-megabytes", "1", "--max-seconds", "10"]
    with running(command, tmp_path_factory.mktemp("app")) as app:
        yield app


@pytest.fixture(scope="module")
def browser(app: RunningApp) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture
def page(app: RunningApp, browser: Browser) -> Iterator[Page]:
    """The page on a phone's screen; what it asks of other machines fails the test."""
    elsewhere: list[str] = []

    def note(request: Request) -> None:
        if not request.url.removeprefix("blob:").startswith(app.url) and not request.url.startswith("data:"):
            elsewhere.append(request.url)

    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(180_000)  # milliseconds, on a busy machine
    page.on("request", note)
    page.goto(app.url)
    page.wait_for_selector("#ask")
    yield page
    page.close()
    assert elsewhere == [], "fonts, scripts, figures of use: nothing leaves this machine"


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#video input[type=file]", str(path))
    page.wait_for_selector("#video video")


def test_a_video_is_uploaded_and_the_answer_read_off_the_page(page: Page, motion: tuple[Path, str]) -> None:
    path, shown = motion
    upload(page, path)
    page.click("#ask")
    page.wait_for_selector("#sheet img", state="attached")
    page.wait_for_selector("#animation video")
    assert page.locator("#answer h2").inner_text() == shown
    assert not page.locator("#refusal").is_visible()
    assert not page.locator("#over_time").is_visible(), "it is one second long"
    assert "A point is a place" in page.inner_text("body")
    assert "up to 1 MB, 10 seconds" in page.inner_text("body")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == 390, "nothing is wider than a phone"


def test_a_longer_video_shows_classes_over_time(page: Page, tmp_path: Path) -> None:
    upload(page, write_clip(tmp_path / "long.mp4", frames=90, fps=10))
    page.click("#ask")
    page.wait_for_selector("#over_time .bar.likeliest")
    assert page.locator("#over_time .bars").count() == 5
    assert page.locator("#over_time .window").count() == 5 * 5
    page.wait_for_selector("#sheet img", state="attached")


def test_an_example_is_answered_when_it_is_pressed(page: Page) -> None:
    page.locator("button.gallery-item").nth(EXAMPLE_MOTIONS.index("growing")).click()
    page.wait_for_selector("#sheet img", state="attached")
    assert page.locator("#answer h2").inner_text() == "growing"


def test_what_cannot_be_used_is_refused_on_the_page(page: Page, app: RunningApp, tmp_path: Path) -> None:
    page.click("#ask")
    page.wait_for_selector("#refusal p")
    assert page.inner_text("#refusal").startswith("There is no video yet.")
    whole = write_clip(tmp_path / "whole.mp4", frames=60).read_bytes()
    (tmp_path / "broken.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    upload(page, tmp_path / "broken.mp4")
    page.click("#ask")
    page.wait_for_selector("#refusal >> text=“broken.mp4” cannot be read as a video.")
    page.locator("#video button[aria-label=Clear]").click()
    upload(page, write_clip(tmp_path / "long.mp4", frames=110, fps=10))
    page.click("#ask")
    page.wait_for_selector("#refusal >> text=“long.mp4” is longer than 10 seconds")
    page.locator("#video button[aria-label=Clear]").click()
    (tmp_path / "huge.mp4").write_bytes(b"\0" * 1_500_000)
    page.set_input_files("#video input[type=file]", str(tmp_path / "huge.mp4"))
    page.wait_for_selector("text=exceed the maximum allowed size of 1.0 M")
    assert "Traceback" not in "".join(app.said)
    assert "Traceback" not in page.inner_text("body")
