"""Models by name: ``create_model`` and the lists of what there is."""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .categories import kinetics_400_names
from .class_features import BARE_NAMES, check_templates
from .configs import ARCHITECTURES, AlignmentForm, AlignmentTarget, ILAConfig, InteractiveBlock
from .convert import check_sizes
from .ila_vit import ILAVisionTransformer
from .pretrained import pretrained_file
from .text import TextEncoder, check_class_names
from .weights.checkpoint import Checkpoint
from .weights.download import HUB, LOCAL, resolve_checkpoint
from .weights.errors import CheckpointError
from .weights.loading import load_into
from .weights.manifest import Record, default_record, preprocessing, records
from .weights.recognise import read_checkpoint

_logger = logging.getLogger(__name__)

KINETICS_CLASSES = 400
"""Classes of a text head that nobody has told its classes: the released models' data."""


def create_model(
    name: str,
    *,
    pretrained: bool = False,
    checkpoint_path: str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    text_encoder: TextEncoder | None = None,
    templates: Sequence[str] = BARE_NAMES,
    num_frames: int | None = None,
    img_size: int | tuple[int, int] | None = None,
    drop_path_rate: float = 0.0,
    alignment: AlignmentForm | None = None,
    alignment_width: int | None = None,
    alignment_target: AlignmentTarget | None = None,
    interactive: InteractiveBlock | None = None,
    temporal_depth: int | None = None,
    prompt_depth: int | None = None,
    fused: bool = False,
) -> ILAVisionTransformer:
    """Creates an ILA video model in evaluation mode.

    Without ``pretrained`` and ``checkpoint_path`` all weights are random. From CLIP's weights, the model starts as CLIP
    frame by frame; call ``model.init_for_training()`` to train from the released recipe's starting values instead.

    Args:
        name: An architecture (``"ila_vit_b16"``) or a checkpoint of the manifest (``"ila_vit_b16.k400_8x224"``). A tag
            selects the architecture's details (frames, head, interactive block) with and without ``pretrained``. Or
            weights whose architecture is theirs to say: ``"hf-hub:owner/name"`` (with ``@revision`` if need be), or
            ``"local-dir:PATH"`` with the folder that :func:`~ila_models.save_pretrained` wrote.
        pretrained: Load the checkpoint of the tag; without a tag, the architecture's default one. Frozen CLIP is the
            tag ``openai``. Names that are weights load them anyway.
        checkpoint_path: Load this file, or this Hub repository (``hf-hub:owner/name``), whatever its layout: ours,
            released ILA, or CLIP of OpenAI, transformers, open_clip or timm.
        num_classes: A linear head with this many classes: a new one, unless the checkpoint has a linear head of just
            as many; 0 for video embeddings [B, E]. None keeps the head of the checkpoint; without one, the tag's or
            Kinetics-400's.
        class_names: Names for a text head to choose among (this takes CLIP's text tower), or the names of a linear
            head's classes, in order.
        text_encoder: CLIP's text tower, where the weights bring none; see :func:`load_text_encoder`.
        templates: Texts with ``{}`` in the place of a class name, for a text head; see
            :meth:`~ila_models.ila_vit.ILAVisionTransformer.set_classes`.
        num_frames: Frames T to build for, at least 2; a checkpoint's temporal positions are interpolated to it.
        img_size: Pixels, one number or (height, width); a checkpoint's position embedding is resampled to it.
        drop_path_rate: Stochastic depth in training, in [0, 1), per clip.
        alignment: Form of the blocks: ILA's as released (``"residual"``) or as in the paper (``"token"``), or one to
            compare with (:data:`~ila_models.configs.AlignmentForm`); None takes the checkpoint's or the architecture's.
        alignment_width: Channels of the pair features, a multiple of 8; None takes the checkpoint's, or 256.
        alignment_target: Which frames ILA's forms align: ``"neighbours"``, or all with the ``"first"`` or the
            ``"middle"`` one; None takes the checkpoint's, or neighbours.
        interactive: First stage of the interactive block; None takes the checkpoint's or the tag's, or ``"separable"``.
        temporal_depth: Layers of the temporal head; None takes the checkpoint's, or 1.
        prompt_depth: Layers of the video-specific prompts; None takes the checkpoint's, or 2.
        fused: Rearrange the model for inference, see :meth:`~ila_models.ila_vit.ILAVisionTransformer.fuse`.

    Raises:
        ValueError: A name is not known, an argument is out of range, or it contradicts the checkpoint.
        FileNotFoundError: ``checkpoint_path`` is neither a file nor a Hub id.
        CheckpointError: Weights cannot be had, read or fitted; a subclass of ValueError.
        RuntimeError: ``class_names`` need a text tower, and there is none.
    """
    if pretrained and checkpoint_path is not None:
        raise ValueError("pretrained=True and checkpoint_path are both given: choose one source of weights")
    named = _named_weights(name)
    if named is not None and checkpoint_path is not None:
        raise ValueError(f"{name!r} and checkpoint_path are both given: choose one source of weights")
    architecture, record = _find(name, pretrained=pretrained) if named is None else (None, None)
    asked: dict[str, Any] = {
        "num_frames": num_frames,
        "img_size": (img_size, img_size) if isinstance(img_size, int | float) else img_size and tuple(img_size),
        "alignment": alignment,
        "alignment_width": alignment_width,
        "alignment_target": alignment_target,
        "interactive": interactive,
        "temporal_depth": temporal_depth,
        "prompt_depth": prompt_depth,
    }
    asked = {argument: value for argument, value in asked.items() if value is not None}

    path = None
    if (weights := checkpoint_path if named is None else named) is not None:
        path, record = resolve_checkpoint(weights), None
    elif pretrained and record is not None:
        path = pretrained_file(record)
    checkpoint = read_checkpoint(path) if path else None
    if checkpoint:
        _logger.info("%s: recognised as %s", checkpoint.path, checkpoint.layout)
        check_sizes(checkpoint)
        if architecture is not None:
            _check_architecture(checkpoint, architecture)
        model = _from_checkpoint(checkpoint, asked, num_classes, drop_path_rate)
        architecture = checkpoint.architecture
        # The model holds copies. The tensors read may be mapped from the file, and would keep all of it in memory.
        checkpoint = replace(checkpoint, tensors={}, text_tensors={})
    else:
        assert architecture is not None, "a name that is weights has a checkpoint"
        model = _from_scratch(architecture, record, asked, num_classes, drop_path_rate)
    _set_names(model, checkpoint, num_classes, class_names, text_encoder, check_templates(templates))
    model.pretrained_cfg = _pretrained_cfg(model, architecture, record, checkpoint)
    return model.fuse() if fused else model.eval()


def ila_vit_b32(*, pretrained: bool = False, **arguments: Any) -> ILAVisionTransformer:
    """ILA on CLIP ViT-B/32. Arguments are those of :func:`create_model`."""
    return create_model("ila_vit_b32", pretrained=pretrained, **arguments)


def ila_vit_b16(*, pretrained: bool = False, **arguments: Any) -> ILAVisionTransformer:
    """ILA on CLIP ViT-B/16. Arguments are those of :func:`create_model`."""
    return create_model("ila_vit_b16", pretrained=pretrained, **arguments)


def ila_vit_l14(*, pretrained: bool = False, **arguments: Any) -> ILAVisionTransformer:
    """ILA on CLIP ViT-L/14. Arguments are those of :func:`create_model`."""
    return create_model("ila_vit_l14", pretrained=pretrained, **arguments)


def ila_vit_l14_336(*, pretrained: bool = False, **arguments: Any) -> ILAVisionTransformer:
    """ILA on CLIP ViT-L/14 of 336 pixels. Arguments are those of :func:`create_model`."""
    return create_model("ila_vit_l14_336", pretrained=pretrained, **arguments)


def ila_vit_nano8(*, pretrained: bool = False, **arguments: Any) -> ILAVisionTransformer:
    """ILA on a small transformer with patches of 8 pixels, trained from scratch. Arguments: :func:`create_model`."""
    return create_model("ila_vit_nano8", pretrained=pretrained, **arguments)


def list_models(filter: str = "", *, pretrained: bool = False) -> list[str]:
    """Names of the architectures, in natural order.

    Args:
        filter: A wildcard pattern such as ``"*b16*"``; empty for all.
        pretrained: List checkpoints, ``architecture.tag``, instead: the same as :func:`list_pretrained`.
    """
    return list_pretrained(filter) if pretrained else _matching(ARCHITECTURES, filter)


def list_pretrained(filter: str = "") -> list[str]:
    """Names of the checkpoints in the manifest, ``architecture.tag``; ``filter`` is a wildcard pattern."""
    return _matching(records(), filter)


def is_model(name: str) -> bool:
    """Whether ``name`` is an architecture or a checkpoint of the manifest."""
    return name in ARCHITECTURES or name in records()


def load_text_encoder(source: str | os.PathLike[str]) -> TextEncoder:
    """CLIP's text tower out of a checkpoint (a file or a Hub repository) in any layout that has both towers.

    Raises:
        FileNotFoundError: ``source`` is neither a file nor a Hub id.
        CheckpointError: The file cannot be read, or holds no text tower.
    """
    checkpoint = read_checkpoint(resolve_checkpoint(source))
    if not checkpoint.text_tensors:
        raise CheckpointError(
            f"{checkpoint.path}: {checkpoint.layout}, which holds no text tower: give a CLIP file with both towers"
            f" (OpenAI's, transformers' or open_clip's)"
        )
    if problems := [*checkpoint.missing, *checkpoint.misshapen]:
        raise CheckpointError(f"{checkpoint.path}: its text tower is incomplete or damaged: {', '.join(problems)}")
    encoder = TextEncoder.from_tensors(checkpoint.text_tensors)
    encoder.logit_scale = checkpoint.tensors.get("head.logit_scale")
    return encoder


def _named_weights(name: str) -> str | None:
    """The weights that a name is, as ``checkpoint_path`` takes them; None if it is the name of a model."""
    return name if name.startswith((LOCAL, HUB)) else None


def _find(name: str, *, pretrained: bool) -> tuple[str, Record | None]:
    """The architecture of a name, and the record of its tag (with ``pretrained``, of the default tag as well)."""
    if name in records():
        return records()[name].architecture, records()[name]
    if name in ARCHITECTURES:
        if pretrained and default_record(name) is None:
            raise ValueError(
                f"{name} has no pretrained checkpoint: leave pretrained=True out for random weights, or give"
                f" checkpoint_path=FILE"
            )
        return name, default_record(name) if pretrained else None
    architecture, _, tag = name.partition(".")
    if architecture in ARCHITECTURES:
        tags = [record.tag for record in records().values() if record.architecture == architecture]
        raise ValueError(f"{architecture} has no tag {tag!r}: its tags are {', '.join(tags)}")
    if Path(name).exists():
        raise ValueError(f"model {name!r} is a file or a folder: name it 'local-dir:{name}', or give checkpoint_path")
    near = get_close_matches(name, [*ARCHITECTURES, *records()], n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? All: " if near else "there are "
    raise ValueError(f"unknown model {name!r}: {hint}{', '.join(ARCHITECTURES)}")


def _check_architecture(checkpoint: Checkpoint, architecture: str) -> None:
    if checkpoint.architecture == architecture:
        return
    numbers = checkpoint.config
    what = checkpoint.architecture or (
        f"of an unnamed architecture (width {numbers.width}, {numbers.depth} blocks, patches of {numbers.patch_size},"
        f" embedding {numbers.embed_dim})"
    )
    way_out = f": use create_model({what!r}, checkpoint_path=...)" if checkpoint.architecture else ""
    raise CheckpointError(f"{checkpoint.path} is {what}, not {architecture}{way_out}")


def _from_scratch(
    architecture: str,
    record: Record | None,
    asked: dict[str, Any],
    num_classes: int | None,
    drop_path_rate: float,
) -> ILAVisionTransformer:
    tagged: dict[str, Any] = record.arguments if record else {"head": "text", "num_classes": KINETICS_CLASSES}
    numbers = {field.name: tagged[field.name] for field in fields(ILAConfig) if field.name in tagged}
    if "img_size" in numbers:
        numbers["img_size"] = tuple(numbers["img_size"])
    config = replace(ARCHITECTURES[architecture], **(numbers | asked))
    if num_classes is not None:
        return ILAVisionTransformer(
            config, head="linear" if num_classes else "none", num_classes=num_classes, drop_path_rate=drop_path_rate
        )
    return ILAVisionTransformer(
        config, head=tagged["head"], num_classes=tagged["num_classes"], drop_path_rate=drop_path_rate
    )


def _from_checkpoint(
    checkpoint: Checkpoint,
    asked: dict[str, Any],
    num_classes: int | None,
    drop_path_rate: float,
) -> ILAVisionTransformer:
    """A model with the checkpoint's weights; pixels, frames and the number of classes may be new, nothing else."""
    base = checkpoint.config
    if checkpoint.kind == "clip":
        # CLIP says nothing of alignment, so the caller is free and the architecture decides the rest.
        if checkpoint.architecture is None:
            raise CheckpointError(
                f"{checkpoint.path}: {checkpoint.layout}: no ILA architecture has these sizes; there are"
                f" {', '.join(ARCHITECTURES)}"
            )
        base = replace(ARCHITECTURES[checkpoint.architecture], img_size=base.img_size)
    else:
        fixed = [
            name for name in asked if name not in ("num_frames", "img_size") and asked[name] != getattr(base, name)
        ]
        if fixed:
            said = ", ".join(f"{name}={asked[name]!r} (the file has {getattr(base, name)!r})" for name in fixed)
            raise ValueError(f"{checkpoint.path} contradicts {said}: leave it out, or train a model of that kind")
    config = replace(base, **asked)
    head = checkpoint.head if checkpoint.kind == "ila" else "text"
    classes = checkpoint.num_classes
    keep_head = num_classes is None or (num_classes == classes and head == "linear")
    if not keep_head:
        head, classes = ("linear", num_classes or 0) if num_classes else ("none", 0)
        _logger.info("the head of %s is replaced: num_classes=%d", checkpoint.path, num_classes)
    model = ILAVisionTransformer(config, head=head, num_classes=classes, drop_path_rate=drop_path_rate)
    load_into(model, checkpoint, config, keep_head=keep_head)
    if checkpoint.kind == "clip":
        model.init_identity()
        model.lacks_logit_scale = "head.logit_scale" not in checkpoint.tensors
    if model.has_text_head and not checkpoint.video_prompts:
        model.set_video_prompts(False)
    model.text_tensors = {name: tensor.clone() for name, tensor in checkpoint.text_tensors.items()}
    model.class_names = checkpoint.class_names if keep_head else None
    return model


def _set_names(
    model: ILAVisionTransformer,
    checkpoint: Checkpoint | None,
    num_classes: int | None,
    class_names: Sequence[str] | None,
    text_encoder: TextEncoder | None,
    templates: Sequence[str],
) -> None:
    if tuple(templates) != BARE_NAMES and (class_names is None or not model.has_text_head):
        raise ValueError(
            f"templates={list(templates)} are put round class_names=[...] (--classes) of a text head: give class_names,"
            " or leave templates out"
        )
    if class_names is not None and model.has_text_head:
        model.set_classes(class_names, text_encoder, templates=templates)
    elif class_names is not None:
        names = check_class_names(class_names)
        if num_classes and len(names) != num_classes:
            raise ValueError(f"class_names has {len(names)} names and num_classes={num_classes}: leave one out")
        if len(names) != model.num_classes:
            head = "a linear head, which cannot take new class names" if model.num_classes else "no head"
            raise ValueError(
                f"{len(names)} class_names for a model of {model.num_classes} classes with {head}: give the names of"
                f" its classes in order, or use a checkpoint with a text head (Kinetics-400, CLIP) for open vocabulary"
            )
        model.class_names = names
    elif checkpoint is not None and checkpoint.needs_class_features and model.has_text_head:
        _logger.info(
            "%s: computing the features of the 400 Kinetics classes, which takes a while; ila-models convert does it"
            " once and for all",
            checkpoint.path,
        )
        model.set_classes(kinetics_400_names(), text_encoder, templates=templates)


def _pretrained_cfg(
    model: ILAVisionTransformer, architecture: str | None, record: Record | None, checkpoint: Checkpoint | None
) -> dict[str, Any]:
    """What the model's weights expect of their input, and where they come from."""
    if checkpoint is not None and checkpoint.preprocessing is not None:
        contract = checkpoint.preprocessing
    elif checkpoint is not None:
        contract = preprocessing("clip" if checkpoint.kind == "clip" else "ila")
    else:
        contract = record.preprocessing if record else preprocessing("ila")
    return {
        "architecture": architecture,
        "tag": record.tag if record else None,
        "num_frames": model.config.num_frames,
        "img_size": model.config.img_size,
        **contract,
        "num_classes": model.num_classes,
        "base_model": _base_model(architecture, record, checkpoint),
        "source": str(checkpoint.path) if checkpoint else None,
        "license": record.license if record else None,
    }


def _base_model(architecture: str | None, record: Record | None, checkpoint: Checkpoint | None) -> str | None:
    """The CLIP repository that the weights started from, None where they are random or nobody says."""
    if checkpoint is None or architecture is None:
        return None
    if record is not None:
        return record.base_model
    # Released files started from OpenAI's CLIP. Whose a file of CLIP's sizes is, and what a file of ours started from,
    # is for its publisher to say.
    known = [each.base_model for each in records().values() if each.architecture == architecture]
    return None if checkpoint.is_ours or checkpoint.kind == "clip" or not known else known[0]


def _matching(names: Iterable[str], pattern: str) -> list[str]:
    return fnmatch.filter(names, pattern) if pattern else list(names)
