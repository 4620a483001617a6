"""Any vision transformer of timm as a video model: ILA's alignment before each of its blocks.

The released form, beyond CLIP: the frames go through the image model as they are, and before every block, what
neighbouring frames share is added to their tokens, by layers that start at zero. So the model begins as the image model
on every frame.

Shapes: B clips, T frames, L tokens of a frame (P before the patches: class token, registers, or none), N = h*w patches,
D channels of a token, E channels of the image model's vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from .alignment import MIN_GRID, WINDOW_OFFSET, AlignmentMaps
from .blocks.fused import AddsFused
from .blocks.residual import AddsAligned
from .configs import AlignedConfig, AlignmentTarget, InteractiveBlock
from .contracts import check_alignment_numbers, check_video
from .image_model import (
    ImageModel,
    ImageModelRecipe,
    current_arguments,
    img_size_of,
    input_contract,
    pretrained_cfg_of,
    probe,
    recipe_of,
)
from .one_pass import OnePass
from .temporal import TemporalHead
from .text import check_class_names


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
        config: The numbers of what was added to the image model.
        num_frames: Frames that the temporal positions are made for; a clip may have another number.
        pretrained_cfg: What frames must be, see :func:`~ila_models.create_transform`: as timm says of the image model.
        class_names: Names of the classes, in order, where somebody said them.
        alignment_loss: Summed similarity loss of the last training forward; None before.
    """

    has_points = True
    has_text_head = False
    has_video_prompts = False

    def __init__(self, vit: nn.Module, config: AlignedConfig, recipe: ImageModelRecipe | str) -> None:
        """Takes an image model whose blocks are aligned; :func:`add_alignment` makes one.

        Args:
            vit: The image model.
            config: The numbers of what was added.
            recipe: How the image model is built again; where nobody knows, why not, and the model cannot be saved.
        """
        super().__init__()
        self.vit = vit
        self.config = config
        self.num_frames = config.num_frames
        self.img_size = img_size_of(vit)
        self.grid_size: tuple[int, int] = tuple(cast("Any", vit).patch_embed.grid_size)
        self.num_features = self._image_model.num_features
        self.head_hidden_size = self._image_model.head_hidden_size
        self.pretrained_cfg: dict[str, Any] = _pretrained_cfg(vit, config)
        self.class_names: tuple[str, ...] | None = None
        self.temporal = TemporalHead(self.head_hidden_size, num_frames=config.num_frames, depth=config.temporal_depth)
        self.temporal.init_identity()
        self.alignment_loss: Tensor | None = None
        self._recipe = recipe
        # Image models call their blocks themselves, so that what a pass needs and gives is kept in the blocks.
        self._one_pass = OnePass()

    @property
    def _image_model(self) -> ImageModel:
        return cast("ImageModel", self.vit)

    @property
    def blocks(self) -> list[_Around]:
        """The image model's blocks, in alignment."""
        return cast("list[_Around]", list(cast("nn.Sequential", self._image_model.blocks).children()))

    @property
    def recipe(self) -> ImageModelRecipe | str:
        """How the image model is built again, with the classes that it has now; where nobody knows, why not."""
        if isinstance(self._recipe, str):
            return self._recipe
        return ImageModelRecipe(self._recipe.architecture, self._recipe.arguments | current_arguments(self.vit))

    @property
    def num_tokens(self) -> int:
        """Tokens L of a frame: those before the patches, and the patches."""
        return self._image_model.num_prefix_tokens + self.grid_size[0] * self.grid_size[1]

    @property
    def num_classes(self) -> int:
        """Classes of the image model's classifier."""
        return self._image_model.num_classes

    def forward(self, video: Tensor, *, return_points: bool = False) -> Tensor | tuple[Tensor, AlignmentMaps]:
        """Classifies clips.

        Args:
            video: [B, T, 3, H, W], normalised as the image model wants it, T at least 2, H and W as it was built.
            return_points: Return the interactive points and masks of every block as well.

        Returns:
            Logits [B, C] of the image model's classifier, or vectors [B, E] where it has none. With ``return_points``,
            a pair of that and the points [depth, B, T-1, 4] with their masks [depth, B, T-1, 2, h, w].

        Raises:
            TypeError: ``video`` is not a float tensor.
            ValueError: ``video`` has another shape.
        """
        tokens, maps = self.forward_blocks(video)
        output = self.forward_head(tokens)
        return (output, maps) if return_points else output

    def forward_features(self, video: Tensor) -> Tensor:
        """Tokens [B, T, L, D] as the image model's own ``forward_features`` ends with them; see :meth:`forward`."""
        return self.forward_blocks(video)[0]

    def forward_blocks(self, video: Tensor) -> tuple[Tensor, AlignmentMaps]:
        """Tokens, as :meth:`forward_features`, with the points and masks of every block as :meth:`forward` has them."""
        check_video(video, self.img_size, self.temporal.pos_embed.dtype)
        blocks = self.blocks
        with self._one_pass.held():
            for block in blocks:
                block.num_frames = video.shape[1]
            tokens = self._image_model.forward_features(video.flatten(0, 1)).unflatten(0, video.shape[:2])
            losses = [block.similarity_loss for block in blocks if block.similarity_loss is not None]
            self.alignment_loss = torch.stack(losses).sum() if losses else None
            maps = [cast("AlignmentMaps", block.maps) for block in blocks]
            for block in blocks:
                # They belong to this pass's graph, which a model must not keep, nor a copy of it.
                block.maps = block.similarity_loss = None
        return tokens, AlignmentMaps(*(torch.stack(each) for each in zip(*maps, strict=True)))

    def forward_frames(self, x: Tensor) -> Tensor:
        """Maps tokens [B, T, L, D] to frame vectors [B, T, E], as the image model pools them."""
        return self._image_model.forward_head(x.flatten(0, 1), pre_logits=True).unflatten(0, x.shape[:2])

    def forward_video(self, frames: Tensor) -> Tensor:
        """Maps frame vectors [B, T, E] to video vectors [B, E]."""
        # A temporal head gives the frames twice: by way of its layers, and past them.
        video: Tensor = self.temporal(frames) / 2
        return video

    def forward_pre_head(self, video_vectors: Tensor) -> Tensor:
        """What the classifier sees of video vectors [B, E]: they themselves."""
        return video_vectors

    def forward_logits(self, video_vectors: Tensor, x: Tensor) -> Tensor:
        """Logits [B, C] of video vectors [B, E]; the tokens that they came of are not looked at again."""
        logits: Tensor = self.get_classifier()(video_vectors)
        return logits

    def forward_head(self, x: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Maps tokens [B, T, L, D] to logits [B, C], with ``pre_logits`` to video vectors [B, E]."""
        video = self.forward_video(self.forward_frames(x))
        return video if pre_logits else self.forward_logits(video, x)

    def get_classifier(self) -> nn.Module:
        """The image model's classifier."""
        return self._image_model.get_classifier()

    def reset_classifier(self, num_classes: int, *, class_names: Sequence[str] | None = None) -> None:
        """Replaces the classifier by a fresh one of ``num_classes``, or by none with 0."""
        checked = None if class_names is None else check_class_names(class_names)
        if checked is not None and len(checked) != num_classes:
            raise ValueError(f"{len(checked)} class_names for num_classes={num_classes}: give one name per class")
        self._image_model.reset_classifier(num_classes)
        self.get_classifier().to(self.temporal.pos_embed.device, self.temporal.pos_embed.dtype)
        self.class_names = checked

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes the image model's blocks in the backward pass instead of keeping their activations."""
        for block in self.blocks:
            block.grad_checkpointing = enable

    def set_window_offset(self, offset: float) -> None:
        """Sets the distance of the nine masks that training averages; the released recipe halves it in the end."""
        for block in self.blocks:
            block.window_offset.fill_(offset)

    def init_from_scratch(self) -> None:
        """Lets alignment speak from the first step on, for training from random weights.

        The layers by which it enters the blocks start at zero, to keep the image model's answers.
        """
        for block in cast("list[AlignedBlock]", self.blocks):
            for layer in block.silent_layers():
                layer.reset_parameters()

    def no_weight_decay(self) -> set[str]:
        """Parameters that are not weight matrices although they have several dimensions."""
        own: set[str] = getattr(self.vit, "no_weight_decay", set)()
        return {*(f"vit.{name}" for name in own), "temporal.pos_embed"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Parameter groups for layer-wise learning rates, as timm's ``group_parameters`` reads them."""
        blocks = r"^vit\.blocks\.(\d+)"
        stem = r"^vit\.(?:cls_token|pos_embed|reg_token|patch_embed|norm_pre|rope)"
        return {"stem": stem, "blocks": blocks if coarse else [(blocks, None), (r"^vit\.|^temporal", (99999,))]}

    def fuse(self) -> AlignedViT:
        """Rearranges the alignment for inference, in place: the same answers but for rounding, in less time.

        A fused model cannot be trained, saved, or given weights.
        """
        self.eval()
        container = cast("nn.Sequential", self._image_model.blocks)
        for index, block in enumerate(self.blocks):
            if isinstance(block, AlignedBlock):
                container[index] = block.fuse()
        return self

    @property
    def inference_form(self) -> str | None:
        """How the model was changed for inference, "fused"; None where it was not."""
        return "fused" if isinstance(self.blocks[-1], FusedAlignedBlock) else None

    def train(self, mode: bool = True) -> AlignedViT:
        """Sets training or evaluation mode.

        Raises:
            RuntimeError: Training is asked of a model for inference.
        """
        if mode and self.inference_form:
            raise RuntimeError("this model is fused for inference and cannot be trained: make it anew, without fuse()")
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the last loss behind: its graph can be neither copied nor pickled."""
        return {**self.__dict__, "alignment_loss": None}


def add_alignment(
    vit: nn.Module,
    *,
    num_frames: int = 8,
    alignment_width: int = 256,
    interactive: InteractiveBlock = "separable",
    alignment_target: AlignmentTarget = "neighbours",
    temporal_depth: int = 1,
    model_args: Mapping[str, Any] | None = None,
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
        model_args: Arguments of ``timm.create_model`` that made ``vit``, by which a saved model is built again; None
            takes what timm noted of them, as it does from 1.0.31 on.

    Raises:
        TypeError: ``vit`` is no such model.
        ValueError: A number is out of its range, the grid is too small, the model drops patches, or ``model_args`` are
            not those of an architecture.
    """
    wanted = ("patch_embed", "blocks", "num_prefix_tokens", "num_features", "head_hidden_size", "forward_head")
    if missing := [name for name in wanted if not hasattr(vit, name)]:
        raise TypeError(f"{type(vit).__name__} is no vision transformer of timm's kind: it has no {', '.join(missing)}")
    grid = tuple(getattr(cast("Any", vit).patch_embed, "grid_size", None) or ())
    if len(grid) != 2 or min(grid) < MIN_GRID:
        if len(grid) != 2:
            raise TypeError(f"{type(vit).__name__} does not say its grid of patches (patch_embed.grid_size)")
        raise ValueError(
            f"{type(vit).__name__} has a grid of {'x'.join(map(str, grid))} patches: the point predictor"
            f" pools twice by two, so at least {MIN_GRID} on either side are needed; create it with another img_size"
        )
    if not isinstance(getattr(vit, "patch_drop", None), nn.Identity | None):
        raise ValueError("this model drops patches in training, which leaves no grid: create it with patch_drop_rate=0")
    config = AlignedConfig(
        num_frames=num_frames,
        alignment_width=alignment_width,
        interactive=interactive,
        alignment_target=alignment_target,
        temporal_depth=temporal_depth,
    )
    image_model = cast("ImageModel", vit)
    check_alignment_numbers(config)
    container = image_model.blocks
    if not isinstance(container, nn.Sequential | nn.ModuleList):
        raise TypeError(f"the blocks of {type(vit).__name__} are a {type(container).__name__}, not a row of modules")
    if any(isinstance(block, _Around) for block in container):
        raise TypeError(f"the blocks of this {type(vit).__name__} are aligned already")
    recipe = recipe_of(vit, model_args)
    probe(vit, grid)
    checkpointing = bool(getattr(vit, "grad_checkpointing", False))
    if checkpointing:
        # timm's own would run the alignment twice, and its batch norms would count every batch twice.
        cast("Any", vit).set_grad_checkpointing(False)
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
    model = AlignedViT(vit, config, recipe)
    model.set_grad_checkpointing(checkpointing)
    return model.to(like.device, like.dtype).train(vit.training)


def build_aligned_vit(
    recipe: ImageModelRecipe, config: AlignedConfig, *, device: torch.device | str | None = None
) -> AlignedViT:
    """The model of a description, with random weights, in evaluation mode.

    Raises:
        TypeError, ValueError: No model can be built of these numbers.
    """
    vit = recipe.build(device).eval()
    with torch.device("cpu" if device is None else device):
        return add_alignment(vit, **asdict(config), model_args=recipe.arguments)


def _pretrained_cfg(vit: nn.Module, config: AlignedConfig) -> dict[str, Any]:
    """What frames must be; nothing where timm does not say it of the image model."""
    contract = input_contract(vit)
    named = {"architecture": "aligned_vit", "tag": pretrained_cfg_of(vit).get("architecture")}
    return {**named, "num_frames": config.num_frames, **contract} if contract else {}
