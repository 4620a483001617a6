"""Multiply-adds, counted by torch's own counter on the meta device. One multiply-add counts as one, as in the paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count(run: Callable[[], Any]) -> FlopCounterMode:
    """Counts what ``run`` computes; the counter's own numbers are of two operations a multiply-add."""
    # The plain form of attention, whose products every version of the counter sees.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter


def multiply_adds(run: Callable[[], Any]) -> int:
    """Multiply-adds of ``run``."""
    return count(run).get_total_flops() // 2


def multiply_adds_by_module(run: Callable[[], Any]) -> dict[str, int]:
    """Multiply-adds of ``run`` by the name of the module, its children's included."""
    return {name: sum(flops.values()) // 2 for name, flops in count(run).get_flop_counts().items()}


def parameters(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
