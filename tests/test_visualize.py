"""Pictures of what a model sees: the numbers behind them, beside the same by hand, and that each shows what it says."""

from __future__ import annotations

import io
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from aligned_models import aligned_model
from clips import write_clip
from matplotlib.text import Text
from PIL import Image
from tiny import make_model

from ila_models import create_model, create_transform
from ila_models.alignment import frame_weights, similarity_loss
from ila_models.blocks import BLOCKS
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.predict import predict_probabilities
from ila_models.visualize import (
    ClipCapture,
    WindowPredictions,
    animate_points,
    animation,
    capture_clip,
    capture_video,
    draw_contact_sheet,
    draw_rollout,
    draw_timeline,
    encode_gif,
    encode_mp4,
    predict_windows,
    read_footage,
    roll_out,
    visualize_video,
    write_pictures,
)
from ila_models.visualize.canvas import Canvas
from ila_models.visualize.contact_sheet import draw_block
from ila_models.visualize.drawing import UNTRAINED, Panel, heat, spotlight
from ila_models.visualize.rollout import mean_attention, recorded_attention
from ila_models.visualize.themes import EARLIER, LATER, THEMES, colours_of
from ila_models.visualize.video import as_png
from ila_models.weights.manifest import preprocessing


def with_points(**changes: Any) -> ILAVisionTransformer:
    """A tiny model whose points lie all over the frame."""
    model = make_model(**changes)
    model.pretrained_cfg = {"img_size": model.config.img_size, **preprocessing("ila")}
    for block in model.blocks if model.has_points else ():
        torch.nn.init.normal_(block.alignment.points.fc2.weight, std=1.5)
    return model


def noise(frames: int = 8, *, height: int = 80, width: int = 144) -> torch.Tensor:
    return torch.randint(256, (frames, 3, height, width), dtype=torch.uint8)


@pytest.fixture
def clip() -> ClipCapture:
    """Of a wide video, of which the model sees the middle."""
    return capture_clip(with_points(), read_footage(noise(), num_frames=4, fps=8))


def texts(figure: Any) -> list[str]:
    return [found.get_text() for found in figure.findobj(Text) if found.get_text()]


def rgb(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


# The numbers


def test_points_and_masks_are_the_models() -> None:
    model, frames = with_points(), noise()
    captured = capture_clip(model, read_footage(frames, num_frames=4))
    footage = captured.footage
    assert footage.seconds is None
    assert footage.duration == 8
    with torch.inference_mode():
        logits, maps = model(create_transform(model)(footage.frames)[None], return_points=True)
    assert captured.alignment is not None
    assert captured.logits is not None
    assert torch.equal(captured.alignment.points, maps.points[:, 0])
    assert torch.equal(captured.alignment.masks, maps.masks[:, 0])
    torch.testing.assert_close(captured.logits, logits[0])
    assert captured.alignment.points.std() > 0.1
    assert captured.alignment.pairs == ((0, 1), (1, 2), (2, 3))
    x, y = captured.alignment.point(1, 2, 1)
    assert [x, y] == maps.points[1, 0, 2, 2:].tolist()


@pytest.mark.parametrize("target", ["neighbours", "first", "middle"])
def test_similarity_is_that_of_the_loss(target: str) -> None:
    model = with_points(alignment_target=target)
    captured = capture_clip(model, read_footage(noise(), num_frames=4)).alignment
    assert captured is not None
    clip = create_transform(model)(read_footage(noise(0 + 8), num_frames=4).frames)[None]
    assert (
        captured.pairs
        == {
            "neighbours": ((0, 1), (1, 2), (2, 3)),
            "first": ((0, 1), (0, 2), (0, 3)),
            "middle": ((0, 2), (1, 2), (2, 3)),
        }[target]
    )
    seen: list[Any] = []
    hook = model.blocks[1].alignment.register_forward_hook(lambda *call: seen.append(call[-1]))
    footage = read_footage(noise(), num_frames=4)
    captured = capture_clip(model, footage).alignment
    hook.remove()
    assert captured is not None
    assert clip.shape[1] == 4
    message, masks = seen[0].message[0, :, 1:], seen[0].maps.masks[0]
    for number, (earlier, later) in enumerate(captured.pairs):
        before = F.cosine_similarity(message[earlier].sum(0), message[later].sum(0), dim=0)
        weighted = [
            (masks[number, side].flatten()[:, None] * message[frame]).sum(0)
            for side, frame in enumerate((earlier, later))
        ]
        after = F.cosine_similarity(*weighted, dim=0)
        torch.testing.assert_close(captured.similarity_before[1, number], before, rtol=0, atol=1e-5)
        torch.testing.assert_close(captured.similarity_after[1, number], after, rtol=0, atol=1e-5)
    loss = similarity_loss(seen[0].message[:, :, 1:], seen[0].maps.masks, target)
    torch.testing.assert_close(1 - captured.similarity_after[1].mean(), loss, rtol=0, atol=1e-5)
    assert (captured.similarity_before - captured.similarity_after).abs().max() > 1e-3


def test_sixteen_bits_show_the_same() -> None:
    model, footage = with_points(), read_footage(noise(), num_frames=4)
    wanted, found = (capture_clip(each, footage) for each in (model, deepcopy(model).bfloat16()))
    assert wanted.alignment is not None
    assert found.alignment is not None
    assert found.alignment.points.dtype == found.rollout.dtype == torch.float32
    torch.testing.assert_close(found.alignment.points, wanted.alignment.points, rtol=0, atol=0.1)
    torch.testing.assert_close(found.alignment.similarity_before, wanted.alignment.similarity_before, rtol=0, atol=0.05)
    torch.testing.assert_close(found.rollout, wanted.rollout, rtol=0.1, atol=0.01)


def test_roll_out_is_the_naive_product() -> None:
    attentions = [torch.rand(3, 6, 6).softmax(dim=-1) for _ in range(4)]
    rolled = roll_out(attentions)
    for frame in range(3):
        naive = torch.eye(6)
        for attention in attentions:
            naive = (0.5 * attention[frame] + 0.5 * torch.eye(6)) @ naive
        torch.testing.assert_close(rolled[frame], naive)
    torch.testing.assert_close(rolled.sum(dim=-1), torch.ones(3, 6))
    with pytest.raises(ValueError, match="no attention to roll out"):
        roll_out([])


def test_attention_weights_are_those_that_the_model_uses() -> None:
    attention = make_model(width=128).blocks[0].attn
    x = torch.randn(3, 17, 128)
    outputs = []
    weights = []
    for frame in x:
        query, key, value = attention.qkv(frame).chunk(3, dim=-1)
        parts = []
        for head in (slice(0, 64), slice(64, 128)):
            weight = (query[:, head] @ key[:, head].T / 8).softmax(dim=-1)
            weights.append(weight)
            parts.append(weight @ value[:, head])
        outputs.append(attention.proj(torch.cat(parts, dim=-1)))
    torch.testing.assert_close(torch.stack(outputs), attention(x), rtol=1e-4, atol=1e-5)
    mean = torch.stack(weights).unflatten(0, (3, 2)).mean(dim=1)
    torch.testing.assert_close(mean_attention(attention, x), mean, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(mean_attention(attention, x).sum(dim=-1), torch.ones(3, 17))


@pytest.mark.parametrize("form", BLOCKS)
def test_every_form_is_rolled_out(form: str) -> None:
    model = with_points(alignment=form)
    footage = read_footage(noise(), num_frames=4)
    with torch.inference_mode(), recorded_attention(model) as attentions:
        model(create_transform(model)(footage.frames)[None])
    assert [list(each.shape) for each in attentions] == [[4, 17, 17]] * 2
    for each in attentions:
        torch.testing.assert_close(each.sum(dim=-1), torch.ones(4, 17))
    captured = capture_clip(model, footage)
    class_row = roll_out(attentions)[:, 0, 1:]
    torch.testing.assert_close(captured.rollout.flatten(1), class_row / class_row.sum(-1, keepdim=True))
    assert (captured.alignment is not None) == model.has_points
    assert not [hook for module in model.modules() for hook in (*module._forward_hooks, *module._forward_pre_hooks)]


def test_predictions_of_windows() -> None:
    model, frames = with_points(), noise(16)
    found = predict_windows(model, frames, window=1.0, fps=8)
    assert found.spans.tolist() == [[0, 1], [1, 2]]
    for part, probabilities in zip(frames.split(8), found.probabilities, strict=True):
        torch.testing.assert_close(probabilities, predict_probabilities(model, part), rtol=0, atol=1e-5)
    assert [len(best) for best in found.top(9)] == [5, 5]
    best = found.top(2)[1]
    assert best[0].probability == found.probabilities[1].max().item() >= best[1].probability
    assert best[0].label == str(best[0].index)
    whole = capture_video(model, frames).predictions
    assert whole is not None
    assert whole.spans.tolist() == [[0, 16]]  # nobody told the rate
    torch.testing.assert_close(whole.probabilities[0], predict_probabilities(model, frames), rtol=0, atol=1e-5)


def test_classes_that_lead_are_in_the_order_of_their_time() -> None:
    rows = torch.tensor([[0.1, 0.2, 0.6, 0.1], [0.1, 0.85, 0.0, 0.05], [0.9, 0.05, 0.0, 0.05]])
    predictions = WindowPredictions(spans=torch.zeros(3, 2), probabilities=rows, labels=("a", "b", "c", "d"))
    assert predictions.leading(3) == [2, 1, 0]
    assert predictions.leading(2) == [1, 0]
    assert predictions.leading(9) == [2, 3, 1, 0]


# Where things are


@pytest.mark.parametrize(("height", "width"), [(80, 144), (144, 80), (64, 64), (41, 61), (240, 321), (720, 1280)])
def test_places_are_where_the_model_looked(height: int, width: int) -> None:
    """Frames that tell their own coordinates, through the transform."""
    frame = torch.zeros(1, 3, height, width)
    frame[:, 0], frame[:, 1] = torch.linspace(0, 255, width), torch.linspace(0, 255, height)[:, None]
    model = with_points(img_size=(64, 96), patch_size=16)
    crop = create_transform(model).crop(frame.round().byte())[0].float()
    captured = capture_clip(model, read_footage(frame.round().byte().repeat(2, 1, 1, 1), num_frames=2))
    rows, columns = captured.grid
    for row in range(rows):
        for column in range(columns):
            x, y = captured.place(2 * column / (columns - 1) - 1, 2 * row / (rows - 1) - 1)
            around = crop[:, row * 16 + 7 : row * 16 + 9, column * 16 + 7 : column * 16 + 9].mean(dim=(1, 2))
            expected = [(x - 0.5) / (width - 1) * 255, (y - 0.5) / (height - 1) * 255]
            torch.testing.assert_close(around[:2], torch.tensor(expected), rtol=0, atol=1.2)


def test_a_square_frame_is_whole_only_without_a_margin() -> None:
    model = with_points()
    assert capture_clip(model, read_footage(noise(2, height=64, width=64), num_frames=2)).is_cropped  # 73 to 64 pixels
    model.pretrained_cfg["resize_ratio"] = 1.0
    captured = capture_clip(model, read_footage(noise(2, height=64, width=64), num_frames=2))
    assert not captured.is_cropped
    assert captured.place(-1, 1) == (8, 56)


def test_a_spotlight_keeps_counts_and_fades(clip: ClipCapture) -> None:
    height, width = clip.footage.frames.shape[-2:]
    original = clip.footage.frames[1].permute(1, 2, 0).numpy().astype(int)
    weights = torch.zeros(clip.grid)
    weights[0, 0] = 1
    shown = spotlight(clip, 1, weights, (width, height), THEMES["light"]).astype(int)
    left, top, right, bottom = clip.box
    x, y = map(int, clip.place(-1, -1))
    assert (shown[y, x] == original[y, x]).all()
    x, y = map(int, clip.place(1, 1))
    assert np.ptp(shown[y, x]) == 0  # grey
    assert 60 <= shown[y, x, 0] <= 150
    outside = np.s_[:, : int(left)]
    assert (shown[outside] >= 0.7 * 255 - 1).all()  # nearly paper
    without = spotlight(clip, 1, torch.zeros(clip.grid), (width, height), THEMES["light"])
    assert (without[outside] == shown[outside]).all()  # no mask reaches there
    whole = spotlight(clip, 1, torch.ones(clip.grid), (width, height), THEMES["dark"]).astype(int)
    inside = np.s_[int(top) + 1 : int(bottom), int(left) + 1 : int(right)]
    assert (whole[inside] == original[inside]).all()
    assert whole[height // 2, : int(left)].max() < 100


def test_heat_has_the_colours_of_its_scale(clip: ClipCapture) -> None:
    values = torch.zeros(clip.grid)
    values[-1, -1] = 3
    shown = heat(clip, 0, values, (144, 80), THEMES["light"], highest=3.0).astype(int)
    hot, cold = (shown[int(y), int(x)] for x, y in (clip.place(1, 1), clip.place(-1, -1)))
    assert hot.sum() > 500 > 350 > cold.sum()
    assert np.ptp(cold) < 20


@pytest.mark.parametrize("target", ["neighbours", "first", "middle"])
def test_points_are_drawn_in_their_places(target: str) -> None:
    model = with_points(alignment_target=target)
    clip = capture_clip(model, read_footage(noise(), num_frames=4))
    assert clip.alignment is not None
    canvas = Canvas(4 * 300, 180, THEMES["light"])
    panels = [Panel(number * 300 + 6, 10, 288, 160) for number in range(4)]
    draw_block(canvas, clip, 1, panels)
    pixels = canvas.pixels()
    places = [
        (side, panels[frame].place(clip, *clip.alignment.point(1, number, side)))
        for number, pair in enumerate(clip.alignment.pairs)
        for side, frame in enumerate(pair)
    ]
    for side, (x, y) in places:
        hidden = any(other != (side, (x, y)) and abs(other[1][0] - x) + abs(other[1][1] - y) < 16 for other in places)
        if not hidden:
            assert pixels[int(y), int(x)].tolist() == rgb((EARLIER, LATER)[side])
    weights = frame_weights(clip.alignment.masks[1][None], target)[0].unflatten(-1, clip.grid)
    for frame, panel in enumerate(panels):
        wanted = spotlight(clip, frame, weights[frame], (288, 160), THEMES["light"])
        shown = pixels[10:170, int(panel.left) : int(panel.left) + 288]
        assert (np.abs(shown.astype(int) - wanted).max(axis=-1) < 3).mean() > 0.85


# The pictures


def test_the_animation_and_its_files(clip: ClipCapture, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = animate_points(clip, (0, 1), theme="dark")
    assert len(pictures) == 3
    assert {picture.shape for picture in pictures} == {pictures[0].shape}
    assert not any(side % 2 for side in pictures[0].shape[:2])
    assert (pictures[0] != pictures[1]).any()
    gif = Image.open(io.BytesIO(encode_gif(pictures)))
    assert (gif.n_frames, gif.info["loop"], gif.info["duration"]) == (3, 0, 600)
    assert gif.size == pictures[0].shape[1::-1]
    for number, picture in enumerate(pictures):
        gif.seek(number)
        shown = np.asarray(gif.convert("RGB")).astype(int)
        assert np.abs(shown - picture).mean() < 12
        for colour in (EARLIER, LATER):  # small, and yet of their own colour
            assert (shown == rgb(colour)).all(axis=-1).sum() > 50
    with av.open(io.BytesIO(encode_mp4(pictures))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert len(frames) / stream.average_rate == pytest.approx(1.8)
    assert np.abs(frames[9].astype(int) - pictures[1]).mean() < 12
    whole = len(encode_gif(pictures))
    monkeypatch.setattr(animation, "MOST_GIF_BYTES", whole - 1)
    assert len(encode_gif(pictures)) < whole


def test_blocks_that_there_are_not(clip: ClipCapture) -> None:
    for draw in (animate_points, draw_contact_sheet):
        with pytest.raises(ValueError, match="blocks 2 are out of range: the model has blocks 0 to 1"):
            draw(clip, (0, 2))
        with pytest.raises(ValueError, match="blocks is empty"):
            draw(clip, ())


def check_that_all_text_can_be_read(canvas: Canvas) -> None:
    """Nothing is cut off at an edge, and nothing stands on something else."""
    canvas.pixels()
    written = [found for found in canvas.figure.findobj(Text) if found.get_text() and found.get_visible()]
    boxes = [(found.get_text(), found.get_window_extent()) for found in written]
    assert len(boxes) > 5
    for said, box in boxes:
        assert box.x0 >= 0, said
        assert box.x1 <= canvas.width * canvas.scale, said
        assert min(box.y0, canvas.height * canvas.scale - box.y1) >= 0, said
    for number, (said, box) in enumerate(boxes):
        assert [other for other, its_box in boxes[:number] if box.overlaps(its_box)] == [], said


@pytest.mark.parametrize("is_untrained", [False, True])
def test_the_legend_of_a_square_video_is_whole(is_untrained: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    check_text_of_all_pictures(3, 64, 64, "neighbours", monkeypatch, is_untrained=is_untrained)


@pytest.mark.parametrize(
    ("frames", "height", "width", "target"),
    [
        (4, 500, 16, "neighbours"),
        (4, 500, 16, "first"),
        (4, 16, 500, "neighbours"),
        (4, 128, 72, "middle"),
        (9, 500, 16, "neighbours"),  # in two lines
        (9, 110, 90, "neighbours"),
    ],
)
def test_text_of_tall_and_wide_videos_stands_apart(
    frames: int, height: int, width: int, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_text_of_all_pictures(frames, height, width, target, monkeypatch)


def check_text_of_all_pictures(
    frames: int,
    height: int,
    width: int,
    target: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_untrained: bool = False,
) -> None:
    model = with_points(alignment_target=target)
    for block in model.blocks if is_untrained else ():
        torch.nn.init.zeros_(block.alignment.points.fc2.weight)
        torch.nn.init.zeros_(block.alignment.points.fc2.bias)
    clip = capture_clip(model, read_footage(noise(frames, height=height, width=width), num_frames=frames, fps=0.5))
    assert clip.alignment is not None
    assert clip.alignment.is_untrained == is_untrained
    lowered = replace(clip.alignment, similarity_after=clip.alignment.similarity_after - 1.9)  # a sign takes room too
    clip = replace(clip, alignment=lowered)
    check_that_all_text_can_be_read(draw_contact_sheet(clip, range(2)))
    check_that_all_text_can_be_read(draw_rollout(clip))
    drawn: list[Canvas] = []
    pixels = Canvas.pixels
    monkeypatch.setattr(Canvas, "pixels", lambda canvas: drawn.append(canvas) or pixels(canvas))
    animate_points(clip, range(2))
    monkeypatch.undo()
    check_that_all_text_can_be_read(drawn[0])  # as its last picture has them


def test_many_blocks_and_frames_find_room() -> None:
    model = with_points(depth=6)
    clip = capture_clip(model, read_footage(noise(12, height=160, width=60), num_frames=12))
    pictures = animate_points(clip, range(6))
    assert len(pictures) == 11
    assert max(pictures[0].shape) < 1200
    sheet = draw_contact_sheet(clip, (0, 5))
    assert sheet.width < 1300
    said = texts(sheet.figure)
    assert [text for text in said if text.startswith("block")] == ["block 0", "block 5"]
    assert "frame 12" in said
    timed = replace(clip, footage=clip.footage._replace(seconds=tuple(range(12))))
    assert "frame 12\n11.00 s" in texts(draw_contact_sheet(timed, (0,)).figure)


def test_many_frames_stand_in_several_lines() -> None:
    clip = capture_clip(with_points(), read_footage(noise(20), num_frames=20))
    figure = draw_contact_sheet(clip, (0,)).figure
    names = [text.get_position() for text in figure.findobj(Text) if text.get_text().startswith("frame")]
    assert [sum(y == line for _, y in names) for line in sorted({y for _, y in names})] == [7, 7, 6]
    numbers = [text.get_position() for text in figure.findobj(Text) if text.get_text().startswith(("0.", "-0.", "1."))]
    assert len(numbers) == 19
    assert [sum(y == line for _, y in numbers) for line in sorted({y for _, y in numbers})] == [7, 7, 5]
    assert max(x for x, _ in numbers) <= figure.get_size_inches()[0] * 100


def test_the_contact_sheet_says_what_it_shows(clip: ClipCapture) -> None:
    said = texts(draw_contact_sheet(clip, (1,)).figure)
    assert clip.alignment is not None
    for number in range(3):
        before, after = clip.alignment.similarity_before[1, number], clip.alignment.similarity_after[1, number]
        assert f"{before:.4f} \N{RIGHTWARDS ARROW} {after:.4f}" in said
    assert "frame 2 · 0.38 s" in said
    assert any("interactive point" in text for text in said)
    assert any("soft mask" in text for text in said)
    assert any("resized to 64 \N{MULTIPLICATION SIGN} 64 pixels" in text for text in said)


@pytest.mark.parametrize(
    ("target", "below"), [("neighbours", [0.5, 1.5, 2.5]), ("first", [1, 2, 3]), ("middle", [0, 1, 3])]
)
def test_similarities_stand_below_their_pairs(target: str, below: list[float]) -> None:
    clip = capture_clip(with_points(alignment_target=target), read_footage(noise(), num_frames=4))
    figure = draw_contact_sheet(clip, (0,)).figure
    frames = [text for text in figure.findobj(Text) if text.get_text().startswith("frame")]
    numbers = [text for text in figure.findobj(Text) if text.get_text().startswith(("0.", "-0.", "1."))]
    first, step = frames[0].get_position()[0], frames[1].get_position()[0] - frames[0].get_position()[0]
    middle = first + (step - 8) / 2
    assert [(text.get_position()[0] - middle) / step for text in numbers] == pytest.approx(below)


def test_the_roll_out_says_its_scale(clip: ClipCapture) -> None:
    even = torch.full_like(clip.rollout, 1 / 16)
    sheet = draw_rollout(replace(clip, rollout=even))
    assert "2\N{MULTIPLICATION SIGN} or more" in texts(sheet.figure)
    assert sheet.pixels().shape == (2 * sheet.height, 2 * sheet.width, 3)
    peaked = even.clone()
    peaked[0, 0] = torch.tensor([0.25, 0.25, 0.0, 0.0])
    assert "4\N{MULTIPLICATION SIGN} or more" in texts(draw_rollout(replace(clip, rollout=peaked)).figure)


def test_the_timeline_names_classes(clip: ClipCapture) -> None:
    labels = ("surfing", "tai chi", "a class whose name is too long for the margin")
    for spans in ([[0.0, 1.0]], [[0.0, 1.0], [0.5, 1.5], [1.0, 2.0]]):
        rows = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]])[: len(spans)]
        predictions = WindowPredictions(spans=torch.tensor(spans), probabilities=rows, labels=labels)
        said = texts(draw_timeline(predictions, clip, theme="dark"))
        assert {"surfing", "tai chi", "a class whose name is too\N{HORIZONTAL ELLIPSIS}"} <= set(said)
        assert any("70.0%" in text for text in said) == (len(spans) == 1)
        assert any("3 windows of 1 s" in text for text in said) == (len(spans) == 3)


def test_bars_of_a_long_video_are_not_covered_by_the_lines_between_them(clip: ClipCapture) -> None:
    starts = torch.arange(2000.0)
    rows = torch.tensor([[0.9, 0.1]]).repeat(2000, 1)
    predictions = WindowPredictions(spans=torch.stack([starts, starts + 1], 1), probabilities=rows, labels=("a", "b"))
    picture = Image.open(io.BytesIO(as_png(draw_timeline(predictions, clip)))).convert("RGB")
    accent = (np.abs(np.asarray(picture).astype(int) - rgb(THEMES["light"].accent)).max(axis=-1) < 20).mean()
    assert accent > 0.1


# A whole video


def test_a_video_gets_its_pictures(tmp_path: Path) -> None:
    video = write_clip(tmp_path / "clip.mp4", frames=24, fps=12, size=(160, 96))
    model = with_points()
    made = visualize_video(model, video, tmp_path / "out", blocks=[1], window=1.0, topk=2)
    assert made.capture.blocks == (1,)
    assert made.capture.clip.footage.seconds == pytest.approx((2 / 12, 8 / 12, 14 / 12, 20 / 12), abs=0.1)
    assert made.capture.clip.footage.duration == pytest.approx(2.0)
    assert made.capture.predictions is not None
    assert made.capture.predictions.spans.tolist() == [[0, 1], [1, 2]]
    assert sorted(path.name for path in made.paths) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made.animation_gif == tmp_path / "out" / "points_light.gif"
    for path in (made.contact_sheet, made.rollout, made.timeline):
        assert path is not None
        before = np.asarray(Image.open(path).convert("RGB"))
        assert before.std() > 10
    dark = write_pictures(made.capture, tmp_path / "out", theme="dark")
    assert np.asarray(Image.open(dark.rollout).convert("RGB"))[-1, -1].tolist() == rgb(THEMES["dark"].paper)
    assert as_png(draw_rollout(made.capture.clip).figure) == made.rollout.read_bytes()  # the same bytes again


def test_without_points_or_classes_what_there_is(tmp_path: Path) -> None:
    made = visualize_video(with_points(alignment="none", head="none"), noise(4), tmp_path)
    assert (made.animation_gif, made.animation_mp4, made.contact_sheet, made.timeline) == (None,) * 4
    assert made.paths == (tmp_path / "rollout_light.png",)
    assert made.capture.blocks == ()
    with pytest.raises(ValueError, match="predict no points"):
        animate_points(made.capture.clip, (0,))


def choices(**changes: Any) -> dict[str, Any]:
    return changes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (choices(blocks=[0, 2]), "blocks 2 are out of range: the model has blocks 0 to 1"),
        (choices(blocks=[-1]), "blocks -1 are out of range"),
        (choices(blocks=[]), "blocks is empty: give numbers from 0 to 1"),
        (choices(num_frames=1), "num_frames=1 is out of range"),
        (choices(stride=1.0), "stride=1.0 without a window"),
        (choices(window=-1.0), "window=-1.0 is out of range"),
        (choices(theme="sepia"), "theme='sepia' is not known: use one of 'light', 'dark'"),
        (choices(topk=0), "topk=0 is out of range"),
        (choices(fps=0.0), "fps=0.0 is out of range"),
        (choices(window=1.0), "frames do not know their time: give fps"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        visualize_video(with_points(), noise(4), tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_models_that_cannot_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="create it unfused, without fused=True"):
        visualize_video(with_points().fuse(), noise(4), tmp_path)
    with pytest.raises(ValueError, match=r"training mode.*model\.eval\(\)"):
        visualize_video(with_points().train(), noise(4), tmp_path)
    with pytest.raises(ValueError, match="the timeline, and the model has none"):
        visualize_video(with_points(head="none"), noise(4), tmp_path, window=1.0, fps=4)
    with pytest.raises(ValueError, match=r"blocks=\[0\]: blocks of alignment='cross_frame' predict no points"):
        visualize_video(with_points(alignment="cross_frame"), noise(4), tmp_path, blocks=[0])
    with pytest.raises(TypeError, match="the model is a Linear"):
        visualize_video(torch.nn.Linear(2, 2), noise(4), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fps=4 is for frames"):
        visualize_video(with_points(), write_clip(tmp_path / "a.mp4"), tmp_path, fps=4)


def test_an_alignment_that_was_never_trained_is_said() -> None:
    footage = read_footage(noise(4), num_frames=4)
    fresh, trained = capture_clip(create_model("ila_vit_nano8"), footage), capture_clip(with_points(), footage)
    for clip, is_said in ((fresh, True), (trained, False)):
        figure = draw_contact_sheet(clip, (0,)).figure
        assert (UNTRAINED in {text.get_text() for text in figure.findobj(Text)}) == is_said
    assert animate_points(fresh, (0,))[0].shape[0] > animate_points(trained, (0,))[0].shape[0]


def test_a_line_goes_round_what_counts_more_than_half() -> None:
    black = torch.zeros(4, 3, 64, 64, dtype=torch.uint8)
    clip = capture_clip(create_model("ila_vit_nano8", pretrained=True), read_footage(black, num_frames=4))
    mask = torch.zeros(8, 8)
    mask[2:4, 5:8] = 0.6
    shown = spotlight(clip, 0, mask, (64, 64), colours_of("light"))
    white = shown.min(axis=-1) > 150
    expected = np.zeros((64, 64), bool)
    expected[16:32, 40:64] = True
    expected[17:31, 41:64] = False  # open towards the edge of the picture
    assert np.array_equal(white, expected)


def test_an_image_model_with_alignment(tmp_path: Path) -> None:
    model = aligned_model()
    made = visualize_video(model, noise(4), tmp_path, blocks=[1], fps=4)
    assert made.rollout is None
    assert {path.name for path in made.paths} == {path.name for path in tmp_path.iterdir()}
    assert len(made.paths) == 4
    alignment = made.capture.clip.alignment
    assert alignment is not None
    with torch.inference_mode():
        _, maps = model(create_transform(model)(made.capture.clip.footage.frames)[None], return_points=True)
    torch.testing.assert_close(alignment.points, maps.points[:, 0])
    assert alignment.similarity_before.shape == (2, 7)
    with pytest.raises(ValueError, match="there is no roll-out of an image model with alignment"):
        draw_rollout(made.capture.clip)
