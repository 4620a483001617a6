"""Small checkpoint files as other programs write them: CLIP in every layout, and the released training state."""

from __future__ import annotations

import contextlib
import pkgutil
import sys
import types
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ila_models.configs import ILAConfig

State = dict[str, Tensor]

# Heads are 64 wide in every CLIP, and the vocabulary is the tokenizer's; the rest is as small as it can be.
WIDTH, TEXT_WIDTH, EMBED, PATCH, PIXELS, WORDS, POSITIONS = 128, 64, 64, 16, 64, 49408, 77
DEPTH, TEXT_DEPTH = 2, 1

CLIP_CONFIG = ILAConfig(width=WIDTH, depth=DEPTH, patch_size=PATCH, embed_dim=EMBED, img_size=(PIXELS, PIXELS))
"""What the small CLIPs are."""

RELEASED_CONFIG = ILAConfig(
    width=128, depth=3, patch_size=16, embed_dim=64, img_size=(64, 64), num_frames=4, prompt_depth=2
)
"""What the layouts ``k400_tiny`` and, but for the interactive block, ``ssv2_tiny`` of ``parity`` are."""


def openai_clip(*, custom_text: bool = False) -> nn.Module:
    """open_clip's model, whose names are OpenAI's; with ``custom_text`` those that open_clip alone uses."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

    image = CLIPVisionCfg(layers=DEPTH, width=WIDTH, head_width=64, patch_size=PATCH, image_size=PIXELS)
    text = CLIPTextCfg(POSITIONS, WORDS, width=TEXT_WIDTH, heads=TEXT_WIDTH // 64, layers=TEXT_DEPTH)
    return scrambled((CustomTextCLIP if custom_text else CLIP)(EMBED, image, text, quick_gelu=True))


def transformers_clip() -> nn.Module:
    from transformers import CLIPConfig, CLIPModel

    shared = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    text = {
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
        "num_hidden_layers": TEXT_DEPTH,
        "num_attention_heads": TEXT_WIDTH // 64,
        "vocab_size": WORDS,
        "max_position_embeddings": POSITIONS,
    }
    image = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": WIDTH // 64,
        "image_size": PIXELS,
        "patch_size": PATCH,
    }
    return scrambled(CLIPModel(CLIPConfig(text_config=shared | text, vision_config=shared | image, projection_dim=64)))


def timm_clip() -> nn.Module:
    import timm

    sizes = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": WIDTH // 64, "img_size": PIXELS, "patch_size": PATCH}
    model = scrambled(timm.create_model("vit_base_patch32_clip_quickgelu_224", num_classes=EMBED, **sizes))
    nn.init.zeros_(model.head.bias)  # CLIP's projection has none
    return model


def scrambled(model: nn.Module) -> nn.Module:
    """Gives every parameter numbers of its own, so that no two tensors can change places unnoticed."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        scale = 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
        parameter.data = torch.randn(parameter.shape, generator=generator) * scale
    return model.eval()


def half(state: Mapping[str, Tensor]) -> State:
    """A copy in half precision; integers stay."""
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def full(state: Mapping[str, Tensor]) -> State:
    """A copy in single precision; integers stay."""
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def write_plain(path: Path, state: Mapping[str, Tensor]) -> None:
    torch.save(dict(state), path)


def write_under_module(path: Path, state: Mapping[str, Tensor]) -> None:
    """As data-parallel training leaves it."""
    torch.save({"model": {f"module.{name}": value for name, value in state.items()}}, path)


def write_safetensors(path: Path, state: Mapping[str, Tensor]) -> None:
    save_file({name: value.contiguous().clone() for name, value in state.items()}, path)


def write_half(path: Path, state: Mapping[str, Tensor]) -> None:
    torch.save({"model": half(state)}, path)


def write_half_safetensors(path: Path, state: Mapping[str, Tensor]) -> None:
    write_safetensors(path, half(state))


def write_training_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """As the authors' training program writes it, its configuration a ``yacs.config.CfgNode`` included."""
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    with _yacs() as node:
        torch.save(
            {
                "model": OrderedDict((f"module.{name}", value) for name, value in state.items()),
                "optimizer": optimizer.state_dict(),
                "lr_scheduler": {"base_values": [8e-6], "t_in_epochs": False},
                "max_accuracy": 84.0,
                "epoch": 29,
                "config": node({"DATA": node({"NUM_FRAMES": 8, "NUM_CLASSES": 400}), "BASE": [""]}),
            },
            path,
        )


def write_torchscript(path: Path, model: nn.Module) -> None:
    """As OpenAI writes it: an archive in half precision."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making such archives is deprecated, reading those that exist is not
        torch.jit.script(model.half()).save(path)


WRITERS: dict[str, Callable[[Path, Mapping[str, Tensor]], None]] = {
    "plain": write_plain,
    "module": write_under_module,
    "safetensors": write_safetensors,
    "half": write_half,
    "half-safetensors": write_half_safetensors,
    "training-state": write_training_state,
}
"""Ways to write a state dict that are all read."""


def name_architecture(name: str, config: ILAConfig, monkeypatch: pytest.MonkeyPatch) -> str:
    """Gives a configuration a name for the length of a test, so that ``create_model`` makes small models too."""
    for module in ("ila_models.factory", "ila_models.weights.checkpoint"):
        known = pkgutil.resolve_name(module).ARCHITECTURES
        monkeypatch.setattr(f"{module}.ARCHITECTURES", {**known, name: config})
    return name


@contextlib.contextmanager
def _yacs() -> Iterator[type[dict[str, object]]]:
    """A look-alike of yacs's class, which pickles as that one and is gone afterwards."""

    class CfgNode(dict):  # type: ignore[type-arg]
        def __init__(self, values: dict[str, object]) -> None:
            super().__init__(values)
            self.__dict__.update(__immutable__=True, __deprecated_keys__=set(), __new_allowed__=False)

    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    config = types.ModuleType("yacs.config")
    config.CfgNode = CfgNode  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, {"yacs": types.ModuleType("yacs"), "yacs.config": config}):
        yield CfgNode
