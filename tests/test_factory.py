"""Models by name: what `create_model` accepts, what the lists say, what models cost, and the two other doors to them.

What files do to a model is in test_checkpoints.py. Weights would only cost time here: models are on the meta device.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ila_models
from ila_models.configs import ARCHITECTURES
from ila_models.factory import create_model, is_model, list_models, list_pretrained
from ila_models.info import model_info
from ila_models.text import TextEncoder

ROOT = Path(__file__).parents[1]


@pytest.fixture
def _meta() -> Iterator[None]:
    with torch.device("meta"):
        yield


on_meta = pytest.mark.usefixtures("_meta")


def run_python(program: str, *, folder: Path, paths: tuple[Path, ...] = (ROOT,)) -> Any:
    """Runs a program in a new interpreter and returns the JSON that it prints last."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "TORCH_HOME": str(folder / "torch")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# Building


@on_meta
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures(architecture: str) -> None:
    model = create_model(architecture)
    assert model.config == ARCHITECTURES[architecture]
    assert model.has_text_head
    assert model.num_classes == 400
    assert not model.training
    assert model.pretrained_cfg["architecture"] == architecture
    assert model.pretrained_cfg["num_frames"] == model.num_frames
    assert model.pretrained_cfg["img_size"] == model.config.img_size
    assert model.pretrained_cfg["source"] is model.pretrained_cfg["tag"] is None


@on_meta
@pytest.mark.parametrize(
    ("name", "frames", "pixels", "interactive", "text", "classes"),
    [
        ("ila_vit_b32.k400_16x224", 16, 224, "separable", True, 400),
        ("ila_vit_b16.ssv2_8x224", 8, 224, "full", False, 174),
        ("ila_vit_l14_336.k400_16x336", 16, 336, "separable", True, 400),
        ("ila_vit_b16.openai", 8, 224, "separable", True, 0),
    ],
)
def test_a_tag_selects_details_without_weights_too(
    name: str, frames: int, pixels: int, interactive: str, text: bool, classes: int
) -> None:
    model = create_model(name)
    assert model.num_frames == frames
    assert model.config.img_size == (pixels, pixels)
    assert model.config.interactive == interactive
    assert model.has_text_head is text
    assert model.num_classes == classes
    assert f"{model.pretrained_cfg['architecture']}.{model.pretrained_cfg['tag']}" == name


@on_meta
@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("num_frames", 16, 16),
        ("img_size", 256, (256, 256)),
        ("img_size", (128, 224), (128, 224)),
        ("img_size", [128, 224], (128, 224)),
        ("alignment_width", 64, 64),
        ("interactive", "full", "full"),
        ("temporal_depth", 2, 2),
        ("prompt_depth", 1, 1),
    ],
)
def test_arguments_reach_the_configuration(argument: str, value: Any, expected: Any) -> None:
    model = create_model("ila_vit_b32", **{argument: value})
    assert getattr(model.config, argument) == expected
    assert getattr(create_model("ila_vit_b32").config, argument) != expected


@on_meta
def test_an_argument_goes_before_the_tag() -> None:
    model = create_model("ila_vit_b16.ssv2_16x224", num_frames=4, interactive="separable")
    assert (model.num_frames, model.config.interactive, model.num_classes) == (4, "separable", 174)


@on_meta
@pytest.mark.parametrize(("classes", "kind"), [(7, "LinearHead"), (0, "Identity")])
@pytest.mark.parametrize("name", ["ila_vit_b32", "ila_vit_b16.ssv2_8x224"])
def test_number_of_classes(name: str, classes: int, kind: str) -> None:
    model = create_model(name, num_classes=classes)
    assert model.num_classes == model.pretrained_cfg["num_classes"] == classes
    assert type(model.head).__name__ == kind


@on_meta
def test_names_of_a_linear_head_s_classes() -> None:
    assert create_model("ila_vit_b32", num_classes=2, class_names=["a", "b"]).class_names == ("a", "b")


@on_meta
def test_drop_path_grows_with_depth() -> None:
    model = create_model("ila_vit_b32", drop_path_rate=0.22)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in model.blocks]
    assert rates == pytest.approx([0.02 * index for index in range(12)])


@on_meta
def test_class_names_of_a_text_head() -> None:
    encoder = TextEncoder(width=64, depth=1, embed_dim=512)
    model = create_model("ila_vit_b32", class_names=["surfing", "tai chi"], text_encoder=encoder)
    assert model.class_names == ("surfing", "tai chi")
    assert model.num_classes == model.pretrained_cfg["num_classes"] == 2
    assert model(torch.empty(1, 8, 3, 224, 224)).shape == (1, 2)


@on_meta
@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("ila_vit_b8", {}, ValueError, r"unknown model 'ila_vit_b8': did you mean .*ila_vit_b16.*\? All: ila_vit_b32"),
        ("resnet", {}, ValueError, "unknown model 'resnet': there are ila_vit_b32, ila_vit_b16"),
        (
            "ila_vit_l14.k400",
            {},
            ValueError,
            "ila_vit_l14 has no tag 'k400': its tags are k400_8x224, ssv2_8x224, openai",
        ),
        (
            "ila_vit_b32",
            {"pretrained": True, "checkpoint_path": "x.pt"},
            ValueError,
            "pretrained=True and checkpoint_path are both given",
        ),
        ("ila_vit_b32", {"checkpoint_path": "x.pt"}, FileNotFoundError, "checkpoint 'x.pt': no such file"),
        ("ila_vit_b32", {"num_classes": -1}, ValueError, "num_classes=-1 is out of range"),
        ("ila_vit_b32", {"num_frames": 1}, ValueError, "num_frames=1 is out of range"),
        ("ila_vit_b32", {"num_frames": 0}, ValueError, "num_frames=0 is out of range"),
        ("ila_vit_b32", {"img_size": 96}, ValueError, "at least 128 pixels"),
        ("ila_vit_b32", {"img_size": 0}, ValueError, "at least 128 pixels"),
        ("ila_vit_b32", {"img_size": 225}, ValueError, "the nearest that fits is 224x224"),
        ("ila_vit_b32", {"drop_path_rate": 1.5}, ValueError, r"drop_path_rate=1.5 .* \[0, 1\)"),
        ("ila_vit_b32", {"alignment": "tokens"}, ValueError, "alignment='tokens' is not known"),
        ("ila_vit_b32", {"class_names": []}, ValueError, "class names are empty"),
        ("ila_vit_b32", {"class_names": ["a"]}, RuntimeError, "came without one: load weights .*pass text_encoder="),
        (
            "ila_vit_b32",
            {"num_classes": 2, "class_names": ["a"]},
            ValueError,
            "class_names has 1 names and num_classes=2: leave one out",
        ),
        ("ila_vit_b32", {"num_classes": 0, "class_names": ["a"]}, ValueError, "0 classes with no head"),
        (
            "ila_vit_b16.ssv2_8x224",
            {"class_names": ["a"]},
            ValueError,
            "1 class_names for a model of 174 classes with a linear head",
        ),
    ],
)
def test_errors(name: str, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        create_model(name, **arguments)


@pytest.mark.parametrize("constructor", [create_model, *(getattr(ila_models, name) for name in ARCHITECTURES)])
def test_unknown_keyword(constructor: Any) -> None:
    name = ("ila_vit_b32",) if constructor is create_model else ()
    with pytest.raises(TypeError, match="unexpected keyword argument 'num_frame'"):
        constructor(*name, num_frame=8)


def test_arguments_are_keyword_only() -> None:
    first, *others = inspect.signature(create_model).parameters.values()
    assert first.name == "name"
    assert {parameter.kind for parameter in others} == {inspect.Parameter.KEYWORD_ONLY}


@on_meta
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_constructors(name: str) -> None:
    model = getattr(ila_models, name)(num_classes=3, num_frames=4)
    assert model.config == create_model(name, num_frames=4).config
    assert model.num_classes == 3
    assert name in ila_models.__all__


def test_an_architecture_without_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ila_models.factory.default_record", lambda architecture: None)
    assert create_model("ila_vit_nano8", num_classes=10).num_classes == 10
    with pytest.raises(ValueError, match="ila_vit_nano8 has no pretrained checkpoint: leave pretrained=True out"):
        create_model("ila_vit_nano8", pretrained=True)
    assert model_info("ila_vit_nano8").parameters < 2_000_000


# Lists


def test_lists() -> None:
    from_clip = ["ila_vit_b32", "ila_vit_b16", "ila_vit_l14", "ila_vit_l14_336"]
    assert list_models() == list(ARCHITECTURES) == [*from_clip, "ila_vit_nano8"]
    assert list_models("*l14*") == ["ila_vit_l14", "ila_vit_l14_336"]
    assert list_models("nothing") == []
    assert list_models(pretrained=True) == list_pretrained()
    assert list_models("*.openai", pretrained=True) == list_pretrained("*.openai")
    assert list_pretrained("*.openai") == [f"{name}.openai" for name in from_clip]
    assert {name.split(".")[0] for name in list_pretrained()} == set(ARCHITECTURES)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("ila_vit_b16", True),
        ("ila_vit_b16.ssv2_16x224", True),
        ("ila_vit_b32.ssv2_8x224", False),
        ("ila_vit_b8", False),
        ("", False),
    ],
)
def test_is_model(name: str, known: bool) -> None:
    assert is_model(name) is known


@on_meta
@pytest.mark.parametrize("name", list_pretrained())
def test_every_listed_name_builds(name: str) -> None:
    assert create_model(name).config.depth == ARCHITECTURES[name.split(".")[0]].depth


# Costs


@pytest.mark.parametrize(
    ("name", "giga_macs"),
    [
        ("ila_vit_b32.k400_8x224", 50),
        ("ila_vit_b16.k400_8x224", 199),
        ("ila_vit_b16.k400_16x224", 402),
        ("ila_vit_l14.k400_8x224", 877),
        ("ila_vit_l14_336.k400_16x336", 4103),
    ],
)
def test_multiply_adds_of_the_released_form(name: str, giga_macs: float) -> None:
    info = model_info(name)
    assert info.backbone_macs / 1e9 == pytest.approx(giga_macs, rel=0.01)
    assert info.macs > info.backbone_macs
    assert (info.name, info.record.name, info.num_classes, info.head) == (name, name, 400, "text")
    assert name.endswith(f"{info.num_frames}x{info.img_size[0]}")


@pytest.mark.parametrize("name", ["ila_vit_b32", "ila_vit_b32.openai", "ila_vit_b16.ssv2_8x224"])
def test_parameters_are_those_of_the_model(name: str) -> None:
    info = model_info(name)
    with torch.device("meta"):
        model = create_model(name)
        bare = create_model(name, num_classes=0)
    assert info.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert info.backbone_parameters == sum(parameter.numel() for parameter in bare.parameters())
    assert info.num_classes == (model.num_classes or 400)


def test_info_of_an_architecture_is_its_default_record_s() -> None:
    assert model_info("ila_vit_b32").record.name == "ila_vit_b32.k400_8x224"


def test_info_of_an_unknown_name() -> None:
    with pytest.raises(ValueError, match="unknown model 'ila'"):
        model_info("ila")


# timm and torch.hub


def test_timm_builds_the_models(tmp_path: Path) -> None:
    found = run_python(
        """
import json, timm, torch
before = timm.list_models("ila_*")
import ila_models
with torch.device("meta"):
    model = timm.create_model("ila_vit_b32", num_classes=5, num_frames=4)
    refused = []
    for arguments in ({"cache_dir": "x"}, {"pretrained_cfg_overlay": {"mean": 0}}, {"num_frame": 4}):
        try:
            timm.create_model("ila_vit_b32", **arguments)
        except (TypeError, ValueError) as error:
            refused.append(f"{type(error).__name__}: {error}")
    print(json.dumps({
        "before": before,
        "after": timm.list_models("ila_*"),
        "is_model": timm.is_model("ila_vit_l14_336"),
        "type": type(model).__name__,
        "classes": model.num_classes,
        "frames": model.num_frames,
        "refused": refused,
    }))
""",
        folder=tmp_path,
    )
    refused = found.pop("refused")
    assert sorted(found.pop("after")) == sorted(ARCHITECTURES)
    assert found == {
        "before": [],
        "is_model": True,
        "type": "ILAVisionTransformer",
        "classes": 5,
        "frames": 4,
    }
    assert "cache_dir cannot be used with ILA models" in refused[0]
    assert "pretrained_cfg_overlay cannot be used with ILA models" in refused[1]
    assert "unexpected keyword argument 'num_frame'" in refused[2]


def test_torch_hub_loads_the_models(tmp_path: Path) -> None:
    # Where torch.hub unpacks what it downloads from GitHub, so that it finds the repository and asks nobody.
    checkout = tmp_path / "torch" / "hub" / "ila-models_ila_models_main"
    shutil.copytree(ROOT / "ila_models", checkout / "ila_models", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("hubconf.py", "weights_manifest.json"):
        shutil.copy(ROOT / name, checkout / name)
    found = run_python(
        f"""
import json, logging, random, torch
checkout = {str(checkout)!r}
before = torch.random.get_rng_state().tolist(), random.getstate(), torch.get_default_dtype(), torch.get_num_threads()
names = torch.hub.list("ila-models/ila_models:main", trust_repo=True)
after = torch.random.get_rng_state().tolist(), random.getstate(), torch.get_default_dtype(), torch.get_num_threads()
with torch.device("meta"):
    model = torch.hub.load(checkout, "ila_vit_b32", source="local", num_classes=0)
import ila_models
print(json.dumps({{
    "names": names,
    "type": type(model).__name__,
    "classes": model.num_classes,
    "help": torch.hub.help("ila-models/ila_models:main", "ila_vit_b32", trust_repo=True),
    "from the checkout": ila_models.__file__.startswith(checkout),
    "leaves torch alone": before == after,
    "handlers": len(logging.root.handlers),
}}))
""",
        folder=tmp_path,
        paths=(),
    )
    assert "ViT-B/32" in found.pop("help")
    assert sorted(found.pop("names")) == sorted(ARCHITECTURES)
    assert found == {
        "type": "ILAVisionTransformer",
        "classes": 0,
        "from the checkout": True,
        "leaves torch alone": True,
        "handlers": 0,
    }
