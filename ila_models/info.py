"""What a model costs and what is claimed of it, counted without weights.

One multiply-add counts as one operation, as in the paper. torch's own counter reports two, so its numbers are halved.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from .configs import AlignmentForm, HeadKind, ILAConfig
from .factory import KINETICS_CLASSES, create_model
from .ila_vit import ILAVisionTransformer
from .weights.manifest import Record, default_record, records


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
        head: ``"text"`` or ``"linear"``.
        num_classes: Classes counted.
    """

    name: str
    alignment: AlignmentForm
    record: Record | None
    num_frames: int
    img_size: tuple[int, int]
    head: str
    num_classes: int


def model_info(name: str, *, alignment: AlignmentForm | None = None) -> ModelInfo:
    """Counts a model's parameters and multiply-adds on the meta device: no weights, no real arithmetic.

    Args:
        name: An architecture, of whose default checkpoint the head is, or a checkpoint.
        alignment: Another form of the blocks than the name's.

    Raises:
        ValueError: The name is not known.
    """
    record = records().get(name) or default_record(name)
    with torch.device("meta"):
        model = create_model(record.name if record else name, alignment=alignment)
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


def _count(model: ILAVisionTransformer) -> Costs:
    """Counts a model that stands on the meta device."""
    with torch.device("meta"):
        if model.has_text_head and model.num_classes == 0:  # any classes may be set; count as many as Kinetics has
            model.set_text_features(torch.empty(KINETICS_CLASSES, model.config.embed_dim))
        clip = torch.empty(1, model.num_frames, 3, *model.config.img_size)
    has_head = not isinstance(model.head, nn.Identity)
    # The plain form of attention, whose products every version of the counter sees.
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        with FlopCounterMode(display=False) as backbone:
            tokens = model.forward_features(clip)
            video = model.forward_head(tokens, pre_logits=True)
        with FlopCounterMode(display=False) as head:
            if has_head:
                model.head(video, tokens[:, :, 1:])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Costs(
        parameters=parameters,
        backbone_parameters=parameters - sum(parameter.numel() for parameter in model.head.parameters()),
        macs=(backbone.get_total_flops() + head.get_total_flops()) // 2,
        backbone_macs=backbone.get_total_flops() // 2,
    )
