"""What every test starts from: a fixed seed, a small model, and caches that are empty."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# A developer's caches and tokens must not decide a test. huggingface_hub reads these once, when it is imported.
_CACHES = Path(tempfile.mkdtemp(prefix="ila_models_tests_"))
os.environ["HF_HOME"] = str(_CACHES / "huggingface")
os.environ["ILA_MODELS_HOME"] = str(_CACHES / "ila_models")
for _override in ("HF_HUB_CACHE", "HF_XET_CACHE", "HF_ASSETS_CACHE", "HF_TOKEN", "HF_TOKEN_PATH"):
    os.environ.pop(_override, None)
# The real client talks to a Hub on this machine, at an address that must stand before it is imported.
with socket.socket() as _free:
    _free.bind(("127.0.0.1", 0))
    HUB_PORT = _free.getsockname()[1]
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{HUB_PORT}"
os.environ["HF_HUB_DISABLE_XET"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
# One thread: most models here are tiny, and on a busy machine threads that wait for each other take 20 times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import huggingface_hub  # noqa: E402
import torch  # noqa: E402
from hub.server import HubServer, serve  # noqa: E402
from tiny import make_model  # noqa: E402

from ila_models.ila_vit import ILAVisionTransformer  # noqa: E402

# Autograd decides at the first backward whether it has threads, with which no forked child can run a backward. It has
# none on a CPU, unless torch.compile was there first.
torch.zeros((), requires_grad=True).backward()


def pytest_unconfigure() -> None:
    shutil.rmtree(_CACHES, ignore_errors=True)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def model() -> ILAVisionTransformer:
    """A tiny model in evaluation mode, with a text head of five classes and nothing left at zero."""
    return make_model()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """An empty Hub where this process looks for one, a token for it, and caches that know nothing of another."""
    (tmp_path / "hub").mkdir()
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    use_empty_caches(tmp_path / "home", monkeypatch)
    with serve(tmp_path / "hub", port=HUB_PORT) as server:
        yield server
    huggingface_hub.close_session()  # its open connections are to this server


def use_empty_caches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, as on another machine: neither the Hub's client nor this package has anything in its cache."""
    monkeypatch.setenv("ILA_MODELS_HOME", str(folder / "ila_models"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "huggingface"))


@pytest.fixture(scope="session")
def clip_b32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP ViT-B/32 with random weights under OpenAI's names, as ``torch.save`` writes it."""
    from released import random_clip

    path = tmp_path_factory.mktemp("clip") / "ViT-B-32.pt"
    torch.save(random_clip("ViT-B-32-quickgelu").state_dict(), path)
    return path
