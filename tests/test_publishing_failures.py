"""Publishing that is disturbed: whatever goes wrong, the next run finishes, and nothing is there twice."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import use_empty_caches
from failures import FORK, die_before, enlarge_disk, in_child, use_small_disk
from hub.http import HubHandler
from hub.server import Fault, HubServer
from huggingface_hub import HfApi
from zoo import open_zoo, write_released

from ila_models import create_model
from ila_models.cli.main import main
from ila_models.publishing.reference import make_reference
from ila_models.weights.cache import cache_folder
from ila_models.weights.files import file_sha256
from ila_models.weights.manifest import forget_manifest

NAME = "ila_vit_b16.ssv2_8x224"
REPOSITORY = f"owner/{NAME}"
FILES = {"README.md", "config.json", "model.safetensors", "test/reference.safetensors"}
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

# Every kind of request that publishing makes, in its order: method and path.
STEPS = {
    "create": ("POST", "^/api/repos/create$"),
    "head": ("GET", f"^/api/models/{REPOSITORY}$"),
    "what is there": ("POST", "/paths-info/"),
    "card": ("POST", "^/api/validate-yaml$"),
    "how to upload": ("POST", "/preupload/"),
    "where to upload": ("POST", "/objects/batch$"),
    "upload": ("PUT", "^/upload/"),
    "uploaded": ("POST", "/objects/verify$"),
    "commit": ("POST", "/commit/main$"),
    "tags": ("GET", "/refs"),
    "tag": ("POST", "/tag/"),
    "address of the card": ("HEAD", r"/resolve/[0-9a-f]{40}/README\.md$"),
    "card read back": ("GET", r"/resolve/[0-9a-f]{40}/README\.md$"),
    "address of the weights": ("HEAD", r"/resolve/[0-9a-f]{40}/model\.safetensors$"),
    "weights read back": ("GET", r"filename=model\.safetensors$"),
    "reference read back": ("GET", r"filename=test/reference\.safetensors$"),
}
WRITING = ("create", "upload", "commit", "tag")


@dataclass(frozen=True)
class Source:
    """A released file, what the command prepares of it, and the logits of its model."""

    path: Path
    prepared: Path
    logits: torch.Tensor


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return model(torch.randn(2, model.num_frames, 3, *model.config.img_size, generator=generator))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ILA_MODELS_HOME", str(folder / "ila_models"))
        manifest = open_zoo(folder, patch)
        write_released(NAME, folder / "released.pth")
        assert publish(folder / "released.pth", manifest, "--dry-run", str(folder / "prepared")) == 0
        expected = logits(create_model(NAME, checkpoint_path=folder / "released.pth"))
    forget_manifest()
    return Source(folder / "released.pth", folder / "prepared" / NAME, expected)


def publish(path: Path, manifest: Path, *options: str) -> int:
    stated = ["--namespace", "owner", "--license", "mit", "--manifest", str(manifest), "--checkpoint", str(path)]
    return main(["--quiet", "publish", NAME, *stated, *options])


class Publisher:
    """Whoever publishes the checkpoint, from one machine."""

    def __init__(self, source: Source, hub: HubServer, manifest: Path, home: Path) -> None:
        self.source, self.hub, self.manifest, self.home = source, hub, manifest, home
        self.before = manifest.read_text()

    def prepare(self) -> None:
        """Leaves in the cache what a run leaves that got as far as the Hub, which saves half of the next run."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.source.prepared, self.folder, dirs_exist_ok=True)

    @property
    def folder(self) -> Path:
        return cache_folder() / "releases" / "owner" / NAME

    def run(self) -> int:
        return publish(self.source.path, self.manifest)

    def run_in_child(self, first: Callable[[], object] = lambda: None) -> multiprocessing.process.BaseProcess:
        def child() -> int:
            first()
            return self.run()

        return in_child(child)

    def check(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The release is there, once, whole, noted, and gives the source's logits on another machine."""
        repository = self.hub.repository(REPOSITORY)
        assert [commit.title for commit in repository.commits[1:]] == [f"Release {NAME}"]
        assert repository.tags == {"v1": repository.head.oid}
        files = repository.head.files
        assert files.keys() - {".gitattributes"} == FILES
        assert {path.name for path in repository.folder.iterdir()} == {file.etag for file in files.values()}
        entry = json.loads(self.manifest.read_text())["checkpoints"][NAME]["sources"]
        assert [one["kind"] for one in entry] == ["huggingface_hub", "google_drive"]
        noted = (entry[0]["repo_id"], entry[0]["revision"], entry[0]["sha256"], entry[0]["size"])
        weights = files["model.safetensors"]
        assert noted == (REPOSITORY, repository.head.oid, weights.sha256, weights.size)
        assert file_sha256(self.source.prepared / "model.safetensors") == weights.sha256
        left = {path.name for path in self.folder.parent.iterdir()}
        assert left == {f".{NAME}.lock", f"{NAME}.json"}, "nothing is left but the note"
        assert self.hub.unknown == []
        use_empty_caches(self.home / "elsewhere", monkeypatch)
        assert torch.equal(logits(create_model(f"hf-hub:{REPOSITORY}")), self.source.logits)


@pytest.fixture
def publisher(source: Source, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    (tmp_path / "manifest").mkdir()
    yield Publisher(source, hub, open_zoo(tmp_path / "manifest", monkeypatch), tmp_path)
    forget_manifest()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client does not wait between its tries. The Hub's delays and the locks of children are of other threads."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


# Requests that fail


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("step", "action"),
    [
        *((step, action) for step in WRITING for action in ("cut", "lose", "500", "truncate")),
        *(("weights read back", action) for action in ("cut", "lose", "500", "429", "truncate", "alter")),
        *(("head", action) for action in ("500", "429", "alter")),
        *((step, "cut") for step in ("what is there", "how to upload", "uploaded", "address of the card")),
        *((step, "alter") for step in ("card", "where to upload", "tags", "card read back", "reference read back")),
        ("address of the weights", "500"),
    ],
)
def test_a_request_that_fails_once(
    step: str,
    action: Any,
    publisher: Publisher,
    hub: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publisher.prepare()
    status = {"status": int(action)} if action.isdecimal() else {}
    fault = Fault(*STEPS[step], "status" if status else action, **status)
    hub.faults.append(fault)
    failed = publisher.run()
    assert fault.happened == 1
    assert failed in (0, 1)
    if failed:
        said = capsys.readouterr().err
        assert f"failed: {NAME}: " in said
        assert REPOSITORY in said
        assert "un this again" in said
        assert "run the same command again to go on" in said
        assert publisher.manifest.read_text() == publisher.before
    else:
        publisher.prepare()
    assert publisher.run() == 0
    publisher.check(monkeypatch)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("file", sorted(FILES))
def test_bytes_that_come_back_altered_for_ever(
    file: str,
    publisher: Publisher,
    hub: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fault = Fault("GET", f"(resolve/([0-9a-f]{{40}}|main)/|filename=){file}$", "alter", times=None)
    hub.faults.append(fault)
    for _ in range(2):
        assert publisher.run() == 1
        said = capsys.readouterr().err
        assert f"{REPOSITORY} was pushed but cannot be read back" in said or "what is published there cannot" in said
        assert "sha" in said
        assert ", expected " in said
        assert publisher.manifest.read_text() == publisher.before
    assert fault.happened == 4, "each run asks once more"
    hub.faults.clear()
    assert publisher.run() == 0
    publisher.check(monkeypatch)


@pytest.mark.usefixtures("_impatient")
def test_a_hub_that_is_down_makes_no_second_release(
    publisher: Publisher, hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On another processor the reference tensors come out a little different: the published ones must be seen."""
    assert publisher.run() == 0

    def on_another_processor(*arguments: Any, **options: Any) -> dict[str, torch.Tensor]:
        made = make_reference(*arguments, **options)
        return made | {"logits": made["logits"] * (1 + 1e-6)}

    monkeypatch.setattr("ila_models.publishing.bundle.make_reference", on_another_processor)
    for number, action in enumerate(("status", "truncate", "alter")):
        use_empty_caches(publisher.home / f"another machine {number}", monkeypatch)
        hub.faults.append(Fault("GET", r"filename=test/reference\.safetensors$", action, times=None, status=500))
        assert publisher.run() == 1
        assert "un this again" in capsys.readouterr().err
        hub.faults.clear()
    assert publisher.run() == 0
    publisher.check(monkeypatch)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("step", ["what is there", "tags"])
@pytest.mark.parametrize("action", ["cut", "alter", "status"])
def test_a_hub_that_cannot_say_what_is_there(
    step: str, action: Any, publisher: Publisher, hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """To prepare all anew would help nobody."""
    assert publisher.run() == 0
    published = publisher.manifest.read_text()
    hub.faults.append(Fault(*STEPS[step], action, times=None, status=500))
    assert publisher.run() == 1
    assert f"publishing {REPOSITORY}: " in (said := capsys.readouterr().err)
    assert "un this again" in said
    assert publisher.manifest.read_text() == published
    hub.faults.clear()
    assert publisher.run() == 0
    publisher.check(monkeypatch)


def test_a_tag_that_somebody_else_makes_meanwhile(
    publisher: Publisher, hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_tag = HfApi.create_tag

    def too_late(api: HfApi, *arguments: Any, **options: Any) -> None:
        repository = hub.repository(REPOSITORY)
        repository.tags["v1"] = repository.commits[0].oid
        create_tag(api, *arguments, **options)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(HfApi, "create_tag", too_late)
        assert publisher.run() == 1
    assert "(status 409): run this again" in capsys.readouterr().err
    assert publisher.run() == 0
    first, head = hub.repository(REPOSITORY).commits
    assert hub.repository(REPOSITORY).tags == {"v1": first.oid, "v2": head.oid}


# Processes that die


DEATHS = {
    "weights begun": ("os.chmod", r"/model\.safetensors$"),
    "weights written": ("os.rename", r"/model\.safetensors$"),
    "reference begun": ("open", r"/reference\.safetensors$"),
    "prepared": ("os.rename", rf"\.{NAME}\.[^/]+/{NAME}$"),
    "pushed": ("open", r"/blobs/[0-9a-f]{40}.*\.incomplete$"),
    "weights arrived": ("os.rename", r"/blobs/[0-9a-f]{64}.*\.incomplete$"),
    "weights in the cache": ("os.symlink", r"/blobs/[0-9a-f]{64}$"),
    "read back": ("open", r"\.weights_manifest\.json\.lock$"),
    "note begun": ("os.rename", r"/weights_manifest\.json$"),
    "remembering": ("os.rename", rf"/{NAME}\.json$"),
    "noted": ("os.rename", rf"/releases/owner/{NAME}$"),
    "half removed": ("os.remove", r"^config\.json$"),
}


@pytest.mark.parametrize("moment", DEATHS)
def test_a_process_killed_at_work(moment: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    child = publisher.run_in_child(partial(die_before, *DEATHS[moment]))
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert publisher.run() == 0
    publisher.check(monkeypatch)


@pytest.mark.parametrize("step", ["create", "where to upload", "upload", "commit", "tag", "weights read back"])
def test_a_process_killed_while_the_hub_answers(
    step: str, publisher: Publisher, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub carries out what it was asked, but nobody is there any more to hear of it."""
    publisher.prepare()
    asked = Fault(*STEPS[step], "delay")
    child_known, done = threading.Event(), threading.Event()
    killers = []
    hub.faults.append(asked)
    take, answer = hub.faults.take, HubHandler._answer
    children = []

    def take_and_kill(method: str, path: str) -> Fault | None:
        if (fault := take(method, path)) is asked:
            child_known.wait()
            children[0].kill()
            children[0].join()  # here alone: of two threads that wait for a child, one is not told how it ended
            killers.append(threading.get_ident())
        return fault

    def answer_and_tell(handler: HubHandler) -> None:
        try:
            answer(handler)
        finally:
            if threading.get_ident() in killers:
                done.set()

    monkeypatch.setattr(hub.faults, "take", take_and_kill)
    monkeypatch.setattr(HubHandler, "_answer", answer_and_tell)
    children.append(publisher.run_in_child())
    child_known.set()
    assert done.wait(60)
    assert children[0].exitcode == -signal.SIGKILL
    assert publisher.run() == 0
    publisher.check(monkeypatch)


def test_a_process_killed_again_and_again_at_any_time(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = random.Random(0)
    for _ in range(6):
        child = publisher.run_in_child()
        child.join(moments.uniform(0.05, 0.6))
        child.kill()
        child.join()
    assert publisher.run() == 0
    publisher.check(monkeypatch)


def test_two_at_once_make_one_release(publisher: Publisher, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    together = FORK.Barrier(2)
    children = [publisher.run_in_child(together.wait) for _ in range(2)]
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert hub.count("POST", "/commit/") == 1
    publisher.check(monkeypatch)


# Disks that are full


def run_with_small_disk(publisher: Publisher, folder: Path, size: str, answer: Path) -> None:
    if not use_small_disk(folder, size):
        return
    if folder == publisher.manifest.parent:
        publisher.manifest.write_text(publisher.before)
        (folder / "ballast").write_bytes(bytes(shutil.disk_usage(folder).free))
    with contextlib.redirect_stderr(io.StringIO()) as said:
        failed = publisher.run()
    is_as_before = publisher.manifest.read_text() == publisher.before
    enlarge_disk(folder)
    finished = publisher.run()
    answer.write_text(json.dumps([failed, is_as_before, said.getvalue(), finished, publisher.manifest.read_text()]))
    left = {path.name for path in publisher.folder.parent.iterdir()}
    assert left == {f".{NAME}.lock", f"{NAME}.json"}


@pytest.mark.parametrize(
    ("where", "size"),
    [
        ("home/ila_models", "64k"),
        ("home/ila_models", "1000k"),
        ("home/ila_models", "1220k"),
        ("home/huggingface", "20k"),
        ("home/huggingface", "1000k"),
        ("manifest", "200k"),
    ],
)
def test_a_full_disk(
    where: str, size: str, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, answer = tmp_path / where, tmp_path / "answer"
    folder.mkdir(parents=True, exist_ok=True)
    child = in_child(partial(run_with_small_disk, publisher, folder, size, answer))
    child.join(60)
    assert child.exitcode == 0
    if not answer.exists():
        pytest.skip("no disk can be mounted here")
    failed, is_as_before, said, finished, manifest = json.loads(answer.read_text())
    assert (failed, is_as_before, finished) == (1, True, 0)
    assert f"failed: {NAME}: " in said
    assert "No space left on device" in said
    # The child's disk is gone with it: what the manifest said there, and an empty cache.
    publisher.manifest.write_text(manifest)
    publisher.folder.parent.mkdir(parents=True, exist_ok=True)
    for name in (f".{NAME}.lock", f"{NAME}.json"):
        publisher.folder.with_name(name).touch()
    publisher.check(monkeypatch)
