"""Pickles that torch wrote, read as data: what a file would have Python call is never called.

Two gates, one behind the other, and both see the same bytes:

1. `check_pickle` lists the instructions without following them. Every name that they would import is compared with the
   names that the reader knows, and instructions that would cost more memory or time than their bytes are refused.
2. `InertUnpickler` follows them. Every name stands for a few lines of ours that keep a description or nothing. A tensor
   becomes a `StoredTensor`, which is checked to lie within its storage before anybody looks at its values.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch

from .errors import CheckpointError

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

STORAGES: Mapping[str, torch.dtype] = {
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

# Tuples can be keys of a dict, and then Python walks them whole. Shared ones could make that walk endless.
_LARGEST_TUPLE = 10_000
_MOST_ELEMENTS = 1 << 60
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")

# All that torch writes, and all that torch.load(weights_only=True) reads. INST is here for the name that it gives away.
_INSTRUCTIONS = frozenset(
    {
        *("PROTO", "STOP", "MARK"),
        *("GLOBAL", "INST", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
        *("APPEND", "APPENDS", "SETITEM", "SETITEMS"),
        *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"),
        *("NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINSTRING"),
        *("BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT"),
    }
)


class Storage(NamedTuple):
    """A storage that a pickle speaks of.

    Attributes:
        dtype: Of its elements.
        key: Its name in the file.
        elements: How many it has.
    """

    dtype: torch.dtype
    key: str
    elements: int

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return self.elements * self.dtype.itemsize


class StoredTensor(NamedTuple):
    """A view into a storage, which it does not leave. Offset and strides are counted in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def view(self, data: torch.UntypedStorage) -> torch.Tensor:
        """The tensor itself, once its storage's bytes are there."""
        return torch.empty(0, dtype=self.storage.dtype, device="cpu").set_(data, self.offset, self.size, self.stride)


class Mapped(dict[Any, Any]):
    """Stands in for `OrderedDict` and for `yacs.config.CfgNode`: keeps entries, no attributes."""

    __slots__ = ()

    def __setstate__(self, _: object) -> None:
        """Keeps no attributes."""


class Forgotten:
    """Stands in for values that nobody reads here (numpy's scalars, sets, argparse's namespaces): keeps nothing."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        """Takes what any class would take."""

    def __setstate__(self, _: object) -> None:
        """Keeps no attributes."""


class Function:
    """Stands in for a function that a pickle may name. It cannot be given attributes, as the function itself could."""

    __slots__ = ("_body",)

    def __init__(self, body: Callable[..., object]) -> None:
        """Makes a stand-in that does what ``body`` does."""
        self._body = body

    def __call__(self, *arguments: object) -> object:
        """Does it."""
        return self._body(*arguments)

    def __setstate__(self, _: object) -> None:
        """Refuses attributes."""
        raise pickle.UnpicklingError("it gives attributes to a function")


def _first(value: object, *_: object) -> object:
    return value


def _describe_tensor(storage: object, offset: object, size: object, stride: object, *others: object) -> StoredTensor:
    if not (isinstance(storage, Storage) and type(offset) is int and type(size) is tuple and type(stride) is tuple):
        raise pickle.UnpicklingError("a tensor is not described by a storage, an offset, sizes and strides")
    if len(stride) != len(size) or any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
        raise pickle.UnpicklingError("a tensor has sizes, strides or an offset that no tensor can have")
    if math.prod(length or 1 for length in size) > _MOST_ELEMENTS or any(step > _MOST_ELEMENTS for step in stride):
        raise pickle.UnpicklingError("a tensor has sizes or strides that cannot be counted in 64 bits")
    if len(others) > 2 and others[2]:
        raise pickle.UnpicklingError("a tensor is to be conjugated or negated when it is read")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if (offset if 0 in size else last + 1) > storage.elements:
        raise pickle.UnpicklingError(f"a tensor reaches outside the {storage.elements} elements of its storage")
    return StoredTensor(storage, offset, size, stride)


FIRST = Function(_first)
"""The first argument, as it is: for wrappers that say nothing about the values."""

REBUILD_TENSOR = Function(_describe_tensor)
"""A `StoredTensor`, for the functions by which torch rebuilds tensors."""


def check_pickle(stream: BinaryIO, *, size: int, path: Path, is_allowed: Callable[[str], bool]) -> None:
    """Look a pickle's instructions over, without following them.

    Args:
        stream: At the pickle's first byte; left behind its last.
        size: Bytes that the pickle can have at most.
        path: The file, for messages.
        is_allowed: Whether a dotted name, as it stands in the pickle, may be asked for.

    Raises:
        CheckpointError: The pickle asks for other names, is malformed, of another protocol than torch writes, or would
            cost more than its bytes.
    """
    imports: set[str] = set()
    try:
        sizes = _TupleSizes()
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "PROTO" and argument != 2:
                raise CheckpointError(
                    f"{path}: written with pickle protocol {argument}; only torch.save's default, protocol 2, is read. "
                    "Load it where it was made and save its state_dict() again."
                )
            if opcode.name in ("GLOBAL", "INST"):
                imports.add(str(argument).replace(" ", ".", 1))
            elif opcode.name not in _INSTRUCTIONS:
                raise CheckpointError(
                    f"{path}: refused, nothing in it was run. Its pickle uses {opcode.name}, which torch never writes."
                )
            elif opcode.name == "LONG_BINPUT" and isinstance(argument, int) and argument > size:
                # Python's unpickler makes room for that many entries at once.
                raise CheckpointError(f"{path}: its pickle numbers an object {argument} in {size} bytes; refused.")
            if sizes.follow(opcode, argument) > _LARGEST_TUPLE:
                raise CheckpointError(
                    f"{path}: its pickle holds a tuple that unfolds to more than {_LARGEST_TUPLE} values; refused."
                )
    except CheckpointError:
        raise
    except MALFORMED_PICKLE as error:
        if not refused(imports, is_allowed):
            raise CheckpointError(f"{path}: cut off or damaged, its pickle cannot be followed ({error}).") from error
    if names := refused(imports, is_allowed):
        raise CheckpointError(
            f"{path}: refused, nothing in it was run. Its pickle asks for {', '.join(names)}; only tensors, "
            "plain values and configuration nodes are read. If it is a whole pickled model, load it where it was made "
            "and save its state_dict() with safetensors or torch.save."
        )


def refused(names: set[str], is_allowed: Callable[[str], bool]) -> list[str]:
    """The names that are not allowed, sorted."""
    return sorted(name for name in names if not is_allowed(name))


class _TupleSizes:
    """Follows a pickle's stack, on which every value is the number of values that it unfolds to; 1 unless a tuple."""

    def __init__(self) -> None:
        self._stack: list[int | None] = []  # None is a mark
        self._memo: dict[int, int] = {}

    def follow(self, opcode: pickletools.OpcodeInfo, argument: Any) -> int:
        """Does one instruction, and tells the size of the largest value that it leaves on the stack."""
        stack, before = self._stack, opcode.stack_before
        if opcode.name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._value()
            return 1
        if opcode.name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
            return 1
        taken: list[int] = []
        below = len(before)
        if pickletools.markobject in before:
            below = before.index(pickletools.markobject)
            while (value := stack.pop()) is not None:
                taken.append(value)
        for _ in range(below):
            taken.append(self._value())
            stack.pop()
        size = min(1 + sum(taken), 2 * _LARGEST_TUPLE) if opcode.name in _TUPLES else 1
        stack.extend(None if kind is pickletools.markobject else size for kind in opcode.stack_after)
        return size

    def _value(self) -> int:
        value = self._stack[-1]
        if value is None:
            raise pickle.UnpicklingError("a mark where a value should be")
        return value


class InertUnpickler(pickle.Unpickler):
    """Follows a pickle that `check_pickle` has let through.

    Attributes:
        storages: The storages that the pickle spoke of, by key.
    """

    def __init__(self, stream: BinaryIO, stand_ins: Callable[[str], Any], *, size: int) -> None:
        """Makes an unpickler.

        Args:
            stream: At the pickle's first byte.
            stand_ins: From a dotted name to what stands in for it; a KeyError refuses the name.
            size: Bytes of the pickle, and the most entries that it may have put from lists into dicts.
        """
        super().__init__(stream, encoding="utf-8")
        self._stand_ins = stand_ins
        self._entries_left = size
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Gives the stand-in; nothing is imported."""
        full_name = f"{module}.{name}"
        if full_name in STORAGES:
            return STORAGES[full_name]
        if full_name == "collections.OrderedDict":
            return Function(self._mapping)
        try:
            return self._stand_ins(full_name)
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {full_name}") from None

    def persistent_load(self, pid: Any) -> Storage:
        """Describes a storage."""
        # Other values in messages only by their types: their texts could be endless.
        if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
            raise pickle.UnpicklingError("it refers to something that is not a storage")
        _, dtype, key, _, elements, *view = pid  # the fourth is the device that it was saved from
        if not isinstance(dtype, torch.dtype) or type(key) is not str or type(elements) is not int or elements < 0:
            raise pickle.UnpicklingError("it refers to a storage without a type, a name or a length")
        if view not in ([], [None]):
            raise pickle.UnpicklingError("it refers to a part of a storage, as very old versions of torch did")
        storage = Storage(dtype, key, elements)
        if self.storages.setdefault(key, storage) != storage:
            raise pickle.UnpicklingError("it gives one storage two types or lengths")
        return storage

    def _mapping(self, pairs: object = ()) -> Mapped:
        if not isinstance(pairs, list | tuple):
            raise pickle.UnpicklingError(f"it makes a dict of a {type(pairs).__name__}")
        self._entries_left -= len(pairs)
        if self._entries_left < 0:
            raise pickle.UnpicklingError("it copies a list again and again")
        return Mapped(pairs)


def follow_pickle(data: bytes, stand_ins: Callable[[str], Any], *, path: Path) -> tuple[Any, dict[str, Storage]]:
    """Follow a pickle that `check_pickle` has let through.

    Returns:
        What it describes, with stand-ins in it, and the storages that it speaks of by key.

    Raises:
        CheckpointError: It is malformed, or says what cannot be.
    """
    unpickler = InertUnpickler(io.BytesIO(data), stand_ins, size=len(data))
    try:
        return unpickler.load(), unpickler.storages
    except MALFORMED_PICKLE as error:
        raise CheckpointError(f"{path}: refused or damaged, its pickle cannot be read: {error}.") from error
