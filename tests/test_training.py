"""Whole runs of tiny models: they end, go on where they stopped, share their work, and fail without losing anything."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from checkpoint_files import CLIP_CONFIG, name_architecture, openai_clip, write_plain
from failures import FORK, in_child, use_small_disk
from shard_files import write_shard
from tiny import TINY
from torch import Tensor

from ila_models import create_model, save_pretrained
from ila_models.alignment import WINDOW_OFFSET
from ila_models.cli.main import main
from ila_models.configs import ILAConfig
from ila_models.data.motion import MOTION_CLASSES, motion_clips, write_motion_videos
from ila_models.training import engine
from ila_models.training.checkpoint import load_state
from ila_models.training.config import ModelSection, TrainingConfig, parse_config
from ila_models.training.engine import train
from ila_models.training.errors import TrainingError
from ila_models.training.log import read_log
from ila_models.training.start import make_model
from ila_models.weights.manifest import preprocessing

SMALL: dict[str, dict[str, Any]] = {
    "model": {"name": "ila_vit_b16", "num_frames": 4, "dropout": 0.2, "drop_path_rate": 0.1},
    "data": {"kind": "motion", "train_clips": 12, "validation_clips": 10, "num_workers": 0},
    "optimizer": {"parameters": "all", "lr": 1e-3},
    "schedule": {"epochs": 3, "warmup_epochs": 1},
    "run": {"batch_size": 4, "save_every": 4, "ema": 0.5},
}
STEPS = 9


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    name_architecture("ila_vit_b16", replace(TINY, alignment_width=8), monkeypatch)


def config(**sections: dict[str, Any]) -> TrainingConfig:
    names = {*SMALL, *sections}
    return parse_config({name: SMALL.get(name, {}) | sections.get(name, {}) for name in names}, where="test")


def weights(folder: Path) -> dict[str, Tensor]:
    state = load_state(folder)
    assert state is not None
    return state.model


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], *, tolerance: float = 0.0) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        difference = (found[name].double() - tensor.double()).abs().max().item()
        assert difference <= tolerance * max(1.0, tensor.double().abs().max().item()), name


def test_a_run_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    result = train(config(), tmp_path)
    assert result.steps == STEPS
    assert result.accuracy is not None
    assert result.accuracy.clips == 10
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {
        "checkpoint.pt",
        "curves.png",
        "log.jsonl",
        "model",
        "tensorboard",
    }
    lines = read_log(tmp_path)
    steps = [line for line in lines if line["kind"] == "step"]
    assert [line["step"] for line in steps] == list(range(STEPS))
    assert [line["epoch"] for line in steps] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert steps[0]["lr_all"] == 0
    assert steps[3]["lr_all"] == pytest.approx(1e-3)
    assert all(line["loss"] > 0 and line["similarity_loss"] >= 0 for line in steps)
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [2, 5, 8]

    model = create_model(f"local-dir:{tmp_path / 'model'}")
    assert model.class_names == MOTION_CLASSES
    state = load_state(tmp_path)
    assert state is not None
    assert state.ema is not None
    assert_same(model.state_dict(), state.ema)
    assert result.best == max(line["top1"] for line in lines if line["kind"] == "validation")


def test_the_averaged_model_has_the_schedule_s_window_offset(tmp_path: Path) -> None:
    train(config(schedule={"shrink_window_from": 1}, run={"ema": 0.9}), tmp_path)
    model = create_model(f"local-dir:{tmp_path / 'model'}")
    assert model.window_offset.item() == pytest.approx(WINDOW_OFFSET / 4)  # of epoch 2, halved in 1 and 2


@pytest.mark.parametrize("stops", [[4], [1, 3, 2]])
def test_a_resumed_run_equals_one_that_was_never_stopped(stops: list[int], tmp_path: Path) -> None:
    train(config(), tmp_path / "whole")
    for steps in stops:
        train(config(), tmp_path / "parts", stop_after=steps)
    train(config(), tmp_path / "parts")
    whole, parts = (load_state(tmp_path / name) for name in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    assert_same(parts.model, whole.model)
    assert_same(parts.ema, whole.ema)
    for index, moments in whole.optimizer["state"].items():
        assert_same(parts.optimizer["state"][index], moments)

    def numbers(name: str) -> list[dict[str, Any]]:
        timing = ("seconds", "data_seconds")
        return [{key: line[key] for key in line if key not in timing} for line in read_log(tmp_path / name)]

    assert numbers("parts") == numbers("whole")


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    train(config(), tmp_path / "whole")
    child = in_child(lambda: bool(train(config(), tmp_path / "killed")) and 0)
    while len(read_log(tmp_path / "killed")) < 6 and child.is_alive():
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    state = load_state(tmp_path / "killed")
    assert state is not None
    assert state.step >= 4
    train(config(), tmp_path / "killed")
    assert_same(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    assert not list((tmp_path / "killed").glob(".checkpoint*"))


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    train(config(), tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    assert train(config(), tmp_path).steps == STEPS
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_another_run_s_folder_is_left_alone(tmp_path: Path) -> None:
    train(config(), tmp_path, stop_after=1)
    message = r"holds a run of another configuration: optimizer\.weight_decay is 0\.5, was 0\.02\. Choose"
    with pytest.raises(TrainingError, match=message):
        train(config(optimizer={"weight_decay": 0.5, "lr": 2e-3}), tmp_path)
    assert train(config(data={"num_workers": 1}), tmp_path, stop_after=1).steps == 2


def test_parts_of_a_step_add_up(tmp_path: Path) -> None:
    plain = {"model": {"dropout": 0.0, "drop_path_rate": 0.0}, "augmentation": {"mixup": 0, "cutmix": 0}}
    frozen = {"run": {"batch_norm": "frozen", "ema": None}}
    train(config(**plain, **frozen), tmp_path / "whole", stop_after=3)
    train(config(**plain, run=frozen["run"] | {"accumulate": 2}), tmp_path / "parts", stop_after=3)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "whole"), tolerance=1e-4)


def test_checkpointed_activations_change_nothing(tmp_path: Path) -> None:
    train(config(), tmp_path / "plain", stop_after=3)
    train(config(run={"grad_checkpointing": True}), tmp_path / "recomputed", stop_after=3)
    assert_same(weights(tmp_path / "recomputed"), weights(tmp_path / "plain"), tolerance=1e-5)


def test_bf16(tmp_path: Path) -> None:
    train(config(), tmp_path / "fp32", stop_after=1)  # one process may train at one precision, then at another
    train(config(run={"precision": "bf16"}), tmp_path, stop_after=2)
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path).values())


def _process(rank: int, processes: int, port: int, made: TrainingConfig, folder: Path) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    AcceleratorState._reset_state(reset_partial_state=True)  # what the parent knew of processes
    train(made, folder, stop_after=4)


def test_two_processes_train_to_the_weights_of_one(tmp_path: Path) -> None:
    # Dropout and mixing draw by process; everything else is the same by construction.
    made = config(
        model={"dropout": 0.0, "drop_path_rate": 0.0},
        augmentation={"mixup": 0, "cutmix": 0},
        run={"batch_norm": "synced"},
    )
    train(made, tmp_path / "one", stop_after=4)
    train_by_two(_process, made, tmp_path / "two")
    assert_same(weights(tmp_path / "two"), weights(tmp_path / "one"), tolerance=2e-4)
    one, two = (
        [(line["top1"], line["clips"]) for line in read_log(tmp_path / name) if line["kind"] == "validation"]
        for name in ("one", "two")
    )
    assert [clips for _, clips in two] == [clips for _, clips in one] == [10]


def _process_that_keeps_what_it_measures(
    rank: int, processes: int, port: int, made: TrainingConfig, folder: Path
) -> None:
    original = engine.measure

    def measure(model: Any, *args: Any, **options: Any) -> Any:
        torch.save(dict(model.state_dict()), folder / f"{rank}.measured")
        return original(model, *args, **options)

    engine.measure = measure
    _process(rank, processes, port, made, folder)


@pytest.mark.parametrize("ema", [None, 0.5])
def test_processes_measure_the_same_model(ema: float | None, tmp_path: Path) -> None:
    train_by_two(_process_that_keeps_what_it_measures, config(run={"batch_norm": "local", "ema": ema}), tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.measured", weights_only=True) for rank in range(2))
    assert any(name.endswith("running_mean") for name in first)
    assert_same(second, first)


def train_by_two(process: Callable[..., None], made: TrainingConfig, folder: Path) -> None:
    port = free_port()
    children = [FORK.Process(target=process, args=(rank, 2, port, made, folder)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    command = ["--quiet", "train", "--config", str(path), "--out", str(tmp_path / "run")]
    assert main([*command, "--stop-after", "2", "run.seed=3"]) == 0
    assert "2 steps" in capsys.readouterr().out
    assert main([*command, "run.seed=3"]) == 0
    assert "% of 10 validation clips\n9 steps" in capsys.readouterr().out
    assert main([*command, "--stop-after", "-1"]) == 1
    assert "--stop-after) is -1, give at least 1 step" in capsys.readouterr().err
    assert main([*command, "run.sead=3"]) == 1
    assert "unknown field run.sead: did you mean run.seed?" in capsys.readouterr().err
    state = load_state(tmp_path / "run")
    assert state is not None
    assert state.config["run"]["seed"] == 3


def test_a_short_run_learns_the_order_of_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shallow = ILAConfig(
        width=64,
        depth=2,
        patch_size=8,
        embed_dim=64,
        img_size=(32, 32),
        num_frames=2,
        alignment_width=16,
        temporal_depth=0,
    )
    name_architecture("ila_vit_b16", shallow, monkeypatch)
    plain = {name: 0 for name in ("color_jitter", "grey", "erasing", "mixup", "cutmix", "label_smoothing")}
    made = config(
        model={"num_frames": 2, "dropout": 0.0, "drop_path_rate": 0.0},
        data={"train_clips": 2000, "validation_clips": 500, "easy_epochs": 3},
        augmentation={"crop_scales": [1.0], **plain},
        optimizer={"lr": 1.5e-3, "clip_norm": 1.0, "similarity_weight": 0.1},
        schedule={"epochs": 4, "warmup_epochs": 0.5, "shrink_window_from": 2},
        run={"batch_size": 20, "save_every": 1000, "validate_every": 4, "ema": None},
    )
    result = train(made, tmp_path)
    losses = [line["loss"] for line in read_log(tmp_path) if line["kind"] == "step"]
    assert sum(losses[:5]) / 5 > 2.25  # chance is log(10) = 2.303
    assert sum(losses[-50:]) / 50 < 2.05  # of clips as they are
    assert result.accuracy is not None
    assert result.accuracy.top1 > 18  # 500 clips at chance give 10 % +- 1.3 %

    model = create_model(f"local-dir:{tmp_path / 'model'}")
    frames, labels = motion_clips(range(500), seed=3_000_000, num_frames=2, img_size=32)
    mean, std = (torch.tensor(model.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        found = model((frames.float() / 255 - mean) / std).argmax(dim=1)
    appears_or_vanishes = (labels >= 8) & (found >= 8)
    assert appears_or_vanishes.sum() > 20
    # A model that does not see the order is right in half of them.
    assert (found == labels)[appears_or_vanishes].float().mean() > 0.75


# What goes wrong


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original: Callable[..., Any] = engine.Run._prepare

    def broken(run: engine.Run, batch: Any) -> Any:
        clips, targets = original(run, batch)
        return (clips * torch.nan if run.step == 5 else clips), targets

    monkeypatch.setattr(engine.Run, "_prepare", broken)
    with pytest.raises(TrainingError, match=r"the loss of step 5 is not finite\. Its inputs are in") as caught:
        train(config(), tmp_path)
    inputs = torch.load(tmp_path / "0.not_finite.pt", weights_only=True)
    assert inputs["step"] == 5
    assert inputs["frames"].shape == (4, 4, 3, 64, 64)
    assert str(tmp_path) in str(caught.value)
    state = load_state(tmp_path)
    assert state is not None
    assert state.step == 4
    monkeypatch.setattr(engine.Run, "_prepare", original)
    assert train(config(), tmp_path).steps == STEPS


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_gradient_that_is_not_finite_is_not_stepped(
    clip_norm: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Callable[..., Any] = engine.Run._prepare

    def broken(run: engine.Run, batch: Any) -> Any:
        if run.step == 5:
            run.model.patch_embed.proj.weight.register_hook(lambda gradient: gradient * torch.inf)
        return original(run, batch)

    with monkeypatch.context() as patched:
        patched.setattr(engine.Run, "_prepare", broken)
        with pytest.raises(
            TrainingError, match=r"the gradient of step 5 is not finite\. Its inputs are in .*0\.not_fin"
        ):
            train(config(optimizer={"clip_norm": clip_norm}), tmp_path)
    assert torch.load(tmp_path / "0.not_finite.pt", weights_only=True)["step"] == 5
    state = load_state(tmp_path)
    assert state is not None
    assert state.step == 4
    assert all(tensor.isfinite().all() for tensor in state.model.values())


def test_a_run_goes_on_with_what_its_error_advises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train(config(run={"precision": "bf16"}), tmp_path, stop_after=5)
    assert train(config(optimizer={"lr": 1e-4, "clip_norm": 1.0}), tmp_path).steps == STEPS
    rates = [line["lr_all"] for line in read_log(tmp_path) if line["kind"] == "step"]
    assert rates[4] > 5e-4
    assert 0 < rates[5] < 1e-4
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path).values())
    for message in (
        "optimizer.lr is 0.0001, was 0.001",
        "optimizer.clip_norm is 1.0, was None",
        "run.precision is 'fp32', was 'bf16'",
    ):
        assert f"from step 5 on, {message}" in caplog.text


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    done = tmp_path / "done.json"

    def on_a_small_disk() -> int:
        if not use_small_disk(folder, "9m"):
            return 77
        train(config(run={"ema": None}), folder, stop_after=4)
        with (folder / "big").open("wb") as stream:
            try:
                while True:
                    stream.write(b"\0" * 65536)
                    stream.flush()
            except OSError:
                pass
        try:
            train(config(run={"ema": None}), folder)
        except (TrainingError, OSError) as error:
            state = load_state(folder)
            done.write_text(json.dumps([type(error).__name__, str(error), state and state.step]))
        (folder / "big").unlink()
        return 0 if train(config(run={"ema": None}), folder).steps == STEPS else 1

    child = in_child(on_a_small_disk)
    child.join(120)
    if child.exitcode == 77:
        pytest.skip("no disk can be mounted here")
    assert child.exitcode == 0
    kind, message, step = json.loads(done.read_text())
    assert (kind, step) == ("TrainingError", 4)
    assert "is untouched" in message


def test_a_damaged_checkpoint_is_not_taken_for_none(tmp_path: Path) -> None:
    train(config(), tmp_path, stop_after=1)
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read .*Move it away to begin anew"):
        train(config(), tmp_path)


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"run": {"batch_size": 5, "accumulate": 2}}, ValueError, "it cannot be split over 1 processes in 2 parts"),
        ({"run": {"batch_size": 64}}, ValueError, "an epoch of 12 clips does not fill one batch of 64"),
        ({"model": {"head": "text"}}, TrainingError, "give model.pretrained=true with the tag"),
        ({"model": {"name": "ila_vit_b17"}}, ValueError, "unknown model 'ila_vit_b17'"),
        ({"run": {"seed": 1_000_000}}, TrainingError, "is the seed of the validation clips"),
        ({"data": {"kind": "videos", "train": "nowhere"}}, FileNotFoundError, "nowhere"),
    ],
)
def test_what_cannot_begin(
    sections: dict[str, dict[str, Any]], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        train(config(**sections), tmp_path / "run")


# Videos


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_motion_videos(folder, count=20, seed=3_000_000, num_frames=4)
    return folder


def test_training_on_files(videos: Path, tmp_path: Path) -> None:
    made = config(data={"kind": "videos", "train": str(videos), "validation": str(videos), "num_workers": 1})
    result = train(made, tmp_path, stop_after=5)
    assert result.accuracy is not None
    assert (result.accuracy.clips, result.accuracy.broken) == (20, 0)


def test_a_run_from_clip_s_weights_has_the_released_models_input(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plain(tmp_path / "clip.pt", openai_clip().state_dict())
    name_architecture("ila_vit_b16", replace(CLIP_CONFIG, alignment_width=8), monkeypatch)
    made = config(
        model={"checkpoint": str(tmp_path / "clip.pt"), "head": "linear"},
        data={"kind": "videos", "train": str(videos), "num_workers": 0},
        schedule={"epochs": 1, "warmup_epochs": 0},
    )
    train(made, tmp_path / "run")
    trained = create_model(f"local-dir:{tmp_path / 'run' / 'model'}")
    contract = preprocessing("ila")
    assert {key: trained.pretrained_cfg[key] for key in contract} == contract
    # What was trained before keeps its input.
    trained.pretrained_cfg |= preprocessing("motion")
    save_pretrained(trained, tmp_path / "mine")
    again = make_model(ModelSection(name="ila_vit_b16", checkpoint=str(tmp_path / "mine")), trained.class_names)
    assert again.pretrained_cfg["resize_ratio"] == preprocessing("motion")["resize_ratio"]


def test_shards_train_as_their_videos_do(videos: Path, tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {}
    for line in (videos / "annotations.txt").read_text().splitlines():
        name, label = line.split()
        members |= {name: (videos / name).read_bytes(), f"{name.removesuffix('.mp4')}.cls": label}
    names = list(members)
    write_shard(tmp_path / "0.tar", {name: members[name] for name in names[:16]})
    write_shard(tmp_path / "1.tar", {name: members[name] for name in names[16:]})
    packed, files = str(tmp_path / "*.tar"), str(videos)
    listed = str(videos / "annotations.txt")
    plain = {"kind": "videos", "train": files, "train_annotations": listed, "num_workers": 1}
    train(config(data=plain), tmp_path / "files", stop_after=3)
    sharded = config(data={"kind": "videos", "train": packed, "validation": packed, "num_workers": 1})
    result = train(sharded, tmp_path / "shards", stop_after=3)
    assert_same(weights(tmp_path / "shards"), weights(tmp_path / "files"))
    assert result.accuracy is None
    with pytest.raises(TrainingError, match=r"are shards, which hold their labels: leave out the annotations"):
        train(config(data={"kind": "videos", "train": packed, "train_annotations": listed}), tmp_path / "both")


def test_a_broken_video_is_told_and_replaced(videos: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(videos, tmp_path / "videos")
    files = sorted((tmp_path / "videos").rglob("*.mp4"))
    for path in files[:5]:
        path.write_bytes(path.read_bytes()[:100])
    root = str(tmp_path / "videos")
    made = config(data={"kind": "videos", "train": root, "validation": root})
    result = train(made, tmp_path / "run", stop_after=5)
    assert result.accuracy is not None
    assert (result.accuracy.clips, result.accuracy.broken) == (20, 5)
    told = [line["message"] for line in read_log(tmp_path / "run") if line["kind"] == "broken"]
    assert len(told) >= 5
    assert all(any(str(path) in message for path in files[:5]) for message in told)


def test_a_run_goes_on_only_with_its_data(videos: Path, tmp_path: Path) -> None:
    listed = tmp_path / "listed.txt"
    lines = [line.rpartition(" ")[::2] for line in (videos / "annotations.txt").read_text().splitlines()]
    names = tmp_path / "names.txt"
    classes = [f"motion {number}" for number in range(10)]

    def part(lines: list[tuple[str, str]], classes: list[str]) -> None:
        listed.write_text("".join(f"{path} {label}\n" for path, label in lines))
        names.write_text("\n".join(classes))
        data = {"kind": "videos", "train": str(videos), "train_annotations": str(listed), "class_names": str(names)}
        train(config(data=data), tmp_path / "run", stop_after=1)

    part(lines, classes)
    for other, message in (
        ((lines[1:], classes), "holds a run on other training data: 19 samples, were 20. Bring back the data"),
        ((lines[::-1], classes), "paths, labels or their order are others"),
        (
            ([(lines[0][0], str((int(lines[0][1]) + 1) % 10)), *lines[1:]], classes),
            "paths, labels or their order are others",
        ),
        ((lines, [*classes[:9], "other"]), "class 9 is 'other', was 'motion 9'"),
        ((lines, [*classes, "more"]), "11 classes, were 10"),
    ):
        with pytest.raises(TrainingError, match=message):
            part(*other)
    part(lines, classes)
    path = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    assert state["step"] == 2
    del state["data"]  # as checkpoints of before have none
    torch.save(state, path)
    part(lines[::-1], classes)


def test_shards_are_known_by_their_videos(videos: Path, tmp_path: Path) -> None:
    members = {f"{number}.mp4": path.read_bytes() for number, path in enumerate(sorted(videos.rglob("*.mp4")))}
    labels = {f"{number}.cls": str(number % 10) for number in range(len(members))}
    write_shard(tmp_path / "0.tar", members | labels)
    data = {"kind": "videos", "train": str(tmp_path / "*.tar"), "num_workers": 0}
    train(config(data=data), tmp_path / "run", stop_after=1)
    write_shard(tmp_path / "0.tar", members | labels | {"0.cls": "1"})
    with pytest.raises(TrainingError, match="paths, labels or their order are others"):
        train(config(data=data), tmp_path / "run", stop_after=1)
