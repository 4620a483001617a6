"""Released and CLIP files to files of ours: complete, the same every time, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import (
    CLIP_CONFIG,
    RELEASED_CONFIG,
    name_architecture,
    openai_clip,
    timm_clip,
    write_half,
    write_plain,
    write_training_state,
)
from released import released_state
from safetensors import safe_open
from torchvision.models.video import Swin3D_T_Weights

from ila_models import CheckpointError, convert_checkpoint, create_model, load_text_encoder
from ila_models.text import TextEncoder
from ila_models.weights.checkpoint import Checkpoint
from ila_models.weights.manifest import preprocessing
from ila_models.weights.recognise import read_checkpoint

KINETICS = tuple(Swin3D_T_Weights.KINETICS400_V1.meta["categories"])
NAMES = ("surfing", "tai chi")


@pytest.fixture(scope="module", autouse=True)
def _names() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        name_architecture("ila_vit_tiny", RELEASED_CONFIG, monkeypatch)
        name_architecture("ila_vit_tiny_clip", CLIP_CONFIG, monkeypatch)
        yield


def make_k400(folder: Path) -> Path:
    write_training_state(folder / "k400.pth", released_state("k400_tiny"))
    return folder / "k400.pth"


def make_ssv2(folder: Path) -> Path:
    write_training_state(folder / "ssv2.pth", released_state("ssv2_tiny"))
    return folder / "ssv2.pth"


def make_clip(folder: Path) -> Path:
    write_plain(folder / "clip.pt", openai_clip().state_dict())
    return folder / "clip.pt"


def make_image_tower(folder: Path) -> Path:
    write_plain(folder / "image.pt", timm_clip().state_dict())
    return folder / "image.pt"


SOURCES: dict[str, Callable[[Path], Path]] = {
    "k400": make_k400,
    "ssv2": make_ssv2,
    "clip": make_clip,
    "image": make_image_tower,
}
EVERY_KIND = pytest.mark.parametrize("kind", list(SOURCES))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of every kind, which no test changes."""
    folder = tmp_path_factory.mktemp("sources")
    return {kind: make(folder) for kind, make in SOURCES.items()}


@pytest.fixture(scope="module")
def results(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """What conversion of every file gave, which no test changes."""
    folder = tmp_path_factory.mktemp("results")
    return {kind: convert_checkpoint(path, folder / f"{kind}.safetensors") for kind, path in sources.items()}


def header(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert list(metadata) == ["ila_models"]
    return json.loads(metadata["ila_models"])


def video(frames: int, pixels: int = 64) -> torch.Tensor:
    return torch.randn(2, frames, 3, pixels, pixels)


@torch.no_grad()
def logits(name: str, path: Path, clip: torch.Tensor, **arguments: Any) -> torch.Tensor:
    return create_model(name, checkpoint_path=path, **arguments)(clip)


# What stands in the result


def test_kinetics_becomes_complete(sources: dict[str, Path], results: dict[str, Checkpoint]) -> None:
    written, source = results["k400"], sources["k400"]
    assert len(KINETICS) == 400
    assert (written.head, written.num_classes, written.class_names) == ("text", 400, KINETICS)
    found = read_checkpoint(written.path)
    assert found.class_names == KINETICS
    tower = TextEncoder.from_tensors(read_checkpoint(source).text_tensors)
    assert torch.equal(TextEncoder.from_tensors(found.text_tensors)(NAMES), tower(NAMES))
    assert torch.equal(found.tensors["head.text_features"], tower(KINETICS))

    model = create_model("ila_vit_tiny", checkpoint_path=written.path)
    assert (model.num_classes, model.class_names) == (400, KINETICS)
    with safe_open(written.path, framework="pt") as file:
        assert {name for name in file.keys() if not name.startswith("text.")} == set(model.state_dict())  # noqa: SIM118
    original = create_model("ila_vit_tiny", checkpoint_path=source, class_names=KINETICS)
    clip = video(4)
    with torch.no_grad():
        assert torch.equal(model(clip), original(clip))
        original.set_classes(NAMES)
        model.set_classes(NAMES)
        assert torch.equal(model(clip), original(clip))


def test_something_something(sources: dict[str, Path], results: dict[str, Checkpoint]) -> None:
    written = results["ssv2"]
    assert (written.head, written.num_classes, written.class_names) == ("linear", 174, None)
    clip = video(4)
    found = logits("ila_vit_tiny", written.path, clip)
    assert found.shape == (2, 174)
    assert torch.equal(found, logits("ila_vit_tiny", sources["ssv2"], clip))


def test_clip_keeps_its_text_tower(sources: dict[str, Path], results: dict[str, Checkpoint]) -> None:
    written = results["clip"]
    assert (written.kind, written.head, written.num_classes, written.class_names) == ("clip", "none", 0, None)
    assert create_model("ila_vit_tiny_clip", checkpoint_path=written.path).num_classes == 0
    clip = video(8)
    found = logits("ila_vit_tiny_clip", written.path, clip, class_names=NAMES)
    assert found.shape == (2, 2)
    assert torch.equal(found, logits("ila_vit_tiny_clip", sources["clip"], clip, class_names=NAMES))


def test_image_tower_alone(sources: dict[str, Path], results: dict[str, Checkpoint]) -> None:
    path = results["image"].path
    with pytest.raises(CheckpointError, match="holds no text tower"):
        load_text_encoder(path)
    arguments = {"class_names": NAMES, "text_encoder": load_text_encoder(results["clip"].path)}
    clip = video(8)
    found = logits("ila_vit_tiny_clip", path, clip, **arguments)
    assert torch.equal(found, logits("ila_vit_tiny_clip", sources["image"], clip, **arguments))


@EVERY_KIND
def test_header(kind: str, sources: dict[str, Path], results: dict[str, Checkpoint]) -> None:
    source, original, said = sources[kind], read_checkpoint(sources[kind]), header(results[kind].path)
    contract = preprocessing("clip" if original.kind == "clip" else "ila")
    architecture = "ila_vit_tiny_clip" if original.kind == "clip" else "ila_vit_tiny"
    assert said["source"] == {
        "file": source.name,
        "layout": original.layout,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    assert (said["kind"], said["architecture"], said["preprocessing"]) == (original.kind, architecture, contract)
    assert read_checkpoint(results[kind].path).config == original.config
    model = create_model(architecture, checkpoint_path=results[kind].path)
    assert {name: model.pretrained_cfg[name] for name in contract} == contract


def test_weights_become_single_precision(tmp_path: Path) -> None:
    source, destination = tmp_path / "half.pt", tmp_path / "full.safetensors"
    state = released_state("ssv2_tiny")
    write_half(source, state)
    convert_checkpoint(source, destination)
    found = read_checkpoint(destination).tensors
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    assert torch.equal(found["head.fc.weight"], state["mit.classify_head.2.weight"].half().float())


# How it is written


@EVERY_KIND
def test_same_bytes_twice(tmp_path: Path, kind: str, sources: dict[str, Path], results: dict[str, Checkpoint]) -> None:
    again = convert_checkpoint(str(sources[kind]), str(tmp_path / "again.safetensors"))
    assert again.path.read_bytes() == results[kind].path.read_bytes()


def test_missing_folders_are_made_and_an_old_file_is_replaced(tmp_path: Path, sources: dict[str, Path]) -> None:
    destination = tmp_path / "a" / "b" / "out.safetensors"
    convert_checkpoint(sources["ssv2"], destination)
    convert_checkpoint(sources["image"], destination)
    assert read_checkpoint(destination).kind == "clip"
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "b", destination]


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [b"what stood here before", None])
def test_a_write_that_fails_leaves_everything_as_it_was(
    tmp_path: Path,
    sources: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    old: bytes | None,
    failure: BaseException,
) -> None:
    destination = tmp_path / "out.safetensors"
    if old is not None:
        destination.write_bytes(old)

    def half_a_file(tensors: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half a file")
        raise failure

    monkeypatch.setattr("ila_models.weights.native.save_file", half_a_file)
    with pytest.raises(type(failure)):
        convert_checkpoint(sources["ssv2"], destination)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == ({destination: old} if old else {})


def test_a_file_that_grows_too_large(tmp_path: Path, sources: dict[str, Path]) -> None:
    destination = tmp_path / "out.safetensors"
    destination.write_bytes(b"what stood here before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))  # as a disk that fills up, but quick to undo
    try:
        with pytest.raises(OSError, match=r"[Ff]ile too large"):
            convert_checkpoint(sources["ssv2"], destination)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == {destination: b"what stood here before"}


# What is refused


def test_converted_files(tmp_path: Path, results: dict[str, Checkpoint]) -> None:
    path = results["ssv2"].path
    with pytest.raises(CheckpointError, match=rf"{path} is a converted file already \(of ssv2\.pth\)"):
        convert_checkpoint(path, tmp_path / "again.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["same path", "other spelling", "symbolic link", "hard link"])
def test_the_source_is_not_overwritten(tmp_path: Path, how: str) -> None:
    source = make_ssv2(tmp_path)
    before = source.read_bytes()
    destination = {
        "same path": source,
        "other spelling": tmp_path / "folder" / ".." / source.name,
    }.get(how, tmp_path / "link.safetensors")
    (tmp_path / "folder").mkdir()
    if how == "symbolic link":
        destination.symlink_to(source)
    elif how == "hard link":
        destination.hardlink_to(source)
    with pytest.raises(ValueError, match="choose another"):
        convert_checkpoint(source, destination)
    assert source.read_bytes() == before


def test_a_source_that_does_not_fit(tmp_path: Path) -> None:
    state = released_state("ssv2_tiny")
    del state["mit.resblocks.0.ln_1.weight"]
    write_plain(tmp_path / "source.pth", state)
    with pytest.raises(CheckpointError, match=r"1 missing:\n  mit\.resblocks\.0\.ln_1\.weight"):
        convert_checkpoint(tmp_path / "source.pth", tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["source.pth"]


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        convert_checkpoint(tmp_path / "gone.pth", tmp_path / "out.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_converted_file_of_another_architecture(results: dict[str, Checkpoint]) -> None:
    with pytest.raises(CheckpointError, match=r"is ila_vit_tiny, not ila_vit_b16: use create_model\('ila_vit_tiny'"):
        create_model("ila_vit_b16", checkpoint_path=results["ssv2"].path)
