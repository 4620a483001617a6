"""The header of our own files: what another program, or a hand, may have made of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from released import write_released
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ila_models import CheckpointError, convert_checkpoint
from ila_models.weights.manifest import preprocessing
from ila_models.weights.recognise import read_checkpoint


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    convert_checkpoint(write_released("ssv2_tiny", folder), folder / "ssv2.safetensors")
    return folder / "ssv2.safetensors"


def changed(converted: Path, tmp_path: Path, **entries: Any) -> Path:
    with safe_open(converted, "pt") as file:
        header = json.loads(file.metadata()["ila_models"])
    path = tmp_path / "changed.safetensors"
    save_file(load_file(converted), path, metadata={"ila_models": json.dumps(header | entries)})
    return path


def test_what_was_written_is_read(converted: Path) -> None:
    checkpoint = read_checkpoint(converted)
    assert (checkpoint.kind, checkpoint.head, checkpoint.num_classes) == ("ila", "linear", 174)
    assert checkpoint.source is not None
    assert set(checkpoint.source) == {"file", "layout", "sha256"}


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"num_classes": "x"}, "num_classes"),
        ({"num_classes": None}, "num_classes"),
        ({"num_classes": True}, "num_classes"),
        ({"kind": "vae"}, "kind"),
        ({"head": "round"}, "head"),
        ({"class_names": "abc"}, "class_names"),
        ({"class_names": ["one"]}, "class_names"),
        ({"class_names": 3}, "TypeError"),
        ({"preprocessing": [1]}, "preprocessing"),
        ({"preprocessing": preprocessing("ila") | {"resize_ratio": 120}}, "resize_ratio=120"),
        ({"preprocessing": preprocessing("ila") | {"std": ["a", "b", "c"]}}, "std="),
        ({"preprocessing": {"mean": [0, 0, 0]}}, "std"),
        ({"video_prompts": "no"}, "video_prompts"),
        ({"source": "elsewhere"}, "source"),
        ({"config": {"width": 64}}, "img_size"),
        ({"config": {"img_size": [64, 64], "widht": 64}}, "widht"),
        ({"config": None}, "TypeError"),
    ],
)
def test_a_header_that_describes_no_model(
    converted: Path, tmp_path: Path, entries: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"changed.safetensors: its ila_models header .*{reason}"):
        read_checkpoint(changed(converted, tmp_path, **entries))


def test_a_header_changes_nothing_but_the_input_contract(converted: Path, tmp_path: Path) -> None:
    more = {"img_size": [8, 8], "architecture": "another", "license": "mine"}
    path = changed(converted, tmp_path, preprocessing=preprocessing("ila") | more)
    assert read_checkpoint(path).preprocessing == preprocessing("ila")


def test_a_later_version(converted: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="written in format version 2, this package reads 1: upgrade ila_models"):
        read_checkpoint(changed(converted, tmp_path, format_version=2))


@pytest.mark.parametrize("header", ["{", "[]", "{}", "null"])
def test_a_header_that_is_no_header(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"ila_models": header})
    with pytest.raises(CheckpointError, match="its ila_models header cannot be read"):
        read_checkpoint(path)
