"""Files of `torch.save`, read without running anything that stands in their pickle.

Three gates, one behind the other:

1. The pickle's instructions are listed, not run, and every name that they would import is compared with `_HARMLESS`.
2. `torch.load(weights_only=True)` reads the file with torch's own restricted unpickler.
3. What it returns is data; `files.py` takes the tensors out of it and checks each one.

The released ILA checkpoints carry a `yacs.config.CfgNode`. torch's public allow-list takes a stand-in for it, so yacs
need not be installed.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch.serialization import add_safe_globals, clear_safe_globals, get_safe_globals

from .errors import CheckpointError
from .torch_zip import TorchZip

# How a file of torch.save's legacy format begins: torch's magic number, pickled with protocol 2.
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

# The legacy format is five pickles in a row, then the storages: magic number, protocol, system, object, storage keys.
_LEGACY_PICKLES = 5

# What an unpickler that is fed nonsense may raise. Each of them means "malformed file" here.
MALFORMED_PICKLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


class _Mapping:
    """Stands in for `yacs.config.CfgNode`: torch fills mappings only if they are exactly a dict or an OrderedDict."""

    def __new__(cls, *_: object) -> OrderedDict[str, object]:  # type: ignore[misc]
        return OrderedDict()


class _Forgotten:
    """Stands in for values that nobody reads here (numpy's scalars, argparse's namespaces): keeps nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_STAND_INS: dict[str, type] = {
    "yacs.config.CfgNode": _Mapping,
    "argparse.Namespace": _Forgotten,
    "numpy.dtype": _Forgotten,
    "numpy.core.multiarray.scalar": _Forgotten,
    "numpy._core.multiarray.scalar": _Forgotten,
}

_STORAGES = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")

# Narrower than torch's own list, which also holds classes that allocate whatever the file asks for.
_HARMLESS = frozenset(
    {
        *_STAND_INS,
        *(f"torch.{storage}Storage" for storage in _STORAGES),
        "collections.OrderedDict",
        "collections.Counter",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.nn.parameter.Parameter",
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
    }
)


def list_imports(stream: BinaryIO, *, size: int, path: Path) -> set[str]:
    """List what a pickle would import, without running it.

    Args:
        stream: At the pickle's first byte; left behind its last.
        size: Bytes that the pickle can have at most.
        path: The file, for messages.

    Returns:
        Dotted names, as they stand in the pickle.

    Raises:
        CheckpointError: The pickle is malformed or of another protocol than torch writes.
    """
    imports = set()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "PROTO" and argument != 2:
                raise CheckpointError(
                    f"{path}: written with pickle protocol {argument}; only torch.save's default, protocol 2, is read. "
                    "Load it where it was made and save its state_dict() again."
                )
            if opcode.name in ("GLOBAL", "INST"):
                imports.add(str(argument).replace(" ", ".", 1))
            elif opcode.name == "STACK_GLOBAL" or opcode.name.startswith("EXT"):
                raise CheckpointError(
                    f"{path}: its pickle hides what it imports ({opcode.name}); refused, nothing was run."
                )
            elif opcode.name == "LONG_BINPUT" and isinstance(argument, int) and argument > size:
                # Python's unpickler makes room for that many entries at once.
                raise CheckpointError(f"{path}: its pickle numbers an object {argument} in {size} bytes; refused.")
    except CheckpointError:
        raise
    except MALFORMED_PICKLE as error:
        raise CheckpointError(f"{path}: cut off or damaged, its pickle cannot be followed ({error}).") from error
    return imports


def refuse_imports(names: set[str], *, path: Path) -> None:
    """Raise a CheckpointError that lists `names`, which a pickle asks for and which are not allowed."""
    if names:
        raise CheckpointError(
            f"{path}: refused, nothing in it was run. Its pickle asks for {', '.join(sorted(names))}; only tensors, "
            "plain values and configuration nodes are read. If it is a whole pickled model, load it where it was made "
            "and save its state_dict() with safetensors or torch.save."
        )


@contextlib.contextmanager
def _only_our_stand_ins() -> Iterator[None]:
    """Make torch's allow-list ours alone: with other entries for the same names, chance would decide which one wins."""
    with _ALLOW_LIST_LOCK:
        others = get_safe_globals()
        clear_safe_globals()
        add_safe_globals([(stand_in, name) for name, stand_in in _STAND_INS.items()])
        try:
            yield
        finally:
            clear_safe_globals()
            add_safe_globals(others)


# torch's allow-list belongs to the process, not to the thread.
_ALLOW_LIST_LOCK = threading.Lock()


def load_zip(archive: TorchZip) -> Any:
    """Read a zip file of `torch.save`; its tensors are mapped from the file, not copied.

    Raises:
        CheckpointError: The file asks for code, or is damaged, or packs more than it holds.
    """
    archive.require_stored(archive.records)
    data = archive.read("data.pkl")
    refuse_imports(list_imports(io.BytesIO(data), size=len(data), path=archive.path) - _HARMLESS, path=archive.path)
    if archive.path.name.endswith(".safetensors"):
        # torch.load goes by this ending, whatever the file holds, unless it is given an open file, which it cannot map.
        with archive.path.open("rb") as stream:
            return _load(stream, path=archive.path, map_file=False)
    return _load(archive.path, path=archive.path, map_file=True)


def load_legacy(path: Path) -> Any:
    """Read a file of the format that `torch.save` wrote before torch 1.6.

    Raises:
        CheckpointError: The file asks for code, or is damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        imports = set()
        for _ in range(_LEGACY_PICKLES):
            imports |= list_imports(stream, size=size, path=path)
            refuse_imports(imports - _HARMLESS, path=path)
        stream.seek(0)
        return _load(stream, path=path, map_file=False)


def _load(source: Path | BinaryIO, *, path: Path, map_file: bool) -> Any:
    try:
        with _only_our_stand_ins():
            return torch.load(source, map_location="cpu", weights_only=True, mmap=map_file)
    except MALFORMED_PICKLE as error:
        # Without the original: its text tells people to switch the restriction off.
        raise CheckpointError(f"{path}: cut off or damaged, torch cannot read it ({_reason(error)}).") from None


def _reason(error: BaseException) -> str:
    lines = str(error).rpartition("WeightsUnpickler error:")[2].strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
