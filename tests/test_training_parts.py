"""The parts of a run: what learns, at what rates, on which clips, and what is done to them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from failures import FORK
from tiny import make_clips, make_model
from torch import nn

from ila_models.data.motion import motion_clips
from ila_models.training.augment import ClipAugmentation
from ila_models.training.batch_norm import FrozenBatchNorm2d, SyncedBatchNorm2d, convert_batch_norms
from ila_models.training.batches import ClipKey, StepBatches, seed_of
from ila_models.training.clips import MotionClips
from ila_models.training.config import AugmentationSection, OptimizerSection, ScheduleSection, load_config
from ila_models.training.mixing import ClipMixup, smooth
from ila_models.training.parameters import make_optimizer
from ila_models.training.schedule import FramesByEpoch, make_scheduler, window_offset
from ila_models.training.sources import Needs, make_source
from ila_models.weights.manifest import preprocessing

CONTRACT = preprocessing("ila")


# What learns


def test_the_released_groups() -> None:
    model = make_model(head="linear")
    optimizer = make_optimizer(model, OptimizerSection())
    rates = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and not name.endswith("pos_embed")
        if any(part in name for part in (".alignment.", ".temporal_conv.", ".temporal_proj.")):
            expected = (5e-4, 1e-2 if decays else 0)
        elif ".aligned_skip." in name or ".interactive_skip." in name:
            expected = (8e-5, 1e-3 if decays else 0)
        elif name.startswith(("temporal.", "head.")):
            expected = (4e-4, 3e-3 if decays else 0)
        else:
            expected = None
        assert rates.get(id(parameter)) == expected, name
        assert parameter.requires_grad == (expected is not None), name
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.9, 0.98), 1e-8)


def test_prompts_and_scale_of_a_text_head_keep_their_values() -> None:
    model = make_model()
    make_optimizer(model, OptimizerSection())
    assert not any(parameter.requires_grad for parameter in model.head.parameters())


def test_everything_learns_with_layer_decay() -> None:
    model = make_model(head="linear", depth=3)
    optimizer = make_optimizer(model, OptimizerSection(parameters="all", lr=1.0, layer_decay=0.5))
    assert all(parameter.requires_grad for parameter in model.parameters())
    rate = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    of_block = [rate[id(block.mlp.fc1.weight)] for block in model.blocks]
    assert [later / earlier for earlier, later in itertools.pairwise(of_block)] == [2, 2]
    assert rate[id(model.patch_embed.proj.weight)] < of_block[0]
    assert rate[id(model.head.fc.weight)] == 1


# At what rates


def test_the_schedule() -> None:
    section = ScheduleSection(epochs=10, warmup_epochs=2, min_lr=1e-6)
    optimizer = torch.optim.AdamW(
        [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, 0.1)], lr=1.0
    )
    scheduler = make_scheduler(optimizer, section, steps_per_epoch=5)

    def rates(step: int) -> list[float]:
        scheduler.step_update(step)
        return [group["lr"] for group in optimizer.param_groups]

    assert rates(0) == [0, 0]
    assert rates(5) == pytest.approx([0.5, 0.05])
    assert rates(10) == pytest.approx([1.0, 0.1])
    assert rates(30) == pytest.approx([0.5, 0.05], abs=1e-5)
    quarter = 0.5 * (1 + math.cos(math.pi / 4))
    assert rates(20) == pytest.approx([quarter, quarter / 10], abs=1e-5)
    assert rates(49) == pytest.approx([1e-6, 1e-6], abs=2e-3)


def test_the_window_shrinks_from_epoch_thirty_on() -> None:
    offsets = [window_offset(epoch, ScheduleSection()) for epoch in (0, 29, 30, 31, 33)]
    assert offsets == pytest.approx([0.2, 0.2, 0.1, 0.05, 0.0125])


# On which clips


def keys(first_step: int = 0, process: int = 0, processes: int = 1) -> list[list[tuple[int, int, int]]]:
    sampler = StepBatches(
        samples=21, batch_size=6, epochs=3, seed=5, first_step=first_step, process=process, processes=processes
    )
    batches = list(sampler)
    assert len(batches) == len(sampler)
    return batches


def test_every_epoch_goes_through_the_samples_in_an_order_of_its_own() -> None:
    batches = keys()
    assert [len(batch) for batch in batches] == [6] * 9
    orders = [[key.sample for batch in batches[3 * epoch : 3 * epoch + 3] for key in batch] for epoch in range(3)]
    for epoch, order in enumerate(orders):
        assert len(set(order)) == 18
        assert {key.epoch for batch in batches[3 * epoch : 3 * epoch + 3] for key in batch} == {epoch}
    assert orders[0] != orders[1] != orders[2]
    assert len({key.seed for batch in batches for key in batch}) == 54


def test_the_first_epochs_may_have_short_clips() -> None:
    frames = FramesByEpoch(8, ScheduleSection(short_epochs=2, short_frames=3))
    assert [frames(epoch) for epoch in range(4)] == [3, 3, 8, 8]
    assert FramesByEpoch(8, ScheduleSection())(0) == 8


def test_samples_as_they_stand() -> None:
    batches = list(StepBatches(samples=7, batch_size=3, epochs=2, seed=5, in_order=True))
    assert [[(key.epoch, key.sample) for key in batch] for batch in batches] == [
        [(epoch, sample) for sample in range(start, start + 3)] for epoch in (0, 1) for start in (0, 3)
    ]


def test_a_batch_of_motion_clips_holds_every_motion_as_often() -> None:
    recipe = load_config("ila_vit_nano8.motion_8x64", ["data.train_clips=40"])
    source = make_source(recipe)
    assert source.in_order
    augmentation = ClipAugmentation(recipe.augmentation, img_size=(64, 64), contract=CONTRACT)
    needs = Needs(
        num_frames=4, frames_in=lambda epoch: 2, img_size=(64, 64), contract=CONTRACT, augmentation=augmentation
    )
    clips = source.train(needs)
    for batch in StepBatches(samples=40, batch_size=20, epochs=2, seed=0, in_order=source.in_order):
        labels = [clip.label for clip in clips.__getitems__(batch)]  # type: ignore[attr-defined]
        assert sorted(labels) == sorted(2 * list(range(10)))


def test_motion_clips_are_easy_at_first() -> None:
    augmentation = ClipAugmentation(
        load_config("ila_vit_nano8.motion_8x64", []).augmentation, img_size=(64, 64), contract=CONTRACT
    )
    clips = MotionClips(10, seed=3, easy_epochs=2, frames_in=lambda epoch: 2, img_size=64, augmentation=augmentation)
    for epoch, difficulty in enumerate((0.0, 0.5, 1.0, 1.0)):
        expected, labels = motion_clips(range(10 * epoch, 10 * epoch + 10), seed=3, num_frames=2, difficulty=difficulty)
        made = clips.__getitems__([ClipKey(epoch, sample, 0) for sample in range(10)])
        assert torch.equal(torch.stack([clip.frames for clip in made]), expected)
        assert [clip.label for clip in made] == labels.tolist()


@pytest.mark.parametrize("first_step", [0, 1, 3, 5, 9])
def test_a_resumed_run_goes_on_with_the_same_clips(first_step: int) -> None:
    assert keys(first_step) == keys()[first_step:]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_every_step(processes: int) -> None:
    shares = [keys(process=process, processes=processes) for process in range(processes)]
    assert [[key for share in step for key in share] for step in zip(*shares, strict=True)] == keys()


def test_batches_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="6 clips cannot be split over 4 processes"):
        StepBatches(samples=21, batch_size=6, epochs=1, seed=0, processes=4)
    with pytest.raises(ValueError, match="an epoch of 5 clips does not fill one batch of 6"):
        StepBatches(samples=5, batch_size=6, epochs=1, seed=0)


def test_seeds_follow_from_their_numbers_alone() -> None:
    assert seed_of(1, 2) == 7777801250388762567, "on every machine"
    assert len({seed_of(*numbers) for numbers in ((1,), (1, 2), (2, 1), (12,))}) == 4
    assert 0 <= seed_of(7) < 2**63


# What is done to them


def same_frames(clips: int = 4, frames: int = 3, pixels: int = 48) -> torch.Tensor:
    """uint8 clips all of whose frames are one picture: what is not alike for all frames shows."""
    pictures = torch.randint(0, 256, (clips, 1, 3, pixels, pixels + 16), dtype=torch.uint8)
    return pictures.expand(-1, frames, -1, -1, -1).clone()


def assert_alike(clips: torch.Tensor) -> None:
    assert torch.equal(clips, clips[:, :1].expand_as(clips))


def test_every_frame_of_a_clip_is_augmented_alike() -> None:
    augmentation = ClipAugmentation(
        AugmentationSection(color_jitter=1.0, grey=0.5, erasing=1.0), img_size=(32, 32), contract=CONTRACT
    )
    clips = same_frames(clips=12)
    done = torch.stack([augmentation(clip, seed=index) for index, clip in enumerate(clips)])
    assert done.shape == (12, 3, 3, 32, 32)
    assert done.dtype == torch.uint8
    assert_alike(done)
    again = torch.stack([augmentation(clip, seed=index) for index, clip in enumerate(clips)])
    assert torch.equal(done, again)
    assert not torch.equal(augmentation(clips[0], seed=100), done[0])
    grey = (done[:, 0, 0] == done[:, 0, 1]).flatten(1).all(dim=1)
    assert 0 < grey.sum() < 12

    normal = done.float() / 255 + 1
    erased = torch.stack([augmentation.erase(clip, seed=index) for index, clip in enumerate(normal)])
    assert_alike(erased)
    assert ((erased == 0).flatten(1).any(dim=1)).all()


def test_nothing_is_done_where_nothing_is_wanted() -> None:
    nothing = AugmentationSection(crop_scales=(1.0,), color_jitter=0, grey=0, erasing=0)
    augmentation = ClipAugmentation(nothing, img_size=(48, 64), contract=CONTRACT)
    clip = same_frames(clips=1)[0]
    assert torch.equal(augmentation(clip, seed=3), clip)
    assert torch.equal(augmentation.erase(clip.float(), seed=3), clip.float())


def test_random_numbers_of_others_are_left_alone() -> None:
    augmentation = ClipAugmentation(AugmentationSection(), img_size=(32, 32), contract=CONTRACT)
    clip = same_frames(clips=1)[0]
    before = torch.random.get_rng_state()
    augmentation(clip, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_all_frames_of_a_clip_are_mixed_alike(mixup: float, cutmix: float) -> None:
    mixing = ClipMixup(AugmentationSection(mixup=mixup, cutmix=cutmix), num_classes=5)
    clips = same_frames(pixels=32).float()
    labels = torch.tensor([0, 1, 2, 4])
    changed = 0
    for seed in range(8):
        mixed, targets = mixing(clips.clone(), labels, seed=seed)
        assert_alike(mixed)
        assert mixed.shape == clips.shape
        assert torch.allclose(targets.sum(dim=1), torch.ones(4))
        again, _ = mixing(clips.clone(), labels, seed=seed)
        assert torch.equal(mixed, again)
        changed += not torch.equal(mixed, clips)
    assert changed >= 6


def test_targets_without_mixing() -> None:
    mixing = ClipMixup(AugmentationSection(mixup=0, cutmix=0, label_smoothing=0.1), num_classes=4)
    clips = torch.randn(3, 2, 3, 8, 8)
    same, targets = mixing(clips, torch.tensor([1, 0, 3]), seed=0)
    assert same is clips
    assert torch.allclose(targets[0], torch.tensor([0.025, 0.925, 0.025, 0.025]))
    assert torch.equal(targets, smooth(torch.tensor([1, 0, 3]), 4, 0.1))


# Batch norms


def test_frozen_batch_norms_leave_their_statistics_alone() -> None:
    model = make_model()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    names = list(model.state_dict())
    convert_batch_norms(model, "frozen")
    assert list(model.state_dict()) == names
    assert any(isinstance(module, FrozenBatchNorm2d) for module in model.modules())
    clips = make_clips(model)
    model.eval()
    with torch.no_grad():
        expected = model(clips)
        assert torch.equal(expected, make_twin(model)(clips))
    model.train()
    model(clips).sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def make_twin(model: nn.Module) -> nn.Module:
    """The same model with torch's own batch norms."""
    twin = make_model()
    twin.load_state_dict(model.state_dict())
    return twin.eval()


def _synced(rank: int, processes: int, address: str, mean: float, std: float, answers: object) -> None:
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=processes)
    torch.manual_seed(0)
    whole = torch.randn(6, 4, 5, 5) * std + mean
    weights = torch.randn(6, 4, 5, 5)
    norm = SyncedBatchNorm2d(4)
    part = whole[3 * rank : 3 * rank + 3].clone().requires_grad_()
    output = norm(part)
    (output * weights[3 * rank : 3 * rank + 3]).sum().backward()
    found = {
        "output": output,
        "input": part.grad,
        "weight": norm.weight.grad,
        "bias": norm.bias.grad,
        "mean": norm.running_mean,
        "variance": norm.running_var,
    }
    answers.put((rank, {name: value.detach().clone().numpy() for name, value in found.items()}))
    dist.destroy_process_group()


# A mean far from zero takes most digits of float32: what is left of a deviation of 0.01 from 100 are three.
@pytest.mark.parametrize(("mean", "std", "tolerance"), [(1.0, 3.0, 1e-5), (100.0, 0.01, 2e-3), (-3000.0, 1.0, 2e-3)])
def test_synced_batch_norms_see_the_batches_of_all_processes(
    mean: float, std: float, tolerance: float, tmp_path: object
) -> None:
    answers = FORK.Queue()
    children = [
        FORK.Process(target=_synced, args=(rank, 2, f"file://{tmp_path}/meet", mean, std, answers)) for rank in range(2)
    ]
    for child in children:
        child.start()
    found = dict(answers.get(timeout=60) for _ in children)
    for child in children:
        child.join(60)
    torch.manual_seed(0)
    whole = (torch.randn(6, 4, 5, 5) * std + mean).requires_grad_()
    weights = torch.randn(6, 4, 5, 5)
    norm = nn.BatchNorm2d(4)
    output = norm(whole)
    (output * weights).sum().backward()

    def close(name: str, expected: torch.Tensor, join: Callable[[list[torch.Tensor]], torch.Tensor]) -> None:
        got = join([torch.from_numpy(found[rank][name]) for rank in range(2)])
        assert (got - expected).abs().max().item() <= tolerance * expected.abs().max().item(), name

    def add(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(parts).sum(dim=0)

    close("output", output, torch.cat)
    close("input", whole.grad, torch.cat)
    close("weight", norm.weight.grad, add)
    close("bias", norm.bias.grad, add)
    for name, expected in (("mean", norm.running_mean), ("variance", norm.running_var)):
        close(name, expected, lambda parts: parts[0])
        close(name, expected, lambda parts: parts[1])
