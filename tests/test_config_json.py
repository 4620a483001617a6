"""What ``config.json`` says: to people, to the Hub, and to timm, which builds a model from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from checkpoint_files import name_architecture
from safetensors.torch import load_file
from timm.models import PretrainedCfg, register_model
from timm.models._hub import load_model_config_from_path
from tiny import TINY, make_model

import ila_models
from ila_models.configs import ARCHITECTURES, ILAConfig
from ila_models.factory import create_model
from ila_models.publishing.config_json import config_json
from ila_models.publishing.license import License, resolve_license, stated_license
from ila_models.timm_bridge import _create
from ila_models.weights.checkpoint import Checkpoint
from ila_models.weights.manifest import preprocessing, records
from ila_models.weights.native import write_native

K400 = records()["ila_vit_b16.k400_8x224"]
OPENAI = records()["ila_vit_b16.openai"]


def described(config: ILAConfig = TINY, **changes: Any) -> Checkpoint:
    facts: dict[str, Any] = {"head": "text", "num_classes": 3, "class_names": ("a", "b", "c"), "kind": "ila"}
    facts |= {"path": Path("model.safetensors"), "layout": "ours", "tensors": {}, "names": {}}
    return Checkpoint(**{**facts, "config": config, "preprocessing": preprocessing("ila"), **changes})


# config.json


def test_it_says_all_that_the_checkpoint_says() -> None:
    checkpoint = described(replace(ARCHITECTURES["ila_vit_b16"], num_frames=16, interactive="full"))
    said = config_json(checkpoint, K400, license=License("mit"))
    assert said == json.loads(json.dumps(said))
    assert {name: said[name] for name in ("library_name", "architecture", "num_classes", "label_names", "paper")} == {
        "library_name": "ila-models",
        "architecture": "ila_vit_b16",
        "num_classes": 3,
        "label_names": ["a", "b", "c"],
        "paper": "https://arxiv.org/abs/2304.10465",
    }
    assert said["preprocessing"] == preprocessing("ila")
    arguments = dict(said["arguments"])
    assert arguments.pop("head") == "text"
    assert ILAConfig(**arguments | {"img_size": tuple(arguments["img_size"])}) == checkpoint.config
    cfg = said["pretrained_cfg"]
    assert cfg["license"] == "mit"
    assert cfg["tag"] == "k400_8x224"
    assert cfg["crop_pct"] == 0.875
    assert cfg["input_size"] == [3, 224, 224]


def test_the_contract_is_the_file_s_or_that_of_its_kind() -> None:
    own = {**preprocessing("clip"), "mean": (0.1, 0.2, 0.3)}
    said = config_json(described(preprocessing=own), None, license=None)
    assert said["preprocessing"]["mean"] == said["pretrained_cfg"]["mean"] == [0.1, 0.2, 0.3]
    assert "license" not in said["pretrained_cfg"]
    for kind, contract in (("ila", "ila"), ("clip", "clip")):
        said = config_json(described(preprocessing=None, kind=kind), None, license=None)
        assert said["preprocessing"] == preprocessing(contract)  # type: ignore[arg-type]


def test_what_it_started_from_is_told_where_it_is_known() -> None:
    assert config_json(described(), K400, license=None)["base_model"] == K400.base_model
    assert config_json(described(), None, license=None, base_model="owner/clip")["base_model"] == "owner/clip"
    assert "base_model" not in config_json(described(), None, license=None)


def test_names_that_the_file_lacks_are_absent() -> None:
    assert "label_names" not in config_json(described(class_names=None), None, license=None)


def test_num_features_is_the_model_s() -> None:
    model = make_model()
    assert config_json(described(), None, license=None)["num_features"] == model.num_features


@pytest.mark.parametrize(
    ("head", "num_classes", "expected"),
    [("text", 3, {}), ("linear", 3, {"num_classes": 3}), ("none", 0, {"num_classes": 0})],
)
def test_model_args_rebuild_the_structure(head: str, num_classes: int, expected: dict[str, int]) -> None:
    config = replace(
        ARCHITECTURES["ila_vit_b32"], num_frames=16, img_size=(256, 192), interactive="full", alignment_width=64,
        temporal_depth=2, prompt_depth=1,
    )  # fmt: skip
    checkpoint = described(config, head=head, num_classes=num_classes, class_names=None)
    said = config_json(checkpoint, None, license=None)
    assert {name: value for name, value in said["model_args"].items() if name == "num_classes"} == expected
    with torch.device("meta"):
        model = create_model(said["architecture"], **said["model_args"])
    assert model.config == config
    if head != "text":
        assert model.num_classes == num_classes


# What timm makes of it


@pytest.mark.parametrize("name", records())
def test_timm_takes_it_for_a_pretrained_cfg(name: str, tmp_path: Path) -> None:
    record = records()[name]
    linear = record.arguments["head"] == "linear"
    checkpoint = described(
        ARCHITECTURES[record.architecture], head=record.arguments["head"], class_names=None,
        num_classes=record.arguments["num_classes"], preprocessing=record.preprocessing,
    )  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config_json(checkpoint, record, license=License("mit"))))
    pretrained_cfg, architecture, model_args = load_model_config_from_path(tmp_path)
    assert architecture == record.architecture
    assert ("num_classes" in model_args) == linear
    cfg = PretrainedCfg(**pretrained_cfg)
    data = timm.data.resolve_data_config({}, pretrained_cfg=cfg.to_dict())
    assert list(data["input_size"]) == [3, *checkpoint.config.img_size]
    assert list(data["mean"]) == list(record.preprocessing["mean"])
    assert data["interpolation"] == record.preprocessing["interpolation"]
    assert data["crop_pct"] == 1 / record.preprocessing["resize_ratio"]


@pytest.mark.parametrize("head", ["text", "linear", "none"])
def test_timm_makes_the_model(head: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = name_architecture(f"ila_vit_tiny_{head}", TINY, monkeypatch)

    def tiny(pretrained: bool = False, **arguments: Any) -> Any:
        return _create(name, pretrained=pretrained, **arguments)

    tiny.__name__, tiny.__module__ = name, "ila_models.timm_bridge"
    register_model(tiny)
    model = make_model(head=head, num_classes=3, interactive="full")
    names = None if head == "none" else ("a", "b", "c")
    checkpoint = described(
        model.config, head=head, num_classes=model.num_classes, class_names=names, tensors=model.state_dict()
    )
    write_native(checkpoint, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config_json(checkpoint, None, license=None)))
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert isinstance(loaded, ila_models.ILAVisionTransformer)
    assert loaded.class_names == names
    assert loaded.config == model.config
    for key, tensor in load_file(tmp_path / "model.safetensors").items():
        assert torch.equal(loaded.state_dict()[key], tensor)


# The licence


def test_the_manifest_s_licence_goes_first() -> None:
    link = f"https://huggingface.co/{OPENAI.base_model}"
    stated = License("other", "stated-at-link", link)
    assert resolve_license(OPENAI, None) == resolve_license(OPENAI, stated) == stated
    record = replace(K400, license="mit")
    assert resolve_license(record, None) == resolve_license(record, License("mit")) == License("mit")


def test_a_person_may_state_what_nobody_states() -> None:
    assert resolve_license(K400, License("mit")) == resolve_license(None, License("mit")) == License("mit")
    assert stated_license(K400) is None


@pytest.mark.parametrize(("record", "whose"), [(K400, "ila_vit_b16.k400_8x224 by its authors"), (None, "this model")])
def test_without_a_licence_nothing_is_published(record: Any, whose: str) -> None:
    with pytest.raises(ValueError, match=rf"no licence is stated for {whose}.*own responsibility with --license ID"):
        resolve_license(record, None)


def test_a_person_cannot_contradict_the_manifest() -> None:
    with pytest.raises(
        ValueError, match=r"license mit is asked for, but ila_vit_b16.openai is under other \(stated-at"
    ):
        resolve_license(OPENAI, License("mit"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "MIT"}, "'MIT' is not an identifier of the Hub's"),
        ({"id": ""}, "'' is not an identifier"),
        ({"id": "mit\nlicense: x"}, "is not an identifier"),
        ({"id": "mit", "link": "https://x.org"}, "needs neither name nor link"),
        ({"id": "other"}, "name=None and link=None: give both"),
        ({"id": "other"}, "--license-name and --license-link on the command line"),
        ({"id": "other", "name": "My licence", "link": "https://x.org"}, "'My licence' is not in the Hub's form"),
        ({"id": "other", "name": "mine", "link": "somewhere"}, "'somewhere' is neither a URL"),
    ],
)
def test_a_licence_has_the_hub_s_form(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        License(**fields)


@pytest.mark.parametrize("id", ["mit", "apache-2.0", "cc-by-nc-sa-4.0", "bigscience-bloom-rail-1.0", "unknown"])
def test_identifiers_of_the_hub_are_taken(id: str) -> None:
    assert License(id).id == id


def test_every_licence_of_the_manifest_can_be_published() -> None:
    for record in records().values():
        stated_license(record)
