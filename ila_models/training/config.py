"""What a run is made of, as a YAML file says it.

A file has the sections of :class:`TrainingConfig`, and each section the fields of its class. What is left out has its
default; what is misspelt is an error that names the nearest field.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..configs import AlignmentForm, AlignmentTarget, InteractiveBlock
from .ranges import contradictions


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """The model; what is None is the architecture's or the checkpoint's, see :func:`ila_models.create_model`.

    Attributes:
        name: Architecture or ``architecture.tag``; or ``timm/`` and the name of an image model of timm, which alignment
            makes a video model (:func:`ila_models.add_alignment`).
        pretrained: Start from the weights of the tag (``openai`` for CLIP's), or timm's; else random, or
            ``checkpoint``. What starts from CLIP's weights is trained with the input of the released models (mean, std,
            resizing), anything else with that of its weights.
        checkpoint: Start from this file or ``hf-hub:owner/name``.
        head: ``"text"`` compares with features of the class names, ``"linear"`` is a classifier of its own.
        dropout: Rate before the linear classifier.
    """

    name: str
    pretrained: bool = False
    checkpoint: str | None = None
    head: Literal["text", "linear"] = "linear"
    num_frames: int | None = None
    img_size: int | None = None
    alignment: AlignmentForm | None = None
    alignment_width: int | None = None
    alignment_target: AlignmentTarget | None = None
    interactive: InteractiveBlock | None = None
    temporal_depth: int | None = None
    drop_path_rate: float = 0.0
    dropout: float = 0.5


@dataclass(frozen=True, kw_only=True)
class DataSection:
    """The videos.

    Attributes:
        kind: ``"videos"`` decodes files, ``"motion"`` makes clips on the fly.
        train: Folder of videos, or a tar file or wildcard pattern (``shards/*.tar``) of WebDataset shards.
        train_annotations: See :func:`ila_models.data.annotations.read_annotations`; None takes class folders, or the
            labels that shards hold.
        validation: The same, of what accuracy is measured on; None measures none.
        validation_annotations: As ``train_annotations``.
        class_names: File with a class name a line.
        train_clips: Clips of an epoch, of ``motion``.
        validation_clips: Clips to measure on, of ``motion``.
        easy_epochs: Epochs at the beginning over which the clips of ``motion`` grow from easy ones to what they are;
            0 for none.
        num_workers: Processes that decode.
    """

    kind: Literal["videos", "motion"] = "videos"
    train: str | None = None
    train_annotations: str | None = None
    validation: str | None = None
    validation_annotations: str | None = None
    class_names: str | None = None
    train_clips: int | None = None
    validation_clips: int = 1000
    easy_epochs: int = 0
    num_workers: int = 4


@dataclass(frozen=True, kw_only=True)
class AugmentationSection:
    """What is done to clips, alike to all frames of one.

    Attributes:
        crop_scales: Sides of the crop over the short side of the frame, one drawn for each clip.
        color_jitter: Chance of it.
        grey: Chance of grey frames.
        erasing: Chance of an erased rectangle.
        mixup: Alpha of mixup; 0 for none.
        cutmix: Alpha of cutmix; 0 for none.
        switch: Chance of cutmix where both are wanted.
        label_smoothing: Probability that is spread over all classes.
    """

    crop_scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    color_jitter: float = 0.8
    grey: float = 0.2
    erasing: float = 0.25
    mixup: float = 0.8
    cutmix: float = 1.0
    switch: float = 0.5
    label_smoothing: float = 0.1


@dataclass(frozen=True, kw_only=True)
class OptimizerSection:
    """What learns, and how fast. Rates are those at the schedule's peak.

    Attributes:
        parameters: ``"released"``: the alignment, the two skip layers, the temporal head and the linear classifier
            learn, each at its own rate, and CLIP is frozen. ``"all"``: everything learns, at ``lr``.
        prompts: The video-specific prompts of a text head learn too, of ``"released"``, whose recipe leaves them at
            their starting values; at the head's rate.
        lr: Rate of ``"all"``.
        weight_decay: Of ``"all"``; matrices only.
        layer_decay: Rates of earlier blocks shrink by this factor a block, of ``"all"``; None for none.
        alignment_lr: Rate of the alignment, of ``"released"``; and so on.
        betas: AdamW's.
        eps: AdamW's.
        clip_norm: Largest norm of the gradient; None for no bound.
        similarity_weight: Factor of the blocks' similarity losses.
    """

    parameters: Literal["released", "all"] = "released"
    prompts: bool = False
    lr: float = 1e-3
    weight_decay: float = 0.02
    layer_decay: float | None = None
    alignment_lr: float = 5e-4
    alignment_weight_decay: float = 1e-2
    skip_lr: float = 8e-5
    skip_weight_decay: float = 1e-3
    head_lr: float = 4e-4
    head_weight_decay: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    clip_norm: float | None = None
    similarity_weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ScheduleSection:
    """How long, and the rates on the way: from 0 up over the warm-up, then down a cosine, per step.

    Attributes:
        epochs: Passes over the data.
        warmup_epochs: Of them, at rising rates; may be a fraction.
        min_lr: Rate at the end.
        shrink_window_from: Epoch, from 0, from which on the window offsets of the nine masks are halved each epoch.
        short_epochs: Epochs at the beginning whose clips have ``short_frames`` frames only. Over the same span of time,
            few frames differ much, so that from random weights their order is learned sooner, and cheaply.
        short_frames: Frames of a clip in those epochs.
    """

    epochs: int = 50
    warmup_epochs: float = 5.0
    min_lr: float = 8e-8
    shrink_window_from: int = 30
    short_epochs: int = 0
    short_frames: int = 2


@dataclass(frozen=True, kw_only=True)
class RunSection:
    """How the machine is used.

    Attributes:
        seed: Of everything random.
        batch_size: Clips of a step, over all processes and parts.
        accumulate: Parts in which a process takes its share of a step.
        precision: ``"bf16"`` and ``"fp16"`` compute in mixed precision.
        grad_checkpointing: Recompute activations to save memory.
        batch_norm: ``"local"`` statistics of each process's part, ``"synced"`` over all processes, or ``"frozen"``:
            the running ones, where parts are too small for statistics.
        ema: Decay of an average of the weights, which is then what is measured and saved; None for none.
        save_every: Steps between two checkpoints.
        validate_every: Epochs between two measurements.
    """

    seed: int = 0
    batch_size: int = 256
    accumulate: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    grad_checkpointing: bool = False
    batch_norm: Literal["local", "synced", "frozen"] = "local"
    ema: float | None = None
    save_every: int = 500
    validate_every: int = 1


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A whole run."""

    model: ModelSection
    data: DataSection = field(default_factory=DataSection)
    augmentation: AugmentationSection = field(default_factory=AugmentationSection)
    optimizer: OptimizerSection = field(default_factory=OptimizerSection)
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    run: RunSection = field(default_factory=RunSection)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as a YAML or JSON file holds them."""
        return {section: _plain(values) for section, values in asdict(self).items()}


RECIPES = Path(__file__).parent / "recipes"
"""Where the package's own files are; they go by their names without the ending."""


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Reads a configuration.

    Args:
        source: A YAML file, or the name of one that comes with the package (``"ila_vit_b16.k400_8x224"``).
        overrides: ``section.field=value``, after the file; values as YAML has them.

    Raises:
        FileNotFoundError: There is no such file or recipe.
        ValueError: A field is unknown or has a value of another kind; all such are listed.
    """
    import yaml

    path = Path(source)
    if not path.is_file():
        path = RECIPES / f"{source}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in RECIPES.glob("*.yaml")))
        raise FileNotFoundError(f"{source}: no such file, and no recipe of this package: there are {known}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content = {} if content is None else content  # an empty file, to which overrides may say everything
        if isinstance(content, dict):
            for override in overrides:
                _override(content, override, yaml.safe_load)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error}): save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    return parse_config(content, where=str(path))


def parse_config(content: Any, *, where: str) -> TrainingConfig:
    """A configuration out of plain values; errors begin with ``where``.

    Raises:
        ValueError: A field is unknown, missing, or has a value of another kind; all such are listed.
    """
    problems: list[str] = []
    config = _build(TrainingConfig, content, "", problems)
    if not problems:
        problems += contradictions(config)
    if problems:
        raise ValueError(f"{where}: " + "; ".join(problems))
    return config


def _override(content: Any, override: str, parse: Any) -> None:
    name, equals, value = override.partition("=")
    section, dot, key = name.partition(".")
    if not equals or not dot:
        raise ValueError(f"{override!r} is not SECTION.FIELD=VALUE, such as run.seed=1")
    if not isinstance(content.setdefault(section, {}), dict):
        raise ValueError(f"{override!r}: {section} is no section")
    content[section][key] = parse(value)


def _build(kind: type[Any], content: Any, prefix: str, problems: list[str]) -> Any:
    if not isinstance(content, Mapping):
        problems.append(f"{prefix or 'the file'} is {type(content).__name__}, expected a section of fields")
        return None
    hints = get_type_hints(kind)
    known = {each.name: each for each in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f": did you mean {prefix}{near[0]}?" if near else f": there are {', '.join(known)}"
            problems.append(f"unknown field {prefix}{name}{hint}")
        elif dataclasses.is_dataclass(hints[name]):
            values[name] = _build(hints[name], value, f"{prefix}{name}.", problems)
        else:
            values[name] = _converted(value, hints[name], f"{prefix}{name}", problems)
    for name, each in known.items():
        required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if required and name not in values:
            problems.append(f"{prefix}{name} is missing")
    return None if problems else kind(**values)


def _converted(value: Any, hint: Any, name: str, problems: list[str]) -> Any:
    origin, choices = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in choices:
            return None
        hint = next(each for each in choices if each is not type(None))
        origin, choices = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in choices:
            problems.append(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")
        return value
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            problems.append(f"{name} is {value!r}, expected a list")
            return value
        if Ellipsis not in choices and len(value) != len(choices):
            problems.append(f"{name} is {value!r}, expected a list of {len(choices)} numbers")
        return tuple(_converted(each, choices[0], name, problems) for each in value)
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 as text: it wants 1.0e-3.
        try:
            return float(value)
        except ValueError:
            pass
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        problems.append(f"{name} is {value!r}, expected {hint.__name__}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
