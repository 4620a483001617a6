"""Weights from the Hub and from Google Drive, with the real client and a Hub that stands on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import half, openai_clip, write_plain, write_safetensors
from hub.server import Fault, HubServer, serve
from safetensors.torch import save

from ila_models import CheckpointError
from ila_models.weights import cache, download
from ila_models.weights import hub as hub_client
from ila_models.weights.manifest import DriveSource, HubSource, Record, records

NAMES = ["surfing", "tai chi", "arm wrestling"]
CLOSED_PORT = "http://127.0.0.1:9"
OPENAI = "timm/vit_base_patch32_clip_224.openai"

# What a child process does: the calls that it is given, and what came of them as JSON. It does not wait between tries.
CLIENT = """
import json, sys, time
time.sleep = lambda seconds: None
import ila_models

FROM_THE_FILE = ("pos_embed", "proj.weight", "head.text_features")
results = []
for function, name, arguments in json.loads(sys.argv[1]):
    try:
        made = getattr(ila_models, function)(name, **arguments)
    except Exception as error:
        results.append({"error": type(error).__name__, "message": str(error)})
    else:
        sums = {name: value.sum().item() for name, value in made.state_dict().items() if name in FROM_THE_FILE}
        results.append({"names": getattr(made, "class_names", None), "sums": sums})
sys.stdout.write(json.dumps(results))
"""

Call = tuple[str, str, dict[str, Any]]
Result = dict[str, Any]

FROM_TAG: Call = ("create_model", "ila_vit_b32.openai", {"pretrained": True, "class_names": NAMES})
FROM_ID: Call = ("create_model", "ila_vit_b32", {"checkpoint_path": "hf-hub:owner/full@v1", "num_classes": 0})
FROM_DRIVE: Call = ("create_model", "ila_vit_b16", {"pretrained": True})


def run(calls: dict[str, Call], home: Path, **environment: str) -> dict[str, Result]:
    """Makes the calls in a process that starts with nothing but an empty cache and a proxy that leads nowhere."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), CLOSED_PORT)
    local = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    own = {
        "HF_HOME": str(home / "huggingface"),
        "ILA_MODELS_HOME": str(home / "ila_models"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "2",
    }
    finished = subprocess.run(
        [sys.executable, "-c", CLIENT, json.dumps(list(calls.values()))],
        env={**os.environ, **proxies, **local, **own, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return dict(zip(calls, json.loads(finished.stdout), strict=True))


@pytest.fixture(scope="module")
def hub(clip_b32: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub with a file of CLIP in half precision under two names, a small one, and a repository without weights."""
    root = tmp_path_factory.mktemp("hub")
    weights = root / OPENAI / "open_clip_model.safetensors"
    for repository in (OPENAI, "owner/full", "owner/small", "owner/empty"):
        (root / repository).mkdir(parents=True)
        (root / repository / "README.md").write_text("A repository.")
    write_safetensors(weights, half(torch.load(clip_b32)))
    (root / "owner/full/model.safetensors").hardlink_to(weights)
    write_plain(root / "owner/small/pytorch_model.bin", openai_clip().state_dict())
    with serve(root) as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The caches of the process that could reach the Hub."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def results(hub: HubServer, home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Result]]:
    """What came of every call, by the state of the network. Two cores take two processes at once."""
    online: dict[str, Call] = {
        "tag": FROM_TAG,
        "id": FROM_ID,
        "bare id": ("load_text_encoder", "owner/small", {}),
        "empty": ("create_model", "ila_vit_b32", {"checkpoint_path": "owner/empty"}),
        "absent": ("create_model", "ila_vit_b32", {"checkpoint_path": "hf-hub:owner/absent"}),
        "revision": ("create_model", "ila_vit_b32", {"checkpoint_path": "owner/full@v9"}),
        "drive": FROM_DRIVE,
    }
    offline: dict[str, Call] = {
        "tag": ("create_model", "ila_vit_b32.openai", {"pretrained": True, "num_classes": 0}),
        "id": FROM_ID,
        "empty": ("load_text_encoder", "owner/empty", {}),
    }
    unreachable: dict[str, Call] = {"tag": FROM_TAG, "id": FROM_ID, "drive": FROM_DRIVE}
    refused: dict[str, Call] = {"tag": FROM_TAG}
    proxy = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), hub.url)  # which does not know the method CONNECT
    # The connection breaks off once, and the client goes on where it stopped.
    hub.faults.append(Fault("GET", r"filename=model\.safetensors", "cut"))

    def without_a_hub() -> tuple[dict[str, Result], dict[str, Result]]:
        return (
            run(unreachable, tmp_path_factory.mktemp("closed"), HF_ENDPOINT=CLOSED_PORT),
            run(refused, tmp_path_factory.mktemp("proxy"), HF_ENDPOINT="https://huggingface.invalid", **proxy),
        )

    with ThreadPoolExecutor() as pool:
        others = pool.submit(without_a_hub)
        found = {"online": run(online, home, HF_ENDPOINT=hub.url)}
        asked = [request for request in hub.requests if "/resolve/" in request]
        found["offline"] = run(offline, home, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
        assert asked == [request for request in hub.requests if "/resolve/" in request]
        found["unreachable"], found["refused"] = others.result()
    return found


@pytest.fixture(scope="module")
def online(results: dict[str, dict[str, Result]]) -> dict[str, Result]:
    return results["online"]


@pytest.fixture(scope="module")
def offline(results: dict[str, dict[str, Result]]) -> dict[str, Result]:
    return results["offline"]


@pytest.fixture(scope="module")
def unreachable(results: dict[str, dict[str, Result]]) -> dict[str, Result]:
    return results["unreachable"]


# With the real client


def test_pretrained_from_the_hub(online: dict[str, Result], hub: HubServer) -> None:
    assert online["tag"]["names"] == NAMES
    assert len(online["tag"]["sums"]) == 3
    assert hub.count("GET", f"/cdn/models/{OPENAI}/.*=open_clip_model.safetensors") == 1


def test_hub_id_with_a_revision(online: dict[str, Result], hub: HubServer) -> None:
    sums = online["tag"]["sums"]  # of the same file under another name
    assert online["id"] == {"names": None, "sums": {name: sums[name] for name in ("pos_embed", "proj.weight")}}
    assert hub.count("GET", "/cdn/models/owner/full/.*=model.safetensors") == 2  # after it was cut off, the rest


def test_bare_hub_id(online: dict[str, Result], hub: HubServer) -> None:
    assert "error" not in online["bare id"]
    sha256 = hub.repository("owner/small").head.files["pytorch_model.bin"].sha256
    assert [request for request in hub.requests if "owner/small" in request] == [
        "HEAD /owner/small/resolve/main/open_clip_model.safetensors",
        "HEAD /owner/small/resolve/main/model.safetensors",
        "HEAD /owner/small/resolve/main/open_clip_pytorch_model.bin",
        "HEAD /owner/small/resolve/main/pytorch_model.bin",
        f"GET /cdn/models/owner/small/{sha256}?filename=pytorch_model.bin",
    ]


def test_repository_without_a_checkpoint(online: dict[str, Result]) -> None:
    assert online["empty"]["error"] == "CheckpointError"
    assert "owner/empty holds none of open_clip_model.safetensors, model.safetensors," in online["empty"]["message"]


@pytest.mark.parametrize(
    ("case", "name", "reason"),
    [("absent", "owner/absent", "[Rr]epository"), ("revision", "owner/full", "[Rr]evision|v9")],
)
def test_what_the_hub_does_not_have(online: dict[str, Result], case: str, name: str, reason: str) -> None:
    message = online[case]["message"]
    assert online[case]["error"] == "UnavailableError"
    assert name in message
    assert re.search(reason, message.replace(name, ""))


def test_offline_from_the_cache(online: dict[str, Result], offline: dict[str, Result]) -> None:
    assert offline["tag"] == online["id"]  # the same file under another name


def test_offline_from_the_cache_under_another_name(online: dict[str, Result], offline: dict[str, Result]) -> None:
    assert offline["id"] == online["id"]


def test_offline_and_not_in_the_cache(offline: dict[str, Result], home: Path) -> None:
    assert offline["empty"]["error"] == "UnavailableError"
    for part in ("HF_HUB_OFFLINE is set, and no checkpoint of owner/empty is", str(home / "huggingface")):
        assert part in offline["empty"]["message"]


def test_nothing_can_be_reached(unreachable: dict[str, Result]) -> None:
    assert unreachable["tag"]["error"] == "CheckpointError"
    message = unreachable["tag"]["message"]
    assert message.startswith("no weights for ila_vit_b32.openai. Tried, in this order:\n")
    assert f"https://huggingface.co/{OPENAI}/blob/main/open_clip_model.safetensors\n" in message
    assert f"{CLOSED_PORT} cannot be reached" in message
    assert "\nWhere there is a network: ila-models download ila_vit_b32.openai" in message
    assert "\nBy hand: " in message
    assert "create_model('ila_vit_b32', checkpoint_path='FILE')" in message


def test_hub_id_that_cannot_be_reached(unreachable: dict[str, Result]) -> None:
    assert unreachable["id"]["error"] == "UnavailableError"
    message = unreachable["id"]["message"]
    assert f"{CLOSED_PORT} cannot be reached, and no checkpoint of owner/full@v1 is in the cache" in message
    assert "load it once with the network, by `ila-models verify hf-hub:owner/full@v1` for instance" in message
    assert "open_clip_model" not in message, "of the repository, not of one of its files"


@pytest.mark.parametrize("where", ["online", "unreachable"])
def test_drive_cannot_be_reached(where: str, results: dict[str, dict[str, Result]]) -> None:
    result = results[where]["drive"]
    assert result["error"] == "CheckpointError"
    message = result["message"]
    assert message.startswith("no weights for ila_vit_b16.k400_8x224. Tried, in this order:\n")
    assert "https://drive.google.com/file/d/1lAUgzxBDHoueXDaG9X9WFlBPVBl5LNdk/view\n" in message
    assert "create_model('ila_vit_b16', checkpoint_path='FILE')" in message


def test_a_proxy_that_refuses(results: dict[str, dict[str, Result]]) -> None:
    assert results["refused"]["tag"]["error"] == "CheckpointError"
    assert "Tried, in this order:" in results["refused"]["tag"]["message"]


# The order of sources, hashes and the cache


@pytest.fixture
def record() -> Record:
    return records()["ila_vit_b16.k400_8x224"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ILA_MODELS_HOME", str(tmp_path / "cache"))


def hub_source(name: str, *, sha256: str | None = None, size: int | None = None) -> HubSource:
    return HubSource(repo_id="owner/name", filename=name, revision="main", layout="open_clip", sha256=sha256, size=size)


@pytest.fixture
def hub_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the Hub."""
    folder = tmp_path / "hub"
    folder.mkdir()

    def give(repo_id: str, filename: str, *, revision: str | None, force_download: bool) -> str:
        if not (folder / filename).exists():
            raise OSError(f"no {filename} today\nand more lines")
        return str(folder / filename)

    monkeypatch.setattr(hub_client, "hf_hub_download", give)
    return folder


def test_sources_are_tried_in_order(hub_files: Path, record: Record) -> None:
    (hub_files / "second").write_bytes(b"weights")
    (hub_files / "third").write_bytes(b"weights")
    record = replace(record, sources=tuple(map(hub_source, ("first", "second", "third"))))
    assert download.fetch_record(record) == hub_files / "second"


def test_every_source_that_failed_is_named(hub_files: Path, record: Record) -> None:
    record = replace(record, sources=(hub_source("first"), hub_source("second")))
    with pytest.raises(CheckpointError) as caught:
        download.fetch_record(record)
    lines = str(caught.value).splitlines()
    places = [f"  https://huggingface.co/owner/name/blob/main/{name}" for name in ("first", "second")]
    assert [line for line in lines if line in places] == places
    assert "no first today" in str(caught.value)
    assert "more lines" not in str(caught.value)


def test_hashes(hub_files: Path, record: Record) -> None:
    (hub_files / "file").write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    assert download.fetch_record(replace(record, sources=(hub_source("file", sha256=right),))).exists()
    wrong = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(CheckpointError, match=f"sha256 is {right}, expected {wrong}"):
        download.fetch_record(replace(record, sources=(hub_source("file", sha256=wrong),)))
    with pytest.raises(CheckpointError, match="has 7 bytes, expected 8"):
        download.fetch_record(replace(record, sources=(hub_source("file", size=8),)))


def test_where_no_hash_is_stated_the_first_download_s_holds(hub_files: Path, record: Record) -> None:
    record = replace(record, sources=(hub_source("file"),))
    (hub_files / "file").write_bytes(b"weights")
    for _ in range(2):
        assert download.fetch_record(record) == hub_files / "file"
    (hub_files / "file").write_bytes(b"changed")
    first, now = (hashlib.sha256(content).hexdigest() for content in (b"weights", b"changed"))
    with pytest.raises(
        CheckpointError, match=f"sha256 is {now}, but it was {first} when it was first downloaded"
    ) as no:
        download.fetch_record(record)
    note = Path(re.search(r"delete (\S+) and try again", str(no.value))[1])
    note.write_text("{")  # not to be read: no reason to trust what comes
    with pytest.raises(CheckpointError, match="cannot be read"):
        download.fetch_record(record)
    note.unlink()
    assert download.fetch_record(record) == hub_files / "file"


def test_a_file_is_hashed_once_until_it_changes(
    hub_files: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    monkeypatch.setattr(cache, "file_sha256", lambda path: hashed.append(path) or "ab" * 32)
    record = replace(record, sources=(hub_source("file", sha256="ab" * 32),))
    (hub_files / "file").write_bytes(b"weights")
    for _ in range(2):
        download.fetch_record(record)
    assert len(hashed) == 1
    os.utime(hub_files / "file", (0, 0))
    download.fetch_record(record)
    assert len(hashed) == 2


WEIGHTS = save({"weight": torch.ones(1)})


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Google Drive, which has files whose ids begin with "good"; the ids asked for. `test_drive` has its protocol."""
    asked = []

    def give(file_id: str, destination: Path) -> Path:
        asked.append(file_id)
        if not file_id.startswith("good"):
            raise CheckpointError(f"Google Drive file {file_id}: its quota is spent")
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(WEIGHTS)
        return destination

    monkeypatch.setattr(download, "fetch_drive_file", give)
    return asked


def drive_record(record: Record, *ids: str, sha256: str | None = None) -> Record:
    sources = tuple(DriveSource(file_id=id, layout="released", sha256=sha256, size=None) for id in ids)
    return replace(record, sources=sources)


def test_drive_is_asked_once(drive: list[str], record: Record, tmp_path: Path) -> None:
    paths = {download.fetch_record(drive_record(record, "good1")) for _ in range(2)}
    assert drive == ["good1"]
    assert paths == {tmp_path / "cache" / "google_drive" / "good1"}
    assert [path.read_bytes() for path in paths] == [WEIGHTS]


def test_drive_refuses(drive: list[str], record: Record) -> None:
    assert download.fetch_record(drive_record(record, "spent", "good1")).read_bytes() == WEIGHTS
    with pytest.raises(CheckpointError, match=r"file/d/spent/view\n .*its quota is spent"):
        download.fetch_record(drive_record(record, "spent"))
    assert drive == ["spent", "good1", "spent"]


def test_a_damaged_file_of_drive_is_fetched_again(drive: list[str], record: Record) -> None:
    path = download.fetch_record(drive_record(record, "good1"))
    path.write_bytes(WEIGHTS[:-1])
    assert download.fetch_record(drive_record(record, "good1")).read_bytes() == WEIGHTS
    assert drive == ["good1", "good1"]


def test_a_wrong_file_of_drive_is_not_kept(drive: list[str], record: Record, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(CheckpointError, match=f"sha256 is .*, expected {'ab' * 32}"):
            download.fetch_record(drive_record(record, "good1", sha256="ab" * 32))
    assert drive == ["good1", "good1"]
    assert not (tmp_path / "cache" / "google_drive" / "good1").exists()


# What a checkpoint's name means


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("owner/name", ("owner/name", None)),
        ("hf-hub:owner/name", ("owner/name", None)),
        ("hf-hub:owner/name.openai@v1", ("owner/name.openai", "v1")),
        ("owner/name@refs/pr/3", ("owner/name", "refs/pr/3")),
    ],
)
def test_hub_ids(name: str, asked: tuple[str, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = []

    def give(repo_id: str, filename: str, *, revision: str | None, force_download: bool) -> str:
        found.append((repo_id, revision))
        return str(tmp_path / "file")

    monkeypatch.setattr(hub_client, "hf_hub_download", give)
    assert download.resolve_checkpoint(name) == tmp_path / "file"
    assert found == [asked]


@pytest.mark.parametrize(
    "name", ["weights.pt", "folder/weights.pth", "a/b/c", "folder/weights.safetensors", "hf-hub:name", "C:\\file"]
)
@pytest.mark.parametrize("kind", [str, Path])
def test_neither_a_file_nor_a_hub_id(
    name: str, kind: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # What is said to be a path is not looked for on the Hub, whatever it looks like.
    expected = "no such file, and not a Hub id" if kind is str else r"no such file or folder \(in "
    with pytest.raises(FileNotFoundError, match=expected):
        download.resolve_checkpoint(kind(name))


def test_a_file_comes_before_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("owner") / "name"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    assert download.resolve_checkpoint("owner/name") == file
