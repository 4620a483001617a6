"""A checkpoint as it stands after reading: whose it is, its sizes, and its tensors under our names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ..configs import ARCHITECTURES, HeadKind, ILAConfig

CONTRACT = ("mean", "std", "interpolation", "antialias", "resize_ratio", "sampling", "views")
"""What weights say of the input that they expect; also ``crop_mode``, where it is not to be "center"."""


def contract_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the input, and nothing else.

    Raises:
        KeyError: A key of :data:`CONTRACT` is missing.
    """
    return {key: said[key] for key in CONTRACT} | {key: said[key] for key in ("crop_mode",) if key in said}


def checked_contract(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of the input, and nothing else, its values being of their kinds and in proportion.

    Raises:
        KeyError: A key of :data:`CONTRACT` is missing.
        ValueError: A value is of another kind, or so large that a video would fill the memory.
    """
    if not isinstance(said, Mapping):
        raise ValueError(f"preprocessing is {said!r}")
    contract = contract_of(said)
    right = {
        "mean": _is_numbers(contract["mean"], 3, most=10.0),
        "std": _is_numbers(contract["std"], 3, most=10.0) and min(contract["std"]) > 0,
        "interpolation": isinstance(contract["interpolation"], str),
        "antialias": isinstance(contract["antialias"], bool),
        "resize_ratio": _is_numbers([contract["resize_ratio"]], 1, most=4.0) and contract["resize_ratio"] >= 1,
        "crop_mode": isinstance(contract.get("crop_mode", "center"), str),
        "sampling": isinstance(contract["sampling"], str),
        "views": _is_numbers(contract["views"], 2, most=100) and min(contract["views"]) >= 1,
    }
    if wrong := [f"{key}={contract.get(key)!r}" for key, is_right in right.items() if not is_right]:
        raise ValueError(f"preprocessing has {', '.join(wrong)}")
    return contract


def _is_numbers(values: Any, count: int, *, most: float) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(value, int | float) and abs(value) <= most for value in values)  # which no NaN is
    )


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A recognised checkpoint.

    Attributes:
        path: The file.
        layout: What was recognised, for people.
        kind: ``"ila"`` holds a whole video model, ``"clip"`` only CLIP's towers.
        config: The architecture's numbers.
        head: The head that the file holds; ``"none"`` for CLIP.
        num_classes: Classes of that head; 0 where class features are still to be computed.
        tensors: Tensors under our names, as stored.
        names: Our name -> the file's name of every tensor that such a file must hold, present or not. Empty where that
            is whatever the model has, under the same names.
        unexpected: Names in the file that have no place in the model.
        missing: Names that a part of the file beside the model, its text tower, lacks.
        misshapen: Lines about tensors of such a part whose shapes do not fit.
        text_tensors: CLIP's text tower under OpenAI's names; empty without one.
        class_names: Names of the classes where the file says them.
        video_prompts: Whether a text head's prompts are in use.
        preprocessing: Input contract where the file says it.
        source: Where a converted file came from (file, layout, sha256).
        is_ours: Whether it is a file of this package, complete and described by its own header.
    """

    path: Path
    layout: str
    kind: Literal["ila", "clip"]
    config: ILAConfig
    head: HeadKind
    num_classes: int
    tensors: dict[str, Tensor]
    names: dict[str, str]
    unexpected: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    text_tensors: dict[str, Tensor] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    video_prompts: bool = True
    preprocessing: dict[str, Any] | None = None
    source: dict[str, str] | None = None
    is_ours: bool = False

    @property
    def needs_class_features(self) -> bool:
        """Whether class features are still to be computed, of a released Kinetics-400 file by its text tower."""
        return self.kind == "ila" and self.head == "text" and not self.is_ours

    @property
    def architecture(self) -> str | None:
        """The named architecture of these sizes, None if there is none."""
        return architecture_of(self.config)


def architecture_of(config: ILAConfig) -> str | None:
    """The architecture with these sizes; where only the pixels differ, one of the same pixels goes first."""

    def backbone(numbers: ILAConfig) -> tuple[int, ...]:
        return numbers.width, numbers.depth, numbers.patch_size, numbers.embed_dim

    alike = {name: numbers for name, numbers in ARCHITECTURES.items() if backbone(numbers) == backbone(config)}
    same_pixels = [name for name, numbers in alike.items() if numbers.img_size == config.img_size]
    return next(iter(same_pixels or alike), None)
