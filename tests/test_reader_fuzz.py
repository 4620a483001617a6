"""Checkpoint files that nobody wrote on purpose, or somebody wrote on purpose: only the documented errors come back.

Whatever a file holds, reading it ends in a checkpoint or in a CheckpointError, runs nothing, and takes no more memory
than a small file may. Examples are derandomised, so that every run tries the same ones.
"""

from __future__ import annotations

import functools
import io
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from ila_models.configs import ILAConfig
from ila_models.convert import check_sizes
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.weights.clip_names import TABLES
from ila_models.weights.errors import CheckpointError
from ila_models.weights.loading import fit
from ila_models.weights.names import released_names
from ila_models.weights.recognise import read_checkpoint

CONFIG = ILAConfig(
    width=64, depth=1, patch_size=4, embed_dim=64, img_size=(16, 16), num_frames=2, alignment_width=8, prompt_depth=1
)
HEADER = {
    "format_version": 1,
    "kind": "ila",
    "architecture": None,
    "config": {**vars(CONFIG), "img_size": [16, 16]},
    "head": "linear",
    "num_classes": 3,
    "class_names": ["a", "b", "c"],
    "preprocessing": None,
    "source": {"file": "a.pth", "layout": "made up", "sha256": "0"},
}


def few(examples: int) -> settings:
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


# Valid files


@functools.cache
def our_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = ILAVisionTransformer(CONFIG, head="linear", num_classes=3).state_dict()
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


@functools.cache
def released_state() -> dict[str, Tensor]:
    state = {}
    names = released_names(depth=1, interactive="separable", temporal_depth=1, head="linear", prompt_depth=0)
    for theirs, ours in names.items():
        tensor = our_state()[ours]
        if ours == "proj.weight":
            tensor = tensor.T.contiguous()
        elif ours == "cls_token":
            tensor = tensor.flatten()
        elif ours == "pos_embed":
            tensor = tensor[0]
        elif ours.endswith("temporal_conv.weight"):
            tensor = tensor[..., None, None]
        state[theirs] = tensor.contiguous().clone()
    return state


def clip_state(layout: str) -> dict[str, Tensor]:
    """CLIP in one of its layouts; with a text tower of four words where the layout has one."""
    image = released_state()
    state = {}
    for pattern, rule in TABLES[layout].items():  # type: ignore[index]
        if rule.target == "logit_scale":
            continue
        name, target = pattern.replace("{i}", "0"), rule.target.replace("{i}", "0")
        # The text tower's layers are the image tower's, as both are 64 wide.
        like = {
            "token_embedding.weight": torch.zeros(4, 64),
            "text_projection": torch.zeros(64, 64),
            "": torch.zeros(64),
        }
        beside = {"ln_final": "visual.ln_post", "positional_embedding": "visual.positional_embedding"}
        if target in like:
            tensor = like[target].half()
        else:
            known = target if target in image else f"visual.{target}"
            for theirs, ours in beside.items():
                known = known.replace(f"visual.{theirs}", ours)
            tensor = image[known]
        if rule.how in ("q", "k", "v"):
            tensor = tensor.chunk(3)["qkv".index(rule.how)]
        elif rule.how == "transpose":
            tensor = tensor.t()
        elif rule.how in ("flatten", "unbatch"):
            tensor = tensor.reshape(1, -1, 64)
        state[name] = tensor.contiguous().clone()
    return state


def torch_file(content: object, *, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def zip_of(records: Iterable[tuple[str, bytes]], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in records:
            archive.writestr(name, data)
    return stream.getvalue()


def records_of(archive: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return [(name, opened.read(name)) for name in opened.namelist()]


def torchscript_file(state: dict[str, Tensor]) -> bytes:
    """A TorchScript archive of one module whose attributes are ``state``."""
    changed = []
    for name, data in records_of(torch_file(state)):
        if name.endswith("/data.pkl"):
            data = b"\x80\x02c__torch__\nM\n)\x81" + data.removeprefix(b"\x80\x02").removesuffix(b".") + b"b."
        changed.append((name, data))
    return zip_of([*changed, ("archive/constants.pkl", b"\x80\x02).")])


def pickled(data: bytes, kind: str = "zip") -> bytes:
    """A file whose pickle is ``data``, with one storage, "0", of four floats."""
    if kind == "legacy":
        keys = b"\x80\x02](X\x01\x00\x00\x000e."
        return (
            torch_file({}, zipped=False)[: -len(b"\x80\x02}q\x00.\x80\x02]q\x00.")]
            + data
            + keys
            + struct.pack("<q4f", 4, 1, 2, 3, 4)
        )
    records = [("a/data.pkl", data), ("a/version", b"3\n"), ("a/data/0", struct.pack("<4f", 1, 2, 3, 4))]
    return zip_of(records + ([("a/constants.pkl", b"\x80\x02).")] if kind == "torchscript" else []))


def safetensors_file(header: bytes | dict[str, Any], data: bytes) -> bytes:
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def native_file(header: object, tensors: dict[str, Tensor] | None = None) -> bytes:
    text = header if isinstance(header, str) else json.dumps(header)
    return save({**our_state(), **(tensors or {})}, metadata={"ila_models": text})


@functools.cache
def valid_files() -> dict[str, bytes]:
    released = {
        "model": {f"module.{name}": tensor for name, tensor in released_state().items()},
        "optimizer": {
            "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}},
            "param_groups": [{"lr": 1}],
        },
        "lr_scheduler": {"base_values": [8e-6], "t_in_epochs": False},
        "epoch": 29,
    }
    config = b"X\x06\x00\x00\x00configcyacs.config\nCfgNode\n)\x81X\x04\x00\x00\x00BASE]s}X\x03\x00\x00\x00newK\x00sbs."
    training = [
        (name, data.removesuffix(b".") + config if name.endswith("/data.pkl") else data)
        for name, data in records_of(torch_file(released))
    ]
    return {
        "ours": native_file(HEADER),
        "released safetensors": save(released_state()),
        "released zip": torch_file(released),
        "released legacy": torch_file(released, zipped=False),
        "released with configuration": zip_of(training),
        "CLIP archive": torchscript_file(clip_state("openai")),
        **{f"CLIP {layout}": torch_file(clip_state(layout)) for layout in TABLES},
    }


def outcome(content: bytes) -> str:
    """Reads a file and fits it into the model that it describes; anything but a CheckpointError comes through."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pt"
        path.write_bytes(content)
        return outcome_of(path)


def outcome_of(path: Path) -> str:
    try:
        checkpoint = read_checkpoint(path)
        check_sizes(checkpoint)
        with torch.device("meta"):
            model = ILAVisionTransformer(
                checkpoint.config,
                head="text" if checkpoint.kind == "clip" else checkpoint.head,
                num_classes=checkpoint.num_classes,
            )
        fit(model.state_dict(), checkpoint, checkpoint.config)
    except CheckpointError as error:
        said, cause = str(error), error.__cause__
    else:
        return "read"
    assert str(path) in said
    return f"refused: {said}" + (f" (from {cause!r})" if cause else "")


@pytest.mark.parametrize(
    "name",
    ["ours", "released safetensors", "released zip", "released legacy", "released with configuration", "CLIP archive"]
    + [f"CLIP {layout}" for layout in TABLES],
)
def test_the_files_that_are_changed_below_are_read_before(name: str) -> None:
    assert outcome(valid_files()[name]) == "read"


# Changed files


def places(content: bytes) -> st.SearchStrategy[int]:
    """Mostly where a file says what it holds: the beginning and the end."""
    size = len(content)
    edge = min(size, 6000)
    return st.one_of(st.integers(0, edge), st.integers(size - edge, size), st.integers(0, size))


@st.composite
def changed_files(draw: st.DrawFn) -> bytes:
    files = valid_files()
    content = files[draw(st.sampled_from(sorted(files)))]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(places(content))
        change = draw(st.sampled_from(["flip", "set", "cut", "insert", "remove", "splice"]))
        if change == "flip":
            content = (
                content[:place]
                + bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in content[place:][:1])
                + (content[place + 1 :])
            )
        elif change == "set":
            number = draw(st.sampled_from([b"\xff" * 4, b"\x7f", b"\0" * 8, b"\xff" * 8, b".", b"(", b"\x80\x04"]))
            content = content[:place] + number + content[place + len(number) :]
        elif change == "cut":
            content = content[:place]
        elif change == "insert":
            content = content[:place] + draw(st.binary(max_size=20)) + content[place:]
        elif change == "remove":
            content = content[:place] + content[place + draw(st.integers(1, 200)) :]
        else:
            other = files[draw(st.sampled_from(sorted(files)))]
            content = content[:place] + other[draw(places(other)) :]
    return content


@few(250)
@given(changed_files())
def test_changed_bytes(content: bytes) -> None:
    outcome(content)


# Safetensors headers

NUMBERS = st.one_of(
    st.integers(-2, 70), st.sampled_from([2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63)])
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["\ud800", "F32", "ila", "clip", "linear", "text", "none", "separable", "residual"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
DTYPES = st.sampled_from(
    ["F64", "F32", "F16", "BF16", "I64", "I8", "U8", "BOOL", "C64", "U16", "U64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4"]
)
NAMES = st.sampled_from(
    [*released_names(depth=1, interactive="full", temporal_depth=1, head="text", prompt_depth=1)]
    + [name.replace("{i}", "0") for table in TABLES.values() for name in table]
    + ["", ".", "module.", "a", "text.", "\0", "head.bias", "visual.transformer.resblocks.999.ln_1.weight"]
)


@st.composite
def entries(draw: st.DrawFn) -> object:
    if draw(st.integers(0, 5)) == 0:
        return draw(JSON)
    shape = draw(st.lists(NUMBERS, max_size=5))
    begin = draw(st.integers(0, 64))
    return {"dtype": draw(DTYPES), "shape": shape, "data_offsets": [begin, draw(st.integers(0, 64) | NUMBERS)]}


@few(150)
@given(
    st.dictionaries(NAMES | st.text(max_size=3), entries(), max_size=4),
    st.one_of(st.none(), JSON, st.dictionaries(st.just("ila_models"), JSON | st.just("{}"))),
    st.binary(max_size=64),
)
def test_any_safetensors_header(tensors: dict[str, object], metadata: object, data: bytes) -> None:
    header = tensors if metadata is None else {**tensors, "__metadata__": metadata}
    outcome(safetensors_file(header, data))


@st.composite
def consistent_safetensors(draw: st.DrawFn) -> bytes:
    """Tensors under names that mean something, of any type and any small shape, their bytes in place."""
    sizes = {
        "F64": 8,
        "F32": 4,
        "BF16": 2,
        "I64": 8,
        "U8": 1,
        "BOOL": 1,
        "C64": 8,
        "U16": 2,
        "F8_E4M3": 1,
        "F8_E8M0": 1,
    }
    header: dict[str, object] = {}
    end = 0
    base = draw(st.sampled_from([*TABLES, "released", "nothing"]))
    state = {"released": released_state, "nothing": dict}.get(base, lambda: clip_state(base))()
    wanted: dict[str, tuple[int, ...]] = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in draw(st.lists(st.sampled_from(sorted(wanted)), max_size=4)) if wanted else []:
        wanted[name] = tuple(draw(st.lists(st.sampled_from([0, 1, 2, 3, 16, 64]), max_size=4)))
    for name in draw(st.lists(NAMES, max_size=3)):
        wanted[name] = tuple(draw(st.lists(st.integers(0, 4), max_size=6)))
    odd = set(draw(st.lists(st.sampled_from(sorted(wanted)), max_size=3))) if wanted else set()
    for name, shape in wanted.items():
        dtype = draw(st.sampled_from(sorted(sizes))) if name in odd else "U8" if base == "nothing" else "BF16"
        length = sizes[dtype] * torch.Size(shape).numel()
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + length]}
        end += length
    return safetensors_file(header, draw(st.sampled_from([b"\0", b"\x01", b"\xff"])) * end)


@few(120)
@given(consistent_safetensors())
def test_tensors_of_any_shape_and_type(content: bytes) -> None:
    outcome(content)


@pytest.mark.parametrize(
    "content",
    [
        safetensors_file(b"{" + b'"a":[' * 5000 + b"]" * 5000 + b"}", b""),
        safetensors_file(b'{"a\xff":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', bytes(4)),
        safetensors_file(b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},' * 2 + b'"b":{}}', bytes(8)),
        struct.pack("<Q", 2**63) + b'{"a":{}}',
        safetensors_file({"a": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}, b""),
        safetensors_file({"a": {"dtype": "F32", "shape": [1 << 40, 0, 1 << 40], "data_offsets": [0, 0]}}, b""),
        safetensors_file({"__metadata__": {"ila_models": 3}}, b""),
    ],
    ids=["deep", "not UTF-8", "twice", "long", "empty but endless", "empty but large", "metadata"],
)
def test_safetensors_headers_that_lie(content: bytes) -> None:
    assert outcome(content).startswith("refused")


# Headers of our own files


@few(80)
@given(st.dictionaries(st.sampled_from(sorted(HEADER)), JSON, max_size=3), st.data())
def test_any_value_in_our_header(changes: dict[str, object], data: st.DataObject) -> None:
    config = data.draw(st.dictionaries(st.sampled_from(sorted(HEADER["config"])), JSON, max_size=2))  # type: ignore[call-overload]
    header = {**HEADER, "config": {**HEADER["config"], **config}, **changes}  # type: ignore[dict-item]
    text = data.draw(
        st.dictionaries(
            st.sampled_from(["token_embedding.weight", "text_projection", "positional_embedding", "x", "transformer."]),
            st.lists(st.integers(0, 3), max_size=3).map(torch.zeros),
            max_size=2,
        )
    )
    outcome(native_file(header, {f"text.{name}": tensor for name, tensor in text.items()}))


@pytest.mark.parametrize("number", [10**6, 10**9, 2**62, 2**70, 10**400])
@pytest.mark.parametrize("field", ["width", "depth", "patch_size", "embed_dim", "num_frames", "temporal_depth"])
def test_a_model_that_the_file_cannot_hold(field: str, number: int) -> None:
    number -= number % 64
    config: dict[str, Any] = {**vars(CONFIG), "img_size": [16, 16], field: number}
    if field == "patch_size":
        config["img_size"] = [4 * number, 4 * number]
    assert outcome(native_file({**HEADER, "config": config})).startswith("refused")
    assert outcome(
        native_file({**HEADER, "kind": "clip", "head": "none", "num_classes": 0, "config": config})
    ).startswith("refused")


@pytest.mark.parametrize(
    "changes",
    [
        {"num_classes": 10**12, "class_names": None},
        {"config": {**vars(CONFIG), "img_size": [4 * 10**9, 4 * 10**9]}},
        {"config": {**vars(CONFIG), "alignment_width": 8 * 10**8}},
        {"config": {**vars(CONFIG), "prompt_depth": 10**9}, "head": "text"},
        {"head": "linear", "num_classes": 0, "class_names": None},
        {"head": "none"},
        {"kind": "clip"},
        {"class_names": ["a", "b", "a"]},
        {"source": {}},
        {"config": {**vars(CONFIG), "width": float("nan")}},
        {"config": {**vars(CONFIG), "depth": 1.5}},
        {"config": {**vars(CONFIG), "alignment": []}},
        {"config": {**vars(CONFIG), "interactive": {}}},
        {"config": {**vars(CONFIG), "img_size": [-(10**400), 16]}},
        {"config": {**vars(CONFIG), "width": 64 * 10**4290, "embed_dim": 64 * 10**4290}},
    ],
)
def test_headers_that_contradict_themselves(changes: dict[str, object]) -> None:
    assert outcome(native_file({**HEADER, **changes})).startswith("refused")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format_version":' + "9" * 5000 + "}", '{"format_version":1e999}'])
def test_json_that_python_does_not_read(text: str) -> None:
    assert "header" in outcome(native_file(text)) or "version" in outcome(native_file(text))


# Pickles

KINDS = ("zip", "legacy", "torchscript")
CALLABLES = (
    "collections OrderedDict",
    "collections Counter",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch.nn.parameter Parameter",
    "torch Size",
    "torch device",
    "torch float32",
    "torch FloatStorage",
    "builtins set",
    "builtins complex",
    "_codecs encode",
    "yacs.config CfgNode",
    "argparse Namespace",
    "numpy dtype",
    "numpy.core.multiarray scalar",
    "torch.jit._pickle restore_type_tag",
    "__torch__ M",
)


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def named(name: str) -> bytes:
    """The instruction that puts the thing of this name on the stack."""
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


def whole(number: int) -> bytes:
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def storage(elements: int = 4, key: bytes | None = None, dtype: str = "torch FloatStorage") -> bytes:
    return b"(" + text("storage") + named(dtype) + (key or text("0")) + text("cpu") + whole(elements) + b"tQ"


def storage_of(elements: int, kind: str) -> bytes:
    return storage(elements)[:-2] + (b"N" if kind == "legacy" else b"") + b"tQ"


def tensor(size: bytes = b"K\x04\x85", stride: bytes = b"K\x01\x85", offset: int = 0, of: bytes | None = None) -> bytes:
    arguments = (of or storage()) + whole(offset) + size + stride + b"\x89" + named("collections OrderedDict") + b")R"
    return named("torch._utils _rebuild_tensor_v2") + b"(" + arguments + b"tR"


def joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(parts)


ATOMS = st.one_of(
    st.sampled_from([b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f", b"h\x00", b"h\x01", tensor(), storage()]),
    st.integers(-3, 70).map(whole),
    st.sampled_from([2**31, 2**63, -(2**63), 2**200]).map(whole),
    st.sampled_from(["", "model", "state_dict", "latin1", "hex", "a", "\ud800", "__class__", "items"]).map(text),
    st.floats().map(lambda number: b"G" + struct.pack(">d", number)),
    st.sampled_from(CALLABLES).map(named),
)


def compound(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    several = st.lists(inner, max_size=4).map(joined)
    tuples = several.map(lambda parts: b"(" + parts + b"t")
    pairs = st.lists(st.tuples(ATOMS, inner).map(joined), max_size=3).map(joined)
    call = st.tuples(st.sampled_from(CALLABLES).map(named), tuples, st.sampled_from([b"R", b"\x81"])).map(joined)
    return st.one_of(
        tuples,
        several.map(lambda parts: b"](" + parts + b"e"),
        pairs.map(lambda parts: b"}(" + parts + b"u"),
        call,
        st.tuples(call | ATOMS, inner, st.just(b"b")).map(joined),
        st.tuples(call, pairs.map(lambda parts: b"(" + parts + b"u")).map(joined),
        st.tuples(inner, st.sampled_from([b"q\x00", b"q\x01", b"r\x02\0\0\0", b"p3\n", b"2", b"\x85", b"Q"])).map(
            joined
        ),
        st.tuples(ATOMS | inner, ATOMS | inner, ATOMS | inner).map(
            lambda sizes: named("torch._utils _rebuild_tensor_v2") + b"(" + storage() + joined(sizes) + b"\x89NtR"
        ),
    )


VALUES = st.recursive(ATOMS, compound, max_leaves=12)
INSTRUCTIONS = st.one_of(
    st.sampled_from(
        [bytes([code]) for code in b"(.012NRQabdelotu)]}\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98"]
    ),
    ATOMS,
    st.binary(min_size=1, max_size=3),
    st.sampled_from(
        [b"p0\n", b"g0\n", b"q\x00", b"h\x00", b"\x82\x01", b"\x95" + bytes(8), b"P0\n", b"I9\n", b"L9L\n"]
    ),
)
ODD_PICKLES = st.one_of(
    VALUES,
    st.lists(INSTRUCTIONS, max_size=12).map(joined),
    st.tuples(st.just(b"}" + text("model")), VALUES, st.just(b"s")).map(joined),
    st.tuples(
        st.just(b"}" + text("model") + b"}("), st.lists(st.tuples(NAMES.map(text), VALUES).map(joined)).map(joined)
    )
    .map(joined)
    .map(lambda parts: parts + b"us"),
    st.tuples(st.just(named("__torch__ M") + b")\x81}("), st.lists(st.tuples(ATOMS, VALUES).map(joined)).map(joined))
    .map(joined)
    .map(lambda parts: parts + b"ub"),
)


@few(400)
@given(ODD_PICKLES, st.sampled_from(KINDS))
def test_any_pickle(instructions: bytes, kind: str) -> None:
    outcome(pickled(b"\x80\x02" + instructions + b".", kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("elements", [4, 5, 10**9, 2**62, 2**70, -4])
def test_storages_are_as_long_as_the_file_says(kind: str, elements: int) -> None:
    size = whole(max(elements, 0)) + b"\x85"
    value = tensor(size, of=storage_of(elements, kind))
    module = named("__torch__ M") + b")\x81}" + text("a") + value + b"sb."
    content = pickled(b"\x80\x02" + (module if kind == "torchscript" else b"}" + text("a") + value + b"s."), kind)
    said = outcome(content)
    assert ("no known checkpoint: its 1 tensors" in said) == (elements == 4), said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        (whole(5) + b"\x85", whole(1) + b"\x85", 0),
        (whole(10**9) + b"\x85", whole(1) + b"\x85", 0),
        (whole(2**61) + whole(2**61) + b"\x86", whole(0) + whole(0) + b"\x86", 0),
        (whole(1) + b"\x85", whole(2**70) + b"\x85", 0),
        (whole(0) + b"\x85", whole(1) + b"\x85", 5),
        (whole(0) + whole(2**63) + b"\x86", whole(1) + whole(1) + b"\x86", 0),
        (b")", b")", 4),
    ],
)
def test_tensors_stay_within_their_storage(kind: str, size: bytes, stride: bytes, offset: int) -> None:
    value = tensor(size, stride, offset, storage_of(4, kind))
    module = named("__torch__ M") + b")\x81}" + text("a") + value + b"sb."
    content = pickled(b"\x80\x02" + (module if kind == "torchscript" else b"}" + text("a") + value + b"s."), kind)
    assert "its pickle cannot be read: a tensor" in outcome(content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_cannot_be_given_another_size_afterwards(kind: str) -> None:
    state = b"(" + tensor(of=storage_of(4, kind)) + whole(0) + whole(10**9) + b"\x85" + whole(1) + b"\x85tb"
    value = tensor(of=storage_of(4, kind)) + state
    assert outcome(pickled(b"\x80\x02}" + text("a") + value + b"s.", kind)).startswith("refused")


@pytest.mark.parametrize("name", ["torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"])
@pytest.mark.parametrize("kind", KINDS)
def test_functions_take_no_attributes(kind: str, name: str) -> None:
    for state in (b"}" + text("a") + b"Ns", b"N}" + text("__defaults__") + b")s\x86"):
        assert "attributes to a function" in outcome(pickled(b"\x80\x02" + named(name) + state + b"b.", kind))


def test_a_legacy_file_without_its_storages_leaves_no_tensor_unfilled() -> None:
    content = pickled(b"\x80\x02}" + text("a") + tensor(of=storage_of(4, "legacy")) + b"s.", "legacy")
    assert "its 1 tensors" in outcome(content)
    keys = b"\x80\x02](X\x01\x00\x00\x000e."
    assert "storages are not those" in outcome(content.replace(keys, b"\x80\x02]."))
    assert "storages are not those" in outcome(content[:-1])


# Zip archives


@st.composite
def odd_archives(draw: st.DrawFn) -> bytes:
    """Archives with records renamed, doubled, left out or compressed, and with directories that lie."""
    files = valid_files()
    records = records_of(files[draw(st.sampled_from(["released zip", "CLIP archive", "CLIP timm"]))])
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(records) - 1))
        name, data = records[place]
        change = draw(st.sampled_from(["rename", "add", "leave out", "replace"]))
        if change == "leave out" and len(records) > 1:
            del records[place]
        elif change == "replace":
            records[place] = (name, draw(st.binary(max_size=8)))
        else:
            folder = draw(st.sampled_from(["archive/", "ARCHIVE/", "../", "/", "", "a/b/", "archive/data/"]))
            new = folder + draw(
                st.sampled_from(["data.pkl", "DATA.PKL", "version", "byteorder", "0", "x", "constants.pkl"])
            )
            if new not in dict(records):
                records[place : place + (change == "rename")] = [(new, data)]
    content = zip_of(records, compression=draw(st.sampled_from([zipfile.ZIP_STORED] * 3 + [zipfile.ZIP_DEFLATED])))
    directory = content.index(b"PK\x01\x02")
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(directory, len(content) - 1))
        number = draw(st.sampled_from([b"\xff", b"\xff" * 2, b"\xff" * 4, b"\0" * 4, b"\x01", b"\x7f" * 8]))
        content = content[:place] + number + content[place + len(number) :]
    return (
        draw(st.sampled_from([b"", b"PK\x03\x04"])) + content + draw(st.sampled_from([b"", b"\0", content[directory:]]))
    )


@few(150)
@given(odd_archives())
def test_any_archive(content: bytes) -> None:
    outcome(content)


def test_records_of_one_name_and_encrypted_records() -> None:
    records = records_of(valid_files()["released zip"])
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zip_of([*records, records[0]])
    assert "several records have one name" in outcome(twice)
    content = bytearray(zip_of(records))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in outcome(bytes(content))


# Memory and time: files of some kilobytes that would unfold


def doubled(value: bytes, pair: bytes, times: int) -> bytes:
    """``value``, then a pair of it, then a pair of these, ..."""
    return value + joined(b"r" + struct.pack("<I", i) + b"j" + struct.pack("<I", i) + pair for i in range(times))


def bombs() -> dict[str, bytes]:
    encode = named("_codecs encode") + b"q\x00" + text("a" * 500) + text("latin1") + b"\x86R"
    for _ in range(60):
        encode += b"q\x01h\x00h\x01" + text("hex") + b"\x86R"
    lists = (
        b"]r"
        + struct.pack("<I", 0)
        + joined(b"]r" + struct.pack("<I", i + 1) + (b"j" + struct.pack("<I", i) + b"a") * 2 for i in range(60))
    )
    pairs = (
        named("collections OrderedDict")
        + b"q\x00]("
        + joined(whole(i) + b"N\x86" for i in range(600))
        + b"e\x85q\x01("
        + b"h\x00h\x01R" * 1500
        + b"t"
    )
    huge = struct.pack("<I", 2**32 - 1)
    tuples = doubled(b")", b"\x86", 60)
    stored = {
        "tuples as a key": b"}" + tuples + b"Ns",
        "tuples in a set": named("builtins set") + b"](" + tuples + b"e\x85R",
        "tuples as a storage": tuples + b"Q",
        "lists as a storage": lists + b"Q",
        "lists as a storage's key": b"(" + text("storage") + named("torch FloatStorage") + lists + b"NK\x04tQ",
        "lists as a size": tensor(lists + b"\x85", lists + b"\x85"),
        "lists in a module's name": named("__torch__ M") + b")\x81}" + lists + b"Nsb",
        "lists as a state": b"}" + text("model") + lists + b"s",
        "bytes that double": encode,
        "entries copied again and again": pairs,
        "a large memo": b"Nr\xff\xff\xff\x0f",
        "a large memo in words": b"Np268435455\n",
        "a long text": b"X" + huge,
        "long bytes": b"\x8e" + b"\xff" * 7 + b"\0",
        "a long bytearray": b"\x96" + struct.pack("<Q", 1 << 33),
        "a long frame": b"\x95" + struct.pack("<Q", 1 << 33) + b"N",
        "a long number": b"\x8b" + struct.pack("<i", 2**31 - 1),
        "a deep list": b"]" * 30_000 + b"a" * 29_999,
        "a deep tuple": b")" + b"\x85" * 30_000,
        "a bytearray": named("builtins bytearray") + whole(1 << 40) + b"\x85R",
        "a typed array": named("torch FloatTensor") + whole(1 << 40) + b"\x85R",
        "a large storage": b"}" + text("a") + tensor(whole(10**11) + b"\x85", of=storage(10**11)) + b"s",
    }
    files = {
        f"{name}, {kind}": pickled(b"\x80\x02" + data + b".", kind) for name, data in stored.items() for kind in KINDS
    }
    legacy = storage_of(10**11, "legacy")
    files["a large legacy storage"] = pickled(b"\x80\x02}" + text("a") + tensor(of=legacy) + b"s.", "legacy")
    files["a compressed pickle"] = zip_of(
        [("a/data.pkl", bytes(200_000_000)), ("a/version", b"3\n")], compression=zipfile.ZIP_DEFLATED
    )
    for field, number in (("depth", 10**9), ("width", 64 * 10**9), ("temporal_depth", 10**9), ("prompt_depth", 10**9)):
        config = {**vars(CONFIG), "img_size": [16, 16], field: number}
        for kind, head in (("ila", "text"), ("clip", "none")):
            header = {**HEADER, "config": config, "kind": kind, "head": head, "num_classes": 0, "class_names": None}
            files[f"{field} of {number}, {kind}"] = save(
                {"a": torch.zeros(1)}, metadata={"ila_models": json.dumps(header)}
            )
    return files


def in_child(program: str, folder: Path) -> dict[str, Any]:
    """Runs a Python program that reads all files of a folder; a time limit ends what would never end."""
    paths = [str(Path(__file__).parent), *sys.path]
    start = f"import sys; sys.path[:0] = {paths!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", start + program, str(folder)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


MEASURE = """
import gc, json, resource, time
from pathlib import Path
from test_reader_fuzz import outcome_of, CheckpointError
folder = Path(sys.argv[1])
for path in sorted(folder.glob("valid*")):
    assert outcome_of(path) == "read", outcome_of(path)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20), -1))
results = {}
for path in sorted(folder.glob("bomb*")):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    said = outcome_of(path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    results[path.name] = [said[:1000], grown, time.process_time() - started]
print(json.dumps(results))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits and measures of memory are Linux's")
def test_small_files_take_little_memory(tmp_path: Path) -> None:
    names = {}
    for number, (name, content) in enumerate(bombs().items()):
        assert len(content) < 250_000, name
        names[f"bomb{number:03}"] = name
        (tmp_path / f"bomb{number:03}").write_bytes(content)
    for number, content in enumerate(valid_files().values()):
        (tmp_path / f"valid{number}").write_bytes(content)
    results = in_child(MEASURE, tmp_path)
    assert sorted(results) == sorted(names)
    for number, (said, megabytes, _) in results.items():
        assert said.startswith("refused"), names[number]
        # An allocation that only the limit stopped would have been made without it.
        assert "MemoryError" not in said, names[number]
        assert "allocate" not in said, names[number]
        assert megabytes < 64, names[number]


# Code

HOSTILE = (
    "os system",
    "posix system",
    "builtins eval",
    "builtins exec",
    "builtins getattr",
    "builtins __import__",
    "builtins open",
    "__builtin__ eval",
    "subprocess Popen",
    "functools partial",
    "importlib import_module",
    "runpy run_path",
    "webbrowser open",
    "operator attrgetter",
    "pickle loads",
    "pty spawn",
    "shutil rmtree",
    "socket create_connection",
    "torch load",
    "torch.hub load",
    "torch.jit load",
    "torch.jit._script script",
    "torch.utils.cpp_extension load_inline",
    "torch.storage _load_from_bytes",
    "torch.serialization add_safe_globals",
    "torch._utils _rebuild_wrapper_subclass",
    "torch._tensor _rebuild_from_type_v2",
    "torch._dynamo optimize",
    "numpy.testing._private.utils runstring",
    "ila_models.weights.unpickler Function",
    "collections OrderedDict.__init__.__globals__",
    "__torch_ M",
)


def hostile_files(canary: Path) -> dict[str, bytes]:
    """Every name, called in every way, in every place of a training state, in every kind of file."""
    command = text(f"touch {canary}")
    ways: tuple[Callable[[str], bytes], ...] = (
        lambda name: named(name) + command + b"\x85R",
        lambda name: b"(" + command + b"i" + named(name)[1:],
        lambda name: b"(" + named(name) + command + b"o",
        lambda name: named(name) + command + b"\x85\x81",
        lambda name: named("collections OrderedDict") + b")R" + named(name) + b"b",
        lambda name: text(name.split()[0]) + text(name.split()[1]) + b"\x93" + command + b"\x85R",
        lambda name: named(name) + b"q\x070" + b"h\x07" + command + b"\x85R",
        lambda name: tensor().replace(named("collections OrderedDict") + b")R", named(name) + command + b"\x85R"),
    )
    places: tuple[Callable[[bytes], bytes], ...] = (
        lambda evil: evil,
        lambda evil: evil + b"0}",
        lambda evil: b"}" + text("model") + b"}" + text("a") + evil + b"ss",
        lambda evil: (
            b"}(" + text("model") + b"}" + text("a") + tensor() + b"s" + text("optimizer") + b"}" + evil + b"Nsu"
        ),
        lambda evil: b"}" + text("config") + named("yacs.config CfgNode") + b")\x81}" + text("x") + evil + b"sbs",
        lambda evil: b"}" + text("x") + b"](((" + evil + b"ttt" + b"es",
        lambda evil: storage(key=evil),
        lambda evil: named("__torch__ M") + b")\x81}" + text("a") + evil + b"sb",
    )
    files = {}
    number = 0
    for name in HOSTILE:
        for way in ways:
            for kind in KINDS:
                place = places[number % len(places)]
                files[f"{number:04}"] = pickled(b"\x80\x02" + place(way(name)) + b".", kind)
                number += 1
    return files


WATCH = """
import json, logging
from pathlib import Path
from test_reader_fuzz import outcome_of
folder = Path(sys.argv[1])
for path in sorted(folder.glob("valid*")) + sorted(folder.glob("0*"))[:3]:
    outcome_of(path)
seen = []
harmless = ("object.__getattr__", "object.__setattr__", "os.scandir", "os.listdir", "mmap.__new__", "sys._getframe")
def hook(event, arguments):
    if watching and event not in harmless and not (event == "open" and str(arguments[0]).startswith(str(folder))):
        seen.append([event, repr(arguments)[:200]])
watching = False
sys.addaudithook(hook)
said = {}
for path in sorted(folder.glob("0*")):
    watching = True
    said[path.name] = outcome_of(path)[:400]
    watching = False
print(json.dumps({"said": said, "seen": seen}))
"""


def test_no_name_in_a_pickle_is_ever_called(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    canary = tmp_path / "canary"
    files = hostile_files(canary)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for number, content in enumerate(valid_files().values()):
        (folder / f"valid{number}").write_bytes(content)
    results = in_child(WATCH, folder)
    assert sorted(results["said"]) == sorted(files)
    for name, said in results["said"].items():
        assert "nothing in it was run" in said or "nothing was run" in said, (name, said)
    assert results["seen"] == []
    assert not canary.exists()
