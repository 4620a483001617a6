"""Targets, and the mixing of clips: mixup and cutmix, alike for all frames of a clip."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from timm.data import Mixup
from torch import Tensor

from .config import AugmentationSection


class ClipMixup:
    """timm's mixup and cutmix on clips: the frames of a clip go through as channels, so that all are mixed alike."""

    def __init__(self, section: AugmentationSection, *, num_classes: int) -> None:
        """Makes a mixer; without mixup and cutmix it only smooths the targets."""
        self._num_classes = num_classes
        self._smoothing = section.label_smoothing
        self._mixup = None
        if section.mixup > 0 or section.cutmix > 0:
            self._mixup = Mixup(
                mixup_alpha=section.mixup,
                cutmix_alpha=section.cutmix,
                switch_prob=section.switch,
                label_smoothing=section.label_smoothing,
                num_classes=num_classes,
            )

    def __call__(self, video: Tensor, labels: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
        """Mixes clips [B, T, 3, H, W] with each other, and their labels [B]; what is mixed follows from the seed.

        Clips are mixed in pairs: a batch that is mixed has an even number of them, which is seen to at the start.

        Returns:
            The clips, and targets [B, classes] that sum to one.
        """
        if self._mixup is None:
            return video, smooth(labels, self._num_classes, self._smoothing)
        np.random.seed(seed % 2**32)  # timm draws from numpy's global generator
        mixed, targets = self._mixup(video.flatten(1, 2).contiguous(), labels)
        return mixed.unflatten(1, video.shape[1:3]), targets


def smooth(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Targets [B, classes]: ``1 - smoothing`` on the label, and ``smoothing`` spread over all classes."""
    return F.one_hot(labels, num_classes).float() * (1 - smoothing) + smoothing / num_classes
