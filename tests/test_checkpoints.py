"""One door for all weights: what is recognised, how it is fitted into a model, and what is refused."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checkpoint_files import (
    CLIP_CONFIG,
    EMBED,
    PATCH,
    PIXELS,
    RELEASED_CONFIG,
    TEXT_WIDTH,
    WIDTH,
    WRITERS,
    State,
    full,
    half,
    name_architecture,
    openai_clip,
    timm_clip,
    transformers_clip,
    write_plain,
    write_torchscript,
)
from released import read_model, released_state
from safetensors.torch import save_file
from torch import Tensor, nn

import ila_models
from ila_models import CheckpointError, create_model
from ila_models.configs import ILAConfig
from ila_models.heads import CLIP_LOGIT_SCALE
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.weights.checkpoint import Checkpoint, architecture_of
from ila_models.weights.loading import load_into
from ila_models.weights.names import released_names
from ila_models.weights.recognise import read_checkpoint

BLOCK = "visual.transformer.resblocks"
CONFIGS = {"k400_tiny": RELEASED_CONFIG, "ssv2_tiny": replace(RELEASED_CONFIG, interactive="full")}


@pytest.fixture(scope="module")
def states() -> dict[str, State]:
    """Released state dicts, which no test changes."""
    return {layout: released_state(layout) for layout in CONFIGS}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an architecture of the small released files' sizes."""
    return name_architecture("ila_vit_tiny", RELEASED_CONFIG, monkeypatch)


@pytest.fixture
def tiny_clip(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an architecture of the small CLIPs' sizes."""
    return name_architecture("ila_vit_tiny_clip", CLIP_CONFIG, monkeypatch)


@pytest.fixture
def ssv2_file(tmp_path: Path, states: dict[str, State]) -> Path:
    return written(tmp_path, states["ssv2_tiny"])


def written(folder: Path, state: State) -> Path:
    path = folder / "weights.pth"
    write_plain(path, state)
    return path


def build(checkpoint: Checkpoint, **changes: Any) -> ILAVisionTransformer:
    """A fresh model for a file, without its weights."""
    head = "text" if checkpoint.kind == "clip" else checkpoint.head
    return ILAVisionTransformer(replace(checkpoint.config, **changes), head=head, num_classes=checkpoint.num_classes)


def assert_same(found: State, wanted: State, *, names: Iterable[str] | None = None) -> None:
    for name in wanted if names is None else names:
        assert torch.equal(found[name], wanted[name]), name


# Released files


@pytest.mark.parametrize("writer", list(WRITERS))
@pytest.mark.parametrize(
    ("layout", "head", "num_classes", "said"),
    [
        ("k400_tiny", "text", 0, "Kinetics-400 layout, 4 frames of 64 pixels"),
        ("ssv2_tiny", "linear", 174, "Something-Something v2 layout, 4 frames of 64 pixels"),
    ],
)
def test_released(
    tmp_path: Path, states: dict[str, State], layout: str, head: str, num_classes: int, said: str, writer: str
) -> None:
    state = states[layout]
    path = tmp_path / "file"  # a name that says nothing
    WRITERS[writer](path, state)
    model, checkpoint = read_model(path)
    assert checkpoint.layout == f"a released ILA checkpoint ({said})"
    assert (checkpoint.kind, checkpoint.head, checkpoint.num_classes) == ("ila", head, num_classes)
    assert (checkpoint.config, checkpoint.architecture) == (CONFIGS[layout], None)
    assert (checkpoint.class_names, checkpoint.preprocessing, checkpoint.source) == (None, None, None)
    assert checkpoint.unexpected == ()

    stored = full(half(state)) if "half" in writer else state
    text = {name for name in state if not name.startswith(("visual.", "mit.", "prompts_")) and name != "logit_scale"}
    assert set(checkpoint.text_tensors) == text
    assert_same(full(checkpoint.text_tensors), stored, names=text)
    found = model.state_dict()
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    assert set(checkpoint.names.values()) == set(state) - text
    for ours, theirs in checkpoint.names.items():
        value = stored[theirs].squeeze()
        wanted = value.T if theirs in ("visual.proj", "prompts_visual_proj") else value
        assert torch.equal(found[ours].squeeze(), wanted), theirs


@pytest.mark.parametrize("layout", ["k400_tiny224", "ssv2_tiny224"])
def test_pixels_come_from_the_position_embedding(tmp_path: Path, layout: str) -> None:
    checkpoint = read_checkpoint(written(tmp_path, released_state(layout)))
    assert checkpoint.config.img_size == (224, 224)


def six_frames(state: State) -> None:
    state["mit.positional_embedding"] = torch.randn(1, 6, 64)


def temporal_layers(state: State) -> None:
    for name in [name for name in state if name.startswith("mit.resblocks.0.")]:
        state[name.replace(".0.", ".1.", 1)] = state[name] + 1


def one_prompt_layer(state: State) -> None:
    for name in [name for name in state if name.startswith("prompts_generator.decoder.1.")]:
        del state[name]


def seven_classes(state: State) -> None:
    state["mit.classify_head.2.weight"] = state["mit.classify_head.2.weight"][:7].clone()
    state["mit.classify_head.2.bias"] = state["mit.classify_head.2.bias"][:7].clone()


def fewer_blocks(state: State) -> None:
    for name in [name for name in state if name.startswith(f"{BLOCK}.2.")]:
        del state[name]


@pytest.mark.parametrize(
    ("layout", "change", "numbers", "num_classes"),
    [
        ("k400_tiny", six_frames, {"num_frames": 6}, 0),
        ("ssv2_tiny", six_frames, {"num_frames": 6}, 174),
        ("k400_tiny", temporal_layers, {"temporal_depth": 2}, 0),
        ("ssv2_tiny", temporal_layers, {"temporal_depth": 2}, 174),
        ("k400_tiny", one_prompt_layer, {"prompt_depth": 1}, 0),
        ("ssv2_tiny", seven_classes, {}, 7),
        ("ssv2_tiny", fewer_blocks, {"depth": 2}, 174),
    ],
)
def test_sizes_come_from_the_tensors(
    tmp_path: Path,
    states: dict[str, State],
    layout: str,
    change: Callable[[State], None],
    numbers: dict[str, int],
    num_classes: int,
) -> None:
    state = dict(states[layout])
    change(state)
    model, checkpoint = read_model(written(tmp_path, state))  # loads without a tensor too many or too few
    assert checkpoint.config == replace(CONFIGS[layout], **numbers)
    assert (checkpoint.num_classes, model.num_classes) == (num_classes, num_classes)


@pytest.mark.parametrize("interactive", ["separable", "full"])
@pytest.mark.parametrize("head", ["text", "linear"])
@pytest.mark.parametrize(("temporal_depth", "prompt_depth"), [(1, 2), (3, 1)])
def test_the_table_of_names_is_the_model(interactive: str, head: str, temporal_depth: int, prompt_depth: int) -> None:
    config = replace(RELEASED_CONFIG, interactive=interactive, temporal_depth=temporal_depth, prompt_depth=prompt_depth)
    with torch.device("meta"):
        model = ILAVisionTransformer(config, head=head, num_classes=4)
    table = released_names(
        depth=3, interactive=interactive, temporal_depth=temporal_depth, head=head, prompt_depth=prompt_depth
    )
    assert len(set(table.values())) == len(table)
    # The offset of training's windows is set by the recipe, and class features come from the text tower.
    assert set(table.values()) == set(model.state_dict()) - {"window_offset", "head.text_features"}


# CLIP files


class Clip:
    """A CLIP as one of the libraries has it, and what it makes of images."""

    def __init__(self, model: nn.Module, encode: Callable[[Tensor], Tensor]) -> None:
        self.model = model
        self.encode = encode


@functools.cache
def openai() -> Clip:
    model = openai_clip()
    return Clip(model, model.encode_image)


@functools.cache
def open_clip() -> Clip:
    model = openai_clip(custom_text=True)
    return Clip(model, model.encode_image)


@functools.cache
def transformers() -> Clip:
    model = transformers_clip()
    return Clip(model, lambda images: model.visual_projection(model.vision_model(images).pooler_output))


@functools.cache
def timm() -> Clip:
    model = timm_clip()
    return Clip(model, model)


CLIPS = {"OpenAI": openai, "open_clip": open_clip, "transformers": transformers, "timm": timm}
CONTAINERS = {
    "plain": "PyTorch file",
    "module": "PyTorch file",
    "half": "PyTorch file",
    "safetensors": "safetensors file",
}


def assert_clip(path: Path, clip: Clip, *, is_half: bool) -> ILAVisionTransformer:
    """That a model made from a file sees in each frame what CLIP sees in it."""
    checkpoint = read_checkpoint(path)
    model = build(checkpoint).eval()
    load_into(model, checkpoint, checkpoint.config)
    video = torch.randn(2, 3, 3, PIXELS, PIXELS)
    with torch.no_grad():
        found = model.forward_frames(model.forward_features(video)).flatten(0, 1)
        wanted = clip.encode(video.flatten(0, 1))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0, atol=(1e-2 if is_half else 1e-5) * float(wanted.abs().max()))
    return model


@pytest.mark.parametrize("writer", list(CONTAINERS))
@pytest.mark.parametrize("layout", list(CLIPS))
def test_clip(tmp_path: Path, layout: str, writer: str) -> None:
    clip = CLIPS[layout]()
    path = tmp_path / "file"
    WRITERS[writer](path, clip.model.state_dict())
    checkpoint = read_checkpoint(path)
    towers = "image tower only" if layout == "timm" else "both towers"
    whose = {"OpenAI": "OpenAI and open_clip"}.get(layout, layout)
    assert checkpoint.layout == (
        f"CLIP in the layout of {whose} ({CONTAINERS[writer]}, width {WIDTH}, patches of {PATCH}, {PIXELS} pixels,"
        f" {towers})"
    )
    assert (checkpoint.kind, checkpoint.head, checkpoint.num_classes) == ("clip", "none", 0)
    assert (checkpoint.config, checkpoint.architecture) == (CLIP_CONFIG, None)
    model = assert_clip(path, clip, is_half="half" in writer)
    if layout == "timm":
        assert not checkpoint.text_tensors
        assert model.head.logit_scale.item() == pytest.approx(CLIP_LOGIT_SCALE)
    else:
        assert checkpoint.text_tensors["text_projection"].shape == (TEXT_WIDTH, EMBED)
        assert model.head.logit_scale.item() == pytest.approx(clip.model.logit_scale.item(), rel=1e-3)


def test_clip_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-16.pt"
    write_torchscript(path, openai_clip())
    assert read_checkpoint(path).layout.startswith(
        "CLIP in the layout of OpenAI and open_clip (TorchScript archive, width 128,"
    )
    assert_clip(path, openai(), is_half=True)


def test_what_was_recognised_is_logged(ssv2_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ila_models"):
        create_model(f"local-dir:{ssv2_file}", num_classes=0)
    layout = read_checkpoint(ssv2_file).layout
    assert caplog.messages.count(f"{ssv2_file}: recognised as {layout}") == 1


# Fitting


def test_new_frames_and_pixels_are_resampled(tmp_path: Path, states: dict[str, State]) -> None:
    state = states["k400_tiny"]
    checkpoint = read_checkpoint(written(tmp_path, state))
    config = replace(checkpoint.config, num_frames=7, img_size=(96, 64))
    model = build(checkpoint, num_frames=7, img_size=(96, 64))
    load_into(model, checkpoint, config)
    found = model.state_dict()

    frames = state["mit.positional_embedding"][0].numpy()
    times = np.linspace(0, len(frames) - 1, 7)  # first and last frame keep their positions
    wanted = np.stack([np.interp(times, np.arange(len(frames)), channel) for channel in frames.T], axis=1)
    np.testing.assert_allclose(found["temporal.pos_embed"][0].numpy(), wanted, rtol=0, atol=1e-5)

    class_token, patches = state["visual.positional_embedding"].split([1, 16])
    grid = patches.T.reshape(1, 128, 4, 4)
    resized = F.interpolate(grid, size=(6, 4), mode="bicubic", antialias=True).flatten(2)[0].T
    torch.testing.assert_close(found["pos_embed"][0], torch.cat([class_token, resized]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("num_frames", "img_size"), [(2, (64, 64)), (16, (64, 64)), (4, (80, 112))])
def test_create_model_with_new_frames_and_pixels(
    tiny: str, ssv2_file: Path, num_frames: int, img_size: tuple[int, int]
) -> None:
    kept = create_model(tiny, checkpoint_path=ssv2_file)
    model = create_model(tiny, checkpoint_path=ssv2_file, num_frames=num_frames, img_size=img_size)
    assert (model.num_frames, model.config.img_size) == (num_frames, img_size)
    assert (model.pretrained_cfg["num_frames"], model.pretrained_cfg["img_size"]) == (num_frames, img_size)
    assert model(torch.randn(1, num_frames, 3, *img_size)).shape == (1, 174)
    same = {name for name in kept.state_dict() if "pos_embed" not in name}
    assert_same(model.state_dict(), kept.state_dict(), names=same)


def backbone(model: ILAVisionTransformer) -> State:
    return {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}


@pytest.mark.parametrize("layout", list(CONFIGS))
@pytest.mark.parametrize("num_classes", [7, 0])
def test_new_classes_replace_the_head(
    tiny: str, tmp_path: Path, states: dict[str, State], layout: str, num_classes: int
) -> None:
    path = written(tmp_path, states[layout])
    reference, _ = read_model(path)
    model = create_model(tiny, checkpoint_path=path, num_classes=num_classes)
    assert (model.num_classes, model.has_text_head, model.class_names) == (num_classes, False, None)
    assert_same(model.state_dict(), backbone(reference))
    assert model(torch.randn(2, 4, 3, 64, 64)).shape == (2, num_classes or 64)


def test_new_classes_can_have_names(tiny: str, ssv2_file: Path) -> None:
    model = create_model(tiny, checkpoint_path=ssv2_file, num_classes=2, class_names=["pushing", "pulling"])
    assert model.class_names == ("pushing", "pulling")


def test_as_many_classes_as_the_file_has_keep_its_head(tiny: str, ssv2_file: Path, states: dict[str, State]) -> None:
    model = create_model(tiny, checkpoint_path=ssv2_file, num_classes=174)
    assert torch.equal(model.head.fc.weight, states["ssv2_tiny"]["mit.classify_head.2.weight"])


def test_clip_leaves_the_rest_to_the_caller(tiny_clip: str, tmp_path: Path) -> None:
    path = written(tmp_path, openai_clip().state_dict())
    asked = {"interactive": "full", "alignment_width": 64, "temporal_depth": 2, "prompt_depth": 1}
    model = create_model(tiny_clip, checkpoint_path=path, **asked)
    assert model.config == replace(CLIP_CONFIG, **asked)


# What is refused


@pytest.mark.parametrize(
    ("layout", "argument", "value", "stored"),
    [
        ("ssv2_tiny", "interactive", "separable", "full"),
        ("ssv2_tiny", "alignment_width", 64, 256),
        ("ssv2_tiny", "temporal_depth", 2, 1),
        ("k400_tiny", "interactive", "full", "separable"),
        ("k400_tiny", "prompt_depth", 1, 2),
    ],
)
def test_contradictions(
    tiny: str, tmp_path: Path, states: dict[str, State], layout: str, argument: str, value: Any, stored: Any
) -> None:
    path = written(tmp_path, states[layout])
    rule = f"contradicts {argument}={value!r} (the file has {stored!r})"
    with pytest.raises(ValueError, match=re.escape(rule)):
        create_model(tiny, checkpoint_path=path, **{argument: value})
    same = create_model(tiny, checkpoint_path=path, num_classes=2, **{argument: stored})
    assert getattr(same.config, argument) == stored


def test_all_contradictions_are_one_error(tiny: str, ssv2_file: Path) -> None:
    with pytest.raises(ValueError, match=r"alignment_width=64 .*, interactive='separable' .*, temporal_depth=2 "):
        create_model(tiny, checkpoint_path=ssv2_file, interactive="separable", alignment_width=64, temporal_depth=2)


@pytest.mark.parametrize("layout", list(CONFIGS))
def test_all_that_is_wrong_with_tensors_is_one_error(tmp_path: Path, states: dict[str, State], layout: str) -> None:
    state = dict(states[layout])
    missing = [f"{BLOCK}.1.message_attn.fc.bias", "mit.resblocks.0.ln_1.weight"]
    for name in missing:
        del state[name]
    unexpected = [f"{BLOCK}.0.adapter.weight", "mit.extra"]
    state |= {name: torch.zeros(2) for name in unexpected}
    misshapen = {
        f"{BLOCK}.0.message_ln.weight": [5],
        f"{BLOCK}.2.message_attn.prediction_block.12.weight": [3, 3],
        f"{BLOCK}.0.attn.in_proj_weight": [128, 384],
        f"{BLOCK}.0.message_attn.conv.weight": [128, 128, 3, 3, 3],
    }
    state |= {name: torch.zeros(shape) for name, shape in misshapen.items()}
    checkpoint = read_checkpoint(written(tmp_path, state))
    model = build(checkpoint)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_into(model, checkpoint, checkpoint.config)
    message = str(caught.value)
    assert message.startswith(f"{checkpoint.path}: {checkpoint.layout}, but it does not fit:\n")
    assert "\n2 missing:\n" in message
    assert "\n2 unexpected:\n" in message
    assert "\n4 misshapen:\n" in message
    for name in [*missing, *unexpected]:
        assert f"\n  {name}" in message
    for name, shape in misshapen.items():
        assert re.search(rf"\n  {re.escape(name)} \(our [\w.]+\) is {re.escape(str(shape))}, expected \[", message)
    assert_same(model.state_dict(), before)  # nothing was loaded


def test_a_gap_between_blocks(tmp_path: Path, states: dict[str, State]) -> None:
    state = {n.replace(f"{BLOCK}.1.message_fc", f"{BLOCK}.7.message_fc"): v for n, v in states["ssv2_tiny"].items()}
    checkpoint = read_checkpoint(written(tmp_path, state))
    with pytest.raises(CheckpointError) as caught:
        load_into(build(checkpoint), checkpoint, checkpoint.config)
    for name in ("1.message_fc.weight", "3.message_fc.weight"):
        assert f"\n  {BLOCK}.{name} (our " in str(caught.value)
    assert f"\n  {BLOCK}.7.message_fc.weight\n" in str(caught.value)


def test_half_a_text_tower_is_in_the_same_error(tiny: str, tmp_path: Path, states: dict[str, State]) -> None:
    state = dict(states["k400_tiny"])
    del state["ln_final.weight"]
    state["text_projection"] = torch.zeros(64, 3)
    state["mit.extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        create_model(tiny, checkpoint_path=written(tmp_path, state), num_classes=2)
    for name in ("ln_final.weight", "text_projection", "mit.extra"):
        assert name in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool])
def test_weights_that_are_no_floats(tiny: str, tmp_path: Path, states: dict[str, State], dtype: torch.dtype) -> None:
    state = dict(states["ssv2_tiny"])
    state["visual.proj"] = state["visual.proj"].to(dtype)
    with pytest.raises(CheckpointError, match=rf"visual\.proj.*{dtype}"):
        create_model(tiny, checkpoint_path=written(tmp_path, state))


def test_all_that_is_wrong_with_a_clip_file_is_one_error(tmp_path: Path) -> None:
    state = openai_clip().state_dict()
    del state["visual.ln_post.weight"], state[f"{BLOCK}.1.mlp.c_fc.bias"]
    state["visual.extra"] = torch.zeros(1)
    path = written(tmp_path, state)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert f"Missing: visual.ln_post.weight, {BLOCK}.1.mlp.c_fc.bias. Unexpected: visual.extra." in message


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("visual.conv1.weight", None),
        ("visual.proj", None),
        ("mit.positional_embedding", None),
        ("visual.positional_embedding", (26, 0)),
        ("visual.positional_embedding", (16, 128)),
        ("visual.conv1.weight", (128,)),
    ],
)
def test_sizes_that_cannot_be_told(
    tmp_path: Path, states: dict[str, State], name: str, shape: tuple[int, ...] | None
) -> None:
    state = dict(states["ssv2_tiny"])
    if shape is None:
        del state[name]
    else:
        state[name] = torch.zeros(shape)
    path = written(tmp_path, state)
    with pytest.raises(CheckpointError, match=rf"{re.escape(str(path))}: .*{re.escape(name)}"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "state",
    [
        {"layer1.0.conv1.weight": torch.zeros(2), "fc.weight": torch.zeros(2)},
        {"mit.positional_embedding": torch.zeros(1, 8, 64), "visual.conv1.weight": torch.zeros(2)},  # X-CLIP, say
    ],
)
def test_no_known_checkpoint(tmp_path: Path, state: State) -> None:
    with pytest.raises(CheckpointError, match=rf"no known checkpoint: its 2 tensors \({', '.join(state)}\) are "):
        read_checkpoint(written(tmp_path, state))


def test_no_such_file(tiny: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        read_checkpoint(path)
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        create_model(tiny, checkpoint_path=path)


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ((768, 12, 32, 512, 224), "ila_vit_b32"),
        ((768, 12, 16, 512, 224), "ila_vit_b16"),
        ((768, 12, 16, 512, 288), "ila_vit_b16"),
        ((1024, 24, 14, 768, 224), "ila_vit_l14"),
        ((1024, 24, 14, 768, 336), "ila_vit_l14_336"),
        ((768, 12, 14, 512, 224), None),
        ((768, 11, 16, 512, 224), None),
        ((768, 12, 16, 768, 224), None),
    ],
)
def test_architecture_of(numbers: tuple[int, ...], name: str | None) -> None:
    width, depth, patch_size, embed_dim, side = numbers
    config = ILAConfig(
        width=width, depth=depth, patch_size=patch_size, embed_dim=embed_dim, img_size=(side, side), num_frames=32
    )
    assert architecture_of(config) == name


def test_another_architecture_is_refused_by_name(clip_b32: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        create_model("ila_vit_b16", checkpoint_path=clip_b32)
    assert str(caught.value) == (
        f"{clip_b32} is ila_vit_b32, not ila_vit_b16: use create_model('ila_vit_b32', checkpoint_path=...)"
    )


def test_an_unnamed_architecture_is_refused_by_its_sizes(ssv2_file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"width 128, 3 blocks, patches of 16, embedding 64\), not ila_vit_b16$"):
        create_model("ila_vit_b16", checkpoint_path=ssv2_file)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("not json", "header cannot be read"),
        ("[]", "header cannot be read"),
        ('{"format_version": 99}', "format version 99, this package reads 1: upgrade"),
        ('{"format_version": 1, "config": {"width": 64}}', "does not describe a model"),
        ('{"format_version": 1, "config": {"img_size": [64, 64], "layers": 2}}', "does not describe a model"),
    ],
)
def test_header_of_ours_that_cannot_be_read(tmp_path: Path, header: str, reason: str) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"cls_token": torch.zeros(1)}, path, metadata={"ila_models": header})
    with pytest.raises(CheckpointError, match=rf"{re.escape(str(path))}: .*{reason}"):
        read_checkpoint(path)


def test_the_scale_of_logits_comes_with_the_text_tower(
    tiny_clip: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both, image = tmp_path / "both.pt", tmp_path / "image.pt"
    write_plain(both, openai_clip().state_dict() | {"logit_scale": torch.tensor(3.0)})
    write_plain(image, timm_clip().state_dict())
    whole = create_model(tiny_clip, checkpoint_path=both, class_names=["a", "b"])
    assert whole.head.logit_scale.item() == 3.0
    encoder = ila_models.load_text_encoder(both)
    joined = create_model(tiny_clip, checkpoint_path=image, class_names=["a", "b"], text_encoder=encoder)
    assert joined.head.logit_scale.item() == 3.0
    assert joined.pretrained_cfg["base_model"] is None, "whose CLIP it is, nobody says"
    encoder.logit_scale = None
    create_model(tiny_clip, checkpoint_path=image, class_names=["a", "b"], text_encoder=encoder)
    assert "probabilities are too even" in caplog.text


def test_a_default_device_is_no_harm_to_files_of_torch(tmp_path: Path) -> None:
    write_plain(tmp_path / "clip.pt", openai_clip().state_dict())
    with torch.device("meta"):
        assert read_checkpoint(tmp_path / "clip.pt").kind == "clip"
