"""Files to tensors: every container that is read, and every hostile or broken file that is refused unread."""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ila_models.weights.errors import CheckpointError
from ila_models.weights.files import file_sha256, read_tensor_file

# Making TorchScript archives is deprecated, reading those that exist is not.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")

BOTH_FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


class CallsSystem:
    """Pickles to a call of os.system that leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2)
        self.ln_1 = nn.LayerNorm(8)
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(8, 32), gelu=nn.GELU(), c_proj=nn.Linear(32, 8)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.ln_1(x)
        return self.mlp(x + self.attn(y, y, y, need_weights=False)[0])


class Tower(nn.Module):
    """Nested as CLIP is, with what TorchScript stores besides parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(Block(), Block())
        self.logit_scale = nn.Parameter(torch.tensor(2.5))
        self.register_buffer("input_resolution", torch.tensor(224))
        self.register_buffer("empty", torch.zeros(0, 3))
        self.proj = nn.Parameter(torch.randn(8, 4).t())
        self.sizes = [1, 2]
        self.name = "tower"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.resblocks(x) * self.logit_scale


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(4, 3, generator=generator),
        "a.half": torch.randn(5, generator=generator).half(),
        "count": torch.tensor(7),
    }


@pytest.fixture
def archive_path(tmp_path: Path) -> Path:
    path = tmp_path / "tower.pt"
    torch.jit.script(Tower().half().eval()).save(path)
    return path


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert sorted(found) == sorted(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype, name
        assert torch.equal(found[name], value), name


def rewrite(path: Path, changes: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> None:
    """Write an archive anew, with some of its records replaced."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    records.update({f"{path.stem}/{name}": data for name, data in changes.items()})
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, data)


# What is read


def test_safetensors(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "weights.pth"  # the name says nothing
    save_file(state, path, metadata={"architecture": "ila_vit_b16"})
    file = read_tensor_file(path)
    assert (file.path, file.container, file.metadata) == (path, "safetensors", {"architecture": "ila_vit_b16"})
    assert_same(file.tensors, state)


@BOTH_FORMATS
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "model_state_dict", "module"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_torch_save(
    tmp_path: Path, state: dict[str, torch.Tensor], zipped: bool, wrapper: str | None, prefix: str
) -> None:
    path = tmp_path / "weights.safetensors"  # the name lies
    saved = OrderedDict((prefix + name, nn.Parameter(v) if v.is_floating_point() else v) for name, v in state.items())
    torch.save({wrapper: saved, "epoch": 3} if wrapper else saved, path, _use_new_zipfile_serialization=zipped)
    file = read_tensor_file(str(path))
    assert (file.path, file.container, file.metadata) == (path, "torch", {})
    assert_same(file.tensors, state)
    assert not any(value.requires_grad for value in file.tensors.values())


def test_prefix_stays_where_not_all_names_have_it(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, path)
    assert list(read_tensor_file(path).tensors) == ["module.a", "b"]


@BOTH_FORMATS
def test_released_layout_without_yacs(
    tmp_path: Path, state: dict[str, torch.Tensor], zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k400.pth"
    save_released(path, state, zipped=zipped, monkeypatch=monkeypatch)
    assert "yacs.config" not in sys.modules
    file = read_tensor_file(path)
    assert file.container == "torch"
    assert_same(file.tensors, state)


def save_released(
    path: Path,
    state: dict[str, torch.Tensor],
    *,
    zipped: bool,
    monkeypatch: pytest.MonkeyPatch,
    extra: object = "plain",
) -> None:
    """Save in the released layout, with a look-alike of yacs's CfgNode that is gone afterwards."""

    class CfgNode(dict):  # type: ignore[type-arg]
        def __init__(self, values: dict[str, object]) -> None:
            super().__init__({k: CfgNode(v) if isinstance(v, dict) else v for k, v in values.items()})
            self.__dict__.update(__immutable__=True, __deprecated_keys__=set(), __renamed_keys__={"A": "B"})
            self.__dict__["__new_allowed__"] = False

    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    config = types.ModuleType("yacs.config")
    config.CfgNode = CfgNode  # type: ignore[attr-defined]
    weights = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weights])
    weights.sum().backward()
    optimizer.step()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
        patch.setitem(sys.modules, "yacs.config", config)
        content = {
            "model": OrderedDict((f"module.{name}", value) for name, value in state.items()),
            "optimizer": optimizer.state_dict(),
            "lr_scheduler": {"base_values": [0.1], "t_in_epochs": False},
            "max_accuracy": np.float64(81.3),
            "epoch": 29,
            "config": CfgNode({"DATA": {"NUM_FRAMES": 8, "MEAN": [0.5, (1, 2)]}, "EXTRA": extra}),
        }
        torch.save(content, path, _use_new_zipfile_serialization=zipped)


@pytest.mark.parametrize("sibling", [argparse.Namespace(lr=0.1), np.float32(3), b"bytes", {1, 2}, torch.Size([2])])
def test_harmless_siblings(tmp_path: Path, state: dict[str, torch.Tensor], sibling: object) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": state, "args": sibling}, path)
    assert_same(read_tensor_file(path).tensors, state)


def test_torch_allow_list_is_left_as_it_was(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": state, "max_accuracy": np.float64(1)}, path)
    # With numpy's own dtype beside our stand-in for it, chance would decide which one torch takes.
    with torch.serialization.safe_globals([np.dtype]):
        before = set(torch.serialization.get_safe_globals())
        assert_same(read_tensor_file(path).tensors, state)
        assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript(tmp_path: Path, how: str) -> None:
    path = tmp_path / "ViT-B-16.pt"
    tower = Tower().half().eval()
    example = torch.zeros(3, 1, 8).half()
    module = torch.jit.script(tower) if how == "script" else torch.jit.trace(tower, example, check_trace=False)
    module.save(path)
    file = read_tensor_file(path)
    assert file.container == "torchscript"
    assert_same(file.tensors, tower.state_dict())
    assert file.tensors["proj"].stride() == tower.proj.stride()


@pytest.mark.parametrize("container", ["torch", "torchscript"])
def test_tensors_are_mapped_and_writing_to_them_leaves_the_file_alone(
    tmp_path: Path, archive_path: Path, state: dict[str, torch.Tensor], container: str
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    path = path if container == "torch" else archive_path
    before = file_sha256(path)
    for tensor in read_tensor_file(path).tensors.values():
        tensor.zero_()
    assert file_sha256(path) == before


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_file_sha256(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


# What is refused


@pytest.mark.parametrize("function", [read_tensor_file, file_sha256])
def test_missing_file(tmp_path: Path, function: object) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        function(tmp_path / "nowhere.pth")  # type: ignore[operator]


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="directory"):
        read_tensor_file(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (bytes(range(100, 200)) * 30, "not a checkpoint that is read here"),
        (b"epoch,top1\n1,2\n", "not a checkpoint that is read here"),
        (b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning", "looks like a web page"),
        (b"\xef\xbb\xbf\n <HTML>", "looks like a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (pickle.dumps({"a": 1}, protocol=4), "a pickle, but not one that torch.save writes"),
        (pickle.dumps({"a": 1}, protocol=2), "a pickle, but not one that torch.save writes"),
        (b"PK\x03\x04 and no more", "cut off or damaged"),
        (struct.pack("<Q", 1 << 60) + b'{"a":{}}', "safetensors file, but it is cut off or damaged"),
        (struct.pack("<Q", 9) + b'{"a": 1, }' * 3, "safetensors file, but it is cut off or damaged"),
    ],
)
def test_not_a_checkpoint(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason) as error:
        read_tensor_file(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("offsets", [[0, 1 << 40], [0, 8], [4, 16]])
def test_safetensors_header_that_lies(tmp_path: Path, offsets: list[int]) -> None:
    path = tmp_path / "weights.safetensors"
    header = f'{{"a":{{"dtype":"F32","shape":[3],"data_offsets":{offsets}}}}}'.encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(12))
    with pytest.raises(CheckpointError, match="cut off or damaged"):
        read_tensor_file(path)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy", "torchscript"])
def test_no_cut_or_flipped_byte_raises_anything_else(
    tmp_path: Path, archive_path: Path, state: dict[str, torch.Tensor], kind: str
) -> None:
    path = tmp_path / "weights.pt"
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "torchscript":
        path.write_bytes(archive_path.read_bytes())
    else:
        torch.save({"model": state}, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    for end in range(1, len(whole), len(whole) // 20):
        path.write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match=r"weights\.pt"):
            read_tensor_file(path)
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for place in torch.randint(len(whole), (300,), generator=generator).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_tensor_file(path)
        except CheckpointError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("where", ["pickle", "zip", "legacy", "released zip", "released legacy", "torchscript"])
def test_code_is_refused_and_not_run(
    tmp_path: Path,
    archive_path: Path,
    state: dict[str, torch.Tensor],
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "evil.pth"
    trace = tmp_path / "trace"
    evil = CallsSystem(trace)
    if where == "pickle":
        path.write_bytes(pickle.dumps({"model": evil}))
    elif where == "torchscript":
        path = archive_path
        rewrite(path, {"data.pkl": pickle.dumps(evil, protocol=2)})
    elif where.startswith("released"):
        save_released(path, state, zipped=where.endswith("zip"), monkeypatch=monkeypatch, extra=evil)
    else:
        torch.save({"model": state, "x": evil}, path, _use_new_zipfile_serialization=where == "zip")
    with pytest.raises(
        CheckpointError, match="was not opened" if where == "pickle" else r"nothing in it was run.*\.system"
    ):
        read_tensor_file(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "stream",
    [
        b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x02cbuiltins\ngetattr\n.",
        b"\x80\x02(X\x01\x00\x00\x001ios\nsystem\n.",
        b"\x80\x02ctorch\nload\n.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
        b"\x80\x02cbuiltins\nbytearray\n.",
        b"\x80\x02ccollections\nOrderedDict.fromkeys\n.",
    ],
)
@pytest.mark.parametrize("kind", ["torch", "torchscript"])
def test_names_outside_the_allow_list(tmp_path: Path, archive_path: Path, stream: bytes, kind: str) -> None:
    path = archive_path
    if kind == "torch":
        path = tmp_path / "weights.pt"
        torch.save({}, path)
    rewrite(path, {"data.pkl": stream})
    with pytest.raises(CheckpointError, match="nothing in it was run"):
        read_tensor_file(path)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.", "protocol 4"),
        (b"\x80\x02X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93.", "STACK_GLOBAL"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "numbers an object"),
        (b"\x80\x02X\xff\xff\xff\xffa.", "cut off or damaged"),
        (b"\x80\x02N.", "NoneType"),
    ],
)
@pytest.mark.parametrize("kind", ["torch", "torchscript"])
def test_malformed_pickles(tmp_path: Path, archive_path: Path, stream: bytes, reason: str, kind: str) -> None:
    path = archive_path
    if kind == "torch":
        path = tmp_path / "weights.pt"
        torch.save({}, path)
    rewrite(path, {"data.pkl": stream})
    with pytest.raises(CheckpointError, match=reason):
        read_tensor_file(path)


@BOTH_FORMATS
def test_pickled_module(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model.pt"
    torch.save(Tower(), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"test_weight_files\.Tower.*save its state_dict\(\)"):
        read_tensor_file(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([torch.zeros(1)], "holds a list"),
        (torch.zeros(1), "holds a Tensor"),
        ({}, "holds no tensors, only nothing"),
        ({"weights": {"a": torch.zeros(1)}}, "holds no tensors, only 'weights'"),
        ({"model": {}}, "entry 'model' holds no tensors"),
        ({"a": torch.zeros(1), "epoch": 3, "lr": 0.1}, r"'epoch' \(int\), 'lr' \(float\)"),
        ({"state_dict": {"a": torch.zeros(1), 5: torch.zeros(1)}}, r"5 \(Tensor\)"),
        ({"model": {"a": torch.zeros(1)}, "module": {"a": torch.ones(1)}}, "several state dicts, under model, module"),
        ({"a": torch.zeros(1).expand(1000)}, "only 4 bytes of it are stored"),
        ({"a": torch.zeros(3).to_sparse()}, "_rebuild_sparse_tensor"),
        ({"a": torch.zeros(3, device="meta")}, "_rebuild_meta_tensor_no_storage"),
    ],
)
def test_not_a_state_dict(tmp_path: Path, content: object, reason: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=reason):
        read_tensor_file(path)


def test_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "weights.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("k400_b16.pth", b"data")
    with pytest.raises(CheckpointError, match=r"k400_b16\.pth.*unzip it first"):
        read_tensor_file(path)


@pytest.mark.parametrize("record", ["data.pkl", "data/0"])
@pytest.mark.parametrize("kind", ["torch", "torchscript"])
def test_zip_bomb(tmp_path: Path, archive_path: Path, record: str, kind: str) -> None:
    path = archive_path
    if kind == "torch":
        path = tmp_path / "weights.pt"
        torch.save({"a": torch.zeros(4)}, path)
    rewrite(path, {record: bytes(50_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    with pytest.raises(CheckpointError, match="is compressed"):
        read_tensor_file(path)


def test_records_that_overlap(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1000), "b": torch.zeros(1000)}, path)
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    one, other = (
        content.index(b"PK\x01\x02", content.index(name, directory) - 46) for name in (b"/data/0", b"/data/1")
    )
    # Every entry of the directory claims the whole file.
    sizes = struct.pack("<II", len(content), len(content))
    for entry in (one, other):
        content = content[: entry + 20] + sizes + content[entry + 28 :]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="records claim"):
        read_tensor_file(path)


class Described:
    """Pickles to a tensor of any claimed size."""

    def __init__(self, storage: torch.TypedStorage, offset: int, size: object, stride: object) -> None:
        self.arguments = (storage, offset, size, stride, False, OrderedDict())

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return torch._utils._rebuild_tensor_v2, self.arguments


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (9,), (1,)),
        (5, (4,), (1,)),
        (0, (2, 2), (8, 1)),
        (0, (1 << 40,), (1,)),
        (-1, (2,), (1,)),
        (0, (-2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (1 << 40,), (0,)),
        (1 << 70, (1,), (1,)),
    ],
)
@pytest.mark.parametrize("kind", ["torch", "torchscript"])
def test_tensors_that_reach_outside_their_storage(
    tmp_path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...], kind: str
) -> None:
    path = tmp_path / "weights.pt"
    evil = Described(torch.zeros(8)._typed_storage(), offset, size, stride)
    torch.save({"a": evil}, path)
    if kind == "torchscript":
        as_module(path)
    with pytest.raises(CheckpointError, match=r"weights\.pt"):
        read_tensor_file(path)


def as_module(path: Path) -> None:
    """Turn a saved dict of tensors into a TorchScript archive of one module with these attributes."""
    with zipfile.ZipFile(path) as archive:
        content = archive.read(f"{path.stem}/data.pkl").removeprefix(b"\x80\x02").removesuffix(b".")
    rewrite(path, {"data.pkl": b"\x80\x02c__torch__\nM\n)\x81" + content + b"b.", "constants.pkl": b"\x80\x02)."})


def test_as_module_makes_readable_archives(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    as_module(path)
    assert read_tensor_file(path).container == "torchscript"
    assert_same(read_tensor_file(path).tensors, state)


@pytest.mark.parametrize("record", [bytes(12), bytes(20), b""])
def test_torchscript_record_of_another_size(tmp_path: Path, record: bytes) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(4)}, path)
    as_module(path)
    rewrite(path, {"data/0": record})
    with pytest.raises(CheckpointError, match=f"should have 4 elements of torch.float32, it has {len(record)} bytes"):
        read_tensor_file(path)


def test_torchscript_modules_without_end(tmp_path: Path) -> None:
    module = b"c__torch__\nM\n)\x81"
    itself = b"\x80\x02" + module + b"q\x00}X\x01\x00\x00\x00ah\x00sb."
    doubled = io.BytesIO()
    doubled.write(b"\x80\x02" + module + b"}b")
    for i in range(60):
        doubled.write(b"q" + bytes([i]) + module + b"}(")
        doubled.write(b"X\x01\x00\x00\x00ah" + bytes([i]) + b"X\x01\x00\x00\x00bh" + bytes([i]) + b"ub")
    doubled.write(b".")
    for stream in (itself, doubled.getvalue()):
        path = tmp_path / "weights.pt"
        torch.save({}, path)
        rewrite(path, {"data.pkl": stream, "constants.pkl": b"\x80\x02)."})
        with pytest.raises(CheckpointError, match="contain each other"):
            read_tensor_file(path)
