"""From a video to named probabilities, beside the same computed one view at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clips import decode_plainly, write_clip
from tiny import make_model

from ila_models import Prediction, VideoError, create_transform, predict_video
from ila_models.data import clip_views, segment_midpoints
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.predict import VIEWS_PER_PASS, predict_probabilities
from ila_models.weights.manifest import preprocessing

NAMES = ["surfing", "tai chi", "arm wrestling", "abseiling", "applauding"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("video") / "clip.mp4", frames=40, size=(160, 96))


@pytest.fixture
def model() -> ILAVisionTransformer:
    """Five classes without names, and the released models' preprocessing."""
    model = make_model()
    model.pretrained_cfg = {"img_size": model.config.img_size, **preprocessing("ila")}
    return model


def by_hand(model: ILAVisionTransformer, video: Path, clips: int, crops: int) -> torch.Tensor:
    """The mean softmax over views, each of them decoded, cropped and classified alone."""
    frames = decode_plainly(video)
    if clips == 1:
        indices = [segment_midpoints(len(frames), model.num_frames)]
    else:
        indices = clip_views(len(frames), model.num_frames, clips)
    transform = create_transform(model, crops=crops)
    views = []
    for chosen in indices:
        view = transform(frames[list(chosen)])
        views += [view] if crops == 1 else list(view)
    assert len(views) == clips * crops
    with torch.no_grad():
        return torch.stack([model(view[None])[0].softmax(dim=0) for view in views]).mean(dim=0)


@pytest.mark.parametrize(("clips", "crops"), [(1, 1), (1, 3), (2, 1), (VIEWS_PER_PASS + 1, 1), (2, 3), (4, 3)])
def test_probabilities_are_the_mean_over_views(
    model: ILAVisionTransformer, video: Path, clips: int, crops: int
) -> None:
    found = predict_probabilities(model, video, clips=clips, crops=crops)
    torch.testing.assert_close(found, by_hand(model, video, clips, crops), rtol=0, atol=1e-5)
    assert not found.requires_grad
    assert found.sum().item() == pytest.approx(1)
    assert found.std() > 1e-3  # not the same for all classes, whatever the model sees


def test_views_differ(model: ILAVisionTransformer, video: Path) -> None:
    found = [predict_probabilities(model, video, clips=clips, crops=crops) for clips, crops in ((1, 1), (2, 1), (1, 3))]
    assert not torch.allclose(found[0], found[1], atol=1e-6)
    assert not torch.allclose(found[0], found[2], atol=1e-6)


def test_frames_of_the_model_are_taken(video: Path) -> None:
    model = make_model(num_frames=7)
    model.pretrained_cfg = {"img_size": model.config.img_size, **preprocessing("clip")}
    torch.testing.assert_close(predict_probabilities(model, video), by_hand(model, video, 1, 1), rtol=0, atol=1e-5)


def test_any_source_gives_the_same(model: ILAVisionTransformer, video: Path) -> None:
    wanted = predict_probabilities(model, video)
    for source in (str(video), video.read_bytes(), decode_plainly(video)):
        assert torch.equal(predict_probabilities(model, source), wanted)


def test_other_precision(model: ILAVisionTransformer, video: Path) -> None:
    wanted = predict_probabilities(model, video)
    found = predict_probabilities(model.bfloat16(), video)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.05)
    assert found.sum().item() == pytest.approx(1, abs=1e-5)


# Named classes


@pytest.mark.parametrize("head", ["text", "linear"])
def test_predictions_are_sorted_and_named(head: str, video: Path) -> None:
    model = make_model(head=head)
    model.pretrained_cfg = {"img_size": model.config.img_size, **preprocessing("ila")}
    probabilities = predict_probabilities(model, video).tolist()
    order = sorted(range(5), key=lambda index: -probabilities[index])
    assert predict_video(model, video) == [Prediction(str(i), i, probabilities[i]) for i in order]
    model.class_names = tuple(NAMES)
    assert predict_video(model, video) == [Prediction(NAMES[i], i, probabilities[i]) for i in order]


@pytest.mark.parametrize(("topk", "count"), [(1, 1), (4, 4), (5, 5), (6, 5), (1000, 5)])
def test_topk(model: ILAVisionTransformer, video: Path, topk: int, count: int) -> None:
    everything = predict_video(model, video, topk=5)
    assert predict_video(model, video, topk=topk) == everything[:count]


@pytest.mark.parametrize("topk", [0, -1])
def test_topk_out_of_range(model: ILAVisionTransformer, video: Path, topk: int) -> None:
    with pytest.raises(ValueError, match=f"topk={topk} is out of range: give at least 1"):
        predict_video(model, video, topk=topk)


@pytest.mark.parametrize(("clips", "crops"), [(0, 1), (-1, 1), (1, 2), (2, 0)])
def test_views_out_of_range(model: ILAVisionTransformer, video: Path, clips: int, crops: int) -> None:
    with pytest.raises(ValueError, match=f"{'crops' if clips > 0 else 'clips'}.* {clips if clips < 1 else crops}"):
        predict_video(model, video, clips=clips, crops=crops)


def test_no_classes(video: Path) -> None:
    model = make_model(head="none")
    with pytest.raises(ValueError, match=r"no classes: create it with class_names=\[\.\.\.\]"):
        predict_video(model, video)


def test_bad_sources(model: ILAVisionTransformer, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4"):
        predict_video(model, tmp_path / "gone.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(VideoError, match=r"text\.mp4"):
        predict_video(model, tmp_path / "text.mp4")
