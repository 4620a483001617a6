"""The ILA vision transformer: a CLIP image tower whose blocks align neighbouring frames.

Implicit Temporal Modeling with Learnable Alignment for Video Recognition, ICCV 2023, https://arxiv.org/abs/2304.10465

Shapes: B clips, T frames, H x W pixels, h x w = N patch tokens, L = 1 + N tokens with the class token first, D channels
of a token, E channels of CLIP's joint embedding, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from .alignment import WINDOW_OFFSET, AlignmentMaps
from .blocks import BLOCKS, FrameBlock, make_block
from .class_features import BARE_NAMES, check_templates, class_features
from .configs import HeadKind, ILAConfig
from .contracts import check_config, check_video
from .heads import LinearHead, TextHead
from .layers import LayerNorm, PatchEmbed
from .temporal import TemporalHead, resample_frames
from .text import TextEncoder, check_class_names

_logger = logging.getLogger(__name__)


class _Run(NamedTuple):
    """One pass: last tokens [B, T, L, D], maps by block, tokens after the blocks that were asked for."""

    tokens: Tensor
    maps: list[AlignmentMaps]
    kept: dict[int, Tensor]

    def stacked_maps(self) -> AlignmentMaps:
        """The maps of all blocks, the blocks first."""
        return AlignmentMaps(*(torch.stack(maps) for maps in zip(*self.maps, strict=True)))


class ILAVisionTransformer(nn.Module):
    """Clips [B, T, 3, H, W] to logits [B, C], or to video embeddings [B, E] with ``num_classes=0``.

    Attributes:
        config: The numbers that the model was built from.
        num_classes: Classes C; 0 without a head, and with a text head that has no classes yet.
        class_names: Names of the classes, or None where they are not known.
        num_features: Channels D of :meth:`forward_features`.
        embed_dim: The same, under timm's other name.
        head_hidden_size: Channels E of the video embedding (``forward_head(..., pre_logits=True)``).
        num_frames: Frames that the temporal position embedding is made for.
        grid_size: Patch tokens along the height and the width.
        pretrained_cfg: What the weights expect: pixels, frames, mean, std, interpolation, sampling; and the views
            (clips, crops) by which their accuracy is told.
        text_tensors: CLIP's text tower that came with the weights, under OpenAI's names; empty without one.
        lacks_logit_scale: Whether the weights brought no scale of logits: the next text tower's is taken then.
        alignment_loss: Summed similarity loss of the last training forward, a scalar with a graph; None before, and
            in a model without alignment.
        is_quantized: Whether :func:`~ila_models.quantize.quantize_int8` has changed the layers.
    """

    pretrained_cfg: dict[str, Any]
    window_offset: Tensor

    def __init__(
        self, config: ILAConfig, *, head: HeadKind = "text", num_classes: int = 0, drop_path_rate: float = 0.0
    ) -> None:
        """Makes a model with the released recipe's starting values (CLIP's part is random, to be loaded).

        Args:
            config: The numbers of the architecture.
            head: ``"text"`` (class-name features), ``"linear"``, or ``"none"`` for video embeddings.
            num_classes: Classes of the head; a text head may start with 0.
            drop_path_rate: Rate in [0, 1) of the last block; earlier blocks have less, linearly.

        Raises:
            ValueError: A number is out of its range.
        """
        super().__init__()
        check_config(config)
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f"drop_path_rate={drop_path_rate} is out of range: give a rate in [0, 1)")
        self.config = config
        self.embed_dim = self.num_features = config.width
        self.head_hidden_size = config.embed_dim
        self.num_frames = config.num_frames
        self.img_size = config.img_size
        self.pretrained_cfg = {}
        self.class_names: tuple[str, ...] | None = None
        self.text_tensors: dict[str, Tensor] = {}
        self.lacks_logit_scale = False
        self.alignment_loss: Tensor | None = None
        self.is_quantized = False

        self.patch_embed = PatchEmbed(
            img_size=config.img_size, patch_size=config.patch_size, embed_dim=config.width, bias=False
        )
        self.grid_size: tuple[int, int] = self.patch_embed.grid_size
        tokens = 1 + self.grid_size[0] * self.grid_size[1]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, config.width))
        # Added to the tokens of each frame where the blocks need it, as in TimeSformer.
        self.time_embed = (
            nn.Parameter(torch.zeros(1, config.num_frames, config.width))
            if BLOCKS[config.alignment].needs_frame_positions
            else None
        )
        self.norm_pre = LayerNorm(config.width)
        self.blocks = nn.ModuleList(
            make_block(config, drop_path=drop_path_rate * index / max(config.depth - 1, 1))
            for index in range(config.depth)
        )
        self.norm = LayerNorm(config.width)
        self.proj = nn.Linear(config.width, config.embed_dim, bias=False)
        self.temporal = TemporalHead(config.embed_dim, num_frames=config.num_frames, depth=config.temporal_depth)
        self.head = self._make_head(head, num_classes)
        # Saved with the weights, since training shrinks it epoch by epoch and a resumed run must go on from there.
        self.register_buffer("window_offset", torch.tensor(WINDOW_OFFSET))
        self._init_backbone()

    def forward(self, video: Tensor, *, return_points: bool = False) -> Tensor | tuple[Tensor, AlignmentMaps]:
        """Classifies clips.

        Args:
            video: [B, T, 3, H, W], normalised floats, T at least 2, H and W as built.
            return_points: Return the interactive points and masks of every block as well.

        Returns:
            Logits [B, C], or video embeddings [B, E] without a head. With ``return_points``, a pair of that and the
            points [depth, B, T-1, 4] with their masks [depth, B, T-1, 2, h, w].

        Raises:
            TypeError: ``video`` is not a float tensor.
            ValueError: ``video`` has another shape.
            RuntimeError: The text head has no classes yet, or the blocks predict no points.
        """
        if return_points and not self.has_points:
            raise RuntimeError(f"return_points=True: blocks of alignment={self.config.alignment!r} predict no points")
        run = self._run_blocks(video, class_only=isinstance(self.head, LinearHead | nn.Identity))
        output = self.forward_head(run.tokens)
        return (output, run.stacked_maps()) if return_points else output

    def forward_features(self, video: Tensor) -> Tensor:
        """Tokens of the last block [B, T, 1+N, D], class token first, before the final norm; see :meth:`forward`."""
        return self._run_blocks(video).tokens

    def forward_blocks(self, video: Tensor, *, class_only: bool = False) -> tuple[Tensor, AlignmentMaps | None]:
        """Tokens of the last block, as :meth:`forward_features`, with the points and masks of every block.

        Args:
            video: See :meth:`forward`.
            class_only: Nobody wants patch tokens: a fused model leaves them out of its last block, and the tokens are
                class tokens alone, [B, T, 1, D].

        Returns:
            Tokens, and maps as :meth:`forward` returns them; None where the blocks predict no points.
        """
        run = self._run_blocks(video, class_only=class_only)
        tokens = run.tokens[:, :, :1] if class_only else run.tokens
        return tokens, run.stacked_maps() if run.maps else None

    def forward_head(self, x: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Maps tokens [B, T, 1+N, D] of the last block to logits [B, C], with ``pre_logits`` to embeddings [B, E]."""
        video = self.forward_video(self.forward_frames(x))
        return video if pre_logits or isinstance(self.head, nn.Identity) else self.forward_logits(video, x)

    def forward_video(self, frames: Tensor) -> Tensor:
        """Maps frame vectors [B, T, E] to video embeddings [B, E], not normalised."""
        video: Tensor = self.temporal(frames)
        return video

    def forward_logits(self, video_vectors: Tensor, x: Tensor) -> Tensor:
        """Logits [B, C] of video embeddings [B, E] and the tokens [B, T, 1+N, D] that they came of."""
        logits: Tensor = self.head(video_vectors, x[:, :, 1:])
        return logits

    def forward_pre_head(self, video_vectors: Tensor) -> Tensor:
        """What the head's last product sees of video embeddings, [B, E] to [B, E]; without a head, they themselves."""
        return self.head.prepare(video_vectors) if isinstance(self.head, LinearHead | TextHead) else video_vectors

    def forward_frames(self, x: Tensor) -> Tensor:
        """Maps tokens [B, T, 1+N, D] of the last block to frame vectors [B, T, E], CLIP's image embeddings."""
        return self.proj(self.norm(x[:, :, 0]))

    def forward_intermediates(
        self,
        video: Tensor,
        indices: int | Sequence[int] | None = None,
        *,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: Literal["NTCHW", "NTLC"] = "NTCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Tokens after chosen blocks.

        Args:
            video: See :meth:`forward`.
            indices: Blocks, negative ones counted from the end; a number n means the last n; None means all.
            return_prefix_tokens: Return pairs of (patch tokens, class tokens [B, T, 1, D]).
            norm: Apply the final norm to every intermediate (and to the last tokens).
            stop_early: Do not run blocks beyond the last index; goes with ``intermediates_only``.
            output_fmt: ``"NTCHW"`` for maps [B, T, D, h, w], ``"NTLC"`` for tokens [B, T, N, D].
            intermediates_only: Return the list alone.

        Returns:
            ``(last tokens [B, T, 1+N, D], list of intermediates)``, or the list.

        Raises:
            ValueError: An index is out of range, or an argument has no such choice.
        """
        if output_fmt not in ("NTCHW", "NTLC"):
            raise ValueError(f"output_fmt={output_fmt!r} is not known: use 'NTCHW' or 'NTLC'")
        if stop_early and not intermediates_only:
            raise ValueError("stop_early leaves no last tokens to return: pass intermediates_only=True as well")
        wanted = self._block_indices(indices)
        run = self._run_blocks(video, keep=wanted, depth=max(wanted) + 1 if stop_early else None)

        def shaped(tokens: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            tokens = self.norm(tokens) if norm else tokens
            patches = tokens[:, :, 1:]
            if output_fmt == "NTCHW":
                patches = patches.transpose(2, 3).unflatten(3, self.grid_size)
            return (patches, tokens[:, :, :1]) if return_prefix_tokens else patches

        intermediates = [shaped(run.kept[index]) for index in wanted]
        if intermediates_only:
            return intermediates
        return (self.norm(run.tokens) if norm else run.tokens), intermediates

    def set_classes(
        self,
        names: Sequence[str],
        text_encoder: TextEncoder | None = None,
        *,
        templates: Sequence[str] = BARE_NAMES,
    ) -> None:
        """Makes the text head choose among ``names``, from now on.

        Their features are kept in this package's cache, so the same names take the text tower's time only once.

        Args:
            names: Class names.
            text_encoder: CLIP's text tower; None takes the one that came with the model's weights.
            templates: Texts with ``{}`` in the place of the name, such as ``"a video of {}."``; of several, the mean is
                taken. The released models know bare names.

        Raises:
            ValueError: Names are empty or repeated, a template has no ``{}``, or the encoder has another width.
            RuntimeError: The head is not a text head, or the weights brought no text tower.
        """
        self._require_text_head("set_classes")
        names, templates = check_class_names(names), check_templates(templates)
        if text_encoder is None:
            if not self.text_tensors:
                raise RuntimeError(
                    "class names need CLIP's text tower, and this model came without one: load weights that bring one"
                    " (pretrained=True or checkpoint_path=FILE with CLIP's both towers), or pass"
                    " text_encoder=ila_models.load_text_encoder(FILE), on the command line --text-tower FILE, with a"
                    " CLIP checkpoint that has both towers"
                )
            text_encoder = TextEncoder.from_tensors(self.text_tensors)
        self.set_text_features(class_features(text_encoder, names, templates=templates), names)
        if self.lacks_logit_scale:
            self._take_logit_scale(text_encoder)

    @torch.no_grad()
    def _take_logit_scale(self, text_encoder: TextEncoder) -> None:
        if text_encoder.logit_scale is None:
            _logger.warning(
                "neither the image tower's weights nor the text tower's bring CLIP's logit_scale: the classes' order is"
                " right, but their probabilities are too even"
            )
            return
        cast("TextHead", self.head).logit_scale.copy_(text_encoder.logit_scale)
        self.lacks_logit_scale = False

    def set_text_features(self, features: Tensor, names: Sequence[str] | None = None) -> None:
        """Makes the text head compare with ``features`` [C, E], CLIP text features that are not normalised.

        Raises:
            ValueError: The shape is not [C, E], or ``names`` are not C names.
            RuntimeError: The head is not a text head.
        """
        head = self._require_text_head("set_text_features")
        if features.ndim != 2 or not len(features) or features.shape[1] != self.config.embed_dim:
            raise ValueError(
                f"features have shape {list(features.shape)}: expected [classes, {self.config.embed_dim}], one CLIP"
                f" text feature per class"
            )
        checked = None if names is None else check_class_names(names)
        if checked is not None and len(checked) != len(features):
            raise ValueError(f"{len(checked)} names for {len(features)} features: give one name per feature")
        head.set_text_features(features)
        self.class_names = checked

    def reset_classifier(self, num_classes: int, *, class_names: Sequence[str] | None = None) -> None:
        """Replaces the head by a fresh linear one of ``num_classes``, or by none (video embeddings) with 0."""
        checked = None if class_names is None else check_class_names(class_names)
        if checked is not None and len(checked) != num_classes:
            raise ValueError(f"{len(checked)} class_names for num_classes={num_classes}: give one name per class")
        head = self._make_head("linear" if num_classes else "none", num_classes)
        # A new module is in training mode, where dropout makes answers random.
        self.head = head.to(device=self.pos_embed.device, dtype=self.pos_embed.dtype).train(self.training)
        self.class_names = checked

    def get_classifier(self) -> nn.Module:
        """The linear layer of a linear head, the whole text head, or ``nn.Identity`` without a head."""
        return self.head.fc if isinstance(self.head, LinearHead) else self.head

    @property
    def num_classes(self) -> int:
        """Classes of the head."""
        if isinstance(self.head, TextHead):
            return len(self.head.text_features)
        return self.head.fc.out_features if isinstance(self.head, LinearHead) else 0

    @property
    def num_tokens(self) -> int:
        """Tokens 1+N of a frame."""
        return self.pos_embed.shape[1]

    @property
    def has_points(self) -> bool:
        """Whether the blocks predict interactive points."""
        return BLOCKS[self.config.alignment].has_points

    @property
    def has_text_head(self) -> bool:
        """Whether the classes are text features, so that :meth:`set_classes` can exchange them."""
        return isinstance(self.head, TextHead)

    @property
    def has_video_prompts(self) -> bool:
        """Whether the classes are text features that what the video shows refines."""
        return isinstance(self.head, TextHead) and self.head.has_prompts

    def set_video_prompts(self, enabled: bool = True) -> None:
        """Has a text head refine class features by what the video shows, as it does unless told otherwise, or not.

        Raises:
            RuntimeError: The head is not a text head.
        """
        self._require_text_head("set_video_prompts").has_prompts = enabled

    def no_weight_decay(self) -> set[str]:
        """Parameters that are not weight matrices although they have several dimensions."""
        names = {"cls_token", "pos_embed", "temporal.pos_embed"}
        return names if self.time_embed is None else {*names, "time_embed"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Parameter groups for layer-wise learning rates, as timm's ``group_parameters`` reads them."""
        return {
            "stem": r"^cls_token|^pos_embed|^time_embed|^patch_embed|^norm_pre",
            "blocks": r"^blocks\.(\d+)"
            if coarse
            else [(r"^blocks\.(\d+)", None), (r"^norm|^proj|^temporal", (99999,))],
        }

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes the blocks' attention and MLP in the backward pass instead of keeping their activations."""
        for block in self._typed_blocks():
            block.grad_checkpointing = enable

    def set_window_offset(self, offset: float) -> None:
        """Sets the distance of the nine masks that training averages; the released recipe halves it in the end."""
        self.window_offset.fill_(offset)

    def fuse(self) -> ILAVisionTransformer:
        """Rearranges the blocks for inference, in place: the same answers but for rounding, in less time.

        A fused model cannot be trained, saved, or given weights; all else works as before. Only ILA's own forms have
        something to rearrange. Fuse before a conversion to 16 bits, so that the weights are rounded once.

        Returns:
            The model itself.
        """
        self.eval()
        for index, block in enumerate(self._typed_blocks()):
            self.blocks[index] = block.fuse()
        return self

    @property
    def fused(self) -> bool:
        """Whether the blocks are rearranged for inference, by :meth:`fuse` or timm's ``reparameterize_model``."""
        return bool(self._typed_blocks()[-1].is_fused)

    @property
    def inference_form(self) -> str | None:
        """How the model was changed for inference, "fused" or "quantized"; None where it was not."""
        return "quantized" if self.is_quantized else "fused" if self.fused else None

    def train(self, mode: bool = True) -> ILAVisionTransformer:
        """Sets training or evaluation mode.

        Raises:
            RuntimeError: Training is asked of a model for inference.
        """
        if mode and (form := self.inference_form):
            raise RuntimeError(
                f"this model is {form} for inference and cannot be trained: create it anew, without fuse(), fused=True"
                " or quantize_int8()"
            )
        return super().train(mode)

    def init_identity(self) -> None:
        """Sets the layers that CLIP does not have so that the model answers as frozen CLIP: by the mean frame."""
        self.temporal.init_identity()
        if isinstance(self.head, TextHead):
            self.head.prompts.init_identity()

    def init_from_scratch(self) -> None:
        """Lets alignment speak from the first step on, for training from random weights.

        The layers by which it enters the blocks start at zero, to keep CLIP's answers. Where there is no CLIP, zeros
        only keep the layers before them from learning.
        """
        for block in self._typed_blocks():
            for layer in block.silent_layers():
                layer.reset_parameters()

    def init_for_training(self) -> None:
        """Sets temporal head and prompts to the released recipe's starting values, after CLIP's weights were loaded."""
        self.temporal.init_for_training()
        if isinstance(self.head, TextHead):
            self.head.prompts.init_for_training()

    def _run_blocks(
        self, video: Tensor, *, keep: Sequence[int] = (), depth: int | None = None, class_only: bool = False
    ) -> _Run:
        """Runs the first ``depth`` blocks (None: all) and keeps the tokens after those numbered in ``keep``.

        With ``class_only``, the last block's tokens may be class tokens alone.
        """
        x = self._embed(video)
        kept: dict[int, Tensor] = {}
        maps: list[AlignmentMaps] = []
        losses: list[Tensor] = []
        for index, block in enumerate(self.blocks[:depth]):
            is_last = index == len(self.blocks) - 1
            shortened = {"class_only": True} if class_only and is_last and self.fused else {}
            x, block_maps, loss = block(x, self.grid_size, self.window_offset, **shortened)
            if block_maps is not None:
                maps.append(block_maps)
            if loss is not None:
                losses.append(loss)
            if index in keep:
                kept[index] = x
        if losses:
            self.alignment_loss = torch.stack(losses).sum()
        return _Run(x, maps, kept)

    def _embed(self, video: Tensor) -> Tensor:
        """Frames [B, T, 3, H, W] to tokens [B, T, L, D]: patches, class token, positions, first norm."""
        check_video(video, self.config.img_size, self.pos_embed.dtype)
        patches = self.patch_embed(video.flatten(0, 1))
        x = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        x = (x + self.pos_embed).unflatten(0, video.shape[:2])
        if self.time_embed is not None:
            x = x + resample_frames(self.time_embed, video.shape[1]).unsqueeze(2)
        return self.norm_pre(x)

    def _block_indices(self, indices: int | Sequence[int] | None) -> list[int]:
        depth = len(self.blocks)
        if indices is None:
            return list(range(depth))
        chosen = list(range(depth - indices, depth)) if isinstance(indices, int) else list(indices)
        if not chosen or (isinstance(indices, int) and not 0 < indices <= depth):
            raise ValueError(f"indices={indices} chooses no blocks: give 1 to {depth}, or a list of block numbers")
        if outside := [index for index in chosen if not -depth <= index < depth]:
            raise ValueError(f"indices {outside} are out of range: the model has blocks 0 to {depth - 1}")
        return [index % depth for index in chosen]

    def _require_text_head(self, what: str) -> TextHead:
        if not isinstance(self.head, TextHead):
            has = "a linear head" if isinstance(self.head, LinearHead) else "no head"
            raise RuntimeError(
                f"{what} needs a text head, and this model has {has}: it cannot take class names; use a Kinetics-400 or"
                f" CLIP checkpoint for open-vocabulary classes, or reset_classifier(N) and training for a linear head"
            )
        return self.head

    def _make_head(self, kind: HeadKind, num_classes: int) -> nn.Module:
        least = {"text": 0, "linear": 1, "none": 0}
        if kind not in least:
            raise ValueError(f"head={kind!r} is not known: use one of {', '.join(map(repr, least))}")
        if not isinstance(num_classes, int) or num_classes < least[kind] or (kind == "none" and num_classes):
            raise ValueError(
                f"num_classes={num_classes!r} is out of range for head={kind!r}: give a whole number of at least 1, or"
                f" 0 for video embeddings without a head"
            )
        if kind == "text":
            return TextHead(
                self.config.width,
                self.config.embed_dim,
                num_classes=num_classes,
                prompt_depth=self.config.prompt_depth,
            )
        return LinearHead(self.config.embed_dim, num_classes) if kind == "linear" else nn.Identity()

    def _init_backbone(self) -> None:
        """Sets random values in CLIP's part as CLIP began; the other parts have set their own.

        They scale with the width: a fixed 0.02 would leave a narrow model's attention almost silent, and its class
        token almost blind.
        """
        std = self.config.width**-0.5
        ends_of_branches = std * (2 * self.config.depth) ** -0.5
        for tensor in (self.cls_token, self.pos_embed, self.proj.weight):
            nn.init.normal_(tensor, std=std)
        for block in self._typed_blocks():
            for layer, layer_std in (
                (block.attn.qkv, std),
                (block.attn.proj, ends_of_branches),
                (block.mlp.fc1, std * 2**-0.5),
                (block.mlp.fc2, ends_of_branches),
            ):
                nn.init.normal_(layer.weight, std=layer_std)
                nn.init.zeros_(layer.bias)

    def _typed_blocks(self) -> list[FrameBlock]:
        return cast("list[FrameBlock]", list(self.blocks))

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the last loss behind: its graph can be neither copied nor pickled."""
        return {**self.__dict__, "alignment_loss": None}
