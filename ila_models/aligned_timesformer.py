"""TimeSformer of ``transformers`` with ILA's alignment in the place of its temporal attention, as the paper has it.

In a block of TimeSformer, what frames tell each other is added to the patches before the spatial attention. The
alignment adds there instead; all else of the block is left alone. The paper reports 78.0 to 79.8 top-1 on Kinetics-400
for this exchange.

Shapes: B clips, T frames, N = h*w patches of a frame, D channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from .alignment import MIN_GRID, WINDOW_OFFSET, AlignmentMaps
from .blocks.fused import AddsFused
from .blocks.residual import AddsAligned
from .configs import AlignedConfig, AlignmentTarget, InteractiveBlock
from .contracts import check_alignment_numbers, check_video
from .one_pass import OnePass

if TYPE_CHECKING:
    from transformers import TimesformerForVideoClassification, TimesformerModel


class _Exchanged(nn.Module):
    """What stands in the place of a temporal attention: patches in, what is added to them out.

    Attributes:
        maps: Points and masks of the last pass.
        similarity_loss: Of the last pass in training.
    """

    alignment: Any
    window_offset: Tensor

    def __init__(self, grid: tuple[int, int]) -> None:
        """Takes the patches of a frame, (h, w)."""
        super().__init__()
        self.grid = grid
        self.maps: AlignmentMaps | None = None
        self.similarity_loss: Tensor | None = None

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Maps the frames of every place [B * N, T, D], places of a clip in a row, to what is added, as a tuple."""
        places = self.grid[0] * self.grid[1]
        frames = x.unflatten(0, (-1, places)).transpose(1, 2)
        aligned = self.alignment(frames, self.grid, self.window_offset)
        self.maps, self.similarity_loss = aligned.maps, aligned.similarity_loss
        added = cast("AddsAligned | AddsFused", self).added(aligned)
        return (added.transpose(1, 2).flatten(0, 1),)


class _Alignment(AddsAligned, _Exchanged):
    """As it is trained."""

    def __init__(self, width: int, grid: tuple[int, int], **numbers: Any) -> None:
        """Makes the layers; see :meth:`~ila_models.blocks.residual.AddsAligned.make_alignment`."""
        _Exchanged.__init__(self, grid)
        self.make_alignment(width, prefix_tokens=0, **numbers)
        self.register_buffer("window_offset", torch.tensor(WINDOW_OFFSET))


class _FusedAlignment(AddsFused, _Exchanged):
    """The same for inference."""

    def __init__(self, alignment: _Alignment) -> None:
        """Takes over the layers of ``alignment``, which is not to be used any more."""
        _Exchanged.__init__(self, alignment.grid)
        self.take_alignment(alignment)
        self.register_buffer("window_offset", alignment.window_offset)
        self.eval()


class AlignedTimesformer(nn.Module):
    """A TimeSformer with alignment: clips [B, T, 3, H, W] to logits [B, C], or to vectors [B, D] without a classifier.

    Attributes:
        model: The model of ``transformers``, exchanged in place. Called itself, it answers as it always does.
        num_frames: Frames T of a clip; TimeSformer takes no other number.
        alignment_loss: Summed similarity loss of the last training forward; None before.
    """

    has_points = True

    def __init__(self, model: TimesformerModel | TimesformerForVideoClassification) -> None:
        """Takes a model whose temporal attention is exchanged; :func:`align_timesformer` makes one."""
        super().__init__()
        self.model = model
        self.num_frames: int = model.config.num_frames
        self.alignment_loss: Tensor | None = None
        self._one_pass = OnePass()

    @property
    def _layers(self) -> list[Any]:
        return list(_encoder(self.model).layer)

    @property
    def alignments(self) -> list[_Exchanged]:
        """What stands in the place of the temporal attention of every block."""
        return [layer.temporal_attention for layer in self._layers]

    def forward(self, video: Tensor, *, return_points: bool = False) -> Tensor | tuple[Tensor, AlignmentMaps]:
        """Classifies clips.

        Args:
            video: [B, T, 3, H, W], normalised as the model wants it, T, H and W as it was built.
            return_points: Return the interactive points and masks of every block as well.

        Returns:
            Logits [B, C]; of a ``TimesformerModel``, the class token [B, D]. With ``return_points``, a pair of that and
            the points [depth, B, T-1, 4] with their masks [depth, B, T-1, 2, h, w].

        Raises:
            TypeError: ``video`` is not a float tensor.
            ValueError: ``video`` has another shape.
        """
        size: Any = self.model.config.image_size
        check_video(video, (size, size), next(self.parameters()).dtype)
        if video.shape[1] != self.num_frames:
            raise ValueError(f"video has T = {video.shape[1]} frames: this TimeSformer was built for {self.num_frames}")
        with self._one_pass.held():
            found: Any = self.model(pixel_values=video)
            alignments = self.alignments
            losses = [each.similarity_loss for each in alignments if each.similarity_loss is not None]
            self.alignment_loss = torch.stack(losses).sum() if losses else None
            maps = [cast("AlignmentMaps", each.maps) for each in alignments]
            for each in alignments:
                # They belong to this pass's graph, which a model must not keep, nor a copy of it.
                each.maps = each.similarity_loss = None
        output: Tensor = found.logits if hasattr(found, "logits") else found.last_hidden_state[:, 0]
        if not return_points:
            return output
        return output, AlignmentMaps(*(torch.stack(each) for each in zip(*maps, strict=True)))

    def set_window_offset(self, offset: float) -> None:
        """Sets the distance of the nine masks that training averages; the released recipe halves it in the end."""
        for each in self.alignments:
            each.window_offset.fill_(offset)

    def fuse(self) -> AlignedTimesformer:
        """Rearranges the alignment for inference, in place: the same answers but for rounding, in less time."""
        self.eval()
        for layer in self._layers:
            if isinstance(layer.temporal_attention, _Alignment):
                layer.temporal_attention = _FusedAlignment(layer.temporal_attention)
        return self

    def train(self, mode: bool = True) -> AlignedTimesformer:
        """Sets training or evaluation mode.

        Raises:
            RuntimeError: Training is asked of a model for inference.
        """
        if mode and isinstance(self.alignments[-1], _FusedAlignment):
            raise RuntimeError("this model is fused for inference and cannot be trained: make it anew, without fuse()")
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the last loss behind: its graph can be neither copied nor pickled."""
        return {**self.__dict__, "alignment_loss": None}


def align_timesformer(
    model: TimesformerModel | TimesformerForVideoClassification,
    *,
    alignment_width: int = 256,
    interactive: InteractiveBlock = "separable",
    alignment_target: AlignmentTarget = "neighbours",
) -> AlignedTimesformer:
    """Exchanges the temporal attention of a TimeSformer for ILA's alignment.

    ::

        timesformer = TimesformerForVideoClassification.from_pretrained("facebook/timesformer-base-finetuned-k400")
        model = ila_models.align_timesformer(timesformer)
        logits = model(clip)  # [B, 400] of clips [B, 8, 3, 224, 224]

    The alignment adds nothing at first: the model begins with what its spatial attention and the class token, which all
    frames share, make of the clip, and learns. It keeps its weights by ``state_dict()``.

    Args:
        model: Of ``transformers``, with divided attention. It is taken over, and changed; checkpointing of its
            activations is forbidden from then on, since batch norms would count every batch twice.
        alignment_width: Channels of the pair features, a multiple of 8.
        interactive: First stage of the interactive block.
        alignment_target: Which frames are aligned.

    Raises:
        TypeError: It is no TimeSformer, or aligned already.
        ValueError: It has no temporal attention, its grid is too small, or a number is out of its range.
    """
    if isinstance(model, AlignedTimesformer):
        raise TypeError("this TimeSformer is aligned already: the model of transformers is its .model")
    config = getattr(model, "config", None)
    if getattr(config, "model_type", None) != "timesformer":
        raise TypeError(f"{type(model).__name__} is no TimeSformer of transformers: add_alignment takes timm's models")
    config = cast("Any", config)
    if config.attention_type != "divided_space_time":
        raise ValueError(
            f"this TimeSformer has attention_type={config.attention_type!r}, without a temporal attention to exchange:"
            " 'divided_space_time' is needed"
        )
    side = config.image_size // config.patch_size
    if side < MIN_GRID or config.num_frames < 2:
        raise ValueError(
            f"{config.num_frames} frames of {side}x{side} patches are too few: alignment takes 2 frames of"
            f" {MIN_GRID}x{MIN_GRID}"
        )
    check_alignment_numbers(
        AlignedConfig(
            num_frames=config.num_frames,
            alignment_width=alignment_width,
            interactive=interactive,
            alignment_target=alignment_target,
        )
    )
    if any(isinstance(layer.temporal_attention, _Exchanged) for layer in _encoder(model).layer):
        raise TypeError("the temporal attention of this TimeSformer is exchanged already")
    if any(module.gradient_checkpointing for module in model.modules() if hasattr(module, "gradient_checkpointing")):
        raise ValueError("gradient checkpointing is on, which counts batches twice: gradient_checkpointing_disable()")
    like = next(model.parameters())
    for layer in _encoder(model).layer:
        alignment = _Alignment(
            config.hidden_size,
            (side, side),
            alignment_width=alignment_width,
            interactive=interactive,
            target=alignment_target,
        )
        layer.temporal_attention = alignment.to(like.device, like.dtype).train(model.training)
        # The norm before it and the layer behind it were the attention's; alignment has its own.
        layer.temporal_layernorm, layer.temporal_dense = nn.Identity(), nn.Identity()
    model.supports_gradient_checkpointing = False
    return AlignedTimesformer(model)


def _encoder(model: Any) -> Any:
    return getattr(model, "timesformer", model).encoder
