"""Batch norms for many processes, or for batches too small for statistics."""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, on any device; torch's own needs a GPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises [B, C, H, W]; in training by the mean and variance over all processes."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        x = input.float()
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums, count = all_reduce(torch.cat([x.sum(dim=(0, 2, 3)), count])).split([self.num_features, 1])
        mean = sums / count
        # In two passes: of a mean far from zero, E[x^2] - E[x]^2 leaves nothing but rounding, and may be negative.
        centred = x - mean[:, None, None]
        variance = all_reduce(centred.square().sum(dim=(0, 2, 3))) / count
        self._track(mean.detach(), variance.detach(), count.detach())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Updates the running statistics as torch does: with the variance that is corrected for its sample."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), momentum)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that uses its running statistics in training as well, and leaves them as they are."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises [B, C, H, W]."""
        return nn.functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


_KINDS: dict[str, type[nn.BatchNorm2d]] = {"synced": SyncedBatchNorm2d, "frozen": FrozenBatchNorm2d}


def convert_batch_norms(model: nn.Module, kind: Literal["local", "synced", "frozen"]) -> None:
    """Makes all batch norms of a model of one kind, in place; parameters, statistics and names stay."""
    if kind == "local":
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                new = _KINDS[kind](child.num_features, eps=child.eps, momentum=child.momentum)
                new.weight, new.bias = child.weight, child.bias
                new.running_mean, new.running_var = child.running_mean, child.running_var
                new.num_batches_tracked = child.num_batches_tracked
                setattr(parent, name, new)
