"""The models that the app offers: loaded when first asked for, and told which classes to choose among."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from ..factory import load_text_encoder
from ..heads import TextHead
from ..ila_vit import ILAVisionTransformer
from ..text import TextEncoder
from ..video_model import VideoModel, create_video_model
from .refusal import RefusedError

MOST_CLASSES = 200
"""Names that a person may type: more make a page slow that is for trying things."""
_MOST_LETTERS = 200
_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model, and what it chose among when it was loaded.

    Attributes:
        name: As the page lists it.
        model: In evaluation mode; its classes change with what is asked.
        own_names: Of its own classes; None where it has none, or does not know their names.
        own_features: Text features of its own classes; None without a text head.
        text_encoder: Reads class names that somebody types; None where they cannot be read.
    """

    name: str
    model: VideoModel
    own_names: tuple[str, ...] | None
    own_features: Tensor | None
    text_encoder: TextEncoder | None

    def choose_classes(self, names: Sequence[str]) -> None:
        """Makes the model choose among these names, or among its own classes where there are none.

        Raises:
            RefusedError: It cannot; the message says why.
        """
        if names and self.text_encoder is None:
            raise RefusedError(
                f"{self.name} knows its own classes only, and cannot read others. Please leave the class names empty."
            )
        model = self.model
        if names and self.text_encoder is not None and isinstance(model, ILAVisionTransformer):
            # Not by set_classes, which keeps what it has read on the disk: anybody types names here.
            model.set_text_features(self.text_encoder(names), names)
        elif self.own_features is not None and len(self.own_features) and isinstance(model, ILAVisionTransformer):
            model.set_text_features(self.own_features, self.own_names)
        elif self.model.has_text_head or not self.model.num_classes:
            raise RefusedError(f"{self.name} has no classes of its own. Please type at least two class names.")


class OfferedModels:
    """The models of the page's list.

    Attributes:
        names: In the order of the list, the first of which is chosen at the start.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        checkpoint: str | None = None,
        text_tower: str | None = None,
        num_frames: int | None = None,
        device: str = "cpu",
    ) -> None:
        """Keeps the arguments; models are loaded by :meth:`lend`.

        Args:
            names: For :func:`~ila_models.create_model`; at least one, each once.
            checkpoint: Weights of the only name; None takes the pretrained ones.
            text_tower: CLIP checkpoint that reads class names where the weights bring none.
            num_frames: Frames of a clip; None takes each checkpoint's.
            device: Where models run.

        Raises:
            ValueError: There are no names, or two with one checkpoint, or one stands twice.
        """
        if not names or len(set(names)) < len(names):
            raise ValueError(f"models={list(names)}: give at least one, each once")
        if checkpoint is not None and len(names) > 1:
            raise ValueError(
                f"checkpoint={checkpoint!r} is of one model, and {len(names)} are given: {', '.join(names)}"
            )
        self.names = tuple(names)
        self._checkpoint, self._num_frames, self._device = checkpoint, num_frames, device
        self._text_tower = text_tower
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, name: str) -> Iterator[LoadedModel]:
        """Lends a model to one caller at a time; the others wait.

        Raises:
            RefusedError: It is not in the list, or its weights cannot be had.
        """
        if name not in self.names:
            raise RefusedError(f"{name!r} is not offered here. Please choose one of {', '.join(self.names)}.")
        with self._lock:
            if name not in self._loaded:
                while len(self._loaded) >= _KEPT:
                    self._loaded.popitem(last=False)
                try:
                    self._loaded[name] = self._load(name)
                except (OSError, ValueError, RuntimeError) as error:  # as create_model says, for people
                    raise RefusedError(f"{name} cannot be loaded. The reason: {error}") from error
            self._loaded.move_to_end(name)
            yield self._loaded[name]

    def _load(self, name: str) -> LoadedModel:
        model = create_video_model(
            name,
            pretrained=self._checkpoint is None,
            checkpoint_path=self._checkpoint,
            num_frames=self._num_frames,
        ).to(self._device)
        encoder, head = None, getattr(model, "head", None)
        if model.has_text_head and self._text_tower is not None:
            encoder = load_text_encoder(self._text_tower).to(self._device)
        elif isinstance(model, ILAVisionTransformer) and model.text_tensors and model.has_text_head:
            encoder = TextEncoder.from_tensors(model.text_tensors).to(self._device)
        return LoadedModel(
            name=name,
            model=model,
            own_names=model.class_names,
            own_features=head.text_features.clone() if isinstance(head, TextHead) else None,
            text_encoder=encoder,
        )


def read_class_names(text: str) -> list[str]:
    """Class names that somebody typed, separated by commas or lines; blanks round them do not count.

    Raises:
        RefusedError: One alone, too many, one twice, or one that is very long.
    """
    names = [name.strip() for line in text.splitlines() for name in line.split(",") if name.strip()]
    if len(names) == 1:
        raise RefusedError(f"“{names[0]}” alone leaves nothing to choose. Please type at least two class names.")
    if len(names) > MOST_CLASSES:
        raise RefusedError(f"These are {len(names)} class names, and {MOST_CLASSES} is the most that are taken here.")
    if long := [name for name in names if len(name) > _MOST_LETTERS]:
        raise RefusedError(f"The class name “{long[0][:40]}…” is too long. Please give it in a few words.")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise RefusedError(f"These class names stand twice: {', '.join(repeated)}. Please give each once.")
    return names
