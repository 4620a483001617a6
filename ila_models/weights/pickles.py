"""Files of `torch.save`, in both formats, read without running anything that stands in their pickle.

`unpickler.py` follows the pickles, and only the tensors of the state dict are then taken from the file. What else a
training program saved, the released ILA checkpoints' `yacs.config.CfgNode` for one, is kept as plain values or not at
all, so none of those packages need be installed.
"""

from __future__ import annotations

import itertools
import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from .errors import CheckpointError
from .torch_zip import TorchZip
from .unpickler import (
    FIRST,
    REBUILD_TENSOR,
    STORAGES,
    Forgotten,
    Mapped,
    Storage,
    StoredTensor,
    check_pickle,
    follow_pickle,
)

# How a file of torch.save's legacy format begins: torch's magic number, pickled with protocol 2.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

# The legacy format is five pickles in a row, then the storages: magic number, protocol, system, object, storage keys.
_LEGACY_PICKLES = 5
_LEGACY_COUNT = struct.Struct("<q")

_STAND_INS: dict[str, Any] = {
    "torch._utils._rebuild_tensor": REBUILD_TENSOR,
    "torch._utils._rebuild_tensor_v2": REBUILD_TENSOR,
    "torch._utils._rebuild_parameter": FIRST,
    "torch.nn.parameter.Parameter": FIRST,
    "yacs.config.CfgNode": Mapped,
    **dict.fromkeys(
        (
            "argparse.Namespace",
            "collections.Counter",
            "numpy.dtype",
            "numpy.core.multiarray.scalar",
            "numpy._core.multiarray.scalar",
            "torch.Size",
            "torch.device",
            "torch.float16",
            "torch.bfloat16",
            "torch.float32",
            "torch.float64",
            "torch.int64",
            # set, complex and bytes, as Python 3 writes them for protocol 2
            "__builtin__.set",
            "builtins.set",
            "__builtin__.complex",
            "builtins.complex",
            "_codecs.encode",
        ),
        Forgotten,
    ),
}

_HARMLESS = frozenset({*_STAND_INS, *STORAGES, "collections.OrderedDict"})


def load_zip(archive: TorchZip) -> Any:
    """Read a zip file of `torch.save`; its tensors are mapped from the file, not copied.

    Raises:
        CheckpointError: The file asks for code, or is damaged, or packs more than it holds.
    """
    archive.require_stored(archive.records)
    archive.require_byte_order()
    data = archive.read_pickle(_HARMLESS.__contains__)
    content, _ = follow_pickle(data, _STAND_INS.__getitem__, path=archive.path)
    return _with_tensors(content, archive.map_storages())


def load_legacy(path: Path) -> Any:
    """Read a file of the format that `torch.save` wrote before torch 1.6; its tensors are copies.

    Raises:
        CheckpointError: The file asks for code, or is damaged.
    """
    size = path.stat().st_size
    # Mapped, since a pickle's longest text would be made room for before a file is found to be shorter.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        ends = [0]
        for _ in range(_LEGACY_PICKLES):
            check_pickle(cast(BinaryIO, stream), size=size, path=path, is_allowed=_HARMLESS.__contains__)
            ends.append(stream.tell())
        stream.seek(0)
        pickles = [stream.read(end - start) for start, end in itertools.pairwise(ends)]
    # The first three say nothing: the magic number, the protocol, which has never changed, and the writer's integers.
    content, storages = follow_pickle(pickles[3], _STAND_INS.__getitem__, path=path)
    keys, _ = follow_pickle(pickles[4], _STAND_INS.__getitem__, path=path)
    starts = _legacy_starts(keys, storages, path=path, start=ends[-1], size=size)
    mapped = torch.UntypedStorage.from_file(str(path), False, size)

    def copied(storage: Storage) -> torch.UntypedStorage:
        # Copied, because nothing in this format is aligned.
        start = starts[storage.key]
        return torch.UntypedStorage(storage.nbytes).copy_(mapped[start : start + storage.nbytes])

    return _with_tensors(content, copied)


def _legacy_starts(keys: Any, storages: dict[str, Storage], *, path: Path, start: int, size: int) -> dict[str, int]:
    """Where each storage's first byte is: behind its count of elements, in the order of ``keys``."""
    starts: dict[str, int] = {}
    damaged = CheckpointError(f"{path}: cut off or damaged, its storages are not those that its tensors need.")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise damaged
    with path.open("rb") as stream:
        for key in keys:
            stream.seek(start)
            count = stream.read(_LEGACY_COUNT.size)
            start += _LEGACY_COUNT.size
            starts[key] = start
            start += storages[key].nbytes
            if len(count) < _LEGACY_COUNT.size or start > size:
                raise damaged
            if _LEGACY_COUNT.unpack(count)[0] != storages[key].elements:
                raise damaged
    return starts


def _with_tensors(content: Any, read: Callable[[Storage], torch.UntypedStorage]) -> Any:
    """Put tensors where their descriptions are: at the top and in dicts, where a state dict may stand."""
    opened: dict[str, torch.UntypedStorage] = {}

    def tensor(value: Any) -> Any:
        if not isinstance(value, StoredTensor):
            return value
        if value.storage.key not in opened:
            opened[value.storage.key] = read(value.storage)
        return value.view(opened[value.storage.key])

    if not isinstance(content, dict):
        return tensor(content)
    return {
        name: {inner: tensor(entry) for inner, entry in value.items()} if isinstance(value, dict) else tensor(value)
        for name, value in content.items()
    }
