"""Any vision transformer of timm as a video model: ILA's alignment before each of its blocks.

The released form, beyond CLIP: the frames go through the image model as they are, and before every block, what
neighbouring frames share is added to their tokens, by layers that start at zero. So the model begins as the image model
on every frame.

Shapes: B clips, T frames, L tokens of a frame (P before the patches: class token, registers, or none), N = h*w patches,
D channels of a token, E channels of the image model's vector.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from .alignment import MIN_GRID, WINDOW_OFFSET, AlignmentMaps
from .blocks.fused import AddsFused
from .blocks.residual import AddsAligned
from .configs import HEAD_WIDTH, AlignmentTarget, InteractiveBlock
from .temporal import TemporalHead


class ImageModel(Protocol):
    """What timm's vision transformers have in common, of whatever family they are."""

    blocks: nn.Module
    num_prefix_tokens: int
    num_features: int
    head_hidden_size: int

    def forward_features(self, x: Tensor) -> Tensor:
        """Images to tokens."""

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Tokens to vectors, or to logits."""


class _Around(nn.Module):
    """A block of the image model, with alignment before it: it sees all frames of all clips as one batch.

    Attributes:
        block: The image model's.
        num_frames: Frames of a clip, which the model sets before every pass.
        maps: Points and masks of the last pass.
        similarity_loss: Of the last pass in training.
    """

    alignment: Any
    window_offset: Tensor

    def __init__(self, block: nn.Module, grid: tuple[int, int]) -> None:
        """Puts a block into alignment."""
        super().__init__()
        self.block = block
        self.grid = grid
        self.num_frames = 0
        self.grad_checkpointing = False
        self.maps: AlignmentMaps | None = None
        self.similarity_loss: Tensor | None = None

    def run(self, x: Tensor, window_offset: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Maps tokens of all frames [B * T, L, D] to tokens."""
        clips = x.unflatten(0, (-1, self.num_frames))
        aligned = self.alignment(clips, self.grid, window_offset)
        self.maps, self.similarity_loss = aligned.maps, aligned.similarity_loss
        x = (clips + cast("AddsAligned | AddsFused", self).added(aligned)).flatten(0, 1)
        if self.grad_checkpointing and self.training:
            # The alignment is never recomputed: run twice, its batch norms would count every batch twice.
            recomputed: Tensor = torch.utils.checkpoint.checkpoint(
                self.block, x, *arguments, use_reentrant=False, **options
            )
            return recomputed
        output: Tensor = self.block(x, *arguments, **options)
        return output


class AlignedBlock(AddsAligned, _Around):
    """A block as it is trained."""

    def __init__(
        self,
        block: nn.Module,
        grid: tuple[int, int],
        width: int,
        *,
        alignment_width: int,
        interactive: InteractiveBlock,
        target: AlignmentTarget,
        prefix_tokens: int,
    ) -> None:
        """Puts ``block`` into alignment; see :meth:`~ila_models.blocks.residual.AddsAligned.make_alignment`."""
        _Around.__init__(self, block, grid)
        self.make_alignment(
            width,
            alignment_width=alignment_width,
            interactive=interactive,
            target=target,
            prefix_tokens=prefix_tokens,
        )
        self.register_buffer("window_offset", torch.tensor(WINDOW_OFFSET))

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Maps tokens of all frames [B * T, L, D] to tokens; what else a block is given is passed on."""
        return self.run(x, self.window_offset, *arguments, **options)

    def fuse(self) -> FusedAlignedBlock:
        """The same function for inference; it takes this block's layers over.

        Raises:
            RuntimeError: The block is in training mode.
        """
        if self.training:
            raise RuntimeError("a block in training mode cannot be fused for inference: call model.eval() first")
        return FusedAlignedBlock(self)


class FusedAlignedBlock(AddsFused, _Around):
    """An :class:`AlignedBlock` for inference."""

    def __init__(self, block: AlignedBlock) -> None:
        """Takes over the layers of ``block``, which is not to be used any more."""
        _Around.__init__(self, block.block, block.grid)
        self.take_alignment(block)
        self.register_buffer("window_offset", block.window_offset)
        self.eval()

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Maps tokens of all frames [B * T, L, D] to tokens; see :class:`AlignedBlock`."""
        return self.run(x, self.window_offset, *arguments, **options)


class AlignedViT(nn.Module):
    """An image model with alignment: clips [B, T, 3, H, W] to logits [B, C], or to vectors [B, E] without a classifier.

    Attributes:
        vit: The image model, with aligned blocks in it.
        temporal: The transformer over its frame vectors, which begins as their mean.
        num_frames: Frames that the temporal positions are made for; a clip may have another number.
        alignment_loss: Summed similarity loss of the last training forward; None before.
    """

    def __init__(self, vit: nn.Module, *, num_frames: int, temporal_depth: int) -> None:
        """Takes an image model whose blocks are aligned; :func:`add_alignment` makes one."""
        super().__init__()
        self.vit = vit
        self.num_frames = num_frames
        self.temporal = TemporalHead(self._image_model.head_hidden_size, num_frames=num_frames, depth=temporal_depth)
        self.temporal.init_identity()
        self.alignment_loss: Tensor | None = None

    @property
    def _image_model(self) -> ImageModel:
        return cast("ImageModel", self.vit)

    @property
    def _blocks(self) -> list[_Around]:
        return cast("list[_Around]", list(cast("nn.Sequential", self._image_model.blocks).children()))

    def forward(self, video: Tensor, *, return_points: bool = False) -> Tensor | tuple[Tensor, AlignmentMaps]:
        """Classifies clips.

        Args:
            video: [B, T, 3, H, W], normalised as the image model wants it, T at least 2.
            return_points: Return the interactive points and masks of every block as well.

        Returns:
            Logits [B, C] of the image model's classifier, or vectors [B, E] where it has none. With ``return_points``,
            a pair of that and the points [depth, B, T-1, 4] with their masks [depth, B, T-1, 2, h, w].

        Raises:
            ValueError: ``video`` has another shape.
        """
        output = self.forward_head(self.forward_frames(video))
        if not return_points:
            return output
        maps = [cast("AlignmentMaps", block.maps) for block in self._blocks]
        return output, AlignmentMaps(*(torch.stack(each) for each in zip(*maps, strict=True)))

    def forward_frames(self, video: Tensor) -> Tensor:
        """Vectors of the frames of clips [B, T, 3, H, W], as the image model pools them: [B, T, E]."""
        if video.ndim != 5 or video.shape[1] < 2 or video.shape[2] != 3:
            raise ValueError(
                f"video has shape {list(video.shape)}: expected [B, T, 3, H, W] with T of at least 2; its neighbouring"
                " frames are aligned"
            )
        blocks = self._blocks
        for block in blocks:
            block.num_frames = video.shape[1]
        tokens = self._image_model.forward_features(video.flatten(0, 1))
        vectors = self._image_model.forward_head(tokens, pre_logits=True)
        losses = [block.similarity_loss for block in blocks if block.similarity_loss is not None]
        self.alignment_loss = torch.stack(losses).sum() if losses else None
        return vectors.unflatten(0, video.shape[:2])

    def forward_head(self, frames: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Maps frame vectors [B, T, E] to logits [B, C], with ``pre_logits`` to video vectors [B, E]."""
        # A temporal head gives the frames twice: by way of its layers, and past them.
        video: Tensor = self.temporal(frames) / 2
        return video if pre_logits else self.get_classifier()(video)

    def get_classifier(self) -> nn.Module:
        """The image model's classifier."""
        classifier: nn.Module = cast("Any", self.vit).get_classifier()
        return classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the classifier by a fresh one of ``num_classes``, or by none with 0."""
        cast("Any", self.vit).reset_classifier(num_classes)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes the image model's blocks in the backward pass instead of keeping their activations."""
        for block in self._blocks:
            block.grad_checkpointing = enable

    def set_window_offset(self, offset: float) -> None:
        """Sets the distance of the nine masks that training averages; the released recipe halves it in the end."""
        for block in self._blocks:
            cast("Any", block).window_offset.fill_(offset)

    def fuse(self) -> AlignedViT:
        """Rearranges the alignment for inference, in place: the same answers but for rounding, in less time."""
        self.eval()
        container = cast("nn.Sequential", self._image_model.blocks)
        for index, block in enumerate(self._blocks):
            if isinstance(block, AlignedBlock):
                container[index] = block.fuse()
        return self


def add_alignment(
    vit: nn.Module,
    *,
    num_frames: int = 8,
    alignment_width: int = 256,
    interactive: InteractiveBlock = "separable",
    alignment_target: AlignmentTarget = "neighbours",
    temporal_depth: int = 1,
) -> AlignedViT:
    """Makes a video model of an image model of timm's: it begins as the image model on every frame, and learns.

    ::

        vit = timm.create_model("vit_small_patch14_reg4_dinov2", pretrained=True, img_size=224, num_classes=10)
        model = ila_models.add_alignment(vit, num_frames=8)
        logits = model(clip)  # [B, 10] of clips [B, 8, 3, 224, 224]

    Args:
        vit: A vision transformer with blocks in a row and patches on a grid: CLIP, SigLIP, DINOv2 and v3, EVA, DeiT,
            ImageNet's; with class token, registers, or neither; with any pooling. It is taken over, and changed.
        num_frames: Frames that the temporal positions are made for, at least 2.
        alignment_width: Channels of the pair features, a multiple of 8.
        interactive: First stage of the interactive block.
        alignment_target: Which frames are aligned.
        temporal_depth: Layers of the transformer over frames; 0 for the plain mean.

    Raises:
        TypeError: ``vit`` is no such model.
        ValueError: A number is out of its range, the grid is too small, or the model drops patches.
    """
    wanted = ("patch_embed", "blocks", "num_prefix_tokens", "num_features", "head_hidden_size", "forward_head")
    if missing := [name for name in wanted if not hasattr(vit, name)]:
        raise TypeError(f"{type(vit).__name__} is no vision transformer of timm's kind: it has no {', '.join(missing)}")
    grid = tuple(getattr(cast("Any", vit).patch_embed, "grid_size", None) or ())
    if len(grid) != 2 or min(grid) < MIN_GRID:
        raise ValueError(
            f"{type(vit).__name__} has a grid of {'x'.join(map(str, grid)) or 'unknown'} patches: the point predictor"
            f" pools twice by two, so at least {MIN_GRID} on either side are needed; create it with another img_size"
        )
    if not isinstance(getattr(vit, "patch_drop", None), nn.Identity | None):
        raise ValueError("this model drops patches in training, which leaves no grid: create it with patch_drop_rate=0")
    image_model = cast("ImageModel", vit)
    for name, value, least, multiple in (
        ("num_frames", num_frames, 2, 1),
        ("alignment_width", alignment_width, 8, 8),
        ("temporal_depth", temporal_depth, 0, 1),
        ("the model's vector", image_model.head_hidden_size, HEAD_WIDTH, HEAD_WIDTH),
    ):
        if value < least or value % multiple:
            unit = f", a multiple of {multiple}" if multiple > 1 else ""
            raise ValueError(f"{name}={value} is out of range: a whole number of at least {least}{unit} is needed")
    container = image_model.blocks
    if not isinstance(container, nn.Sequential | nn.ModuleList):
        raise TypeError(f"the blocks of {type(vit).__name__} are a {type(container).__name__}, not a row of modules")
    like = next(vit.parameters())
    for index, block in enumerate(list(container)):
        container[index] = AlignedBlock(
            block,
            cast("tuple[int, int]", grid),
            image_model.num_features,
            alignment_width=alignment_width,
            interactive=interactive,
            target=alignment_target,
            prefix_tokens=image_model.num_prefix_tokens,
        )
    model = AlignedViT(vit, num_frames=num_frames, temporal_depth=temporal_depth)
    return model.to(like.device, like.dtype).train(vit.training)
