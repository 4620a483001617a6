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


def layer_elements(model: nn.Module, run: Callable[[], Any]) -> int:
    """Numbers that the layers of a model read and write in ``run``, weights not counted.

    What functions between the layers move (attention's products, concatenations, sums) is not seen: this is less than
    the whole traffic.
    """
    seen = 0

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal seen
        seen += sum(each.numel() for each in (*inputs, output) if isinstance(each, torch.Tensor))

    layers = [layer for layer in model.modules() if not any(True for _ in layer.children())]
    hooks = [layer.register_forward_hook(note) for layer in layers if not isinstance(layer, nn.Identity)]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return seen


def parameters(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
