"""What is to be extracted, as plain values: made on one machine, done on many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch

from ..class_features import BARE_NAMES
from ..data.decoders import Decoder, check_decoder
from ..factory import load_text_encoder
from ..features.creation import create_for_levels, default_device, default_dtype
from ..features.extractor import FeatureExtractor
from ..features.levels import check_levels
from ..features.windows import Padding, Unit, WindowSettings
from ..settings import Settings, model_name, transform_settings, weights_sha256
from ..video_model import VideoModel, leave_out_video_prompts
from .formats import Format, check_format

VIDEOS_PER_PART = 16
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class ExtractionJob:
    """Which features of videos are wanted, by which model, and in which form.

    Attributes:
        model: Name for :func:`~ila_models.create_model`.
        checkpoint: File of its weights; None fetches the pretrained ones of the name.
        class_names: What a text head chooses among, for the level "logits"; None takes the checkpoint's own.
        text_tower: CLIP checkpoint whose text tower reads class names, where the weights bring none.
        templates: Texts with ``{}`` in the place of a class name.
        video_prompts: Whether what a video shows refines the class names.
        levels: See :data:`~ila_models.features.levels.LEVELS`.
        window: See :class:`~ila_models.FeatureExtractor`, as for the next ones.
        stride: From one window to the next.
        unit: Of both.
        padding: At the end of a video.
        num_frames: Frames that the model sees of a window; None takes the model's.
        format: Of the files.
        videos_per_part: Videos that a process takes at once; files of several videos hold no more than these.
        batch_size: Windows that go through the model at once.
        device: Where the model runs; None takes a GPU if there is one.
        dtype: Of the model, see :data:`DTYPES`; None takes bfloat16 on an NVIDIA GPU and float32 elsewhere.
        compile: Run the model through ``torch.compile``.
        decoder: What decodes videos.
    """

    model: str
    checkpoint: str | None = None
    class_names: Sequence[str] | None = None
    text_tower: str | None = None
    templates: Sequence[str] = BARE_NAMES
    video_prompts: bool = True
    levels: str | Sequence[str] = "clip"
    window: float | None = None
    stride: float | None = None
    unit: Unit = "seconds"
    padding: Padding = "shorten"
    num_frames: int | None = None
    format: Format = "npy"
    videos_per_part: int = VIDEOS_PER_PART
    batch_size: int | Literal["auto"] = "auto"
    device: str | None = None
    dtype: str | None = None
    compile: bool = False
    decoder: Decoder = "pyav"

    def __post_init__(self) -> None:
        """Checks what can be wrong without a model.

        Raises:
            ValueError: A field is out of its range, or the format cannot hold the levels.
            RuntimeError: A package is missing, or the decoder does not work on this machine.
        """
        check_format(self.format, check_levels(self.levels))
        check_decoder(self.decoder)
        WindowSettings(
            num_frames=2 if self.num_frames is None else self.num_frames,
            window=self.window,
            stride=self.stride,
            unit=self.unit,
            padding=self.padding,
        )
        if not isinstance(self.videos_per_part, int) or self.videos_per_part < 1:
            raise ValueError(f"videos_per_part={self.videos_per_part} is out of range: give at least 1")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ValueError(f"dtype={self.dtype!r} is not known: use one of {', '.join(DTYPES)}")

    def on(self, device: torch.device) -> ExtractionJob:
        """The same job for a device, with the dtype that it takes there."""
        dtype = self.dtype or str(default_dtype(device)).removeprefix("torch.")
        return replace(self, device=str(device), dtype=dtype)

    def prepare(self) -> tuple[FeatureExtractor, Settings]:
        """Makes the model, and all that its features depend on but the machine and the processes.

        Raises:
            OSError, ValueError, RuntimeError: There is no such model, or none with these levels.
        """
        levels = check_levels(self.levels)
        with torch.random.fork_rng(devices=[]):
            # CLIP's files leave parts of a model random. They have no effect on most levels, but all processes, and a
            # run that goes on, must have the same ones.
            torch.manual_seed(0)
            model = create_for_levels(
                self.model,
                levels,
                checkpoint_path=self.checkpoint,
                num_frames=self.num_frames,
                **({} if self.class_names is None else {"class_names": self.class_names}),
                templates=self.templates,
                **({} if self.text_tower is None else {"text_encoder": load_text_encoder(self.text_tower)}),
            )
        if not self.video_prompts:
            leave_out_video_prompts(model)
        weights = weights_sha256(model)  # before it is rearranged
        extractor = self.extractor_of(model.fuse())
        settings = {
            "model": model_name(model),
            "weights_sha256": weights,
            "class_names": list(model.class_names) if "logits" in levels and model.class_names else None,
            "video_prompts": model.has_video_prompts,
            "levels": list(levels),
            **asdict(extractor.settings),
            **transform_settings(extractor.transform),
            "dtype": str(model.temporal.pos_embed.dtype).removeprefix("torch."),
            "decoder": self.decoder,
            "format": self.format,
            "videos_per_part": self.videos_per_part,
            "batch_size": self.batch_size,
            "compile": self.compile,
        }
        return extractor, settings

    def extractor_of(self, model: VideoModel) -> FeatureExtractor:
        """What takes the features, by a model of the job's."""
        device = default_device() if self.device is None else torch.device(self.device)
        return FeatureExtractor(
            model,
            levels=self.levels,
            window=self.window,
            stride=self.stride,
            unit=self.unit,
            padding=self.padding,
            batch_size=self.batch_size,
            decoder=self.decoder,
            device=device,
            dtype=default_dtype(device) if self.dtype is None else getattr(torch, self.dtype),
            compile=self.compile,
        )
