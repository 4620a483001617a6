"""Transforms: sizes, crops and values worked by hand, and OpenCV's resize as the oracle."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torch import Tensor

from ila_models.data import VideoTransform, create_transform
from ila_models.data.transforms import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD
from ila_models.settings import transform_settings

RELEASED = {
    "img_size": 224,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bilinear",
    "antialias": False,
    "resize_ratio": 256 / 224,
}
CLIP = {
    "img_size": (32, 32),
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "antialias": True,
    "resize_ratio": 1.0,
}


@pytest.fixture
def frames() -> Tensor:
    noise = np.random.default_rng(0).integers(0, 256, (2, 120, 213, 3), dtype=np.uint8)
    smooth = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in noise])
    return torch.from_numpy(np.concatenate([noise, smooth])).permute(0, 3, 1, 2)


def undo(views: Tensor, transform: VideoTransform) -> Tensor:
    mean, std = torch.tensor(transform.mean).view(3, 1, 1), torch.tensor(transform.std).view(3, 1, 1)
    return (views * std + mean) * 255


def plain(**changes: Any) -> VideoTransform:
    return VideoTransform(**{"img_size": (4, 4), "resize_to": 4, "mean": (0.0,) * 3, "std": (1 / 255,) * 3, **changes})


@pytest.mark.parametrize("size", [(120, 213), (213, 120), (97, 101), (300, 256)])
@pytest.mark.parametrize("resize_to", [64, 73, 256])
def test_bilinear_equals_opencv_within_one_grey_level(size: tuple[int, int], resize_to: int) -> None:
    height, width = size
    frame = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    scale = resize_to / min(size)
    resized = cv2.resize(
        frame, (int(width * scale + 0.5), int(height * scale + 0.5)), interpolation=cv2.INTER_LINEAR
    ).astype(float)
    top, left = (resized.shape[0] - 64) // 2, (resized.shape[1] - 64) // 2
    expected = resized[top : top + 64, left : left + 64]

    transform = VideoTransform(img_size=(64, 64), resize_to=resize_to)
    result = undo(transform(torch.from_numpy(frame).permute(2, 0, 1)[None]), transform)[0].permute(1, 2, 0)

    assert np.abs(result.numpy() - expected).max() <= 1.001


def test_bicubic_with_antialias_smooths(frames: Tensor) -> None:
    smooth = VideoTransform(img_size=(32, 32), resize_to=32, interpolation="bicubic", antialias=True)
    rough = dataclasses.replace(smooth, antialias=False)
    assert smooth(frames).std() < 0.7 * rough(frames).std()


@pytest.mark.parametrize(("crops", "resize_to"), [(1, 256), (3, 224)])
def test_released_recipe(crops: Any, resize_to: int, frames: Tensor) -> None:
    transform = create_transform(RELEASED, crops=crops)
    assert transform == VideoTransform(
        img_size=(224, 224),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        resize_to=resize_to,
        crops=crops,
        interpolation="bilinear",
        antialias=False,
    )
    assert transform(frames).shape == ((4, 3, 224, 224) if crops == 1 else (3, 4, 3, 224, 224))


@pytest.mark.parametrize("crops", [1, 3])
def test_clip_recipe_from_a_model(crops: Any) -> None:
    transform = create_transform(SimpleNamespace(pretrained_cfg=CLIP), crops=crops)
    assert (transform.mean, transform.std, transform.resize_to) == (CLIP_MEAN, CLIP_STD, 32)
    assert (transform.interpolation, transform.antialias, transform.crops) == ("bicubic", True, crops)


def test_short_side_of_336_pixels() -> None:
    assert create_transform(RELEASED | {"img_size": 336}).resize_to == 384


@pytest.mark.parametrize(
    ("size", "starts"),
    [
        ((4, 9), [(0, 0), (0, 2), (0, 5)]),  # (9 - 4) // 2 = 2, 9 - 4 = 5
        ((9, 4), [(0, 0), (2, 0), (5, 0)]),
        ((4, 4), [(0, 0)] * 3),
    ],
)
def test_three_crops_stand_at_both_ends_and_the_centre(size: tuple[int, int], starts: list[tuple[int, int]]) -> None:
    video = torch.arange(2 * 3 * size[0] * size[1], dtype=torch.uint8).view(2, 3, *size)
    views = plain(crops=3)(video)
    assert views.dtype == torch.float32
    for view, (top, left) in zip(views, starts, strict=True):
        torch.testing.assert_close(view, video[..., top : top + 4, left : left + 4].float())


def test_centre_crop_rounds_down() -> None:
    video = torch.arange(3 * 4 * 9, dtype=torch.uint8).view(1, 3, 4, 9)
    torch.testing.assert_close(plain()(video), video[..., 2:6].float())


@pytest.mark.parametrize(("width", "expected"), [(10, 13), (11, 14), (12, 15)])
def test_long_side_rounds_half_up(width: int, expected: int) -> None:
    # scale 10 / 8 = 1.25: 12.5 -> 13, 13.75 -> 14, 15
    video = torch.zeros(1, 3, 8, width, dtype=torch.uint8)
    end = plain(img_size=(10, 10), resize_to=10, crops=3)._resize(video)
    assert end.shape[-2:] == (10, expected)


@pytest.mark.parametrize("ratio", [1.0, 1.25])
@pytest.mark.parametrize("size", [(90, 160), (160, 90), (30, 20)])
def test_squashed_frames_are_timm_s(size: tuple[int, int], ratio: float) -> None:
    config = {"img_size": 64, "interpolation": "bicubic", "antialias": True, "resize_ratio": ratio}
    ours = create_transform({**RELEASED, **config, "crop_mode": "squash"})
    theirs = timm.data.create_transform(
        (3, 64, 64), interpolation="bicubic", mean=ours.mean, std=ours.std, crop_pct=1 / ratio, crop_mode="squash"
    )
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8), (0, 0), 2)
    expected = undo(theirs(Image.fromarray(picture)), ours)
    found = undo(ours(torch.from_numpy(picture).permute(2, 0, 1)[None])[0], ours)
    assert (found - expected).abs().max() < 1.01
    # Nothing of the frame is cut off but what timm cuts off too.
    (box,) = ours.crop_boxes(*size)
    for start, end, length in ((box.left, box.right, size[1]), (box.top, box.bottom, size[0])):
        assert (start, end) == pytest.approx((length * (1 - 1 / ratio) / 2, length * (1 + 1 / ratio) / 2))


def test_squashing_is_a_setting_and_the_usual_crop_none() -> None:
    # A run goes on only with results of equal settings, and older ones do not speak of crops.
    assert "crop_mode" not in transform_settings(plain())
    assert transform_settings(plain(crop_mode="squash"))["crop_mode"] == "squash"


def test_frames_that_would_fill_the_memory_are_refused() -> None:
    with pytest.raises(ValueError, match=r"8000x2 pixels \(width x height\) are too elongated.*at most 32"):
        plain().crop(torch.zeros(2, 3, 2, 8000, dtype=torch.uint8))
    assert plain().crop(torch.zeros(2, 3, 8, 256, dtype=torch.uint8)).shape[-1] == plain().img_size[1]


def test_values_are_normalised_per_channel() -> None:
    video = torch.tensor([0, 127, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 5, 5)
    result = VideoTransform(img_size=(4, 4), resize_to=4)(video)
    expected = torch.tensor([-0.485 / 0.229, (127 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(result, expected.view(1, 3, 1, 1).expand(2, 3, 4, 4))


def test_views_run_clip_by_clip(frames: Tensor) -> None:
    clips = torch.stack([frames, 255 - frames])
    three = VideoTransform(img_size=(32, 32), resize_to=32, crops=3)
    views = three(clips)
    assert views.shape == (6, 4, 3, 32, 32)
    assert torch.equal(views, torch.cat([three(clips[0]), three(clips[1])]))
    assert dataclasses.replace(three, crops=1)(clips).shape == (2, 4, 3, 32, 32)


@pytest.mark.parametrize("size", [(50, 100), (100, 50), (64, 64)])
def test_a_crop_that_is_not_square_is_covered(size: tuple[int, int]) -> None:
    video = torch.zeros(1, 3, *size, dtype=torch.uint8)
    transform = VideoTransform(img_size=(32, 48), resize_to=32, crops=3)
    assert transform(video).shape == (3, 1, 3, 32, 48)
    resized = transform._resize(video).shape[-2:]
    assert resized[0] == 32 or resized[1] == 48


@pytest.mark.parametrize(
    ("video", "error", "message"),
    [
        (torch.zeros(2, 3, 8, 8), TypeError, "torch.float32"),
        ([1, 2], TypeError, "list"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), ValueError, r"\[3, 8, 8\]"),
        (torch.zeros(2, 8, 8, 3, dtype=torch.uint8), ValueError, "movedim"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), ValueError, r"\[0, 3, 8, 8\]"),
    ],
)
def test_wrong_frames_are_refused(video: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plain()(video)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resize_to": 3}, "resize_to is 3"),
        ({"crops": 2}, "crops is 2"),
        ({"interpolation": "lanczos"}, "'lanczos'"),
        ({"img_size": (0, 4)}, "img_size is"),
        ({"std": (1.0, 0.0, 1.0)}, "above 0"),
        ({"crop_mode": "border"}, "crop_mode is 'border'"),
        ({"crop_mode": "squash", "crops": 3}, "crops is 3; these weights take whole frames"),
    ],
)
def test_wrong_fields_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plain(**changes)


@pytest.mark.parametrize("key", sorted(RELEASED))
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=f"lacks {key};"):
        create_transform({name: value for name, value in RELEASED.items() if name != key})


def test_something_without_a_config_is_refused() -> None:
    with pytest.raises(TypeError, match="Linear has no `pretrained_cfg`"):
        create_transform(torch.nn.Linear(1, 1))
