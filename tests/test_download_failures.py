"""Downloads that are disturbed: nothing damaged is ever loaded, and the next call has the weights."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from conftest import use_empty_caches
from drive_server import DriveFile, DriveServer
from drive_server import serve as serve_drive
from failures import FORK, die_before, enlarge_disk, in_child, use_small_disk
from hub.server import Fault, HubServer, Repository
from zoo import open_zoo, write_released

from ila_models import CheckpointError, create_model
from ila_models.cli.main import main
from ila_models.convert import convert_checkpoint
from ila_models.pretrained import pretrained_file
from ila_models.weights.cache import cache_folder
from ila_models.weights.files import file_sha256
from ila_models.weights.manifest import OURS, DriveSource, HubSource, Record, forget_manifest, records
from ila_models.weights.manifest_edit import add_hub_source

K400, SSV2 = "ila_vit_b16.k400_8x224", "ila_vit_b16.ssv2_8x224"
REPOSITORY = f"owner/{SSV2}"
PIECE = 512 * 1024  # gdown reads so much at a time
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@dataclass(frozen=True)
class Source:
    """A released file, what is published of it, and the logits of its model."""

    path: Path
    published: Path
    logits: torch.Tensor


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return model(torch.randn(1, model.num_frames, 3, *model.config.img_size, generator=generator))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    folder = tmp_path_factory.mktemp("sources")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ILA_MODELS_HOME", str(folder / "ila_models"))
        open_zoo(folder, patch)
        for name in (K400, SSV2):
            path = folder / f"{name}.pth"
            write_released(name, path)
            options = ["--namespace", "owner", "--license", "mit", "--dry-run", str(folder / "published")]
            assert main(["--quiet", "publish", name, "--checkpoint", str(path), *options]) == 0
            (folder / "published" / name / ".prepared.json").unlink()
            found[name] = Source(path, folder / "published" / name, logits(create_model(name, checkpoint_path=path)))
    forget_manifest()
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DriveServer]:
    with serve_drive(tmp_path_factory.mktemp("drive")) as server:
        yield server


@pytest.fixture
def drive(running: DriveServer, monkeypatch: pytest.MonkeyPatch) -> DriveServer:
    """Google Drive, with nothing on it."""
    for name in ("ALL_PROXY", "HTTPS_PROXY", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.files.clear()
    running.requests.clear()
    return running


@pytest.fixture(autouse=True)
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The small zoo, and empty caches."""
    use_empty_caches(tmp_path / "home", monkeypatch)
    (tmp_path / "manifest").mkdir()
    yield open_zoo(tmp_path / "manifest", monkeypatch)
    forget_manifest()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client does not wait between its tries."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def left(folder: Path) -> set[str]:
    """What stands in a folder but locks."""
    return {path.name for path in folder.glob("*") if path.suffix != ".lock"}


# The Hub


@pytest.fixture
def published(hub: HubServer, drive: DriveServer, sources: dict[str, Source], manifest: Path) -> Repository:
    """The repository, which the manifest knows; on Google Drive there is nothing."""
    shutil.copytree(sources[SSV2].published, hub.root / REPOSITORY)
    repository = hub.repository(REPOSITORY)
    note(repository, manifest)
    return repository


def note(repository: Repository, manifest: Path, **other: Any) -> None:
    weights = repository.head.files["model.safetensors"]
    source = HubSource(
        repo_id=REPOSITORY,
        filename="model.safetensors",
        revision=repository.head.oid,
        layout=OURS,
        sha256=weights.sha256,
        size=weights.size,
    )
    add_hub_source(SSV2, replace(source, **other), manifest=manifest)


def by_the_command() -> torch.nn.Module:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        if main(["--quiet", "download", SSV2]) != 0:
            assert f"failed: {SSV2}: " in said.getvalue()
            raise CheckpointError(said.getvalue())
    return create_model(SSV2, pretrained=True)


WAYS: dict[str, Callable[[], torch.nn.Module]] = {
    "pretrained": partial(create_model, SSV2, pretrained=True),
    "hf-hub": partial(create_model, f"hf-hub:{REPOSITORY}"),
    "command": by_the_command,
}
every_way = pytest.mark.parametrize("way", WAYS)
WEIGHTS = r"filename=model\.safetensors$"


def blob(repository: Repository, name: str = "model.safetensors") -> Path:
    folder = Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--{REPOSITORY.replace('/', '--')}"
    return folder / "blobs" / repository.head.files[name].etag


def damage(path: Path) -> str:
    """Changes a byte of a file's last tensor; returns the file's hash."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return file_sha256(path)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        *(("GET", WEIGHTS, action) for action in ("cut", "lose", "500", "429", "truncate", "alter")),
        *(("HEAD", r"/model\.safetensors$", action) for action in ("cut", "500", "429")),
        *(("GET", r"/config\.json$", action) for action in ("cut", "500", "alter")),
    ],
)
@every_way
def test_a_request_that_fails_once(
    way: str,
    method: str,
    path: str,
    action: Any,
    hub: HubServer,
    published: Repository,
    sources: dict[str, Source],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 64 * 1024)
    status = {"status": int(action)} if action.isdecimal() else {}
    fault = Fault(method, path, "status" if status else action, **status)
    hub.faults.append(fault)
    refusal = None
    try:
        model = WAYS[way]()
    except CheckpointError as error:
        refusal = str(error)
        model = WAYS[way]()
    if action in ("cut", "alter") or "config" in path:
        assert refusal is None, "that is mended at once, or not needed"
    assert refusal is None or REPOSITORY in refusal
    assert fault.happened == 1
    assert torch.equal(logits(model), sources[SSV2].logits)
    if (path, action) == (WEIGHTS, "cut"):
        assert len(hub.ranges) == 1, "it goes on where it stopped"
    assert blob(published).read_bytes() == (sources[SSV2].published / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("action", ["alter", "truncate", "cut", "status"])
@every_way
def test_weights_that_never_come_right(
    way: str, action: Any, hub: HubServer, published: Repository, sources: dict[str, Source]
) -> None:
    hub.faults.append(Fault("GET", WEIGHTS, action, times=None))
    for _ in range(2):
        with pytest.raises(CheckpointError) as caught:
            WAYS[way]()
        assert REPOSITORY in str(caught.value)
        if action == "alter":
            assert "model.safetensors came damaged twice, and was not kept: " in str(caught.value)
            right = published.head.files["model.safetensors"].sha256
            assert f", expected {right}: damaged, or another file" in str(caught.value)
        assert not blob(published).exists(), "nor does any other program find it"
    hub.faults.clear()
    assert torch.equal(logits(WAYS[way]()), sources[SSV2].logits)


@pytest.mark.usefixtures("_impatient")
@every_way
def test_a_file_damaged_in_the_cache(
    way: str,
    hub: HubServer,
    published: Repository,
    sources: dict[str, Source],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    WAYS[way]()
    right, wrong = blob(published).name, damage(blob(published))
    with monkeypatch.context() as offline:
        offline.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError, match=f"sha256 is {wrong}, expected {right}") as caught:
            WAYS[way]()
        assert "HF_HUB_OFFLINE is set" in str(caught.value)
    hub.faults.append(Fault("HEAD|GET", "model.safetensors", "status", times=None))
    with pytest.raises(CheckpointError, match=f"sha256 is {wrong}, expected {right}") as caught:
        WAYS[way]()
    assert ("could not be downloaded again" if way != "hf-hub" else "cannot be reached") in str(caught.value)
    hub.faults.clear()
    assert torch.equal(logits(WAYS[way]()), sources[SSV2].logits)
    assert hub.count("GET", WEIGHTS) == 2
    assert file_sha256(blob(published)) == right


def test_another_hash_than_the_manifest_states(
    hub: HubServer, published: Repository, manifest: Path, sources: dict[str, Source]
) -> None:
    note(published, manifest, sha256="0" * 64)
    right = published.head.files["model.safetensors"].sha256
    for way in ("pretrained", "command", "pretrained"):
        with pytest.raises(CheckpointError, match=f"sha256 is {right}, expected {'0' * 64}: damaged, or another file"):
            WAYS[way]()
    assert hub.count("GET", WEIGHTS) == 1
    note(published, manifest)
    assert torch.equal(logits(WAYS["pretrained"]()), sources[SSV2].logits)
    note(published, manifest, size=1000)
    with pytest.raises(CheckpointError, match=r"has \d+ bytes, expected 1000: cut off, or another file"):
        WAYS["pretrained"]()


def test_what_is_not_pinned_must_stay_as_it_was(
    hub: HubServer, published: Repository, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(published, manifest, revision="main", sha256=None, size=None)
    WAYS["pretrained"]()
    first = published.head.files["model.safetensors"].sha256
    changed = tmp_path / "changed"
    shutil.copyfile(blob(published), changed)
    second = damage(changed)
    published.objects[second] = changed
    published.commit({**published.head.files, "model.safetensors": published.large(second)}, "Change")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "emptied"))
    with pytest.raises(CheckpointError, match=f"sha256 is {second}, but it was {first} when") as caught:
        WAYS["pretrained"]()
    assert "If you trust the new file, delete " in str(caught.value)
    Path(str(caught.value).partition("delete ")[2].partition(" and try again")[0]).unlink()
    WAYS["pretrained"]()


@every_way
def test_ten_processes_make_one_download(
    way: str, hub: HubServer, published: Repository, sources: dict[str, Source]
) -> None:
    together = FORK.Barrier(10)

    def load() -> None:
        together.wait()
        assert torch.equal(logits(WAYS[way]()), sources[SSV2].logits)

    children = [in_child(load) for _ in range(10)]
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 10
    assert hub.count("GET", WEIGHTS) == 1


@pytest.mark.parametrize(
    "moment",
    {
        "weights begun": ("open", r"/blobs/[0-9a-f]{64}.*\.incomplete$"),
        "weights arrived": ("os.rename", r"/blobs/[0-9a-f]{64}.*\.incomplete$"),
        "weights in the cache": ("os.symlink", r"/blobs/[0-9a-f]{64}$"),
        "hash begun": ("os.rename", r"/hashes/"),
    }.items(),
    ids=lambda moment: moment[0],
)
def test_a_process_killed_at_a_download(
    moment: tuple[str, tuple[str, str]], published: Repository, sources: dict[str, Source]
) -> None:
    def load() -> None:
        die_before(*moment[1])
        WAYS["pretrained"]()

    child = in_child(load)
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    for way in WAYS.values():
        assert torch.equal(logits(way()), sources[SSV2].logits)


def rot(path: Path) -> None:
    """Changes a byte as a disk does: nobody wrote, so that the time of change stays."""
    state = path.stat()
    damage(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_verifying_reads_the_cache_of_the_hub_again(
    published: Repository, sources: dict[str, Source], capsys: pytest.CaptureFixture[str]
) -> None:
    WAYS["command"]()
    assert main(["--quiet", "verify", SSV2]) == 0
    rot(blob(published))
    assert main(["--quiet", "verify", SSV2]) == 1
    assert "damaged" in capsys.readouterr().err
    assert torch.equal(logits(WAYS["command"]()), sources[SSV2].logits)
    assert main(["--quiet", "verify", SSV2]) == 0


# Google Drive


@pytest.fixture(params=[K400, SSV2])
def on_drive(request: pytest.FixtureRequest, drive: DriveServer, sources: dict[str, Source]) -> Record:
    """A checkpoint that is on Google Drive only."""
    return put_on_drive(request.param, drive, sources)


@pytest.fixture
def ssv2(drive: DriveServer, sources: dict[str, Source]) -> Record:
    return put_on_drive(SSV2, drive, sources)


def put_on_drive(name: str, drive: DriveServer, sources: dict[str, Source]) -> Record:
    record = records()[name]
    drive.files[file_id(record)] = DriveFile(sources[name].path.read_bytes())
    return record


def file_id(record: Record) -> str:
    (source,) = (source for source in record.sources if isinstance(source, DriveSource))
    return source.file_id


def converted() -> Path:
    return cache_folder() / "converted"


def released() -> Path:
    return cache_folder() / "google_drive"


def check(record: Record, sources: dict[str, Source]) -> None:
    """The model is right, and nothing but its file is kept."""
    assert torch.equal(logits(create_model(record.name, pretrained=True)), sources[record.name].logits)
    assert left(converted()) == {f"{record.name}.safetensors"}
    assert left(released()) == set()


@pytest.fixture
def conversions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of one byte for every conversion, in whichever process."""
    counted = tmp_path / "conversions"
    counted.touch()

    def convert(source: Path, destination: Path) -> Any:
        with counted.open("ab") as stream:
            stream.write(b"x")
        return convert_checkpoint(source, destination)

    monkeypatch.setattr("ila_models.pretrained.convert_checkpoint", convert)
    return counted


def test_ten_processes_make_one_conversion(
    on_drive: Record,
    drive: DriveServer,
    conversions: Path,
    sources: dict[str, Source],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = FORK.Barrier(10)

    def fetch() -> None:
        together.wait()
        assert pretrained_file(on_drive).is_file()

    children = [in_child(fetch) for _ in range(10)]
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 10
    assert (len(drive.downloads), conversions.stat().st_size) == (1, 1)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    check(on_drive, sources)
    assert len(drive.downloads) == 1


def test_a_download_that_is_killed_goes_on(
    ssv2: Record, drive: DriveServer, conversions: Path, sources: dict[str, Source]
) -> None:
    go_on, file = threading.Event(), drive.files[file_id(ssv2)]
    file.cuts, file.stalled = {0: PIECE + PIECE // 2}, go_on
    child = in_child(partial(pretrained_file, ssv2))
    begun = released() / f".{file_id(ssv2)}.download"
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in begun.glob("*")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    child.kill()
    child.join()
    go_on.set()
    assert left(converted()) == set()
    check(ssv2, sources)
    assert [asked.start for asked in drive.downloads] == [None, None, PIECE]
    assert conversions.stat().st_size == 1


@pytest.mark.parametrize(
    ("moment", "downloads"),
    {
        "downloaded": (("os.rename", r"/checkpoint[^/]*$"), 1),
        "weights begun": (("os.chmod", r"/converted/.*\.safetensors$"), 1),
        "weights written": (("os.rename", r"/converted/.*\.safetensors$"), 1),
        "hash begun": (("os.rename", r"/hashes/"), 1),
    }.values(),
    ids=["downloaded", "weights begun", "weights written", "hash begun"],
)
def test_a_conversion_that_is_killed(
    moment: tuple[str, str], downloads: int, ssv2: Record, drive: DriveServer, sources: dict[str, Source]
) -> None:
    def fetch() -> None:
        die_before(*moment)
        pretrained_file(ssv2)

    for _ in range(2):
        child = in_child(fetch)
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
    check(ssv2, sources)
    assert len(drive.downloads) == downloads


def test_a_converted_file_that_is_damaged_is_made_anew(
    ssv2: Record, drive: DriveServer, sources: dict[str, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pretrained_file(ssv2)
    right = file_sha256(path)
    damage(path)
    with monkeypatch.context() as offline:
        offline.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set"):
            create_model(SSV2, pretrained=True)
    check(ssv2, sources)
    assert file_sha256(path) == right
    assert len(drive.downloads) == 2


def test_verifying_reads_converted_files_again(
    ssv2: Record, sources: dict[str, Source], capsys: pytest.CaptureFixture[str]
) -> None:
    rot(pretrained_file(ssv2))
    assert main(["--quiet", "verify", SSV2]) == 1
    assert "damaged" in capsys.readouterr().err
    check(ssv2, sources)
    assert main(["--quiet", "verify", SSV2]) == 0


def test_a_released_file_that_is_damaged_is_fetched_again(
    ssv2: Record, drive: DriveServer, sources: dict[str, Source]
) -> None:
    def fetch() -> None:
        die_before("os.chmod", r"/converted/.*\.safetensors$")
        pretrained_file(ssv2)

    child = in_child(fetch)
    child.join(60)
    damage(released() / file_id(ssv2))
    check(ssv2, sources)
    assert len(drive.downloads) == 2


@pytest.mark.parametrize("page", ["quota", "private", "attachment"])
def test_a_page_instead_of_the_file_leaves_nothing(
    page: Any, ssv2: Record, drive: DriveServer, sources: dict[str, Source], capsys: pytest.CaptureFixture[str]
) -> None:
    drive.files[file_id(ssv2)].page = page
    assert main(["--quiet", "download", SSV2]) == 1
    assert f"no weights for {SSV2}. Tried, in this order:" in capsys.readouterr().err
    assert (left(converted()), left(released())) == (set(), set())
    drive.files[file_id(ssv2)].page = None
    assert main(["--quiet", "download", SSV2]) == 0
    check(ssv2, sources)


def test_google_drive_stands_in_for_a_hub_that_is_down(
    hub: HubServer, published: Repository, drive: DriveServer, sources: dict[str, Source]
) -> None:
    put_on_drive(SSV2, drive, sources)
    hub.faults.append(Fault("GET", WEIGHTS, "alter", times=None))
    assert torch.equal(logits(create_model(SSV2, pretrained=True)), sources[SSV2].logits)
    assert len(drive.downloads) == 1


# A folder of one's own


def export(folder: Path) -> int:
    return main(["--quiet", "download", SSV2, "--dir", str(folder)])


@pytest.mark.parametrize("event", ["os.chmod", "os.rename"])
def test_an_export_that_is_killed(
    event: str, ssv2: Record, drive: DriveServer, sources: dict[str, Source], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"

    def download() -> int:
        die_before(event, r"/mine/.*\.safetensors$")
        return export(folder)

    child = in_child(download)
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    for _ in range(2):
        assert export(folder) == 0
        assert left(folder) == {f"{SSV2}.safetensors"}
        model = create_model(SSV2, checkpoint_path=folder / f"{SSV2}.safetensors")
        assert torch.equal(logits(model), sources[SSV2].logits)
    assert len(drive.downloads) == 1


def test_an_exported_file_that_is_damaged(ssv2: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"{SSV2}.safetensors"
    assert export(tmp_path) == 0
    right = file_sha256(path)
    damage(path)
    assert export(tmp_path) == 1
    assert f"{path} has changed since it was written: move it away" in capsys.readouterr().err
    path.unlink()
    assert export(tmp_path) == 0
    assert file_sha256(path) == right


# Disks that are full


def run_with_small_disk(command: Callable[[], int], folder: Path, size: str, answer: Path) -> None:
    if not use_small_disk(folder, size):
        return
    with contextlib.redirect_stderr(io.StringIO()) as said:
        failed = command()
    enlarge_disk(folder)
    answer.write_text(json.dumps([failed, said.getvalue(), command()]))


def on_a_small_disk(command: Callable[[], int], folder: Path, size: str, answer: Path) -> str:
    """What a command says on a disk that is too small; where there is room then, it must go on and finish."""
    folder.mkdir(parents=True, exist_ok=True)
    child = in_child(partial(run_with_small_disk, command, folder, size, answer))
    child.join(60)
    assert child.exitcode == 0
    if not answer.exists():
        pytest.skip("no disk can be mounted here")
    failed, said, finished = json.loads(answer.read_text())
    assert (failed, finished) == (1, 0)
    return said


@pytest.mark.parametrize("share", [0.5, 1.1, 1.2])
def test_a_full_disk_at_a_conversion(
    share: float, ssv2: Record, drive: DriveServer, sources: dict[str, Source], tmp_path: Path
) -> None:
    size = int(share * sources[SSV2].path.stat().st_size)

    def command() -> int:
        failed = main(["--quiet", "download", SSV2])
        if not failed:
            check(ssv2, sources)
        else:
            assert left(converted()) == set()
        return failed

    said = on_a_small_disk(command, tmp_path / "home" / "ila_models", str(size), tmp_path / "answer")
    assert f"failed: {SSV2}: " in said
    assert "no room for it" in said if share < 1 else "No space left on device" in said
    assert [asked.start for asked in drive.downloads if asked.start is None][1:] == ([None] if share < 1 else [])


def test_a_full_disk_at_a_download_of_the_hub(
    hub: HubServer, published: Repository, sources: dict[str, Source], tmp_path: Path
) -> None:
    def command() -> int:
        failed = main(["--quiet", "download", SSV2])
        if not failed:
            assert torch.equal(logits(create_model(SSV2, pretrained=True)), sources[SSV2].logits)
        return failed

    said = on_a_small_disk(command, tmp_path / "home" / "huggingface", "600k", tmp_path / "answer")
    assert "No space left on device" in said


def test_a_full_disk_is_no_reason_not_to_load_what_is_there(
    published: Repository, sources: dict[str, Source], tmp_path: Path
) -> None:
    """The hash that was computed cannot be kept then."""
    WAYS["hf-hub"]()
    folder, answer = tmp_path / "full", tmp_path / "answer"
    folder.mkdir()

    def load() -> None:
        if not use_small_disk(folder, "64k"):
            return
        (folder / "ballast").write_bytes(bytes(shutil.disk_usage(folder).free))
        os.environ["ILA_MODELS_HOME"] = str(folder)
        for way in ("hf-hub", "pretrained"):
            assert torch.equal(logits(WAYS[way]()), sources[SSV2].logits)
        answer.touch()

    child = in_child(load)
    child.join(60)
    assert child.exitcode == 0
    if not answer.exists():
        pytest.skip("no disk can be mounted here")
