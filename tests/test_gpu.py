"""On a GPU: the answers are those of the CPU. Skipped where torch sees none.

Apart from torch and what the package itself takes, nothing is needed: a lent machine runs them by
``python -m pytest --noconftest tests/test_gpu.py``.
"""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ila_models
from ila_models import FeatureExtractor
from ila_models.cli.main import main
from ila_models.data.motion import TEST_SEED, motion_clips, write_motion_videos
from ila_models.features.batch_size import MOST
from ila_models.ila_vit import ILAVisionTransformer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")

NAME = "ila_vit_nano8"


@pytest.fixture(scope="module")
def model() -> ILAVisionTransformer:
    """The checkpoint that comes with the package, on the CPU."""
    loaded: ILAVisionTransformer = ila_models.create_model(NAME, pretrained=True)
    return loaded


@pytest.fixture(scope="module")
def video(model: ILAVisionTransformer) -> Tensor:
    """200 clips that the checkpoint has not seen."""
    clips, _ = motion_clips(range(200), seed=TEST_SEED)
    prepared: Tensor = ila_models.create_transform(model)(clips)
    return prepared


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten files."""
    folder = tmp_path_factory.mktemp("videos")
    write_motion_videos(folder, count=10, seed=1)
    return folder


@pytest.fixture(autouse=True)
def _exact_products() -> Any:
    """Float32 products in float32: the CPU has no TensorFloat-32."""
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    torch.compiler.reset()


def on_gpu(model: ILAVisionTransformer, *, fused: bool = True, dtype: torch.dtype = torch.float32) -> Any:
    copied = copy.deepcopy(model)
    return (copied.fuse() if fused else copied).to("cuda", dtype)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found.float().cpu() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("fused", [False, True])
def test_float32(model: ILAVisionTransformer, video: Tensor, fused: bool) -> None:
    with torch.inference_mode():
        expected, expected_maps = model(video, return_points=True)
        found, maps = on_gpu(model, fused=fused)(video.cuda(), return_points=True)
    assert error(found, expected) <= 1e-4
    assert error(maps.points, expected_maps.points) <= 1e-3
    assert error(maps.masks, expected_maps.masks) <= 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", ["eager", "default", "reduce-overhead"])
def test_16_bits_in_every_mode(model: ILAVisionTransformer, video: Tensor, dtype: torch.dtype, mode: str) -> None:
    ready = on_gpu(model, dtype=dtype)
    called = ready if mode == "eager" else torch.compile(ready, fullgraph=True, mode=mode)
    with torch.inference_mode():
        expected = model(video)
        # More than once, since a CUDA graph is recorded by the second call, and played from then on.
        for _ in range(3):
            found = called(video.to("cuda", dtype)).clone()
    assert found.dtype == dtype
    assert error(found, expected) <= 2e-2
    assert torch.equal(found.argmax(dim=1).cpu(), expected.argmax(dim=1))


def test_no_graph_anew_for_other_clips_and_frames(model: ILAVisionTransformer) -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    ready = on_gpu(model)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("inductor")
    compiled = torch.compile(ready, fullgraph=True, dynamic=True, backend=counter)
    with torch.inference_mode():
        for clips, frames in ((2, 4), (3, 6), (5, 4), (17, 8), (4, 12)):
            inputs = torch.randn(clips, frames, 3, 64, 64, device="cuda")
            assert error(compiled(inputs), ready(inputs).cpu()) <= 1e-4
    assert counter.frame_count == 1


def test_a_training_step(model: ILAVisionTransformer, video: Tensor) -> None:
    gradients = []
    for device in ("cpu", "cuda"):
        trained = copy.deepcopy(model).to(device).train()
        # Dropout and the like would draw other numbers on another device.
        for module in trained.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        loss = trained(video[:8].to(device)).square().mean() + trained.alignment_loss
        loss.backward()
        named = trained.named_parameters()
        gradients.append({name: each.grad.cpu() for name, each in named if each.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    together = [torch.cat([each.flatten() for each in one.values()]) for one in gradients]
    assert float((together[1] - together[0]).norm() / together[0].norm()) <= 1e-2


def test_features(model: ILAVisionTransformer, videos: Path) -> None:
    path = next(videos.glob("*/*.mp4"))
    extractors = [
        FeatureExtractor(each, levels=("clip", "frame"), window=0.5, stride=0.25) for each in (model, on_gpu(model))
    ]
    expected, found = (extractor(path) for extractor in extractors)
    assert torch.equal(found.spans, expected.spans)
    for level, values in expected.values.items():
        assert found.values[level].device.type == "cpu"
        assert error(found.values[level], values) <= 1e-3


def test_a_batch_as_large_as_the_memory_holds(model: ILAVisionTransformer, videos: Path) -> None:
    ready = on_gpu(model)
    extractor = FeatureExtractor(ready, batch_size="auto")
    assert extractor.batch_size == MOST
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    # So little memory that some sizes do not fit.
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (96 << 20)) / total)
    try:
        narrow = FeatureExtractor(ready, batch_size="auto")
        found = narrow(next(videos.glob("*/*.mp4")))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert narrow.batch_size <= MOST
    assert len(found) > 0


def test_commands(videos: Path, tmp_path: Path) -> None:
    options = ["--model", NAME, "--device", "cuda"]
    assert main(["--quiet", "extract", str(videos), *options, "--out", str(tmp_path / "features")]) == 0
    assert len(list((tmp_path / "features").glob("*/*.clip.npy"))) == 10
    assert main(["--quiet", "predict", str(next(videos.glob("*/*.mp4"))), *options]) == 0


def test_training_by_the_command(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    path = tmp_path / "small.yaml"
    path.write_text(
        "model: {name: ila_vit_nano8, num_frames: 4}\n"
        "data: {kind: motion, train_clips: 16, validation_clips: 10, num_workers: 2}\n"
        "optimizer: {parameters: all, lr: 1.0e-3}\n"
        "schedule: {epochs: 2, warmup_epochs: 1}\n"
        "run: {batch_size: 4, precision: bf16}\n"
    )
    assert main(["--quiet", "train", "--config", str(path), "--out", str(tmp_path / "run"), "--stop-after", "3"]) == 0
    assert main(["--quiet", "train", "--config", str(path), "--out", str(tmp_path / "run")]) == 0
