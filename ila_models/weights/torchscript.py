"""TorchScript archives, such as OpenAI's `ViT-B-16.pt`, read as data: the programs inside are never loaded.

`torch.jit.load` would run what the archive says, and `torch.load(weights_only=True)` refuses archives. Their `data.pkl`
is a pickle of the module tree, so it goes through an unpickler that knows a few names: modules become bags of
attributes, tensors become views into the mapped file, and every other name is refused.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections import OrderedDict
from typing import Any, NamedTuple

import torch

from .errors import CheckpointError
from .pickles import MALFORMED_PICKLE, list_imports, refuse_imports
from .torch_zip import TorchZip

_DTYPES = {
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.BoolStorage": torch.bool,
    "torch.ByteStorage": torch.uint8,
    "torch.CharStorage": torch.int8,
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.IntStorage": torch.int32,
    "torch.LongStorage": torch.int64,
    "torch.ShortStorage": torch.int16,
}

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


class _Storage(NamedTuple):
    data: torch.UntypedStorage
    dtype: torch.dtype


def _first(value: object, *_: object) -> object:
    """Undo TorchScript's type tags on lists and dicts, and parameters' wrappers: the value is the first argument."""
    return value


def _rebuild_tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> torch.Tensor:
    """Make the view that the pickle describes, if it lies within its storage."""
    if not (isinstance(storage, _Storage) and isinstance(offset, int) and isinstance(size, tuple)):
        raise pickle.UnpicklingError("a tensor is not described by a storage, an offset and sizes")
    if not isinstance(stride, tuple) or len(stride) != len(size):
        raise pickle.UnpicklingError(f"a tensor of size {size} and stride {stride}")
    if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
        raise pickle.UnpicklingError(f"a tensor of size {size}, stride {stride} and offset {offset}")
    elements = storage.data.nbytes() // storage.dtype.itemsize
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if 0 not in size and last >= elements:
        raise pickle.UnpicklingError(
            f"a tensor of size {size}, stride {stride} and offset {offset} in {elements} elements"
        )
    return torch.empty(0, dtype=storage.dtype).set_(storage.data, offset, size, stride)


_FUNCTIONS = {
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch.jit._pickle.build_intlist": _first,
    "torch.jit._pickle.build_doublelist": _first,
    "torch.jit._pickle.build_boollist": _first,
    "torch.jit._pickle.build_tensorlist": _first,
    "torch.jit._pickle.restore_type_tag": _first,
    "collections.OrderedDict": OrderedDict,
}


def _is_allowed(name: str) -> bool:
    return name in _DTYPES or name in _FUNCTIONS or name.startswith("__torch__.")


class _ArchiveUnpickler(pickle.Unpickler):
    def __init__(self, archive: TorchZip, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._archive = archive
        # A private mapping: writing to a tensor never reaches the file.
        self._mapped = torch.UntypedStorage.from_file(str(archive.path), False, archive.size)
        self._storages: dict[tuple[object, object], _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if full_name.startswith("__torch__."):
            return _Module
        if full_name in _FUNCTIONS:
            return _FUNCTIONS[full_name]
        if full_name in _DTYPES:
            return _DTYPES[full_name]
        raise pickle.UnpicklingError(f"it asks for {full_name}")

    def persistent_load(self, pid: Any) -> _Storage:
        if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"it refers to {pid!r}, which is not a storage")
        _, dtype, key, _, elements = pid  # the fourth is the device that it was saved from
        if (dtype, key) not in self._storages:
            self._storages[dtype, key] = self._map_storage(dtype, key, elements)
        return self._storages[dtype, key]

    def _map_storage(self, dtype: object, key: object, elements: object) -> _Storage:
        record = f"data/{key}"
        if not isinstance(dtype, torch.dtype) or type(elements) is not int or record not in self._archive.records:
            raise pickle.UnpicklingError(f"it refers to a storage {key!r} that the archive does not hold")
        size = self._archive.records[record].file_size
        if elements * dtype.itemsize != size:
            raise pickle.UnpicklingError(
                f"storage {record} should have {elements} elements of {dtype}, it has {size} bytes"
            )
        start = self._archive.start(record)
        return _Storage(self._mapped[start : start + size], dtype)


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
    if "byteorder" in archive.records and archive.read("byteorder") != sys.byteorder.encode():
        raise CheckpointError(
            f"{archive.path}: its numbers are not {sys.byteorder}-endian, as this machine's are. Load it where it was "
            "made and save its state_dict() with safetensors."
        )
    archive.require_stored(name for name in archive.records if name == "data.pkl" or name.startswith("data/"))
    data = archive.read("data.pkl")
    imports = list_imports(io.BytesIO(data), size=len(data), path=archive.path)
    refuse_imports({name for name in imports if not _is_allowed(name)}, path=archive.path)
    try:
        root = _ArchiveUnpickler(archive, data).load()
    except CheckpointError:
        raise
    except MALFORMED_PICKLE as error:
        raise CheckpointError(f"{archive.path}: refused or damaged TorchScript archive: {error}.") from error
    if not isinstance(root, _Module):
        raise CheckpointError(f"{archive.path}: a TorchScript archive of a {type(root).__name__}, not of a module.")
    return _named_tensors(root, archive)


def _named_tensors(root: _Module, archive: TorchZip) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
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
            if isinstance(value, torch.Tensor):
                tensors[f"{prefix}{name}"] = value
            elif isinstance(value, _Module):
                waiting.append((f"{prefix}{name}.", value, depth + 1))
    return tensors
