"""Reference tensors: a clip made from a seed, and what a model answered to it when it was published.

They stand beside the weights, so that anybody can see that a download, another machine or a later version of the
libraries still gives the same answer.
"""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..data import create_transform
from ..video_model import VideoModel
from ..weights.errors import CheckpointError
from ..whole_files import write_atomically

TOLERANCE = 1e-3
"""Largest difference that counts as the same answer, relative to the largest absolute value of the reference.

Float32 sums in another order, on another processor, differ by far less.
"""

_METADATA_KEY = "ila_models_reference"
_FORMAT_VERSION = 1
_MAX_BYTES = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Replay:
    """How a model's answer to the reference clip compares with the recorded one.

    Attributes:
        path: The file of the reference.
        embedding_difference: Largest difference of the video embedding, relative to its largest recorded value.
        logits_difference: The same of the logits; None where the reference has no classes.
        same_top1: Whether the likeliest class is the recorded one, or two recorded classes are too close to tell; None
            where the reference has no classes.
    """

    path: Path
    embedding_difference: float
    logits_difference: float | None
    same_top1: bool | None

    @property
    def ok(self) -> bool:
        """Whether the model gives the recorded answer, within :data:`TOLERANCE`."""
        differences = (self.embedding_difference, self.logits_difference or 0.0)
        return all(difference <= TOLERANCE for difference in differences) and self.same_top1 is not False

    def check(self) -> None:
        """Refuses a model that gives another answer.

        Raises:
            CheckpointError: It does. The differences are named.
        """
        if self.ok:
            return
        found = f"the video embedding differs by {self.embedding_difference:.2e}"
        if self.logits_difference is not None:
            top = "the same" if self.same_top1 else "another"
            found += f", the logits by {self.logits_difference:.2e}, with {top} likeliest class"
        raise CheckpointError(
            f"{self.path}: the model does not give the recorded answer: {found} (relative to the largest recorded"
            f" value; {TOLERANCE:g} is allowed). Its weights are damaged or others, or a library computes wrongly:"
            f" fetch the repository again; if that does not help, try the latest versions of ila-models and torch, and"
            f" report it"
        )


def make_reference(model: VideoModel, *, seed: int = 0) -> dict[str, Tensor]:
    """Makes a clip and records the model's answer to it, computed on the CPU in float32 and in evaluation mode.

    Args:
        model: Any model with a ``pretrained_cfg``; it is not changed.
        seed: Decides the clip, for a given shape.

    Returns:
        ``frames`` uint8 [T, 3, H, W], as :func:`~ila_models.create_transform` takes them; ``video_embedding`` float32
        [E]; and ``logits`` float32 [C], unless the model has no classes.

    Raises:
        ValueError: The model does not say what it expects of its input.
        CheckpointError: The answer is not finite.
    """
    frames = _moving_pattern(_frames_shape(model), seed)
    answer = _answer(model, frames)
    if broken := [name for name, tensor in answer.items() if not tensor.isfinite().all()]:
        raise CheckpointError(f"the model gives {' and '.join(broken)} that are not finite: its weights are damaged")
    return {"frames": frames, **answer}


def save_reference(tensors: dict[str, Tensor], path: str | os.PathLike[str], *, seed: int = 0) -> None:
    """Writes what :func:`make_reference` made, whole or not at all; the same tensors give the same bytes.

    Args:
        tensors: The reference.
        path: File to write.
        seed: From which the clip was made, for the file's header.

    Raises:
        OSError: The file cannot be written; what stood there is untouched.
    """
    header = {
        "format_version": _FORMAT_VERSION,
        "seed": seed,
        "description": "a synthetic clip (frames) and the model's answer to it, on the CPU in float32",
    }
    # One entry of metadata, since the format does not fix the order of several.
    content = save(dict(sorted(tensors.items())), metadata={_METADATA_KEY: json.dumps(header, sort_keys=True)})
    write_atomically(Path(path), content)


def replay_reference(model: VideoModel, path: str | os.PathLike[str]) -> Replay:
    """Gives a model the recorded clip and compares its answer with the recorded one.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is not a reference, or was made for a model of another shape.
    """
    path = Path(path)
    recorded = _read(path, model)
    answer = _answer(model, recorded["frames"])
    logits_difference = same_top1 = None
    if "logits" in recorded:
        logits_difference = _difference(answer["logits"], recorded["logits"])
        same_top1 = _same_top1(answer["logits"], recorded["logits"])
    return Replay(
        path=path,
        embedding_difference=_difference(answer["video_embedding"], recorded["video_embedding"]),
        logits_difference=logits_difference,
        same_top1=same_top1,
    )


def _frames_shape(model: VideoModel) -> tuple[int, int, int, int]:
    """Shape of the clip: frames that are already resized, unless they would make too large a file.

    The crop is then replayed, and a wrong resizing shows in what is cropped, but not how a version of torchvision
    interpolates, which may differ by one grey level.
    """
    height, width = model.img_size
    short, resized = min(height, width), create_transform(model).resize_to
    frames = model.num_frames
    large = int(height * resized / short + 0.5), int(width * resized / short + 0.5)
    if frames * 3 * large[0] * large[1] <= _MAX_BYTES:
        height, width = large
    return frames, 3, height, width


def _moving_pattern(shape: tuple[int, int, int, int], seed: int) -> Tensor:
    """Waves that travel across the picture, in every colour, under some noise; uint8 [T, 3, H, W]."""
    # RandomState promises the same numbers for ever, unlike numpy's newer generators and torch's.
    random = np.random.RandomState(seed)
    frames, channels, height, width = shape
    time = np.arange(frames).reshape(-1, 1, 1, 1) / frames
    row = np.arange(height).reshape(1, 1, -1, 1) / height
    column = np.arange(width).reshape(1, 1, 1, -1) / width
    picture = np.full(shape, 127.5)
    for _ in range(3):
        down, across, speed = random.uniform(-4, 4, size=(3, 1, channels, 1, 1))
        phase = random.uniform(0, 2 * np.pi, size=(1, channels, 1, 1))
        picture += 30 * np.sin(2 * np.pi * (down * row + across * column + speed * time) + phase)
    picture += random.uniform(-20, 20, size=shape)
    return torch.from_numpy(picture.clip(0, 255).astype(np.uint8))


@torch.inference_mode()
def _answer(model: VideoModel, frames: Tensor) -> dict[str, Tensor]:
    clip = create_transform(model)(frames)[None]
    model = _on_cpu(model)
    tokens = model.forward_features(clip)
    answer = {"video_embedding": model.forward_head(tokens, pre_logits=True)[0]}
    if model.num_classes:
        answer["logits"] = model.forward_head(tokens)[0]
    return {name: tensor.clone() for name, tensor in answer.items()}


def _on_cpu(model: VideoModel) -> VideoModel:
    """The model itself where it computes in float32 on the CPU and in evaluation mode, else a copy that does."""
    floats = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    plain = all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in floats)
    if plain and not any(module.training for module in model.modules()):
        return model
    return copy.deepcopy(model).cpu().float().eval()


def _read(path: Path, model: VideoModel) -> dict[str, Tensor]:
    """The tensors of a reference that fits the model."""
    if not path.is_file():
        raise FileNotFoundError(f"no such reference file: {path}")
    try:
        with safe_open(path, framework="pt") as file:
            version = _format_version(file.metadata(), path)
            if version != _FORMAT_VERSION:
                raise CheckpointError(
                    f"{path}: written in format version {version!r}, this package reads {_FORMAT_VERSION}: upgrade"
                    f" ila-models"
                )
            recorded = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a reference file of ila-models, or damaged: {error}") from error
    _check_fit(recorded, path, model)
    return recorded


def _format_version(metadata: dict[str, str] | None, path: Path) -> object:
    try:
        return json.loads((metadata or {})[_METADATA_KEY])["format_version"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not a reference file of ila-models, its header does not say so: give the file"
            f" test/reference.safetensors of a repository of ours"
        ) from error


def _check_fit(recorded: dict[str, Tensor], path: Path, model: VideoModel) -> None:
    floats = {name: tensor.dtype for name, tensor in recorded.items() if name != "frames"}
    if not {"frames", "video_embedding"} <= recorded.keys() <= {"frames", "video_embedding", "logits"}:
        raise CheckpointError(
            f"{path}: holds {', '.join(sorted(recorded)) or 'nothing'}; a reference has frames, video_embedding and,"
            f" with classes, logits"
        )
    frames = recorded["frames"]
    if frames.dtype != torch.uint8 or frames.ndim != 4 or set(floats.values()) != {torch.float32}:
        raise CheckpointError(
            f"{path}: frames are {frames.dtype} {list(frames.shape)}, the rest {', '.join(map(str, floats.values()))};"
            f" a reference has torch.uint8 [T, 3, H, W] and torch.float32"
        )
    wanted = _frames_shape(model)
    if len(frames) != wanted[0]:
        raise CheckpointError(
            f"{path}: was made for {len(frames)} frames, and this model is built for {wanted[0]}: create it as it was"
            f" published, without num_frames="
        )
    if tuple(frames.shape) != wanted:
        raise CheckpointError(
            f"{path}: its frames are {list(frames.shape[1:])}, and this model's pixels and preprocessing make them"
            f" {list(wanted[1:])}: create it as it was published, without img_size="
        )
    shapes = {name: list(recorded[name].shape) for name in floats}
    expected = {"video_embedding": [model.head_hidden_size]}
    if "logits" in recorded:  # without, the classes are the user's own
        expected["logits"] = [model.num_classes]
    if shapes != expected:
        raise CheckpointError(
            f"{path}: holds {_told(shapes)}, and this model gives {_told(expected)}: create it as it was published,"
            f" without num_classes= or class_names=, or give the reference of its own repository"
        )


def _told(shapes: dict[str, list[int]]) -> str:
    return " and ".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))


def _difference(tensor: Tensor, reference: Tensor) -> float:
    scale = max(float(reference.abs().max()), torch.finfo(torch.float32).tiny)
    return float((tensor - reference).abs().max()) / scale


def _same_top1(logits: Tensor, reference: Tensor) -> bool:
    if int(logits.argmax()) == int(reference.argmax()):
        return True
    first, second = reference.topk(2).values.tolist()
    return first - second <= TOLERANCE * float(reference.abs().max())
