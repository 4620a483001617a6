"""Reference tensors: the same everywhere, and a model that answers otherwise is found out."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import make_model
from torch import Tensor

from ila_models import CheckpointError, create_transform
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.publishing import reference
from ila_models.publishing.reference import TOLERANCE, Replay, make_reference, replay_reference, save_reference
from ila_models.weights.manifest import preprocessing


def tiny_model(*, contract: dict[str, Any] | None = None, **arguments: Any) -> ILAVisionTransformer:
    torch.manual_seed(0)
    model = make_model(**arguments)
    model.pretrained_cfg = {**(contract or preprocessing("ila")), "img_size": model.config.img_size}
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "test" / "reference.safetensors"
    save_reference(make_reference(tiny_model()), path)
    return path


def test_a_reference_is_the_answer_to_its_own_frames() -> None:
    model = tiny_model()
    tensors = make_reference(model)
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} == {
        "frames": (torch.uint8, (4, 3, 73, 73)),  # 64 pixels times 256 / 224
        "video_embedding": (torch.float32, (64,)),
        "logits": (torch.float32, (5,)),
    }
    with torch.no_grad():
        clip = create_transform(model)(tensors["frames"])[None]
        assert torch.equal(model(clip)[0], tensors["logits"])
        embedding = model.forward_head(model.forward_features(clip), pre_logits=True)[0]
        assert torch.equal(embedding, tensors["video_embedding"])


def test_the_clip_is_the_seed_s_and_moves() -> None:
    frames = make_reference(tiny_model())["frames"]
    assert torch.equal(frames, make_reference(tiny_model())["frames"])
    assert not torch.equal(frames, make_reference(tiny_model(), seed=1)["frames"])
    assert all((later.float() - earlier.float()).abs().mean() > 5 for earlier, later in pairwise(frames))
    # What numpy's RandomState gives is promised for ever, so these numbers may be written down.
    assert frames.flatten()[:4].tolist() == [110, 101, 108, 97]


def test_frames_that_would_make_too_large_a_file_have_the_size_of_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_MAX_BYTES", 4 * 3 * 70 * 70)
    assert make_reference(tiny_model())["frames"].shape == (4, 3, 64, 64)


def test_frames_of_the_largest_released_model_fit() -> None:
    assert reference._MAX_BYTES >= 16 * 3 * 384 * 384


def test_a_model_is_not_changed_by_being_asked() -> None:
    model = tiny_model().train()
    model.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    expected = make_reference(tiny_model())
    assert torch.equal(make_reference(model)["logits"], expected["logits"])
    assert [module.training for module in model.modules()] == modes


def test_a_model_in_half_precision_is_asked_in_single_precision() -> None:
    model = tiny_model().to(torch.bfloat16)
    tensors = make_reference(model)
    assert tensors["logits"].dtype == torch.float32
    assert model.pos_embed.dtype == torch.bfloat16
    assert torch.equal(tensors["logits"], make_reference(model.float())["logits"])


@pytest.mark.parametrize(
    ("head", "num_classes", "names"),
    [("linear", 3, {"frames", "video_embedding", "logits"}), ("none", 0, {"frames", "video_embedding"})],
)
def test_heads(head: Any, num_classes: int, names: set[str], tmp_path: Path) -> None:
    model = tiny_model(head=head, num_classes=num_classes)
    tensors = make_reference(model)
    assert set(tensors) == names
    save_reference(tensors, tmp_path / "reference.safetensors")
    replay = replay_reference(model, tmp_path / "reference.safetensors")
    assert replay.ok
    assert (replay.logits_difference is None) == (replay.same_top1 is None) == (num_classes == 0)


def test_a_broken_model_makes_no_reference() -> None:
    model = tiny_model()
    torch.nn.init.constant_(model.norm.weight, float("nan"))
    with pytest.raises(CheckpointError, match="video_embedding and logits that are not finite"):
        make_reference(model)


def test_the_file_is_the_same_every_time_and_says_what_it_is(saved: Path, tmp_path: Path) -> None:
    save_reference(make_reference(tiny_model()), tmp_path / "again.safetensors")
    assert saved.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    with safe_open(saved, framework="pt") as file:
        (header,) = file.metadata().values()
    assert '"seed": 0' in header
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_the_same_model_gives_the_recorded_answer(saved: Path) -> None:
    replay = replay_reference(tiny_model(), saved)
    assert replay == Replay(path=saved, embedding_difference=0.0, logits_difference=0.0, same_top1=True)
    replay.check()


@pytest.mark.parametrize("change", ["weight", "mean", "nan"])
def test_another_model_does_not(saved: Path, change: str) -> None:
    model = tiny_model()
    with torch.no_grad():
        if change == "weight":
            model.blocks[1].mlp.fc1.weight[0] += 1
        elif change == "nan":
            model.proj.weight[0, 0] = float("nan")
        else:
            model.pretrained_cfg |= {"mean": preprocessing("clip")["mean"]}
    replay = replay_reference(model, saved)
    assert not replay.ok
    with pytest.raises(CheckpointError) as raised:
        replay.check()
    for part in (str(saved), "video embedding differs by", "0.001 is allowed", "fetch the repository again"):
        assert part in str(raised.value)


def test_a_small_difference_is_the_same_answer(saved: Path) -> None:
    tensors = load_file(saved)
    for name in ("video_embedding", "logits"):
        tensors[name] += 0.5 * TOLERANCE * tensors[name].abs().max()
    save_reference(tensors, saved)
    replay = replay_reference(tiny_model(), saved)
    assert replay.ok
    assert replay.embedding_difference == pytest.approx(0.5 * TOLERANCE, rel=0.1)


@pytest.mark.parametrize(("gap", "same"), [(0.5 * TOLERANCE, True), (2 * TOLERANCE, False)])
def test_another_likeliest_class_counts_unless_two_are_too_close(gap: float, same: bool) -> None:
    recorded = torch.tensor([1.0, 1.0 - gap, -0.3])
    assert reference._same_top1(torch.tensor([0.9, 1.0, 0.0]), recorded) is same
    assert reference._same_top1(torch.tensor([1.0, 0.9, 0.0]), recorded)


def test_one_class_is_always_the_likeliest(tmp_path: Path) -> None:
    model = tiny_model(head="linear", num_classes=1)
    save_reference(make_reference(model), tmp_path / "one.safetensors")
    assert replay_reference(model, tmp_path / "one.safetensors").ok


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 8}, "made for 4 frames, and this model is built for 8: .* without num_frames="),
        ({"img_size": (96, 96)}, r"frames are \[3, 73, 73\], and .* make them \[3, 109, 109\]: .* without img_size="),
        ({"num_classes": 6}, r"logits \[5\] and .*gives logits \[6\] .*without num_classes="),
        ({"head": "none"}, r"logits \[5\] and .*gives logits \[0\]"),
        ({"embed_dim": 128}, r"video_embedding \[64\], and this model gives .*video_embedding \[128\]"),
        ({"contract": preprocessing("clip")}, r"frames are \[3, 73, 73\], and .*preprocessing make them \[3, 64, 64\]"),
    ],
)
def test_a_model_of_another_shape_is_refused(saved: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        replay_reference(tiny_model(**changes), saved)


def test_classes_that_the_user_named_are_not_compared(tmp_path: Path) -> None:
    model = tiny_model()
    tensors = make_reference(model)
    del tensors["logits"]  # as published by a model that had no classes yet
    save_reference(tensors, tmp_path / "reference.safetensors")
    replay = replay_reference(model, tmp_path / "reference.safetensors")
    assert replay.ok
    assert replay.logits_difference is None


FRAMES = torch.zeros(4, 3, 73, 73, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "holds nothing"),
        ({"frames": FRAMES}, "holds frames; a reference has"),
        (
            {"frames": FRAMES, "video_embedding": torch.zeros(64), "x": torch.zeros(1)},
            "holds frames, video_embedding, x",
        ),
        ({"frames": FRAMES.float(), "video_embedding": torch.zeros(64)}, "frames are torch.float32"),
        ({"frames": FRAMES[0], "video_embedding": torch.zeros(64)}, r"torch.uint8 \[3, 73, 73\]"),
        ({"frames": FRAMES, "video_embedding": torch.zeros(64).double()}, "the rest torch.float64"),
    ],
)
def test_other_tensors_are_refused(tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    path = tmp_path / "reference.safetensors"
    save_reference(tensors, path)
    with pytest.raises(CheckpointError, match=message):
        replay_reference(tiny_model(), path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "reference.safetensors"
    with pytest.raises(FileNotFoundError, match="no such reference file"):
        replay_reference(tiny_model(), path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointError, match="not a reference file of ila-models, or damaged"):
        replay_reference(tiny_model(), path)
    for metadata in (None, {"ila_models_reference": "{"}, {"ila_models_reference": "[]"}):
        save_file({"frames": FRAMES}, path, metadata=metadata)
        with pytest.raises(CheckpointError, match="header does not say so: give the file test/reference"):
            replay_reference(tiny_model(), path)
    save_file({"frames": FRAMES}, path, metadata={"ila_models_reference": '{"format_version": 2}'})
    with pytest.raises(CheckpointError, match="written in format version 2, this package reads 1"):
        replay_reference(tiny_model(), path)


def test_a_file_that_was_cut_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        replay_reference(tiny_model(), saved)
