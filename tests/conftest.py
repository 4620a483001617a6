"""What every test starts from: a fixed seed, a small model, and caches that are empty."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

# A developer's caches and tokens must not decide a test. huggingface_hub reads these once, when it is imported.
_CACHES = Path(tempfile.mkdtemp(prefix="ila_models_tests_"))
os.environ["HF_HOME"] = str(_CACHES / "huggingface")
os.environ["ILA_MODELS_HOME"] = str(_CACHES / "ila_models")
for _override in ("HF_HUB_CACHE", "HF_XET_CACHE", "HF_ASSETS_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT"):
    os.environ.pop(_override, None)
# One thread: most models here are tiny, and on a busy machine threads that wait for each other take 20 times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402
from tiny import make_model  # noqa: E402

from ila_models.ila_vit import ILAVisionTransformer  # noqa: E402


def pytest_unconfigure() -> None:
    shutil.rmtree(_CACHES, ignore_errors=True)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def model() -> ILAVisionTransformer:
    """A tiny model in evaluation mode, with a text head of five classes and nothing left at zero."""
    return make_model()


@pytest.fixture(scope="session")
def clip_b32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP ViT-B/32 with random weights under OpenAI's names, as ``torch.save`` writes it."""
    from released import random_clip

    path = tmp_path_factory.mktemp("clip") / "ViT-B-32.pt"
    torch.save(random_clip("ViT-B-32-quickgelu").state_dict(), path)
    return path
