"""The model card: complete by the Hub's rules, true, and enough to use the model; every block of code in it is run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from checkpoint_files import name_architecture
from clips import write_clip
from hub.cards import check_card
from huggingface_hub import ModelCard
from timm.models import register_model
from tiny import TINY, make_model

import ila_models
from ila_models.cli.main import main
from ila_models.configs import ARCHITECTURES, ILAConfig
from ila_models.factory import create_model
from ila_models.info import Costs, count_costs
from ila_models.publishing.card import model_card
from ila_models.publishing.config_json import config_json
from ila_models.publishing.license import License, resolve_license, stated_license
from ila_models.text import TextEncoder
from ila_models.timm_bridge import _create
from ila_models.weights.checkpoint import Checkpoint
from ila_models.weights.manifest import Accuracy, Record, preprocessing, records
from ila_models.weights.native import write_native

REPO = "owner/my-model"
B32 = "timm/vit_base_patch32_clip_224.openai"
ADDRESS = "https://github.com/ila-models/ila_models"
COSTS = Costs(
    parameters=138_168_881, backbone_parameters=137_000_000, macs=52_254_622_208, backbone_macs=52_000_000_000
)
SOURCE = {"file": "k400_b16.pth", "layout": "a released ILA checkpoint", "sha256": "ab" * 32}


def described(config: ILAConfig, **changes: Any) -> Checkpoint:
    facts: dict[str, Any] = {"kind": "ila", "head": "text", "num_classes": 5, "class_names": tuple("abcde")}
    facts |= {"path": Path("model.safetensors"), "layout": "ours", "tensors": {}, "names": {}}
    return Checkpoint(**{**facts, "config": config, "preprocessing": preprocessing("ila"), **changes})


def card_of(name: str, *, license: License | None = None, record: Record | None = None, **changes: Any) -> ModelCard:
    """The card of a checkpoint of the manifest, as it is published."""
    record = record or records()[name]
    numbers = {**record.arguments, "img_size": tuple(record.arguments["img_size"])}
    head, num_classes = numbers.pop("head"), numbers.pop("num_classes")
    names = tuple(f"class {index}" for index in range(num_classes)) if head == "text" and num_classes else None
    checkpoint = described(
        replace(ARCHITECTURES[record.architecture], **numbers),
        head=head,
        num_classes=num_classes,
        class_names=names,
        preprocessing=record.preprocessing,
        source=SOURCE,
    )
    asked = resolve_license(record, license or (None if record.license else License("mit")))
    arguments = {"repo_id": REPO, "costs": COSTS, "record": record, "license": asked, "has_text_tower": head == "text"}
    return model_card(checkpoint, **{**arguments, **changes})


def user_card(checkpoint: Checkpoint | None = None, **changes: Any) -> ModelCard:
    arguments = {"repo_id": REPO, "costs": COSTS, "has_text_tower": False}
    return model_card(checkpoint or described(ARCHITECTURES["ila_vit_b32"]), **{**arguments, **changes})


# Metadata


@pytest.mark.parametrize("name", records())
def test_every_checkpoint_s_card_is_complete(name: str) -> None:
    record = records()[name]
    card = card_of(name)
    assert check_card(str(card)) == ([], [])
    data = ModelCard(str(card)).data.to_dict()
    assert data["library_name"] == "ila-models"
    assert data["pipeline_tag"] == "video-classification"
    from_clip = record.base_model is not None
    assert data.get("base_model") == record.base_model
    assert data.get("base_model_relation") == ("finetune" if from_clip and record.tag != "openai" else None)
    assert {"video", "action-recognition", "arxiv:2304.10465"} <= set(data["tags"])
    assert ("clip" in data["tags"]) == from_clip
    stated = stated_license(record) or License("mit")
    assert (data["license"], data.get("license_link")) == (stated.id, stated.link)
    assert "[Paper page](https://huggingface.co/papers/2304.10465)" in card.text
    assert "https://arxiv.org/abs/2304.10465" in card.text
    if record.evaluation is not None:
        hub_id = record.evaluation.dataset.hub_id
        assert data.get("datasets") == (None if hub_id is None else [hub_id])
        assert data["metrics"] == ["accuracy"]


def test_reported_accuracy_is_marked_as_such() -> None:
    data = ModelCard(str(card_of("ila_vit_b16.k400_8x224"))).data.to_dict()
    (entry,) = data["model-index"]
    assert entry["name"] == "my-model"
    (result,) = entry["results"]
    assert result["task"]["type"] == "video-classification"
    assert result["source"] == {"name": "paper", "url": "https://arxiv.org/abs/2304.10465"}
    assert result["dataset"]["name"] == "Kinetics-400"
    assert result["dataset"]["type"] == "kinetics-400"
    assert result["dataset"]["split"] == "validation"
    assert [(metric["type"], metric["value"], metric["verified"]) for metric in result["metrics"]] == [
        ("accuracy", 84.0, False),
        ("accuracy", 96.6, False),
    ]
    assert [metric["name"] for metric in result["metrics"]] == [
        "Top-1 accuracy (%), 4x3 views, as reported by the paper",
        "Top-5 accuracy (%), 4x3 views, as reported by the paper",
    ]


def test_measured_accuracy_stands_beside_it_with_its_own_source() -> None:
    measured = Accuracy(top1=83.9, top5=96.5, by="somebody", source="benchmarks/k400.json")
    card = card_of("", record=replace(records()["ila_vit_b16.k400_8x224"], measured=measured))
    (entry,) = ModelCard(str(card)).data.to_dict()["model-index"]
    reported, own = entry["results"]
    assert reported["source"]["name"] == "paper"
    assert own["source"] == {"name": "somebody", "url": f"{ADDRESS}/blob/main/benchmarks/k400.json"}
    assert [metric["value"] for metric in own["metrics"]] == [83.9, 96.5]
    assert "| top-1 accuracy (%) | 84.0 | 83.9 |" in card.text
    assert f"by somebody: [how]({ADDRESS}/blob/main/benchmarks/k400.json)" in " ".join(card.text.split())
    assert "not measured yet" not in card.text


def test_a_model_of_one_s_own_claims_nothing() -> None:
    card = user_card()
    data = ModelCard(str(card)).data.to_dict()
    assert check_card(str(card)) == ([], [])
    assert not {"license", "datasets", "metrics", "model-index", "base_model", "base_model_relation"} & set(data)
    assert "clip" not in data["tags"]
    assert "CLIP's licence" not in card.text
    assert "CLIP learned from" not in card.text
    assert "Do not use it for surveillance" in card.text
    assert "load_text_encoder" not in card.text
    assert "## Accuracy" not in card.text
    assert "claims no accuracy" in card.text
    assert "No licence is stated for these weights" in card.text
    assert "only the publisher can tell" in card.text


def test_what_a_model_of_one_s_own_started_from_is_told_where_it_is_known() -> None:
    card = user_card(base_model=B32)
    data = card.data.to_dict()
    assert (data["base_model"], data["base_model_relation"]) == (B32, "finetune")
    assert "clip" in data["tags"]
    assert check_card(str(card)) == ([], [])
    text = " ".join(card.text.split())
    assert f"CLIP's licence is told on [its page](https://huggingface.co/{B32})" in text
    assert "CLIP learned from pictures" in text
    assert f'load_text_encoder("hf-hub:{B32}")' in card.text


def test_sizes_of_no_architecture() -> None:
    assert "torch.hub.load" not in user_card(described(TINY)).text


# What it tells


def test_metadata_survive_reading_and_writing() -> None:
    for card in (card_of("ila_vit_b16.k400_8x224"), card_of("ila_vit_b16.openai"), user_card()):
        again = ModelCard(str(card))
        assert str(again) == str(card)
        assert again.data.to_dict() == card.data.to_dict()


def test_the_text_is_always_the_same() -> None:
    assert str(card_of("ila_vit_l14.ssv2_8x224")) == str(card_of("ila_vit_l14.ssv2_8x224"))


def test_facts() -> None:
    text = card_of("ila_vit_b32.k400_8x224").text
    for fact in (
        "`[B, T, C, H, W]` = `[B, 8, 3, 224, 224]`",
        "| frames | 8, from the middles of 8 equal parts of the video |",
        "short side to 256 pixels, bilinear, without antialiasing",
        "mean 0.485, 0.456, 0.406; std 0.229, 0.224, 0.225",
        "logits `[B, 400]`",
        "138.2 M, 137.0 M without the head",
        "52.3 G a clip with its head (400 classes); 52.0 G without",
        "| the paper's GFLOPs | 40, for the token form",
        "where one multiply-add counts as one",
        "| Kinetics-400, validation, 4 x 3 views | reported | measured |",
        "| top-1 accuracy (%) | 81.3 | not measured yet |",
        f'pip install "git+{ADDRESS}"',
        "ila-models verify hf-hub:owner/my-model",
        "0 `class 0`, 1 `class 1`,",
        "`k400_b16.pth` ([released here](https://drive.google.com/",
        "ab" * 32,
        "@inproceedings{tu2023implicit,",
        "@inproceedings{radford2021learning,",
    ):
        assert fact in text
    lines = text[: text.index("```bibtex")].splitlines()
    assert max(len(line) for line in lines) < 160


def test_frozen_clip_is_told_to_be_that() -> None:
    text = card_of("ila_vit_b16.openai").text
    assert "never trained on videos" in text
    assert "## Accuracy" not in text
    assert "mean 0.48145466, 0.4578275, 0.40821073;" in text
    assert "52.3 G a clip with its head (400 classes)" in text


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (
            lambda: card_of("ila_vit_b16.k400_8x224"),
            r"authors of the checkpoint state no licence\. .* `mit`, on their own",
        ),
        (
            lambda: card_of("ila_vit_b16.openai"),
            r"under \[stated-at-link\]\(https://huggingface.co/timm/\S+\), as those who",
        ),
        (
            lambda: user_card(license=License("cc-by-4.0")),
            r"The publisher states that the weights are under `cc-by-4\.0`",
        ),
        (lambda: user_card(), "No licence is stated for these weights. Ask their publisher"),
    ],
)
def test_who_states_the_licence(card: Callable[[], ModelCard], told: str) -> None:
    assert re.search(told, " ".join(card().text.split()))


def test_names_cannot_break_the_card() -> None:
    names = ("a`b\n# not a heading", "- ![x](http://x)", "|", "---\nlicense: mit\n---", "e")
    card = user_card(described(ARCHITECTURES["ila_vit_b32"], class_names=names, source={**SOURCE, "file": "`\n## x"}))
    assert "\n# not" not in card.text
    assert "\n## x" not in card.text
    assert "1 `- ![x](http://x)`, 2 `|`, 3 `--- license: mit ---`" in card.text
    assert "license" not in ModelCard(str(card)).data.to_dict()


# Every block of code is run


@pytest.mark.parametrize(
    ("head", "num_classes", "named", "tower"),
    [
        ("text", 5, True, True),
        ("text", 5, False, False),
        ("text", 0, False, True),
        ("text", 0, False, False),
        ("linear", 3, True, False),
        ("linear", 3, False, False),
        ("none", 0, False, False),
    ],
)
def test_every_block_runs(
    head: Any,
    num_classes: int,
    named: bool,
    tower: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    architecture = name_architecture(f"ila_vit_card_{head}_{num_classes}_{named}_{tower}", TINY, monkeypatch)
    model = make_model(head=head, num_classes=num_classes or 1)
    if head == "text" and num_classes == 0:
        model.head.set_text_features(torch.empty(0, TINY.embed_dim))
    encoder = TextEncoder(width=64, depth=1, embed_dim=64, vocab_size=49408, context_length=77)
    checkpoint = described(
        TINY,
        head=head,
        num_classes=num_classes,
        class_names=tuple("abcde"[:num_classes]) if named else None,
        tensors=model.state_dict(),
        text_tensors=encoder.tower.state_dict() if tower else {},
    )
    write_native(checkpoint, tmp_path / "model.safetensors")
    write_config(tmp_path, checkpoint)
    write_clip(tmp_path / "video.mp4", frames=12, size=(96, 80))
    # Cards of tiny models lack what needs a CLIP: the card is one of B/32's, and its names lead to the tiny model.
    card = user_card(
        replace(checkpoint, config=ARCHITECTURES["ila_vit_b32"], tensors={}), has_text_tower=tower, base_model=B32
    )
    text = card.text.replace("ila_vit_b32", architecture)

    register(architecture)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ila_models.load_text_encoder", lambda source: encoder)
    monkeypatch.setattr("ila_models.cli.model_options.load_text_encoder", lambda source: encoder)
    loaded: list[tuple[str, bool]] = []

    def load(repository: str, name: str, *, trust_repo: bool, **arguments: Any) -> Any:
        loaded.append((repository, trust_repo))
        return create_model(name, **arguments)

    monkeypatch.setattr("torch.hub.load", load)

    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == (4 if head == "text" else 3)
    scope: dict[str, Any] = {}
    for block in blocks:
        local = block.replace(f'checkpoint_path="hf-hub:{REPO}"', f'checkpoint_path="{tmp_path}"')
        exec(local.replace(f"hf-hub:{REPO}", f"local-dir:{tmp_path}"), scope)
        assert isinstance(scope["model"], ila_models.ILAVisionTransformer)
    assert loaded == [("ila-models/ila_models", True)]
    check_shapes(text, scope)
    printed = capsys.readouterr().out
    assert printed.count("Prediction(label=") >= (1 if head != "none" else 0)

    commands = re.findall(r"^(ila-models predict .*)$", text, re.MULTILINE)
    assert len(commands) == (0 if head == "none" else 1)
    for command in commands:
        assert main(shlex.split(command.replace(f"hf-hub:{REPO}", f"local-dir:{tmp_path}"))[1:]) == 0
        assert capsys.readouterr().out.startswith("video.mp4\n")


@pytest.mark.parametrize("folder", ["my_model", "my 'best' model"])
def test_every_block_of_a_folder_s_card_runs_beside_the_folder(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    architecture = name_architecture(f"ila_vit_beside_{len(folder)}", TINY, monkeypatch)
    register(architecture)
    model = make_model(head="linear", num_classes=3)
    model.pretrained_cfg = preprocessing("ila")
    model.class_names = ("a", "b", "c")
    ila_models.save_pretrained(model, tmp_path / folder)
    write_clip(tmp_path / "video.mp4", frames=12, size=(96, 80))
    text = (tmp_path / folder / "README.md").read_text(encoding="utf-8")
    assert "OWNER" not in text
    assert "hf-hub:" not in text
    assert f"beside `{folder.replace(chr(96), '')}`, which is the folder of this card" in " ".join(text.split())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.hub.load", lambda repository, name, *, trust_repo, **more: create_model(name, **more))
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    scope: dict[str, Any] = {}
    for block in blocks:
        exec(block, scope)
        assert scope["model"].class_names == ("a", "b", "c")
    assert list(scope["embedding"].shape) == [1, 64]
    capsys.readouterr()
    commands = re.findall(r"^(ila-models .*)$", text, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["predict", "verify"]
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0
    assert f"ok  local-dir:{folder}\n" in capsys.readouterr().out


def test_the_names_of_something_something_are_with_the_data() -> None:
    text = " ".join(card_of("ila_vit_b16.ssv2_8x224").text.split())
    assert (
        "The names come with the data set, from [its page]"
        "(https://www.qualcomm.com/developer/software/something-something-v-2-dataset). That their order there is the"
        " order of these classes, nobody has checked. Give the names with `class_names=[...]`, or `--classes @FILE`"
    ) in text
    assert "qualcomm" not in user_card(described(TINY, class_names=None)).text


def test_the_174_classes_of_a_linear_head_take_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"Doing [something] {index}" for index in range(174)]
    checkpoint = described(
        TINY, head="linear", num_classes=174, class_names=None,
        tensors=make_model(head="linear", num_classes=174).state_dict(),
    )  # fmt: skip
    write_native(checkpoint, tmp_path / "model.safetensors")
    name_architecture("ila_vit_174", TINY, monkeypatch)
    assert create_model(f"local-dir:{tmp_path}", class_names=names).class_names == tuple(names)
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    write_clip(tmp_path / "video.mp4", frames=12, size=(96, 80))
    command = ["--quiet", "predict", str(tmp_path / "video.mp4"), "--model", f"local-dir:{tmp_path}"]
    assert main([*command, "--classes", f"@{tmp_path / 'names.txt'}"]) == 0
    assert "Doing [something] " in capsys.readouterr().out


def check_shapes(text: str, scope: dict[str, Any]) -> None:
    """The shapes that the comments tell are those of a B/32; the tiny model's own come by the same rule."""
    told = dict(re.findall(r"^ +(\w+) = .*# (\[[^\]]*\])", text, re.MULTILINE))
    assert told["embedding"] == "[1, 512]"
    assert told["tokens"] == "[1, 8, 50, 768]"
    assert told["vectors"] == "[1, 8, 512]"
    assert list(scope["clip"].shape) == [1, 4, 3, 64, 64]
    assert list(scope["embedding"].shape) == [1, 64]
    assert list(scope["tokens"].shape) == [1, 4, 17, 64]
    if told["output"] != "[1, 512]":
        assert str(list(scope["output"].shape)) == told["output"]


def register(architecture: str) -> None:
    def make(pretrained: bool = False, **arguments: Any) -> Any:
        return _create(architecture, pretrained=pretrained, **arguments)

    make.__name__, make.__module__ = architecture, "ila_models.timm_bridge"
    register_model(make)
    assert timm.is_model(architecture)


def write_config(folder: Path, checkpoint: Checkpoint) -> None:
    (folder / "config.json").write_text(json.dumps(config_json(checkpoint, None, license=None)))


def test_the_costs_of_a_real_model_are_told() -> None:
    costs = count_costs(TINY, head="none", num_classes=0)
    text = user_card(described(TINY, head="none", num_classes=0, class_names=None), costs=costs).text
    assert f"| parameters | {costs.parameters / 1e6:.1f} M |" in text
    assert f"| multiply-adds | {costs.macs / 1e9:.1f} G a clip |" in text
    assert "video embeddings `[B, 64]`" in text
