"""Image models of timm as raw material: what they expect of their input, and how one is built again from its name."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast, get_args

import timm
import torch
from torch import Tensor, nn

from .configs import HEAD_WIDTH
from .data.transforms import CropMode

FAMILIES = (
    "beit",
    "deit",
    "eva",
    "vision_transformer",
    "vision_transformer_hybrid",
    "vision_transformer_relpos",
    "vitamin",
)
"""Modules of ``timm.models`` whose architectures a saved model may name."""

TIMM = "timm/"
"""What the name of an image model of timm begins with, as on the Hub, where both kinds of models may be named."""

MAX_IMG_SIZE = 4096
"""Pixels of a side that a saved model may name."""

_logger = logging.getLogger(__name__)

# What wrong arguments do to a constructor that has no errors of its own for them, and wrong shapes to a pass.
_OF_CONSTRUCTORS = (
    TypeError,
    ValueError,
    RuntimeError,
    AssertionError,
    ArithmeticError,
    LookupError,
    AttributeError,
)

# They choose weights, files, devices and other models, which a description of an architecture must not.
_NOT_OF_THE_ARCHITECTURE = frozenset(
    (
        "cache_dir",
        "checkpoint_path",
        "device",
        "dtype",
        "exportable",
        "feature_cls",
        "features_only",
        "kwargs_filter",
        "no_jit",
        "out_indices",
        "scriptable",
    )
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
                f"architecture {self.architecture!r} is not known to timm {timm.__version__}: upgrade timm"
            )
        if not timm.models.is_model_in_modules(self.architecture, FAMILIES):
            raise ValueError(
                f"architecture {self.architecture!r} is none of timm's vision transformers ({', '.join(FAMILIES)})"
            )
        if not isinstance(self.arguments, dict):
            raise ValueError(f"arguments are {type(self.arguments).__name__}: expected names and values")
        chosen = (name for name in self.arguments if name.startswith("pretrained"))
        if foreign := sorted({*chosen, *(_NOT_OF_THE_ARCHITECTURE & self.arguments.keys())}):
            raise ValueError(f"arguments {', '.join(foreign)} choose weights, not an architecture: leave them out")
        if odd := [name for name, value in self.arguments.items() if not _is_argument(value)]:
            raise ValueError(
                f"arguments {', '.join(odd)} are no plain values (numbers, text, lists of them), which a description"
                " holds: give their names, as timm takes them"
            )
        size = self.arguments.get("img_size", 1)
        for side in size if isinstance(size, list) else [size]:
            if not isinstance(side, int) or not 0 < side <= MAX_IMG_SIZE:
                raise ValueError(f"img_size={size} is out of range: up to {MAX_IMG_SIZE} pixels a side are built")

    def build(self, device: torch.device | str | None = None) -> nn.Module:
        """The model with random weights.

        Raises:
            ValueError: timm does not build it.
        """
        try:
            with torch.device("cpu" if device is None else device):
                model: nn.Module = timm.create_model(self.architecture, **self.arguments)
        except _OF_CONSTRUCTORS as error:
            raise ValueError(f"timm {timm.__version__} does not build {self.architecture}: {error!r}") from error
        return model


def name_in_timm(name: str) -> str:
    """What timm calls the vision transformer ``timm/NAME`` or ``timm/NAME.TAG``.

    Raises:
        ValueError: timm has none of that name.
    """
    name = name.removeprefix(TIMM)
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture) or not timm.models.is_model_in_modules(architecture, FAMILIES):
        raise ValueError(
            f"timm {timm.__version__} has no vision transformer of the name {architecture!r}; its list_models() has"
            f" those of {', '.join(FAMILIES)}"
        )
    return name


def recipe_of(vit: nn.Module, model_args: Mapping[str, Any] | None) -> ImageModelRecipe | str:
    """How an image model was made; where that cannot be written down, why not.

    Args:
        vit: The model.
        model_args: Arguments that it was made with; None takes what timm noted of them, as it does from 1.0.31 on.

    Raises:
        ValueError: ``model_args`` are not those of an architecture.
    """
    architecture = pretrained_cfg_of(vit).get("architecture")
    if architecture is None:
        return f"{type(vit).__name__} was not made by timm.create_model"
    if model_args is not None:
        return ImageModelRecipe(architecture, {**model_args, **current_arguments(vit)})
    # Dropout takes no part in what a model answers; who goes on training chooses it anew.
    noted = {name: value for name, value in getattr(vit, "_model_args", {}).items() if "drop" not in name}
    try:
        return ImageModelRecipe(architecture, {**noted, **current_arguments(vit)})
    except ValueError as error:
        return str(error)


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
    mode = config.get("crop_mode", "center")
    if mode not in get_args(CropMode):
        _logger.warning(
            "%s: timm prepares images for these weights by crop_mode=%r; here, frames are cropped in the centre",
            config["architecture"],
            mode,
        )
        mode = "center"
    return {
        "img_size": img_size_of(vit),
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "interpolation": config["interpolation"] if config["interpolation"] == "bilinear" else "bicubic",
        "antialias": True,  # as Pillow, with which timm's models are trained
        "resize_ratio": 1 / config["crop_pct"],
        "crop_mode": mode,
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


def structure_digest(model: nn.Module) -> str:
    """SHA-256 of :func:`structure`."""
    return hashlib.sha256(json.dumps(structure(model), sort_keys=True).encode()).hexdigest()


# How a module computes at present, not what.
_OF_THE_RUN = frozenset(("training", "grad_checkpointing", "fused_attn", "num_frames", "pretrained_cfg", "default_cfg"))


def _is_argument(value: Any) -> bool:
    """Whether it is a number, a text, or a list of those."""
    if isinstance(value, list | tuple):
        return all(not isinstance(each, list | tuple) and _is_argument(each) for each in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)


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


@torch.no_grad()
def probe(vit: nn.Module, grid: tuple[int, int]) -> None:
    """Runs an image model once, and refuses one whose steps are not those that alignment builds on.

    Args:
        vit: The model; left as it was.
        grid: Patches of an image, (h, w).

    Raises:
        TypeError: Its blocks are not all given the tokens of the grid behind those before the patches, or it does not
            make one vector of them for one classifier.
    """
    image_model, like = cast("ImageModel", vit), next(vit.parameters())
    tokens = [1, image_model.num_prefix_tokens + grid[0] * grid[1], image_model.num_features]
    seen: list[list[int]] = []
    blocks = list(cast("nn.Sequential", image_model.blocks).children())
    hooks = [block.register_forward_pre_hook(lambda _, given: seen.append(list(given[0].shape))) for block in blocks]
    modes = [(module, module.training) for module in vit.modules()]
    vit.eval()
    try:
        features = image_model.forward_features(
            torch.zeros(1, 3, *img_size_of(vit), device=like.device, dtype=like.dtype)
        )
        vector = list(image_model.forward_head(features, pre_logits=True).shape)
    except _OF_CONSTRUCTORS as error:
        raise TypeError(f"{type(vit).__name__} does not answer as a vision transformer of timm: {error!r}") from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    expected = [1, image_model.head_hidden_size]
    classifier = image_model.get_classifier()
    if seen != [tokens] * len(blocks):
        found = next(shape for shape in [*seen, []] if shape != tokens)
        raise TypeError(f"a block of {type(vit).__name__} is given {found or 'nothing'}, expected tokens {tokens}")
    if vector != expected or not isinstance(classifier, nn.Module):
        raise TypeError(
            f"{type(vit).__name__} makes {vector} of an image, for {type(classifier).__name__}: expected a vector"
            f" {expected} for one classifier; create it with another global_pool, or without a second head"
        )
    if expected[1] % HEAD_WIDTH:
        raise TypeError(f"the vector of {type(vit).__name__} has {expected[1]} channels, no multiple of {HEAD_WIDTH}")
