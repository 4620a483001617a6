"""The shipped checkpoint and the demo: offline, out of the package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ila_models import CheckpointError, create_model, create_transform, load_video
from ila_models.cli.main import main
from ila_models.data.motion import MOTION_CLASSES, TEST_SEED, encode_clip, motion_clips, twin
from ila_models.demo import run_demo
from ila_models.publishing.verify import verify
from ila_models.weights import manifest
from ila_models.weights.manifest import PackageSource, records

NAME = "ila_vit_nano8.motion_8x64"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)


def test_the_shipped_checkpoint_is_as_good_as_the_manifest_says() -> None:
    model = create_model("ila_vit_nano8", pretrained=True)
    assert model.class_names == MOTION_CLASSES
    clips, labels = motion_clips(range(200), seed=TEST_SEED + 7)
    transform = create_transform(model)
    measured = records()[NAME].measured
    assert measured is not None
    for given in (clips, torch.stack([load_video(encode_clip(clip, 8), num_frames=8) for clip in clips])):
        with torch.inference_mode():
            found = model(transform(given)).argmax(dim=1)
        # Five standard deviations of 200 clips.
        assert 100 * (found == labels).float().mean() > measured.top1 - 500 * (0.25 / 200) ** 0.5
    with torch.inference_mode():
        backwards = model(transform(clips.flip(1))).argmax(dim=1)
    twins = torch.tensor([twin(int(label)) for label in labels])
    assert (backwards == twins).float().mean() > (backwards == labels).float().mean() + 0.3


def test_the_demo_is_right_and_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    demo = run_demo(tmp_path / "again")
    assert demo.predictions[0].label == demo.shown
    assert f"shows a shape that is {demo.shown}" in said
    assert load_video(demo.video, num_frames=8).shape == (8, 3, 64, 64)
    assert (tmp_path / "demo" / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_another_motion(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, motion="shrinking", seed=TEST_SEED + 1)
    assert demo.shown == "shrinking"
    assert demo.video.name == "shrinking.mp4"
    with pytest.raises(ValueError, match="motion='jumping' is not known: there are moving left"):
        run_demo(tmp_path, motion="jumping")


def test_it_can_be_verified() -> None:
    assert verify(NAME).path.name == f"{NAME}.safetensors"


def test_a_damaged_or_missing_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = records()[NAME].sources
    assert isinstance(source, PackageSource)
    damaged = tmp_path / source.filename
    content = bytearray(source.path.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(manifest.PackageSource, "path", property(lambda self: damaged))
    with pytest.raises(CheckpointError, match=r"sha256 is [0-9a-f]{64}, expected"):
        create_model(NAME, pretrained=True)
    damaged.unlink()
    with pytest.raises(CheckpointError, match="comes with this package and is not there: reinstall ila-models"):
        create_model(NAME, pretrained=True)
