"""TorchScript archives, such as OpenAI's `ViT-B-16.pt`, read as data: the programs inside are never loaded.

`torch.jit.load` would run what the archive says, and `torch.load(weights_only=True)` refuses archives. Their `data.pkl`
is a pickle of the module tree, which `unpickler.py` follows: modules become bags of attributes, tensors become views
into the mapped file, and every other name is refused.
"""

from __future__ import annotations

import pickle
from typing import Any

import torch

from .errors import CheckpointError
from .torch_zip import TorchZip
from .unpickler import FIRST, REBUILD_TENSOR, STORAGES, StoredTensor, follow_pickle

# The modules are walked along every path, so that sharing could make a small file endless. CLIP has some 600 modules.
_MOST_MODULES = 100_000
_DEEPEST = 100


class _Module:
    """A module of the archive, reduced to its attributes."""

    attributes: dict[Any, Any]

    def __setstate__(self, state: object) -> None:
        if type(state) is not dict:
            raise pickle.UnpicklingError(f"a module's state is a {type(state).__name__}, not a dict of attributes")
        self.attributes = state


_MODULES = "__torch__."

# TorchScript tags lists and dicts with their types, and wraps parameters: the value is the first argument.
_STAND_INS = {
    "torch._utils._rebuild_tensor_v2": REBUILD_TENSOR,
    "torch._utils._rebuild_parameter": FIRST,
    "torch.jit._pickle.build_intlist": FIRST,
    "torch.jit._pickle.build_doublelist": FIRST,
    "torch.jit._pickle.build_boollist": FIRST,
    "torch.jit._pickle.build_tensorlist": FIRST,
    "torch.jit._pickle.restore_type_tag": FIRST,
}


def _is_allowed(name: str) -> bool:
    return name in _STAND_INS or name in STORAGES or name == "collections.OrderedDict" or name.startswith(_MODULES)


def _stand_in(name: str) -> Any:
    return _Module if name.startswith(_MODULES) else _STAND_INS[name]


def load_torchscript(archive: TorchZip) -> dict[str, torch.Tensor]:
    """Read every tensor attribute of a TorchScript archive's modules.

    Args:
        archive: The archive's directory.

    Returns:
        Tensors by dotted name: parameters and buffers as in the module's state dict, and other tensors that are
        attributes. Attributes that are not tensors (numbers, strings, lists) are settings and are left out.

    Raises:
        CheckpointError: The pickle asks for anything but tensors and modules, or a size in it is a lie.
    """
    archive.require_byte_order()
    archive.require_stored(name for name in archive.records if name == "data.pkl" or name.startswith("data/"))
    data = archive.read_pickle(_is_allowed)
    root, _ = follow_pickle(data, _stand_in, path=archive.path)
    if not isinstance(root, _Module):
        raise CheckpointError(f"{archive.path}: a TorchScript archive of a {type(root).__name__}, not of a module.")
    return _named_tensors(root, archive)


def _named_tensors(root: _Module, archive: TorchZip) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    opened: dict[str, torch.UntypedStorage] = {}
    read = archive.map_storages()
    waiting = [("", root, 0)]
    seen = 0
    while waiting:
        prefix, module, depth = waiting.pop()
        seen += 1
        if seen > _MOST_MODULES or depth > _DEEPEST:
            raise CheckpointError(
                f"{archive.path}: its modules contain each other or number more than {_MOST_MODULES}; that is no model."
            )
        for name, value in getattr(module, "attributes", {}).items():
            if isinstance(value, StoredTensor):
                key = value.storage.key
                if key not in opened:
                    opened[key] = read(value.storage)
                tensors[f"{prefix}{name}"] = value.view(opened[key])
            elif isinstance(value, _Module):
                waiting.append((f"{prefix}{name}.", value, depth + 1))
    return tensors
