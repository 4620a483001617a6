"""What processes train, on what, and that no two runs train in one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import PartialState
from checkpoint_files import name_architecture
from failures import in_child
from filelock import FileLock
from tiny import TINY

from ila_models.training.checkpoint import load_state
from ila_models.training.config import TrainingConfig, parse_config
from ila_models.training.engine import train
from ila_models.training.errors import TrainingError
from ila_models.training.log import read_log

ROOT = Path(__file__).parents[1]
without_gpu = pytest.mark.skipif(torch.accelerator.is_available(), reason="of machines without a GPU")


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    name_architecture("ila_vit_b16", replace(TINY, alignment_width=8), monkeypatch)


def config(*, augmentation: dict[str, Any] | None = None, **run: Any) -> TrainingConfig:
    sections: dict[str, Any] = {
        "model": {"name": "ila_vit_b16", "num_frames": 2},
        "data": {"kind": "motion", "train_clips": 12, "validation_clips": 10, "num_workers": 0},
        "augmentation": augmentation or {},
        "optimizer": {"parameters": "all", "lr": 1e-3},
        "schedule": {"epochs": 3, "warmup_epochs": 1},
        "run": {"batch_size": 4, "save_every": 4, **run},
    }
    return parse_config(sections, where="test")


@without_gpu
def test_torchrun_without_a_gpu_trains_one_run(tmp_path: Path) -> None:
    program = tmp_path / "two.py"
    program.write_text(
        "import sys; from pathlib import Path; from accelerate import PartialState\n"
        "from ila_models.training.config import load_config\n"
        "from ila_models.training.processes import alone_in, join_processes\n"
        "joined = join_processes(load_config('ila_vit_nano8.motion_8x64'))\n"
        "with alone_in(Path(sys.argv[1]), joined):\n"
        "    joined.wait_for_everyone()\n"
        "    print(f'{joined.process_index} of {joined.num_processes}.', flush=True)\n"
        "joined.end_training()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, str(tmp_path / "run")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 of 2." in done.stdout
    assert "1 of 2." in done.stdout


def test_processes_that_do_not_find_each_other_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PartialState(cpu=not torch.accelerator.is_available())  # this process knows already that it is alone
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match=r"WORLD_SIZE=2 processes were started, but this one finds 1 on"):
        train(config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@without_gpu
def test_a_precision_that_the_device_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"run\.precision=fp16 needs a GPU, and there is none: give bf16 or fp32"):
        train(config(precision="fp16"), tmp_path)


def test_shares_that_cannot_be_mixed_in_pairs_are_refused(tmp_path: Path) -> None:
    message = (
        r"run\.batch_size is 3: each of 1 processes gets 3 clips of a step, .*accumulate=3.* Give a multiple of 6,"
    )
    for mixed in ({"mixup": 0}, {"cutmix": 0}):
        with pytest.raises(ValueError, match=message):
            train(config(batch_size=3, accumulate=3, augmentation=mixed), tmp_path)
    plain = {"mixup": 0, "cutmix": 0}
    assert train(config(batch_size=3, augmentation=plain), tmp_path, stop_after=1).steps == 1
    assert train(config(batch_size=6, accumulate=2), tmp_path / "even", stop_after=1).steps == 1


def test_two_runs_do_not_train_in_one_folder(tmp_path: Path) -> None:
    train(config(), tmp_path, stop_after=1)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(TrainingError, match=r"another process trains in .*: wait for its end, or choose another folder"),
    ):
        train(config(), tmp_path, stop_after=1)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert train(config(), tmp_path, stop_after=1).steps == 2


def test_a_killed_run_leaves_neither_a_lock_nor_half_a_checkpoint(tmp_path: Path) -> None:
    child = in_child(lambda: bool(train(config(), tmp_path)) and 0)
    while not read_log(tmp_path) and child.is_alive():
        time.sleep(0.02)
    assert child.is_alive()
    with pytest.raises(TrainingError, match="another process trains in"):
        train(config(), tmp_path)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    (tmp_path / ".checkpoint.abc").mkdir()
    (tmp_path / ".checkpoint.abc" / "checkpoint.pt").write_bytes(b"half")
    train(config(), tmp_path, stop_after=1)
    assert load_state(tmp_path) is not None
    assert not list(tmp_path.glob(".checkpoint*"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"the folder of the run, .*file/run, cannot be used"):
        train(config(), tmp_path / "file" / "run")


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(lock: FileLock) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(TrainingError, match=r"is on a file system without locks: choose a folder on another one"):
        train(config(), tmp_path)
