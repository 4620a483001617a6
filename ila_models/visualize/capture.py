"""What a model sees of a clip: one pass, and all that the pictures show.

Shapes: T frames, H x W pixels of a frame, h x w patches, C classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ..alignment import Aligned, pair_similarity
from ..data.loading import FrameList, is_frames
from ..data.sampling import segment_midpoints
from ..data.transforms import CropBox, create_transform
from ..data.video import VideoReader
from ..ila_vit import ILAVisionTransformer
from ..pairing import pair_frames
from ..video_model import VideoModel
from .rollout import recorded_attention, roll_out


class Footage(NamedTuple):
    """Frames of a video with their times.

    Attributes:
        frames: uint8 [T, 3, H, W], whole, as the video has them.
        seconds: From the video's first frame to each of these; None of frames whose rate nobody told.
        duration: Seconds of the whole video; of frames whose rate nobody told, one for each.
    """

    frames: Tensor
    seconds: tuple[float, ...] | None
    duration: float


@dataclass(frozen=True, kw_only=True)
class AlignmentCapture:
    """Points, masks and similarities of one clip, block by block; P = T - 1 pairs.

    Attributes:
        pairs: Frame numbers (earlier, later) of every pair, from 0.
        points: [depth, P, 4]: (x, y) in the earlier frame, then in the later one; -1 and 1 are the centres of the
            outermost patches.
        masks: [depth, P, 2, h, w], in [0, 1]: of the earlier frame, then of the later one.
        similarity_before: [depth, P]: cosine of the two frames' messages, summed over space, as they are.
        similarity_after: [depth, P]: the same under their masks.
    """

    pairs: tuple[tuple[int, int], ...]
    points: Tensor
    masks: Tensor
    similarity_before: Tensor
    similarity_after: Tensor

    @property
    def are_neighbours(self) -> bool:
        """Whether each frame is aligned with the next one, not all with a common one."""
        return all(later == earlier + 1 for earlier, later in self.pairs)

    @property
    def is_untrained(self) -> bool:
        """Whether all points lie in the middle to the last bit, as they do until something was learned."""
        return not bool(self.points.any())

    def point(self, block: int, pair: int, side: int) -> tuple[float, float]:
        """(x, y) of a pair's earlier frame (side 0) or its later one (side 1)."""
        x, y = self.points[block, pair, 2 * side : 2 * side + 2].tolist()
        return x, y


@dataclass(frozen=True, kw_only=True)
class ClipCapture:
    """What a model made of one clip, on the CPU.

    Attributes:
        footage: The frames.
        img_size: (height, width) of the crop that the model sees, in pixels.
        box: Where that crop lies in a frame.
        grid: Patches along the height and the width of the crop.
        alignment: Points and masks; None of a form without them.
        rollout: [T, h, w]: each patch's share in its frame's class token after the last block; sums to one over a
            frame. None of an image model with alignment, whose attention is as timm has it.
        logits: [C]; None without classes.
    """

    footage: Footage
    img_size: tuple[int, int]
    box: CropBox
    grid: tuple[int, int]
    alignment: AlignmentCapture | None
    rollout: Tensor | None
    logits: Tensor | None

    @property
    def is_cropped(self) -> bool:
        """Whether the model sees less than the whole frame."""
        height, width = self.footage.frames.shape[-2:]
        return self.box.bottom - self.box.top < height - 0.5 or self.box.right - self.box.left < width - 0.5

    def require_alignment(self) -> AlignmentCapture:
        """Points and masks.

        Raises:
            ValueError: The form has none.
        """
        if self.alignment is None:
            raise ValueError(
                "the blocks of this model predict no points: see model.has_points; roll-out and timeline can be drawn"
            )
        return self.alignment

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A point's place in the whole frame, in pixels from its left upper corner.

        Args:
            x: Along the width, in [-1, 1], where the ends are the centres of the outermost patches.
            y: Along the height, likewise.
        """
        rows, columns = self.grid
        across = ((x + 1) / 2 * (columns - 1) + 0.5) / columns
        down = ((y + 1) / 2 * (rows - 1) + 0.5) / rows
        left, top, right, bottom = self.box
        return left + across * (right - left), top + down * (bottom - top)


def read_footage(source: Any, *, num_frames: int, fps: float | None = None) -> Footage:
    """Reads the frames that a model sees of a whole video: the middles of equal segments.

    Args:
        source: What :func:`~ila_models.load_video` takes.
        num_frames: T.
        fps: Frames a second, of frames; a video has time stamps of its own.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: The source is of a wrong kind.
        ValueError: A number is out of range, or ``fps`` comes with a video.
        VideoError: The video cannot be used; a subclass of ValueError.
    """
    if is_frames(source):
        if fps is not None and not fps > 0:
            raise ValueError(f"fps={fps} is out of range: give a number above 0")
        listed = FrameList(source)
        chosen = segment_midpoints(len(listed), num_frames)
        seconds = None if fps is None else tuple(number / fps for number in chosen)
        return Footage(listed.decode(chosen), seconds, len(listed) / (fps or 1.0))
    if fps is not None:
        raise ValueError(f"fps={fps} is for frames; a video has time stamps of its own")
    with VideoReader(source) as reader:
        chosen = segment_midpoints(len(reader), num_frames)
        times = reader.timestamps
        last = 1 / reader.fps if reader.fps else 0.0
        return Footage(reader.decode(chosen), tuple(times[number] for number in chosen), times[-1] + last)


@torch.inference_mode()
def capture_clip(model: VideoModel, footage: Footage) -> ClipCapture:
    """Runs a model on a clip and keeps what is to be shown.

    Args:
        model: In evaluation mode; one of ILA's own not fused.
        footage: At least two frames.

    Raises:
        ValueError: The model is in training mode or fused, or there are fewer than two frames.
    """
    if model.training:
        raise ValueError("the model is in training mode, in which masks are means of nine: call model.eval() first")
    transform = create_transform(model)
    weight = model.temporal.pos_embed
    clip = transform(footage.frames)[None].to(weight.device, weight.dtype)
    looked_at: contextlib.AbstractContextManager[list[Tensor]]
    looked_at = recorded_attention(model) if isinstance(model, ILAVisionTransformer) else contextlib.nullcontext([])
    with looked_at as attentions, recorded_similarity(model) as similarities:
        tokens, maps = model.forward_blocks(clip)
        logits = model.forward_head(tokens)[0].float().cpu() if model.num_classes else None
    alignment = rollout = None
    if attentions:
        patches = roll_out(attentions)[:, 0, 1:].unflatten(-1, model.grid_size).cpu()
        rollout = patches / patches.sum(dim=(-2, -1), keepdim=True)
    if maps is not None:
        earlier, later = pair_frames(torch.arange(clip.shape[1])[None], model.config.alignment_target)
        before, after = (torch.cat(values).cpu() for values in zip(*similarities, strict=True))
        alignment = AlignmentCapture(
            pairs=tuple(zip(earlier[0].tolist(), later[0].tolist(), strict=True)),
            points=maps.points[:, 0].float().cpu(),
            masks=maps.masks[:, 0].float().cpu(),
            similarity_before=before,
            similarity_after=after,
        )
    return ClipCapture(
        footage=footage,
        img_size=transform.img_size,
        box=transform.crop_boxes(*footage.frames.shape[-2:])[0],
        grid=model.grid_size,
        alignment=alignment,
        rollout=rollout,
        logits=logits,
    )


@contextlib.contextmanager
def recorded_similarity(model: VideoModel) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Within it, every pass adds each block's similarity of pairs before and after the masks, [B, T-1], to the list."""
    target = model.config.alignment_target
    prefix = model.num_tokens - model.grid_size[0] * model.grid_size[1]
    seen: list[tuple[Tensor, Tensor]] = []

    def see(module: nn.Module, arguments: tuple[Any, ...], aligned: Aligned) -> None:
        # In 16 bits, sums over hundreds of patches would be alike for their rounding.
        patches, masks = aligned.message[:, :, prefix:].float(), aligned.maps.masks.float()
        seen.append((pair_similarity(patches, torch.ones_like(masks), target), pair_similarity(patches, masks, target)))

    with contextlib.ExitStack() as stack:
        for block in model.blocks if model.has_points else ():
            stack.callback(cast("nn.Module", block.alignment).register_forward_hook(see).remove)
        yield seen


def choose_blocks(blocks: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """The blocks to show, each once and in order; None are the first, the middle and the last.

    Raises:
        ValueError: A number is out of range, or there are none.
    """
    if blocks is None:
        return tuple(sorted({0, (depth - 1) // 2, depth - 1}))
    if not blocks:
        raise ValueError(f"blocks is empty: give numbers from 0 to {depth - 1}")
    if outside := [block for block in blocks if not 0 <= block < depth]:
        raise ValueError(
            f"blocks {', '.join(map(str, outside))} are out of range: the model has blocks 0 to {depth - 1}"
        )
    return tuple(sorted(set(blocks)))
