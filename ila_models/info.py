"""What a model costs and what is claimed of it, counted without weights.

One multiply-add counts as one operation, as in the paper. torch's own counter reports two, so its numbers are halved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import timm
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from .aligned_vit import add_alignment, build_aligned_vit
from .configs import AlignedConfig, AlignmentForm, HeadKind, ILAConfig
from .factory import KINETICS_CLASSES, create_model
from .ila_vit import ILAVisionTransformer
from .image_model import MAX_IMG_SIZE, TIMM, ImageModelRecipe, img_size_of, name_in_timm
from .video_model import VideoModel
from .weights.manifest import Record, default_record, records

_Output = TypeVar("_Output")


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Sizes and costs of a model, for one clip.

    Attributes:
        parameters: Parameters of the whole model.
        backbone_parameters: Parameters without the head.
        macs: Multiply-adds of a whole forward pass, head included.
        backbone_macs: Multiply-adds from clip to video embedding.
    """

    parameters: int
    backbone_parameters: int
    macs: int
    backbone_macs: int


@dataclass(frozen=True, kw_only=True)
class ModelInfo(Costs):
    """A model's costs and facts.

    Attributes:
        name: What was asked for.
        alignment: Form of the blocks.
        record: The manifest's record of the tag, of the default tag without one; None where there is none.
        num_frames: Frames T of a clip.
        img_size: Pixels, (height, width).
        head: ``"text"``, ``"linear"`` or ``"none"``.
        num_classes: Classes counted.
        image_macs: Multiply-adds of the image model by itself on the same frames; None for ILA's own models.
    """

    name: str
    alignment: AlignmentForm
    record: Record | None
    num_frames: int
    img_size: tuple[int, int]
    head: str
    num_classes: int
    image_macs: int | None = None


def model_info(
    name: str,
    *,
    alignment: AlignmentForm | None = None,
    num_frames: int | None = None,
    img_size: int | tuple[int, int] | None = None,
) -> ModelInfo:
    """Counts a model's parameters and multiply-adds on the meta device: no weights, no real arithmetic.

    Args:
        name: An architecture, of whose default checkpoint the head is, or a checkpoint; or ``"timm/NAME"``, an image
            model of timm with alignment, as :func:`~ila_models.add_alignment` makes it.
        alignment: Another form of the blocks than the name's.
        num_frames: Other frames of a clip than the name's; with an image model, than 8.
        img_size: Other pixels than the name's, one number or (height, width).

    Raises:
        ValueError: The name is not known, a number is out of its range, or an image model is asked for another form
            than the released one.
    """
    if name.startswith(TIMM):
        if alignment not in (None, "residual"):
            raise ValueError(f"alignment={alignment!r} with {name}: image models of timm have the residual form only")
        return _aligned_info(name, num_frames=num_frames, img_size=img_size)
    record = records().get(name) or default_record(name)
    with torch.device("meta"):
        model = create_model(
            record.name if record else name, alignment=alignment, num_frames=num_frames, img_size=img_size
        )
    costs = _count(model)
    return ModelInfo(
        name=name,
        alignment=model.config.alignment,
        record=record,
        num_frames=model.num_frames,
        img_size=model.config.img_size,
        head="text" if model.has_text_head else "linear",
        num_classes=model.num_classes,
        **asdict(costs),
    )


def _aligned_info(name: str, *, num_frames: int | None, img_size: int | tuple[int, int] | None) -> ModelInfo:
    size: dict[str, Any] = {} if img_size is None else {"img_size": img_size}
    sides = img_size if isinstance(img_size, tuple) else (img_size or 1,)
    if max(sides) > MAX_IMG_SIZE:
        raise ValueError(f"img_size={img_size} is out of range: up to {MAX_IMG_SIZE} pixels a side are counted")
    frames = AlignedConfig().num_frames if num_frames is None else num_frames
    with torch.device("meta"):
        vit = timm.create_model(name_in_timm(name), **size).eval().requires_grad_(False)
        # All frames at once: relative positions, for one, are computed once a pass. Alignment refuses fewer than two.
        image_macs, _ = multiply_adds(lambda: vit(torch.empty(max(frames, 1), 3, *img_size_of(vit))))
        try:
            model = add_alignment(vit, num_frames=frames)
        except TypeError as error:
            raise ValueError(f"{name} takes no alignment: {error}") from error
    return ModelInfo(
        name=name,
        alignment="residual",
        record=None,
        num_frames=model.num_frames,
        img_size=model.img_size,
        head="linear" if model.num_classes else "none",
        num_classes=model.num_classes,
        image_macs=image_macs,
        **asdict(_count(model)),
    )


def count_costs(config: ILAConfig, *, head: HeadKind, num_classes: int) -> Costs:
    """Counts what a model of these sizes costs, on the meta device.

    Args:
        config: The architecture's numbers.
        head: Kind of head; without one, the whole model is its backbone.
        num_classes: Classes of the head. A text head with 0, to be named by its user, is counted with 400.

    Raises:
        ValueError: A number is out of its range.
    """
    with torch.device("meta"):
        model = ILAVisionTransformer(config, head=head, num_classes=num_classes).eval()  # training counts a loss too
    return _count(model)


def count_aligned_costs(recipe: ImageModelRecipe, config: AlignedConfig) -> Costs:
    """Counts what an image model with alignment costs, on the meta device.

    Raises:
        TypeError, ValueError: No model can be built of these numbers.
    """
    return _count(build_aligned_vit(recipe, config, device="meta"))


def _count(model: VideoModel) -> Costs:
    """Counts a model that stands on the meta device."""
    with torch.device("meta"):
        if isinstance(model, ILAVisionTransformer) and model.has_text_head and model.num_classes == 0:
            # Any classes may be set; count as many as Kinetics has.
            model.set_text_features(torch.empty(KINETICS_CLASSES, model.config.embed_dim))
        clip = torch.empty(1, model.num_frames, 3, *model.img_size)
    model.requires_grad_(False)
    head = model.head if isinstance(model, ILAVisionTransformer) else model.get_classifier()
    tokens_macs, tokens = multiply_adds(lambda: model.forward_features(clip))
    video_macs, video = multiply_adds(lambda: model.forward_head(tokens, pre_logits=True))
    head_macs = 0 if isinstance(head, nn.Identity) else multiply_adds(lambda: model.forward_logits(video, tokens))[0]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Costs(
        parameters=parameters,
        backbone_parameters=parameters - sum(parameter.numel() for parameter in head.parameters()),
        macs=tokens_macs + video_macs + head_macs,
        backbone_macs=tokens_macs + video_macs,
    )


def multiply_adds(run: Callable[[], _Output]) -> tuple[int, _Output]:
    """Multiply-adds of something that runs on the meta device, and what it gives back.

    Args:
        run: Runs layers whose parameters want no gradients.
    """
    # The plain form of attention, whose products every version of the counter sees.
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), counter:
        output = run()
    return counter.get_total_flops() // 2, output
