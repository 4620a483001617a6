"""Running statistics that processes have each of their own part."""

from __future__ import annotations

import torch.distributed as dist
from torch import nn


def share_buffers(*modules: nn.Module | None) -> None:
    """Gives the first process' buffers to all, so that they measure, and go on with, what it saves; None is left out.

    Parameters are alike already: all processes step by the same gradient.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    for module in modules:
        if module is not None:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)
