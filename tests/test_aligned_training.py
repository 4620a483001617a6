"""Recipes on image models of timm with alignment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from aligned_models import aligned_model, image_model

import ila_models
from ila_models.alignment import WINDOW_OFFSET
from ila_models.data.motion import MOTION_CLASSES
from ila_models.training.checkpoint import load_state
from ila_models.training.config import OptimizerSection, TrainingConfig, parse_config
from ila_models.training.engine import train
from ila_models.training.errors import TrainingError
from ila_models.training.parameters import make_optimizer


def config(**model: Any) -> TrainingConfig:
    sections: dict[str, Any] = {
        "model": {
            "name": "timm/test_vit",
            "img_size": 64,
            "num_frames": 3,
            "alignment_width": 8,
            "drop_path_rate": 0.1,
            **model,
        },
        "data": {"kind": "motion", "train_clips": 8, "validation_clips": 10, "num_workers": 0},
        "optimizer": {"parameters": "all", "lr": 1e-3},
        "schedule": {"epochs": 3, "warmup_epochs": 1, "shrink_window_from": 2},
        "run": {"batch_size": 4, "save_every": 4},
    }
    return parse_config(sections, where="test")


def test_a_run_ends_with_a_model_that_loads(tmp_path: Path) -> None:
    train(config(), tmp_path / "whole")
    model = ila_models.load_aligned_vit(tmp_path / "whole" / "model")
    assert model.class_names == MOTION_CLASSES
    assert model.pretrained_cfg["resize_ratio"] == 1.0
    assert float(model.blocks[0].window_offset) == pytest.approx(WINDOW_OFFSET / 2)
    state = load_state(tmp_path / "whole")
    assert state is not None
    assert all(torch.equal(value, state.model[name]) for name, value in model.state_dict().items())


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    train(config(), tmp_path / "whole")
    train(config(), tmp_path / "parts", stop_after=2)
    train(config(), tmp_path / "parts")
    whole, parts = load_state(tmp_path / "whole"), load_state(tmp_path / "parts")
    assert whole is not None
    assert parts is not None
    assert all(torch.equal(value, parts.model[name]) for name, value in whole.model.items())


@pytest.mark.parametrize(
    "name", ["vit_small_patch14_reg4_dinov2", "vit_base_patch16_siglip_224", "eva02_tiny_patch14_224"]
)
def test_the_released_recipe_leaves_the_image_model_alone(name: str) -> None:
    model = aligned_model(name)
    optimizer = make_optimizer(model, OptimizerSection(parameters="released"))
    learned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    names = {key for key, parameter in model.named_parameters() if id(parameter) in learned}
    image = {f"vit.{key}" for key, _ in image_model(name).named_parameters()}
    inside = {key.replace(".block.", ".") for key in names if ".block." in key}
    assert inside == set()
    assert {key for key in names if key in image} == {"vit.head.weight", "vit.head.bias"}
    assert {"temporal.pos_embed", "vit.blocks.0.aligned_skip.weight", "vit.blocks.1.temporal_conv.weight"} <= names
    parts = {group["part"] for group in optimizer.param_groups}
    assert parts == {"alignment", "skips", "heads"}


def test_earlier_blocks_learn_slower() -> None:
    model = aligned_model()
    section = OptimizerSection(parameters="all", lr=1.0, layer_decay=0.5, weight_decay=0.1)
    rates: dict[int, tuple[float, float]] = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in make_optimizer(model, section).param_groups
        for parameter in group["params"]
    }
    found = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert found["vit.head.weight"] == (1.0, 0.1)
    assert found["temporal.pos_embed"] == (1.0, 0.0)
    assert found["vit.blocks.1.block.attn.qkv.weight"][0] > found["vit.blocks.0.aligned_skip.weight"][0]
    assert found["vit.blocks.0.block.attn.qkv.weight"][0] > found["vit.patch_embed.proj.weight"][0]
    assert found["vit.pos_embed"][1] == 0.0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "timm/nope"}, "model.name=timm/nope: timm .* has no vision transformer of the name"),
        ({"name": "timm/resnet18"}, "model.name=timm/resnet18: timm .* has no vision transformer of the name"),
        ({"head": "text"}, "model.head=text cannot be used with timm/test_vit"),
        ({"alignment": "token"}, "model.alignment=token cannot be used with timm/test_vit"),
        ({"checkpoint": "x.pt"}, "model.checkpoint=x.pt cannot be used with timm/test_vit"),
    ],
)
def test_what_does_not_go_with_an_image_model(model: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=message):
        train(config(**model), tmp_path)
