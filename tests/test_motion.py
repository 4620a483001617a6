"""The generated clips: twins differ in nothing but the order of their frames, and a person sees which is which."""

from __future__ import annotations

import errno
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.utils.data import DataLoader

from ila_models.data import load_clips, load_video
from ila_models.data.motion import (
    MOTION_CLASSES,
    TRAIN_SEED,
    VALIDATION_SEED,
    MotionDataset,
    motion_clips,
    scenes,
    twin,
    write_motion_videos,
    writing,
)
from ila_models.data.motion.drawing import cover, draw_clip, place_shape
from ila_models.data.motion.easing_in import ease, hardness
from ila_models.data.motion.randomness import Draws, noise
from ila_models.data.motion.scenes import MOTIONS, OUTLINES, OVERHANG, PATTERNS, Scene, scene_of

SEED = 2_000_003
LABELS = range(len(MOTION_CLASSES))
LABELS_OF_TRAINING = [6, 7, 9, 5, 1, 4, 8, 3, 0, 2]
MEANS_OF_TRAINING = [176.811, 96.863, 101.705, 112.901, 125.875, 146.609, 121.639, 108.715, 198.356, 100.304]


def scenes_with(label: int, *, count: int) -> list[tuple[int, Scene]]:
    """The first scenes of a class, with their indices."""
    found = ((index, scene_of(SEED, index)) for index in range(10 * count))
    return [(index, scene) for index, scene in found if scene.label == label]


def without_noise(scene: Scene) -> Tensor:
    return draw_clip(scene, torch.zeros(8, 3, 64, 64)).float()


def coverage(scene: Scene) -> Tensor:
    """How much of each pixel the moving shape covers, as shown: [8, 64, 64]."""
    placement, opacity = place_shape(scene, np.linspace(-1, 1, 8), 64)
    shown = cover(scene.shape, placement) * opacity
    return shown.flip(0) if scene.is_reversed else shown


class TestClasses:
    def test_the_names_are_five_pairs_of_twins(self) -> None:
        assert len(set(MOTION_CLASSES)) == 10
        assert [twin(label) for label in LABELS] == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]

    @pytest.mark.parametrize("label", [-1, 10])
    def test_there_is_no_twin_of_a_label_that_is_none(self, label: int) -> None:
        with pytest.raises(ValueError, match=f"label is {label}; it must be in 0 to 9"):
            twin(label)

    @pytest.mark.parametrize("label", LABELS, ids=MOTION_CLASSES)
    def test_the_shape_does_what_its_class_says(self, label: int) -> None:
        for _, scene in scenes_with(label, count=6):
            scene = replace(scene, shape=replace(scene.shape, outline="rectangle", slimness=0.5))
            shown = coverage(scene)
            area = shown.sum((1, 2))
            rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
            weights = shown / area.clamp(min=1e-3)[:, None, None]
            x, y = (weights * columns).sum((1, 2)), (weights * rows).sum((1, 2))
            across, down = columns - x[:, None, None], rows - y[:, None, None]
            # Twice the angle of the longer side: a rectangle's is known up to half a circle.
            doubled = torch.atan2(
                2 * (weights * across * down).sum((1, 2)), (weights * (across**2 - down**2)).sum((1, 2))
            )
            turned = torch.from_numpy(np.unwrap(doubled.numpy())) / 2
            name = MOTION_CLASSES[label]
            measure = {"moving left": -x, "moving right": x, "moving up": -y, "moving down": y, "growing": area}
            measure |= {"shrinking": -area, "appearing": area, "vanishing": -area}
            # Rows run downwards, so that the angle grows clockwise.
            measure |= {"turning clockwise": turned, "turning counter-clockwise": -turned}
            assert (measure[name].diff() > 0).all()
            still = [value for value in (x, y) if not name.startswith("moving")]
            assert all(value[1:-1].std() < 0.75 for value in still)


class TestTwins:
    @pytest.mark.parametrize("label", LABELS, ids=MOTION_CLASSES)
    def test_a_clip_played_backwards_is_its_twin_s_bit_by_bit_noise_included(self, label: int) -> None:
        for index, scene in scenes_with(label, count=3):
            clip, labels = motion_clips([index], seed=SEED)
            assert labels.tolist() == [label]
            mirrored = draw_clip(replace(scene, label=twin(label)), noise(SEED, index, (8, 3, 64, 64)))
            assert torch.equal(clip[0].flip(0), mirrored)
            assert not torch.equal(clip[0], mirrored)

    def test_nothing_of_a_scene_but_its_label_depends_on_which_twin_it_is(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        as_they_are = [scene_of(SEED, index) for index in range(50)]
        label_of = scenes.label_of
        monkeypatch.setattr(scenes, "label_of", lambda seed, index: twin(label_of(seed, index)))
        for index, scene in enumerate(as_they_are):
            assert scene_of(SEED, index) == replace(scene, label=twin(scene.label))

    def test_the_change_of_speed_is_alike_at_both_ends(self) -> None:
        eased = [scene for index in range(60) if (scene := scene_of(SEED, index)).easing > 0.2]
        assert {scene.motion for scene in eased} == set(MOTIONS)
        for scene in eased:
            placement, opacity = place_shape(scene, np.linspace(-1, 1, 8), 64)
            opacity = opacity.flatten().numpy()
            for path in (placement.x, placement.y, placement.angle, np.log(placement.radius), opacity):
                steps = np.diff(path)
                np.testing.assert_allclose(steps, steps[::-1], atol=1e-6)

    def test_the_background_drifts_alike_with_both_twins(self) -> None:
        drifts = {0: [], 1: []}
        for index in range(2000):
            scene = scene_of(SEED, index)
            forwards = -1 if scene.is_reversed else 1
            if scene.drift != (0, 0):
                drifts[scene.label % 2].append([forwards * value > 0 for value in scene.drift])
        for shown in drifts.values():
            assert len(shown) == pytest.approx(500, abs=4 * math.sqrt(250))
            deviation = 4 * 0.5 / math.sqrt(len(shown))
            assert np.mean(shown, axis=0) == pytest.approx([0.5, 0.5], abs=deviation)


@pytest.fixture(scope="module")
def grey_clips() -> tuple[Tensor, Tensor]:
    """Grey clips of half the size, float [N, 8, 32, 32] in [-0.5, 0.5], and their labels."""
    clips, labels = motion_clips(range(2400), seed=SEED, img_size=32)
    return clips.float().mean(2) / 255 - 0.5, labels


def accuracy_on_twins(features: Tensor, labels: Tensor) -> tuple[float, float]:
    """The share of unseen clips whose twin a linear classifier per pair tells, and four deviations of a coin's."""
    features = torch.cat([features - features.mean(0), torch.ones(len(features), 1)], 1).double()
    right = []
    for pair in range(5):
        ours = labels // 2 == pair
        inputs, targets = features[ours], (labels[ours] % 2).double() * 2 - 1
        half = len(inputs) // 2
        seen, unseen = inputs[:half], inputs[half:]
        # Ridge regression, solved in the space of the clips: there are more features than clips.
        kernel = seen @ seen.T
        strength = 0.01 * kernel.trace() / half
        weights = torch.linalg.solve(kernel + strength * torch.eye(half), targets[:half])
        right.append((unseen @ (seen.T @ weights)) * targets[half:] > 0)
    told = torch.cat(right).double()
    return told.mean().item(), 4 * 0.5 / math.sqrt(len(told))


def motion_energies(clips: Tensor, labels: Tensor) -> Tensor:
    """One number per clip and its pair's motion, from the differences of neighbouring frames: its sign is the twin."""
    clips = avg_pool2d(clips, 3, stride=1, padding=1)
    between, change = (clips[:, 1:] + clips[:, :-1]) / 2, clips.diff(dim=1)
    down, across = torch.gradient(between, dim=(2, 3))
    moved = change.abs()
    moved = moved / moved.sum((2, 3), keepdim=True)
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    y = rows - (moved * rows).sum((2, 3), keepdim=True)
    x = columns - (moved * columns).sum((2, 3), keepdim=True)
    # What moves along a direction changes by minus its slope in this direction.
    flows = [across, down, y * across - x * down, -(x * across + y * down)]
    scores = [(change * flow).sum((1, 2, 3)) for flow in flows]
    contrast = (down**2 + across**2).sum((2, 3))
    scores.append(contrast[:, -1] - contrast[:, 0])
    return torch.stack(scores, 1).gather(1, (labels // 2)[:, None])[:, 0]


class TestOrderIsAllThatTellsTwinsApart:
    @pytest.mark.parametrize("bag", ["mean", "extremes", "sorted", "change without direction", "any single frame"])
    def test_a_bag_of_frames_is_no_better_than_a_coin(self, bag: str, grey_clips: tuple[Tensor, Tensor]) -> None:
        clips, labels = grey_clips
        small = avg_pool2d(clips, 2)
        chosen = torch.randint(8, (len(clips),), generator=torch.Generator().manual_seed(1))
        features = {
            "mean": lambda: clips.mean(1),
            "extremes": lambda: torch.stack([clips.amax(1), clips.amin(1)], 1),
            "sorted": lambda: small.sort(1).values,
            "change without direction": lambda: clips.std(1),
            "any single frame": lambda: clips[torch.arange(len(clips)), chosen],
        }[bag]()
        told, deviation = accuracy_on_twins(features.flatten(1), labels)
        assert told == pytest.approx(0.5, abs=deviation)

    def test_the_order_of_the_frames_tells_every_pair(self, grey_clips: tuple[Tensor, Tensor]) -> None:
        clips, labels = grey_clips
        is_first = motion_energies(clips, labels) > 0
        told = is_first == (labels % 2 == 0)
        # Without any learning: a hand-made sum, disturbed by noise and the drift of the background.
        assert [told[labels // 2 == pair].double().mean() > 0.8 for pair in range(5)] == [True] * 5


class TestScenes:
    def test_all_there_is_to_choose_from_is_chosen(self) -> None:
        drawn = [scene_of(SEED, index) for index in range(400)]
        assert {scene.shape.outline for scene in drawn} == set(OUTLINES)
        for textures in ([scene.shape.texture for scene in drawn], [scene.background for scene in drawn]):
            assert {texture.pattern for texture in textures} == set(PATTERNS)
        assert {len(scene.distractors) for scene in drawn} == {0, 1, 2}
        assert 0.4 < np.mean([scene.easing == 0 for scene in drawn]) < 0.6
        assert max(scene.noise for scene in drawn) < 0.05

    def test_the_shape_stays_in_view(self) -> None:
        for index in range(300):
            placement, _ = place_shape(scene_of(SEED, index), np.linspace(-1, 1, 8), 64)
            for centre in (placement.x, placement.y):
                outside = np.maximum(placement.radius - centre, centre + placement.radius - 1)
                assert outside.max() <= OVERHANG + 1e-9

    def test_every_motion_shows_and_every_shape_stands_out(self) -> None:
        for index in range(100):
            scene = replace(scene_of(SEED, index), distractors=(), drift=(0.0, 0.0))
            clip, shown = without_noise(scene), coverage(scene)
            nothing = without_noise(replace(scene, shape=replace(scene.shape, x=9.0)))
            solid = shown.amax(0) > 0.5
            assert (clip[-1] - clip[0]).abs().mean(0)[solid].mean() > 12, scene
            densest = shown.sum((1, 2)).argmax()
            inside = shown[densest] > 0.5
            assert (clip - nothing)[densest].abs().mean(0)[inside].mean() > 25, scene

    @pytest.mark.parametrize("size", [32, 96])
    def test_another_size_shows_the_same_scene(self, size: int) -> None:
        scene = replace(scene_of(SEED, 4), noise=0.0)
        usual, other = (draw_clip(scene, torch.zeros(8, 3, side, side)).float() for side in (64, size))
        shrunk = [torch.nn.functional.adaptive_avg_pool2d(clip, 16) for clip in (usual, other)]
        assert (shrunk[0] - shrunk[1]).abs().mean() < 4

    def test_with_more_frames_the_motion_ends_where_it_did(self) -> None:
        scene = scene_of(SEED, 4)
        few, many = (draw_clip(scene, torch.zeros(count, 3, 64, 64)) for count in (2, 15))
        assert torch.equal(few, many[[0, 14]])


class TestDifficulty:
    def test_clips_grow_from_easy_ones_to_what_they_are(self) -> None:
        clips, labels = motion_clips(range(30), seed=SEED)
        shown = {level: motion_clips(range(30), seed=SEED, difficulty=level) for level in (0.0, 0.4, 0.99, 1.0)}
        assert all(torch.equal(each, labels) for _, each in shown.values())
        assert torch.equal(shown[1.0][0], clips)
        distances = [(each.float() - clips.float()).abs().mean().item() for each, _ in shown.values()]
        assert distances == sorted(distances, reverse=True)
        assert distances[2] < 2 < 40 < distances[0]

    def test_the_easiest_are_white_triangles_on_black_that_move_as_much(self) -> None:
        for index in range(30):
            scene = scene_of(SEED, index)
            easy = ease(scene, 0.0)
            assert (easy.shape.outline, easy.shape.x, easy.shape.y, easy.noise) == ("triangle", 0.5, 0.5, 0.0)
            assert (easy.distractors, easy.drift) == ((), (0.0, 0.0))
            assert (easy.label, easy.amount, easy.easing) == (scene.label, scene.amount, scene.easing)
            assert min(min(easy.shape.texture.colours)) > 0.7
            assert max(max(easy.background.colours)) < 0.3
            assert ease(scene, 1.0) == scene

    def test_easy_clips_stay_among_the_others_for_a_while(self) -> None:
        for level, low, high in ((0.0, 0.0, 0.0), (0.25, 0.0, 0.5), (0.5, 0.0, 1.0), (0.9, 0.8, 1.0)):
            values = [hardness(Draws(SEED, index, of_hardness=True), level) for index in range(300)]
            assert low <= min(values) <= low + 0.02
            assert high - 0.02 <= max(values) <= high

    def test_twins_are_as_hard(self) -> None:
        scene = scene_of(SEED, 3)
        for hard in (0.0, 0.3, 0.7):
            other = ease(replace(scene, label=twin(scene.label)), hard)
            assert other == replace(ease(scene, hard), label=twin(scene.label))

    @pytest.mark.parametrize("level", [-0.1, 1.1])
    def test_a_difficulty_out_of_range_is_named(self, level: float) -> None:
        with pytest.raises(ValueError, match=f"difficulty is {level}; it must be in 0 to 1"):
            motion_clips([0], seed=SEED, difficulty=level)


class TestClips:
    def test_a_clip_is_the_same_in_every_batch(self) -> None:
        clips, labels = motion_clips(range(12), seed=SEED)
        again, labels_again = motion_clips([7, 3, 7], seed=SEED)
        assert torch.equal(again, clips[[7, 3, 7]])
        assert torch.equal(labels_again, labels[[7, 3, 7]])

    def test_worker_processes_and_batched_fetching_change_nothing(self) -> None:
        dataset = MotionDataset(12, seed=SEED, img_size=32)
        expected, expected_labels = motion_clips(range(12), seed=SEED, img_size=32)
        for workers in (0, 2):
            batches = list(DataLoader(dataset, batch_size=5, num_workers=workers))
            assert torch.equal(torch.cat([clips for clips, _ in batches]), expected)
            assert torch.equal(torch.cat([labels for _, labels in batches]), expected_labels)
        clip, label = dataset[7]
        assert torch.equal(clip, expected[7])
        assert (type(label), label) == (int, expected_labels[7])

    def test_the_clips_of_a_seed_never_change(self) -> None:
        # A checkpoint was trained on them: whoever changes these numbers makes its training impossible to repeat.
        clips, labels = motion_clips(range(10), seed=TRAIN_SEED)
        assert labels.tolist() == LABELS_OF_TRAINING
        assert clips.float().mean((1, 2, 3, 4)).tolist() == pytest.approx(MEANS_OF_TRAINING, abs=0.01)

    def test_seeds_and_indices_give_different_clips(self) -> None:
        seen = {
            motion_clips([index], seed=seed, img_size=32)[0].numpy().tobytes()
            for seed in (TRAIN_SEED, TRAIN_SEED + 1, VALIDATION_SEED, VALIDATION_SEED + 1, 2**64 - 1)
            for index in (0, 1, 2**64 - 1)
        }
        assert len(seen) == 15

    def test_the_classes_are_balanced_in_every_prefix_and_in_no_fixed_order(self) -> None:
        labels = [scenes.label_of(SEED, index) for index in range(200)]
        for stop in range(1, 201):
            counts = Counter(labels[:stop])
            assert max(counts.values()) - min(counts[label] for label in LABELS) <= 1
        # As two processes share them.
        assert set(labels[::2]) == set(labels[1::2]) == set(LABELS)

    def test_noise_is_noise(self) -> None:
        values = noise(SEED, 0, (8, 3, 64, 64))
        assert values.mean() == pytest.approx(0, abs=4 / math.sqrt(values.numel()))
        assert values.std() == pytest.approx(1, abs=0.01)
        neighbours = values[..., 1:] * values[..., :-1]
        assert neighbours.mean() == pytest.approx(0, abs=4 / math.sqrt(neighbours.numel()))

    @pytest.mark.parametrize(("frames", "size"), [(2, 32), (3, 33), (16, 64), (8, 256)])
    def test_frames_and_sizes_are_as_asked(self, frames: int, size: int) -> None:
        clips, labels = motion_clips([0, 1], seed=SEED, num_frames=frames, img_size=size)
        assert (clips.shape, clips.dtype) == ((2, frames, 3, size, size), torch.uint8)
        assert (labels.shape, labels.dtype) == ((2,), torch.int64)
        assert clips.float().std() > 10

    def test_no_indices_give_no_clips(self) -> None:
        clips, labels = motion_clips([], seed=SEED)
        assert (clips.shape, labels.shape) == ((0, 8, 3, 64, 64), (0,))

    @pytest.mark.parametrize(
        ("argument", "value", "message"),
        [
            ("seed", -1, "seed is -1; it must be at least 0"),
            ("seed", 2**64, "seed is 18446744073709551616; .* below"),
            ("num_frames", 1, "num_frames is 1; it must be at least 2"),
            ("img_size", 31, "img_size is 31; it must be 32 to 256 pixels"),
            ("img_size", 257, "img_size is 257; it must be 32 to 256 pixels"),
            ("indices", [3, -2], "index is -2; it must be at least 0"),
        ],
    )
    def test_a_bad_argument_is_named(self, argument: str, value: object, message: str) -> None:
        arguments = {"indices": [0], "seed": 0, argument: value}
        with pytest.raises(ValueError, match=message):
            motion_clips(arguments.pop("indices"), **arguments)
        if argument != "indices":
            with pytest.raises(ValueError, match=message):
                MotionDataset(10, **{argument: value})

    def test_a_dataset_ends_where_it_ends(self) -> None:
        dataset = MotionDataset(3, seed=SEED, img_size=32)
        assert len(dataset) == len(list(dataset)) == 3
        for index in (3, -1):
            with pytest.raises(IndexError, match=f"index {index} is out of range: the dataset has the clips 0 to 2"):
                dataset[index]
        with pytest.raises(ValueError, match="size is 0; it must be at least 1"):
            MotionDataset(0)


def nearest_frames(video: Tensor, clip: Tensor) -> list[int]:
    """For every frame of a decoded video, the frame of the clip that it is most like, noise aside."""
    decoded, original = avg_pool2d(video, 4), avg_pool2d(clip, 4)
    return (decoded[:, None] - original[None]).abs().mean((2, 3, 4)).argmin(1).tolist()


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob(".*"))


class TestVideos:
    def test_a_decoded_video_is_the_clip_in_its_order(self, tmp_path: Path) -> None:
        annotations = write_motion_videos(tmp_path / "new" / "motion", count=20, seed=SEED)
        clips, labels = motion_clips(range(20), seed=SEED)
        lines = [line.split() for line in annotations.read_text().splitlines()]
        assert [int(label) for _, label in lines] == labels.tolist()
        assert (annotations.parent / "classes.txt").read_text().splitlines() == list(MOTION_CLASSES)
        errors = []
        for (name, label), clip in zip(lines, clips.float(), strict=True):
            assert name.split("/")[0].replace("_", " ") == MOTION_CLASSES[int(label)]
            video = load_video(annotations.parent / name, num_frames=8).float()
            assert nearest_frames(video, clip) == list(range(8))
            errors.append((video - clip).abs().mean())
            assert (video - clip).mean((0, 2, 3)).abs().max() < 4, "the colours are off"
        # Nearly all of it is lost to the format, which keeps a quarter of the colours' pixels, and is noise and edges.
        assert np.mean(errors) < 9
        assert np.max(errors) < 14

    def test_every_view_of_a_video_has_every_picture(self, tmp_path: Path) -> None:
        annotations = write_motion_videos(tmp_path, count=1, seed=SEED, num_frames=5, img_size=32)
        (clip,), _ = motion_clips([0], seed=SEED, num_frames=5, img_size=32)
        for view in load_clips(tmp_path / annotations.read_text().split()[0], num_frames=5, num_clips=4):
            assert nearest_frames(view.float(), clip.float()) == list(range(5))

    def test_a_stopped_run_goes_on_with_what_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        encode = writing.encode_clip
        encoded = []

        def full_disk(clip: Tensor, frame_rate: int) -> bytes:
            if len(encoded) == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            encoded.append(clip)
            return encode(clip, frame_rate)

        monkeypatch.setattr(writing, "encode_clip", full_disk)
        with pytest.raises(OSError, match=r"cannot write motion videos \(No space left on device\); choose") as raised:
            write_motion_videos(tmp_path, count=6, seed=SEED, img_size=32)
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path))
        assert not (tmp_path / "annotations.txt").exists()
        done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
        assert len(done) == 3
        monkeypatch.setattr(writing, "encode_clip", encode)
        annotations = write_motion_videos(tmp_path, count=6, seed=SEED, img_size=32)
        assert all((tmp_path / line.split()[0]).is_file() for line in annotations.read_text().splitlines())
        assert {path: path.stat().st_mtime_ns for path in done} == done
        assert len(list(tmp_path.rglob("*.mp4"))) == 6
        assert unfinished(tmp_path) == []

    def test_a_file_that_cannot_be_finished_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_space(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        write_motion_videos(tmp_path, count=1, seed=SEED, img_size=32)
        monkeypatch.setattr(writing.os, "fsync", no_space)
        with pytest.raises(OSError, match="No space left"):
            write_motion_videos(tmp_path, count=2, seed=SEED, img_size=32)
        assert unfinished(tmp_path) == []
        assert len((tmp_path / "annotations.txt").read_text().splitlines()) == 1

    def test_a_folder_of_other_videos_is_left_alone(self, tmp_path: Path) -> None:
        write_motion_videos(tmp_path, count=1, seed=SEED, img_size=32)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(ValueError, match=r"holds videos made of .*'seed': 2000003.*, not of .*'seed': 5.*; choose"):
            write_motion_videos(tmp_path, count=1, seed=5, img_size=32)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        (tmp_path / "settings.json").write_text("{")
        with pytest.raises(ValueError, match=r"settings\.json is not JSON"):
            write_motion_videos(tmp_path, count=1, seed=SEED, img_size=32)

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(NotADirectoryError, match=r"cannot write motion videos .*; choose another folder: .*file/x"):
            write_motion_videos(tmp_path / "file" / "x", count=1, seed=SEED)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"count": 0}, "count is 0; it must be at least 1"),
            ({"frame_rate": 0}, "frame_rate is 0; it must be at least 1"),
            ({"img_size": 63}, "img_size is 63; a video's must be even"),
            ({"num_frames": 1}, "num_frames is 1; it must be at least 2"),
        ],
    )
    def test_a_bad_argument_is_named_before_anything_is_written(
        self, arguments: dict[str, int], message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=message):
            write_motion_videos(tmp_path / "motion", **{"count": 1, "seed": SEED, **arguments})
        assert not (tmp_path / "motion").exists()
