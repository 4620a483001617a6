"""Image models of timm as raw material: what they expect of their input, and how one is built again from its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import timm
import torch
from torch import Tensor, nn

# They choose weights, files and places, which a description of an architecture must not.
_NOT_OF_THE_ARCHITECTURE = frozenset(
    ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_model_args", "checkpoint_path", "cache_dir")
)


class ImageModel(Protocol):
    """What timm's vision transformers have in common, of whatever family they are."""

    blocks: nn.Module
    num_prefix_tokens: int
    num_features: int
    head_hidden_size: int
    num_classes: int

    def forward_features(self, x: Tensor) -> Tensor:
        """Images to tokens."""

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Tokens to vectors, or to logits."""

    def get_classifier(self) -> nn.Module:
        """The last layer."""

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the last layer."""


@dataclass(frozen=True)
class ImageModelRecipe:
    """How to build an image model of timm again, without its weights.

    Attributes:
        architecture: Its name, without a tag.
        arguments: Of ``timm.create_model``; plain values.
    """

    architecture: str
    arguments: dict[str, Any]

    def __post_init__(self) -> None:
        """Refuses what could name anything but an architecture.

        Raises:
            ValueError: The architecture is not known to timm, or an argument is none of an architecture's.
        """
        if not isinstance(self.architecture, str) or not timm.is_model(self.architecture):
            raise ValueError(
                f"architecture {self.architecture!r} is not known to timm {timm.__version__}: upgrade timm, or import"
                " the package that registers it"
            )
        if not isinstance(self.arguments, dict):
            raise ValueError(f"arguments are {type(self.arguments).__name__}: expected names and values")
        if foreign := sorted(_NOT_OF_THE_ARCHITECTURE & self.arguments.keys()):
            raise ValueError(f"arguments {', '.join(foreign)} choose weights, not an architecture: leave them out")
        if odd := [name for name, value in self.arguments.items() if not _is_plain(value)]:
            raise ValueError(
                f"arguments {', '.join(odd)} are no plain values (numbers, text, lists of them), which a description"
                " holds: give their names, as timm takes them"
            )

    def build(self, device: torch.device | str | None = None) -> nn.Module:
        """The model with random weights.

        Raises:
            ValueError: timm does not build it.
        """
        try:
            with torch.device("cpu" if device is None else device):
                model: nn.Module = timm.create_model(self.architecture, **self.arguments)
        except (TypeError, RuntimeError, AssertionError, KeyError) as error:
            raise ValueError(f"timm {timm.__version__} does not build {self.architecture}: {error}") from error
        return model


def recipe_of(vit: nn.Module, model_args: Mapping[str, Any] | None) -> ImageModelRecipe | None:
    """How an image model was made; None where timm did not make it.

    Args:
        vit: The model.
        model_args: Arguments that it was made with; None takes what timm noted of them, as it does from 1.0.31 on.

    Raises:
        ValueError: ``model_args`` are not those of an architecture.
    """
    architecture = pretrained_cfg_of(vit).get("architecture")
    if architecture is None:
        return None
    noted = model_args if model_args is not None else getattr(vit, "_model_args", {})
    # Dropout takes no part in what a model answers; who goes on training chooses it anew.
    arguments = {name: value for name, value in noted.items() if model_args is not None or "drop" not in name}
    arguments |= current_arguments(vit)
    return ImageModelRecipe(architecture, arguments)


def current_arguments(vit: nn.Module) -> dict[str, Any]:
    """What may have changed since a model was made, or come from timm's defaults: pixels, classes, pooling."""
    image_model = cast("Any", vit)
    arguments: dict[str, Any] = {"img_size": list(img_size_of(vit)), "num_classes": image_model.num_classes}
    pool = getattr(image_model, "global_pool", None)
    return arguments | ({"global_pool": pool} if isinstance(pool, str) else {})


def img_size_of(vit: nn.Module) -> tuple[int, int]:
    """Pixels (height, width) that a model was built for; (0, 0) where it does not say."""
    height, width = getattr(cast("Any", vit).patch_embed, "img_size", None) or (0, 0)
    return int(height), int(width)


def pretrained_cfg_of(vit: nn.Module) -> Mapping[str, Any]:
    """What timm says of a model's weights; nothing where timm did not make it."""
    config = getattr(vit, "pretrained_cfg", None)
    return config if isinstance(config, Mapping) else {}


def input_contract(vit: nn.Module) -> dict[str, Any]:
    """What an image model expects of frames, in the words of :func:`~ila_models.create_transform`.

    Empty where timm did not make it.
    """
    config = pretrained_cfg_of(vit)
    if not config:
        return {}
    return {
        "img_size": img_size_of(vit),
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "interpolation": config["interpolation"] if config["interpolation"] == "bilinear" else "bicubic",
        "antialias": True,  # as Pillow, with which timm's models are trained
        "resize_ratio": 1 / config["crop_pct"],
        "sampling": "segment_midpoints",
        "views": [1, 1],
    }


def structure(model: nn.Module) -> dict[str, Any]:
    """What decides a model's answers besides its tensors' values: kinds of layers, plain settings, shapes.

    Two models of equal structure answer alike with equal tensors. Dropout, and what a pass leaves behind, is not looked
    at.
    """
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Identity | nn.Dropout) or type(module).__name__ == "DropPath":
            continue
        settings = {
            key: value
            for key, value in vars(module).items()
            if not key.startswith("_") and key not in _OF_THE_RUN and "drop" not in key and _is_plain(value)
        }
        found[name] = (type(module).__qualname__, _as_lists(settings))
    shapes = {name: (list(tensor.shape), tensor.is_floating_point()) for name, tensor in model.state_dict().items()}
    return {**found, "tensors": shapes}


# How a module computes at present, not what.
_OF_THE_RUN = frozenset(("training", "grad_checkpointing", "fused_attn", "num_frames", "pretrained_cfg", "default_cfg"))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def _as_lists(value: Any) -> Any:
    """Tuples as JSON gives them back."""
    if isinstance(value, dict):
        return {key: _as_lists(each) for key, each in value.items()}
    return [_as_lists(each) for each in value] if isinstance(value, list | tuple) else value
