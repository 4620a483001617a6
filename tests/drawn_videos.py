"""Videos that are drawn from a file's number, and a model for them: what processes of their own import in a test."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tiny import make_model
from torch import Tensor

from ila_models.data.annotations import LabelledVideos
from ila_models.evaluation import Report, evaluate
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.weights.manifest import preprocessing

CLASSES = 7


def small_model(seed: int = 0) -> ILAVisionTransformer:
    """Seven classes, and preprocessing with nothing to resize."""
    torch.manual_seed(seed)
    model = make_model(depth=1, head="linear", num_classes=CLASSES)
    model.pretrained_cfg = {"img_size": (64, 64), **preprocessing("clip")}
    return model


def numbered_videos(count: int) -> LabelledVideos:
    return LabelledVideos(
        Path("nowhere"),
        tuple(f"folder/{number}.mp4" for number in range(count)),
        tuple(number * number % CLASSES for number in range(count)),
    )


def drawn(path: str) -> Tensor:
    """Twelve frames of the number in a path; every hundredth video is broken, from number 50 on."""
    number = int(Path(path).stem)
    if number % 100 == 50:
        raise ValueError(f"{path} is broken")
    colours = torch.randint(256, (12, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
    return colours.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)


def drawn_slowly(path: str) -> Tensor:
    time.sleep(0.01)
    return drawn(path)


def run_numbered(output: Path | None, *, count: int = 1003, **arguments: Any) -> Report:
    # Frames that are drawn take no time: workers would only cost their start.
    arguments = {"source": drawn, "num_workers": 0, "batch_size": 12, "save_probabilities": True} | arguments
    return evaluate(small_model(), numbered_videos(count), output=output, **arguments)


def one_of_three(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=3)
    report = run_numbered(folder / "out")
    (folder / f"seen_by_{rank}").write_text(str(report.correct_top1))
    dist.destroy_process_group()
