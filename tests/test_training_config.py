"""Configurations of runs: the recipes that come with the package, and what is wrong with others."""

from __future__ import annotations

import itertools
import math
import shlex
from pathlib import Path

import pytest

from ila_models.cli.main import make_parser
from ila_models.training.config import RECIPES, load_config, parse_config
from ila_models.weights.manifest import records

RELEASED = [name for name in records() if ".k400_" in name or ".ssv2_" in name]
SMALL = {"model": {"name": "ila_vit_b16"}, "data": {"kind": "motion", "train_clips": 64}}


@pytest.mark.parametrize("name", RELEASED)
def test_there_is_a_recipe_for_each_released_checkpoint(name: str) -> None:
    config, record = load_config(name), records()[name]
    assert config.model.name == f"{record.architecture}.openai"
    assert config.model.pretrained
    assert config.model.num_frames == record.arguments["num_frames"]
    assert config.model.interactive == record.arguments["interactive"]
    assert config.model.head == record.arguments["head"]
    optimizer, schedule, augmentation = config.optimizer, config.schedule, config.augmentation
    assert (optimizer.alignment_lr, optimizer.alignment_weight_decay) == (5e-4, 1e-2)
    assert (optimizer.skip_lr, optimizer.skip_weight_decay) == (8e-5, 1e-3)
    assert (optimizer.head_lr, optimizer.head_weight_decay) == (4e-4, 3e-3)
    assert (optimizer.betas, optimizer.eps, optimizer.clip_norm) == ((0.9, 0.98), 1e-8, None)
    assert optimizer.similarity_weight == 1
    assert (schedule.epochs, schedule.warmup_epochs, schedule.min_lr) == (50, 5, 8e-8)
    assert schedule.shrink_window_from == 30
    assert augmentation.crop_scales == (1.0, 0.875, 0.75, 0.66)
    assert (augmentation.mixup, augmentation.cutmix, augmentation.switch) == (0.8, 1.0, 0.5)
    assert (augmentation.color_jitter, augmentation.grey, augmentation.erasing) == (0.8, 0.2, 0.25)
    assert augmentation.label_smoothing == 0.1
    assert (config.run.batch_size, config.model.dropout, config.model.drop_path_rate) == (256, 0.5, 0)


def test_recipes_are_files_of_the_package() -> None:
    assert set(RELEASED) <= {path.stem for path in RECIPES.glob("*.yaml")}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_command_at_a_recipe_s_head_is_whole(path: Path) -> None:
    lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    command = "\n".join(line[1:] for line in lines if line.startswith("#   "))
    options = make_parser().parse_args(shlex.split(command.replace("\\\n", ""))[1:])
    assert options.config == path.stem
    before, after = load_config(path).data, load_config(path, options.overrides).data
    for name in ("train", "train_annotations", "validation", "validation_annotations", "class_names"):
        # What is left of the recipe's own places belongs to other folders than PATH.
        assert getattr(before, name) is None or getattr(after, name) in ("PATH", None), name


def test_overrides_come_after_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: {name: ila_vit_b16}\ndata: {train: videos}\nrun: {seed: 3}\n")
    config = load_config(
        path, ["run.seed=4", "optimizer.lr=1e-4", "augmentation.crop_scales=[1.0]", "data.train=other"]
    )
    assert (config.run.seed, config.optimizer.lr, config.augmentation.crop_scales) == (4, 1e-4, (1.0,))
    assert config.data.train == "other"
    assert parse_config(config.as_dict(), where="again") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle": {}}, "unknown field modle: did you mean model?"),
        ({"run": {"sead": 1}}, "unknown field run.sead: did you mean run.seed?"),
        ({"optimizer": {"learning_rate_of_all": 1}}, "unknown field optimizer.learning_rate_of_all"),
        ({"run": {"seed": "one"}}, "run.seed is 'one', expected int"),
        ({"run": {"seed": True}}, "run.seed is True, expected int"),
        ({"run": {"precision": "fp8"}}, "run.precision is 'fp8', expected one of 'fp32', 'bf16', 'fp16'"),
        ({"augmentation": {"crop_scales": 1}}, "augmentation.crop_scales is 1, expected a list"),
        ({"augmentation": {"crop_scales": [1.5]}}, "give numbers above 0 and up to 1"),
        ({"augmentation": {"grey": 2}}, "augmentation.grey is 2, give a chance between 0 and 1"),
        ({"schedule": {"epochs": 5}}, "schedule.warmup_epochs is 5, give at least 0 and less than the 5 epochs"),
        ({"data": {"kind": "videos"}}, "data.train is missing: name the folder of videos"),
        ({"data": {"kind": "motion"}}, "data.train_clips is missing, for motion"),
        ({"data": {"train": "a", "easy_epochs": 2}}, "data.easy_epochs is 2, give 0: only data.kind=motion has easy"),
        ({"data": {"kind": "motion", "train_clips": 9, "easy_epochs": 99}}, "data.easy_epochs is 99, give 0 to"),
        ({"data": {"kind": "motion", "train_clips": 0}}, "data.train_clips is 0, give at least 1"),
        ({"data": {"train": "a", "validation_clips": 0}}, "data.validation_clips is 0, give at least 1"),
        ({"data": {"train": "a", "num_workers": -1}}, "data.num_workers is -1, give at least 0"),
        ({"augmentation": {"mixup": -0.1}}, "augmentation.mixup is -0.1, give a finite number from 0 on"),
        ({"augmentation": {"cutmix": ".nan"}}, "augmentation.cutmix is '.nan', expected float"),
        ({"augmentation": {"cutmix": math.nan}}, "augmentation.cutmix is nan, give a finite number from 0 on"),
        ({"augmentation": {"grey": math.nan}}, "augmentation.grey is nan, give a chance between 0 and 1"),
        ({"optimizer": {"betas": [0.9]}}, "optimizer.betas is [0.9], expected a list of 2 numbers"),
        ({"optimizer": {"betas": [0.9, 1]}}, "optimizer.betas is [0.9, 1.0], give two numbers from 0 to less than 1"),
        ({"optimizer": {"clip_norm": -1}}, "optimizer.clip_norm is -1.0, give a finite number above 0, or null"),
        ({"optimizer": {"clip_norm": math.nan}}, "optimizer.clip_norm is nan, give a finite number above 0"),
        ({"optimizer": {"layer_decay": -0.5}}, "optimizer.layer_decay is -0.5, give a factor above 0 and up to 1"),
        ({"optimizer": {"layer_decay": math.nan}}, "optimizer.layer_decay is nan, give a factor above 0"),
        ({"optimizer": {"weight_decay": -1}}, "optimizer.weight_decay is -1, give a finite number from 0 on"),
        ({"optimizer": {"skip_weight_decay": math.nan}}, "optimizer.skip_weight_decay is nan, give a finite number"),
        ({"optimizer": {"lr": math.inf}}, "optimizer.lr is inf, give a finite number from 0 on"),
        ({"optimizer": {"eps": 0}}, "optimizer.eps is 0, give a finite number above 0"),
        ({"optimizer": {"similarity_weight": math.nan}}, "optimizer.similarity_weight is nan, give a finite number"),
        ({"schedule": {"min_lr": 1e-4}}, "schedule.min_lr is 0.0001, give at most optimizer.skip_lr, which is 8e-05"),
        (
            {"schedule": {"min_lr": 1e-4}, "optimizer": {"parameters": "all", "lr": 1e-5}},
            "mine: schedule.min_lr is 0.0001, give at most optimizer.lr, which is 1e-05",
        ),
        ({"schedule": {"min_lr": math.nan}}, "schedule.min_lr is nan, give a finite number from 0 on"),
        ({"schedule": {"shrink_window_from": -1}}, "schedule.shrink_window_from is -1, give at least 0"),
        ({"model": {"name": "a", "dropout": 2}}, "model.dropout is 2, give a chance between 0 and 1"),
        ({"model": {"name": "a", "drop_path_rate": 1}}, "model.drop_path_rate is 1, give 0 to less than 1"),
        ({"run": 3}, "run. is int, expected a section of fields"),
        ({"model": {}}, "model.name is missing"),
        ({"model": {"name": "a", "pretrained": True, "checkpoint": "b"}}, "are both given: choose one"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=r"^mine: ") as caught:
        parse_config(SMALL | changes, where="mine")
    assert message in str(caught.value)


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"run\.sead.*schedule\.epoch"):
        parse_config(SMALL | {"run": {"sead": 1}, "schedule": {"epoch": 3}}, where="mine")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such file, and no recipe of this package: there are ila"):
        load_config("nowhere")
    path = tmp_path / "broken.yaml"
    path.write_text("model: [")
    with pytest.raises(ValueError, match="not readable as YAML"):
        load_config(path)
    path.write_text("just words")
    with pytest.raises(ValueError, match="the file is str, expected a section of fields"):
        load_config(path)
    path.write_text("- model\n- data\n")
    with pytest.raises(ValueError, match=r"broken\.yaml: the file is list, expected a section of fields"):
        load_config(path, ["run.seed=1"])
    path.write_text("")
    with pytest.raises(ValueError, match=r"broken\.yaml: model is missing"):
        load_config(path, ["run.seed=1"])
    assert load_config(path, ["model.name=ila_vit_b16", "data.train=videos"]).data.train == "videos"
    path.write_bytes("model: {name: caf\u00e9}".encode("latin-1"))
    with pytest.raises(ValueError, match=r"broken\.yaml: not UTF-8 text \(.*0xe9.*\): save it as UTF-8"):
        load_config(path)
    with pytest.raises(ValueError, match=r"'seed=1' is not SECTION\.FIELD=VALUE"):
        load_config(RELEASED[0], ["seed=1"])
