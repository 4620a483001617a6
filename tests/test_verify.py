"""``ila-models verify`` and ``ila-models download``: what is right is said, and what is wrong is found."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hub.server import Fault, HubServer
from safetensors.torch import load_file, save_file
from test_publishing import SSV2, publish
from zoo import open_zoo, write_released

from ila_models import CheckpointError, create_model, verify
from ila_models.cli.main import main
from ila_models.weights.errors import UnavailableError
from ila_models.weights.manifest import forget_manifest, records
from ila_models.weights.recognise import read_checkpoint


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    yield open_zoo(tmp_path, monkeypatch)
    forget_manifest()


@pytest.fixture
def released(tmp_path: Path, manifest: Path) -> Path:
    path = tmp_path / "released.pth"
    write_released(SSV2, path)
    return path


@pytest.fixture
def folder(released: Path, tmp_path: Path, manifest: Path) -> Path:
    """What would be published."""
    assert publish(SSV2, "--checkpoint", released, "--dry-run", tmp_path / "out", manifest=manifest) == 0
    return tmp_path / "out" / SSV2


def run(*arguments: str | Path) -> int:
    return main(["--quiet", *map(str, arguments)])


def test_what_is_right(folder: Path, released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verify(folder)
    assert found.path == folder / "model.safetensors"
    assert found.described
    assert found.replay.logits_difference == found.replay.embedding_difference == 0
    checkpoint = read_checkpoint(folder / "model.safetensors")
    assert found.tensors == len(checkpoint.tensors)
    assert run("verify", folder, released) == 0
    said = capsys.readouterr().out
    assert f"ok  {folder}\n" in said
    assert f"  sha256     {found.sha256}\n" in said
    assert "by a config.json that says the same\n" in said
    assert "answers within 0.0e+00 of the published ones" in said
    assert f"ok  {released}\n" in said
    assert "no reference tensors beside it, nothing replayed" in said


def change_a_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    checkpoint = read_checkpoint(path)
    content = bytearray(path.read_bytes())
    biggest = max(checkpoint.tensors.values(), key=torch.Tensor.numel)
    place = content.find(biggest.numpy().tobytes())
    content[place : place + 4] = torch.tensor([1e4]).numpy().tobytes()
    path.write_bytes(content)


def lose_the_end(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def make_a_number_none(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-4:] = torch.tensor([torch.nan]).numpy().tobytes()
    path.write_bytes(content)


def tell_of_another_class(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["num_classes"] = 175
    (folder / "config.json").write_text(json.dumps(config))


def cut_the_description(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def change_the_reference(folder: Path) -> None:
    path = folder / "test" / "reference.safetensors"
    with_metadata = path.read_bytes()
    tensors = load_file(path)
    place = with_metadata.find(tensors["logits"].numpy().tobytes())
    changed = (tensors["logits"] * 1.1).numpy().tobytes()
    path.write_bytes(with_metadata[:place] + changed + with_metadata[place + len(changed) :])


def replace_the_reference(folder: Path) -> None:
    save_file({"frames": torch.zeros(1)}, folder / "test" / "reference.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_a_weight, "tolerance|differ"),
        (lose_the_end, "cut off or damaged"),
        (make_a_number_none, "not finite"),
        (tell_of_another_class, "says something else of num_classes than the header of"),
        (cut_the_description, "config.json cannot be read"),
        (change_the_reference, "tolerance|differ"),
        (replace_the_reference, "reference"),
    ],
)
def test_what_is_wrong(
    damage: Callable[[Path], None], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        verify(folder)
    assert run("verify", folder) == 1
    said = capsys.readouterr()
    assert said.out == f"WRONG  {folder}\n"
    assert re.search(message, said.err)


def test_nothing_to_verify(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", SSV2) == 1
    said = capsys.readouterr()
    assert said.out == f"MISSING  {SSV2}\n"
    assert f"{SSV2} is in no cache: run `ila-models download {SSV2}` first" in said.err
    assert run("verify", tmp_path / "nowhere.pth") == 1
    said = capsys.readouterr()
    assert said.out == f"MISSING  {tmp_path / 'nowhere.pth'}\n"
    assert "no such file" in said.err


def test_the_name_that_create_model_takes_for_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(f"local-dir:{folder}").described
    assert run("verify", "local-dir:nowhere") == 1
    assert capsys.readouterr().out == "MISSING  local-dir:nowhere\n"


# Downloaded first


@pytest.fixture
def published(hub: HubServer, released: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A checkpoint on the Hub, of which this machine has nothing yet."""
    from conftest import use_empty_caches

    assert publish(SSV2, "--checkpoint", released, manifest=manifest) == 0
    use_empty_caches(tmp_path / "elsewhere", monkeypatch)
    return SSV2


def test_download_then_offline(
    published: str, hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify") == 1
    assert "no checkpoint of the manifest is in a cache" in capsys.readouterr().err
    for _ in range(2):
        assert run("download", published) == 0
        name, path = capsys.readouterr().out.split()
        assert name == published
        assert read_checkpoint(path).num_classes == 174
    assert hub.count("GET", r"filename=model\.safetensors") == 2, "once when it was published, once now"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    assert create_model(published, pretrained=True).num_classes == 174
    assert run("verify") == 0
    said = capsys.readouterr().out
    assert f"ok  {published}\n" in said
    assert "answers within 0.0e+00" in said
    assert len(hub.requests) == asked
    assert hub.count("GET", "config.json") == 2, "by the publisher and by this machine: so the Hub counts downloads"


@pytest.mark.parametrize("why", ["offline", "unreachable", "no repository", "cache not writable", "cache in /proc"])
def test_what_cannot_be_had_is_not_wrong(
    why: str,
    published: str,
    hub: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, cache = f"hf-hub:owner/{published}", tmp_path / "file" / "huggingface"
    if why == "cache in /proc":
        cache = Path("/proc/nope/huggingface")
        if not cache.parents[1].is_dir():
            pytest.skip("there is none here")
    message = {
        "offline": f"HF_HUB_OFFLINE is set, and no checkpoint of owner/{published} is in the cache",
        "unreachable": f"{hub.url} cannot be reached, and no checkpoint of owner/{published} is in the cache",
        "no repository": "the Hub has no repository owner/nothing",
        "cache not writable": f"the cache folder {cache} cannot be written",
        "cache in /proc": f"the cache folder {cache} cannot be written",
    }[why]
    if why == "offline":
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    elif why == "unreachable":
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        hub.faults.append(Fault("HEAD", "", "status", times=None))
    elif why == "no repository":
        source = "hf-hub:owner/nothing"
    else:
        if why == "cache not writable":
            cache.parent.write_text("where a folder should be")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    with pytest.raises(UnavailableError):
        verify(source)
    assert run("verify", source) == 1
    said = capsys.readouterr()
    assert said.out == f"MISSING  {source}\n"
    assert message in said.err
    if why.startswith("cache"):
        assert ": set HF_HOME to another folder" in said.err


def test_a_damaged_file_of_the_cache_is_wrong_also_offline(
    published: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"hf-hub:owner/{published}"
    path = verify(source).path.resolve()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert run("verify", source) == 1
    assert capsys.readouterr().out == f"WRONG  {source}\n"


def test_download_into_a_folder(published: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "weights").mkdir()
    for _ in range(2):
        assert main(["download", published, "--dir", str(tmp_path / "weights")]) == 0
    path = tmp_path / "weights" / f"{published}.safetensors"
    assert list((tmp_path / "weights").iterdir()) == [path], "no lock is left there"
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f"{published}  {path}"
    assert "nobody has stated" not in said.err, "of what this package wrote itself"
    model = create_model("ila_vit_b16", checkpoint_path=path)
    expected = create_model(published, pretrained=True)
    clips = torch.randn(1, 8, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(clips), expected(clips))
    assert verify(path).sha256 == records()[published].sources[0].sha256

    path.write_bytes(b"my notes")
    assert run("download", published, "--dir", tmp_path / "weights") == 1
    assert path.read_bytes() == b"my notes"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name checkpoints, or give --all"),
        (["--all", SSV2], "name checkpoints, or give --all"),
        (["ila_vit_b17"], "no checkpoint 'ila_vit_b17': there are ila_vit_b32.k400_8x224"),
    ],
)
def test_download_of_nothing(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("download", *arguments) == 1
    assert message in capsys.readouterr().err


def test_one_that_cannot_be_had_does_not_keep_the_others_back(
    published: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("download", published) == 0
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    capsys.readouterr()
    assert run("download", "--all") == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{published}  ")
    assert "failed: ila_vit_l14.k400_8x224: no weights for ila_vit_l14.k400_8x224. Tried, in this order:" in said.err
    assert "HF_HUB_OFFLINE is set" in said.err
    assert "13 of 14 checkpoints failed" in said.err
