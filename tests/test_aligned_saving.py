"""Image models with alignment into a folder or to the Hub and back, and what else takes any video model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from aligned_models import ARCHITECTURES, aligned_model, awake, clips_for, image_model
from clips import write_clip
from conftest import use_empty_caches
from hub.server import HubServer
from huggingface_hub import metadata_load
from safetensors.torch import load_file, save_file
from torch import nn

import ila_models
from ila_models import CheckpointError, FeatureExtractor, load_aligned_vit, push_to_hub, save_pretrained, verify
from ila_models.cli.main import main
from ila_models.publishing.bundle import write_reference
from ila_models.weights.native import METADATA_KEY

NAMES = tuple(f"class {letter}" for letter in "abcdefg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = aligned_model()
    model.class_names = NAMES
    folder = save_pretrained(model, tmp_path_factory.mktemp("saved") / "dino_video", license="mit")
    write_reference(folder)
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    write_clip(path, frames=24)
    return path


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = aligned_model(name)
    again = load_aligned_vit(save_pretrained(model, tmp_path / "model"))
    clips = clips_for(model)
    with torch.inference_mode():
        assert torch.equal(again(clips), model(clips))
    assert {key: value.tolist() for key, value in again.state_dict().items()} == {
        key: value.tolist() for key, value in model.state_dict().items()
    }
    assert again.pretrained_cfg["mean"] == model.pretrained_cfg["mean"]
    assert not again.training


def test_what_it_was_built_with_and_has_become(tmp_path: Path) -> None:
    model = ila_models.add_alignment(
        image_model("vit_small_patch14_reg4_dinov2", drop_path_rate=0.2, global_pool="avg"),
        num_frames=4,
        alignment_width=16,
        interactive="full",
        alignment_target="first",
        temporal_depth=0,
        model_args={"depth": 2},
    )
    model.reset_classifier(3, class_names=["x", "y", "z"])
    again = load_aligned_vit(save_pretrained(awake(model), tmp_path / "model"))
    assert again.config == model.config
    assert (again.num_classes, again.class_names, again.num_frames) == (3, ("x", "y", "z"), 4)
    clips = clips_for(model)
    with torch.inference_mode():
        assert torch.equal(again(clips), model(clips))


def test_another_classifier_and_the_form_for_inference(folder: Path) -> None:
    model = load_aligned_vit(folder)
    clips = clips_for(model)
    with torch.inference_mode():
        expected = model(clips)
        torch.testing.assert_close(load_aligned_vit(folder, fused=True)(clips), expected, rtol=1e-4, atol=1e-4)
        assert load_aligned_vit(folder, num_classes=4)(clips).shape == (2, 4)
        assert load_aligned_vit(folder, num_classes=0)(clips).shape == (2, 384)
    kept = load_aligned_vit(folder, num_classes=len(NAMES))
    assert torch.equal(kept.get_classifier().weight, model.get_classifier().weight)
    assert kept.class_names == NAMES
    assert load_aligned_vit(folder, class_names=list(reversed(NAMES))).class_names == tuple(reversed(NAMES))
    with pytest.raises(ValueError, match="1 class_names for a model of 7 classes: name all, in order"):
        load_aligned_vit(folder, class_names=["only"])


def test_timm_gives_it_back(folder: Path) -> None:
    model = timm.create_model(f"local-dir:{folder}")
    clips = clips_for(model)
    with torch.inference_mode():
        assert torch.equal(model(clips), load_aligned_vit(folder)(clips))
    assert timm.create_model(f"local-dir:{folder}", num_classes=2).num_classes == 2
    with pytest.raises(ValueError, match="no weights are named that say which image model"):
        timm.create_model("aligned_vit")
    with pytest.raises(ValueError, match="num_frames cannot be used with such a model"):
        timm.create_model(f"local-dir:{folder}", num_frames=4)


def test_the_hub_gives_it_back(hub: HubServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_aligned_vit(folder)
    pushed = push_to_hub(
        model, "somebody/dino-video", license="mit", base_model="timm/vit_small_patch14_reg4_dinov2.lvd142m"
    )
    assert pushed.is_new
    use_empty_caches(tmp_path, monkeypatch)
    again = load_aligned_vit("hf-hub:somebody/dino-video")
    clips = clips_for(model)
    with torch.inference_mode():
        assert torch.equal(again(clips), model(clips))
        assert torch.equal(timm.create_model("hf-hub:somebody/dino-video")(clips), model(clips))
    found = verify("hf-hub:somebody/dino-video")
    assert found.described
    assert found.replay is not None
    assert found.replay.ok
    assert not push_to_hub(model, "somebody/dino-video", license="mit").is_new


def test_the_card_says_what_is_known_and_its_code_runs(
    folder: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = folder / "README.md"
    facts = metadata_load(card)
    assert facts is not None
    assert facts["library_name"] == "ila-models"
    assert facts["pipeline_tag"] == "video-classification"
    assert facts["license"] == "mit"
    assert "arxiv:2304.10465" in facts["tags"]
    text = card.read_text()
    assert "`vit_small_patch14_reg4_dinov2`" in text
    assert "This card claims no accuracy" in text
    assert "| frames | short side to 70 pixels (bicubic, with antialiasing); 70 x 70 pixels of the centre |" in text
    assert re.search(r"\| parameters \| \d+\.\d M \|\n\| multiply-adds \| \d+\.\d G a clip,", text)
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    monkeypatch.chdir(folder.parent)
    (folder.parent / "video.mp4").write_bytes(video.read_bytes())
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["output"].shape == (1, 7)
    assert names["features"]["frame"].shape == (1, 8, 384)
    (command,) = re.findall(r"```bash\nila-models (.*?)\n```", text)
    assert main(["--quiet", *command.split()]) == 0


def test_config_json_describes_the_weights(folder: Path) -> None:
    description = json.loads((folder / "config.json").read_text())
    assert description["architecture"] == "aligned_vit"
    assert description["image_model"]["architecture"] == "vit_small_patch14_reg4_dinov2"
    assert description["label_names"] == list(NAMES)
    assert verify(folder).layout == "an ila_models file (an image model with alignment, vit_small_patch14_reg4_dinov2)"
    wrong = folder.parent / "wrong"
    wrong.mkdir()
    (wrong / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (wrong / "config.json").write_text(json.dumps({**description, "num_classes": 8}))
    with pytest.raises(CheckpointError, match="says something else of num_classes than the header"):
        verify(wrong)


def test_predictions_and_features(folder: Path, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_aligned_vit(folder)
    predictions = ila_models.predict_video(model, video, topk=7)
    assert {each.label for each in predictions} == set(NAMES)
    assert main(["--quiet", "predict", str(video), "--model", f"local-dir:{folder}", "--topk", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["predictions"][0]["label"] == predictions[0].label

    extractor = FeatureExtractor(
        f"local-dir:{folder}",
        levels=["clip", "frame", "token", "pre_head", "logits", "points"],
        window=12,
        unit="frames",
    )
    features = extractor(video)
    assert {level: tuple(values.shape) for level, values in features.values.items()} == {
        "clip": (2, 384),
        "frame": (2, 8, 384),
        "token": (2, 8, 1 + 4 + 25, 384),
        "pre_head": (2, 384),
        "logits": (2, 7),
        "points": (2, 2, 7, 4),
    }
    clip = ila_models.create_transform(model)(ila_models.load_video(video, num_frames=8))[None]
    whole = FeatureExtractor(model, levels="logits")(video)["logits"]
    with torch.inference_mode():
        torch.testing.assert_close(whole, model(clip), rtol=1e-4, atol=1e-4)


def test_extraction_and_evaluation(folder: Path, video: Path, tmp_path: Path) -> None:
    for name in NAMES[:2]:
        (tmp_path / "videos" / name).mkdir(parents=True)
        (tmp_path / "videos" / name / "clip.mp4").write_bytes(video.read_bytes())
    options = [str(tmp_path / "videos"), "--model", f"local-dir:{folder}", "--workers", "1", "--format", "safetensors"]
    assert main(["--quiet", "extract", *options, "--out", str(tmp_path / "features")]) == 0
    written = sorted((tmp_path / "features").rglob("*.safetensors"))
    assert [list(load_file(path)["clip"].shape) for path in written] == [[1, 384], [1, 384]]
    options = ["--model", f"local-dir:{folder}", "--data", str(tmp_path / "videos"), "--workers", "0"]
    assert main(["--quiet", "evaluate", *options, "--out", str(tmp_path / "results")]) == 0


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    changed = aligned_model("deit3_small_patch16_224")
    changed.vit.blocks[0].block.attn.proj = nn.Sequential(nn.Linear(384, 384))
    with pytest.raises(ValueError, match=r"does not give this image model back: they differ in .*attn.proj"):
        save_pretrained(changed, tmp_path)
    with pytest.raises(ValueError, match="the model is fused for inference"):
        save_pretrained(aligned_model().fuse(), tmp_path)
    vit = image_model("deit3_small_patch16_224")
    vit.pretrained_cfg = vit.default_cfg = {}
    foreign = ila_models.add_alignment(vit, alignment_width=16)
    with pytest.raises(ValueError, match="pretrained_cfg lacks mean, std"):
        save_pretrained(foreign, tmp_path)
    named = aligned_model()
    named.class_names = ("a", "b")
    with pytest.raises(ValueError, match="2 class_names for a model of 7 classes: name all, in order"):
        save_pretrained(named, tmp_path)
    named.class_names = ("a", "a", *"bcdef")
    with pytest.raises(ValueError, match="class names are repeated: 'a'"):
        save_pretrained(named, tmp_path)
    foreign.pretrained_cfg = dict(named.pretrained_cfg)
    with pytest.raises(ValueError, match=r"was not made by timm\.create_model"):
        save_pretrained(foreign, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_arguments_that_timm_did_not_note(tmp_path: Path) -> None:
    vit = image_model("deit3_small_patch16_224")
    vit._model_args = {}
    with pytest.raises(ValueError, match="does not give this image model back"):
        save_pretrained(ila_models.add_alignment(vit, alignment_width=16), tmp_path)
    with pytest.raises(
        ValueError, match=r"norm_layer are no plain values .* Make it by timm|does not give this image model back"
    ):
        save_pretrained(
            ila_models.add_alignment(
                image_model("deit3_small_patch16_224", norm_layer=nn.LayerNorm), alignment_width=16
            ),
            tmp_path,
        )
    vit = image_model("deit3_small_patch16_224")
    vit._model_args = {}
    model = ila_models.add_alignment(vit, alignment_width=16, model_args={"depth": 2})
    assert load_aligned_vit(save_pretrained(model, tmp_path)).num_classes == 7
    with pytest.raises(ValueError, match="arguments checkpoint_path choose weights, not an architecture"):
        ila_models.add_alignment(image_model("deit3_small_patch16_224"), model_args={"checkpoint_path": "x.pt"})


def rewritten(folder: Path, to: Path, **changes: Any) -> Path:
    """The weights with another header."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()[METADATA_KEY])
    save_file(load_file(folder / "model.safetensors"), to, metadata={METADATA_KEY: json.dumps({**header, **changes})})
    return to


ARGUMENTS = {"img_size": [70, 70], "num_classes": 7, "depth": 2, "global_pool": "token"}
CONTRACT = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "antialias": True,
    "resize_ratio": 1.0,
    "sampling": "segment_midpoints",
    "views": [1, 1],
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_model": "vit_of_tomorrow"}, "'vit_of_tomorrow' is not known to timm .*: upgrade timm"),
        ({"image_model": "hf-hub:somebody/evil"}, "'hf-hub:somebody/evil' is not known to timm"),
        ({"image_model": "resnet50"}, "'resnet50' is none of timm's vision transformers"),
        ({"image_model": "ila_vit_nano8"}, "'ila_vit_nano8' is none of timm's vision transformers"),
        ({"image_model": 3}, "not what belongs there: image_model"),
        ({"image_model_args": {**ARGUMENTS, "checkpoint_path": "/etc/passwd"}}, "checkpoint_path choose weights"),
        ({"image_model_args": {**ARGUMENTS, "pretrained_strict": False}}, "pretrained_strict choose weights"),
        ({"image_model_args": {**ARGUMENTS, "device": "cpu"}}, "device choose weights"),
        ({"image_model_args": {**ARGUMENTS, "depth": 10**6}}, "depth is 1000000, out of proportion"),
        ({"image_model_args": {**ARGUMENTS, "layers": [1, 10**5]}}, r"layers is \[1, 100000\], out of proportion"),
        ({"image_model_args": {**ARGUMENTS, "img_size": [9600, 9600]}}, r"img_size=\[9600, 9600\] is out of range"),
        ({"image_model_args": {**ARGUMENTS, "img_size": []}}, "does not build vit_small_patch14_reg4_dinov2"),
        ({"image_model_args": {**ARGUMENTS, "num_classes": 8}}, "head.weight is .*, expected"),
        ({"image_model_args": {**ARGUMENTS, "surprise": 1}}, "does not build vit_small_patch14_reg4_dinov2"),
        ({"image_model_args": {**ARGUMENTS, "patch_size": 0}}, "does not build vit_small_patch14_reg4_dinov2"),
        ({"image_model_args": {**ARGUMENTS, "num_heads": -1}}, "VisionTransformer"),
        ({"image_model_args": {**ARGUMENTS, "mlp_ratio": float("inf")}}, "mlp_ratio are no plain values"),
        ({"image_model_args": {**ARGUMENTS, "norm_layer": [["deep"]]}}, "norm_layer are no plain values"),
        ({"image_model_args": {"depth": 2}}, "header does not describe a model .*num_classes"),
        ({"preprocessing": {}}, "header does not describe a model .*mean"),
        ({"preprocessing": {**CONTRACT, "resize_ratio": 1e5}}, "preprocessing has resize_ratio=100000.0"),
        ({"preprocessing": {**CONTRACT, "mean": "abc"}}, "preprocessing has mean='abc'"),
        ({"preprocessing": {**CONTRACT, "std": [1.0, float("nan"), 1.0]}}, "preprocessing has std="),
        ({"preprocessing": {**CONTRACT, "views": [10**9, 1]}}, "preprocessing has views="),
        ({"preprocessing": {**CONTRACT, "interpolation": "magic"}}, "interpolation is 'magic'"),
        ({"class_names": ["a"] * 7}, "class_names are no list of texts, each once"),
        ({"class_names": "abcdefg"}, "class_names are no list of texts, each once"),
        ({"config": {"num_frames": 1}}, "num_frames=1 is out of range"),
        ({"config": {"interactive": "half"}}, "interactive='half' is not known"),
        ({"config": {"surprise": 1}}, "header does not describe a model"),
        ({"class_names": ["one"]}, "1 class names for 7 classes"),
        ({"format_version": 9}, "format version 9"),
    ],
)
def test_headers_that_do_not_describe_the_weights(
    folder: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_aligned_vit(rewritten(folder, tmp_path / "model.safetensors", **changes))


def test_what_a_header_says_besides_is_not_taken_over(folder: Path, tmp_path: Path) -> None:
    said = {**CONTRACT, "img_size": [10**6, 10**6], "architecture": "evil", "num_frames": 10**9}
    model = load_aligned_vit(rewritten(folder, tmp_path / "model.safetensors", preprocessing=said))
    assert model.pretrained_cfg["img_size"] == (70, 70)
    assert model.pretrained_cfg["num_frames"] == 8
    assert model.pretrained_cfg["architecture"] == "aligned_vit"
    assert ila_models.create_transform(model).mean == (0.5, 0.5, 0.5)


def test_squashed_frames_are_squashed_ever_after(tmp_path: Path) -> None:
    vit = timm.create_model("eva02_base_patch14_448", img_size=56, depth=1, num_classes=2)
    model = ila_models.add_alignment(vit, alignment_width=16, model_args={"depth": 1})
    saved = save_pretrained(model, tmp_path / "eva")
    again = load_aligned_vit(saved)
    assert ila_models.create_transform(again).crop_mode == "squash"
    assert json.loads((saved / "config.json").read_text())["pretrained_cfg"]["crop_mode"] == "squash"
    prepared = "squashed to 56 x 56 pixels (bicubic, with antialiasing); 56 x 56 pixels of the centre"
    assert f"| frames | {prepared} |" in (saved / "README.md").read_text()
    with pytest.raises(ValueError, match="crops is 3; these weights take whole frames"):
        ila_models.predict_video(again, torch.zeros(8, 3, 30, 40, dtype=torch.uint8), crops=3)
    said = {**CONTRACT, "crop_mode": "sideways"}
    with pytest.raises(CheckpointError, match="crop_mode is 'sideways'"):
        load_aligned_vit(rewritten(saved, tmp_path / "model.safetensors", preprocessing=said))


def test_tables_that_no_file_holds_are_bounded(tmp_path: Path) -> None:
    model = aligned_model("vit_relpos_small_patch16_224")
    saved = save_pretrained(model, tmp_path / "saved")
    arguments = {**model.recipe.arguments, "img_size": [1440, 1440]}  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match=r"its img_size makes tables of \d+ numbers, more than the 67108864"):
        load_aligned_vit(rewritten(saved, tmp_path / "model.safetensors", image_model_args=arguments))


def test_a_timm_that_builds_it_otherwise_is_noticed(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_aligned_vit(folder)
    assert caplog.messages == []
    load_aligned_vit(rewritten(folder, tmp_path / "model.safetensors", structure="of another timm"))
    assert "builds vit_small_patch14_reg4_dinov2 otherwise than the timm it was saved with" in caplog.text


def test_layers_that_share_weights_are_saved_apart(tmp_path: Path) -> None:
    model = aligned_model("deit3_small_patch16_224")
    model.vit.blocks[1].block.mlp.fc1.weight = model.vit.blocks[0].block.mlp.fc1.weight
    again = load_aligned_vit(save_pretrained(model, tmp_path))
    clips = clips_for(model)
    with torch.inference_mode():
        assert torch.equal(again(clips), model(clips))


def test_the_two_kinds_are_told_apart(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"load it with\s+ila_models.load_aligned_vit"):
        ila_models.create_model(f"local-dir:{folder}")
    ours = save_pretrained(ila_models.create_model("ila_vit_nano8", pretrained=True), tmp_path / "nano")
    with pytest.raises(CheckpointError, match="not an image model with alignment"):
        load_aligned_vit(ours)
    with pytest.raises(ValueError, match="is an image model with alignment, with which templates cannot be used"):
        FeatureExtractor(f"local-dir:{folder}", levels="logits", templates=("a video of {}.",))
