"""What a model promises its users, on a tiny one: outputs, gradients, intermediates, heads, copies and errors."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import re
from pathlib import Path
from typing import Any, Literal

import pytest
import timm.models
import torch
from tiny import TINY, make_clips, make_model
from torch import Tensor, nn

from ila_models.configs import HeadKind
from ila_models.ila_vit import ILAVisionTransformer
from ila_models.text import TextEncoder

STATE_DICT_NAMES = Path(__file__).parent / "state_dict_names.txt"
HEADS: tuple[HeadKind, ...] = ("text", "linear", "none")
# Just before a batch norm, which takes any constant away: the true gradient is zero.
BIAS_BEFORE_BATCH_NORM = re.compile(r"alignment\..*\.conv\.bias$")


def train_step(model: ILAVisionTransformer, clips: Tensor) -> None:
    """A forward and a backward of logits and alignment loss, with gradients of different size everywhere."""
    output = model.train()(clips)
    assert model.alignment_loss is not None
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().add(model.alignment_loss).backward()


# Outputs


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("head", "width"), [("text", 5), ("linear", 5), ("none", 64)])
def test_output(head: HeadKind, width: int, training: bool) -> None:
    model = make_model(head=head).train(training)
    output = model(make_clips(model))
    assert output.shape == (2, width)
    assert output.dtype == torch.float32
    assert output.isfinite().all()
    assert model.num_classes == (0 if head == "none" else 5)


@pytest.mark.parametrize(
    ("changes", "grid"),
    [
        ({"img_size": (64, 96)}, (4, 6)),
        ({"img_size": (80, 112)}, (5, 7)),
        ({"img_size": (144, 64)}, (9, 4)),
        ({"patch_size": 8, "img_size": (56, 40)}, (7, 5)),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_other_grids(changes: dict[str, Any], grid: tuple[int, int], training: bool) -> None:
    model = make_model(**changes).train(training)
    output, maps = model(make_clips(model), return_points=True)
    assert model.grid_size == grid
    assert output.isfinite().all()
    assert maps.masks.shape == (2, 2, 3, 2, *grid)


@pytest.mark.parametrize("frames", [2, 3, 7])
@pytest.mark.parametrize("head", HEADS)
def test_other_number_of_frames(head: HeadKind, frames: int) -> None:
    model = make_model(head=head)
    assert frames != model.num_frames
    output, maps = model(make_clips(model, frames=frames), return_points=True)
    assert output.isfinite().all()
    assert maps.points.shape == (2, 2, frames - 1, 4)


def test_frame_positions_are_interpolated_between_their_ends() -> None:
    model = make_model(head="none", num_frames=3)
    longer = make_model(head="none", num_frames=5)
    state = model.state_dict()
    first, middle, last = state["temporal.pos_embed"][0]
    positions = torch.stack([first, (first + middle) / 2, middle, (middle + last) / 2, last])[None]
    longer.load_state_dict(state | {"temporal.pos_embed": positions})
    clips = make_clips(longer)
    torch.testing.assert_close(model(clips), longer(clips))


@pytest.mark.parametrize("head", HEADS)
def test_batch_mates_do_not_matter_in_evaluation(head: HeadKind) -> None:
    model = make_model(head=head)
    clips = make_clips(model, clips=3)
    together = model(clips)
    torch.testing.assert_close(together, torch.cat([model(clip[None]) for clip in clips]))
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (3, 2, 1, 0)])
def test_order_of_frames_matters(order: tuple[int, ...]) -> None:
    model = make_model(head="none")
    # Without positions in time and with a mean over frames, only the alignment can tell the order.
    nn.init.zeros_(model.temporal.pos_embed)
    clips = make_clips(model)
    assert not torch.allclose(model(clips), model(clips[:, order]), atol=1e-4)


def test_order_of_frames_does_not_matter_to_a_new_model() -> None:
    """Skip layers start at zero, so a new model sees frames one by one."""
    model = ILAVisionTransformer(TINY, head="none").eval()
    nn.init.zeros_(model.temporal.pos_embed)
    clips = make_clips(model)
    torch.testing.assert_close(model(clips), model(clips[:, [2, 0, 3, 1]]))


def test_points_and_masks(model: ILAVisionTransformer) -> None:
    clips = make_clips(model)
    logits, maps = model(clips, return_points=True)
    assert torch.equal(logits, model(clips))
    assert maps.points.shape == (2, 2, 3, 4)  # [depth, B, T-1, 4]
    assert maps.masks.shape == (2, 2, 3, 2, 4, 4)  # [depth, B, T-1, 2, h, w]
    assert 0 < maps.points.abs().max() <= 0.75
    assert maps.masks.min() >= 0
    assert maps.masks.max() <= 1


def test_alignment_loss_is_set_in_training_only(model: ILAVisionTransformer) -> None:
    clips = make_clips(model)
    model(clips)
    assert model.alignment_loss is None
    model.train()(clips)
    assert model.alignment_loss is not None
    assert model.alignment_loss.shape == ()
    assert 0 < model.alignment_loss < 2 * len(model.blocks)
    assert model.alignment_loss.requires_grad


def test_window_of_the_masks_is_state_that_only_training_looks_at(model: ILAVisionTransformer) -> None:
    clips = make_clips(model)
    before = model(clips)
    _, wide = model.train()(clips, return_points=True)
    model.load_state_dict(model.state_dict() | {"window_offset": torch.tensor(0.05)})
    _, narrow = model(clips, return_points=True)
    assert torch.equal(wide.points[0], narrow.points[0])
    assert not torch.allclose(wide.masks, narrow.masks)

    torch.manual_seed(0)
    untrained = make_model()
    assert untrained.state_dict()["window_offset"] == torch.tensor(0.2)
    torch.manual_seed(0)
    narrowed = make_model()
    narrowed.window_offset.fill_(0.05)
    assert torch.equal(untrained(clips), narrowed(clips))
    assert torch.equal(before, narrowed(clips))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-2), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("head", HEADS)
def test_half_precision(head: HeadKind, dtype: torch.dtype, tolerance: float) -> None:
    model = make_model(head=head)
    clips = make_clips(model)
    expected = model(clips)
    found = model.to(dtype)(clips.to(dtype))
    assert found.dtype == dtype
    assert (found.float() - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize(
    ("dtype", "mask_dtype"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_masks_have_at_least_single_precision(
    model: ILAVisionTransformer, dtype: torch.dtype, mask_dtype: torch.dtype
) -> None:
    output, maps = model.to(dtype)(make_clips(model).to(dtype), return_points=True)
    assert output.dtype == dtype
    assert maps.masks.dtype == mask_dtype


@pytest.mark.parametrize("head", HEADS)
def test_autocast(head: HeadKind) -> None:
    model = make_model(head=head)
    clips = make_clips(model)
    expected = model(clips)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(clips)
        train_step(model, clips)
    assert (found.float() - expected).abs().max() <= 5e-2 * expected.abs().max()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


# Gradients


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("interactive", ["separable", "full"])
def test_every_parameter_gets_a_gradient(head: HeadKind, interactive: str) -> None:
    model = make_model(head=head, interactive=interactive, alignment_width=32)
    train_step(model, make_clips(model, clips=4))
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None
        or not parameter.grad.isfinite().all()
        or (not parameter.grad.any() and not BIAS_BEFORE_BATCH_NORM.search(name))
    ]
    assert without == []


@pytest.mark.parametrize("head", HEADS)
def test_checkpointed_equals_plain(head: HeadKind) -> None:
    plain = make_model(head=head)
    checkpointed = copy.deepcopy(plain)
    checkpointed.set_grad_checkpointing()
    runs: list[int] = []
    for index, block in enumerate(checkpointed.blocks):
        block.attn.register_forward_hook(lambda *_, index=index: runs.append(index))
    clips = make_clips(plain)
    for model in (plain, checkpointed):
        torch.manual_seed(1)  # dropout
        train_step(model, clips)
    assert runs == [0, 1, 1, 0]  # forward, then once more for the backward pass
    torch.testing.assert_close(
        {name: parameter.grad for name, parameter in checkpointed.named_parameters()},
        {name: parameter.grad for name, parameter in plain.named_parameters()},
    )
    torch.testing.assert_close(dict(checkpointed.named_buffers()), dict(plain.named_buffers()))
    counts = {name: int(b) for name, b in checkpointed.named_buffers() if name.endswith("num_batches_tracked")}
    assert set(counts.values()) == {1}


def test_grad_checkpointing_can_be_switched_off(model: ILAVisionTransformer) -> None:
    model.set_grad_checkpointing()
    assert [block.grad_checkpointing for block in model.blocks] == [True, True]
    model.set_grad_checkpointing(False)
    assert [block.grad_checkpointing for block in model.blocks] == [False, False]


def test_drop_path_drops_whole_clips_in_training_only() -> None:
    model = ILAVisionTransformer(TINY, head="none", drop_path_rate=0.9)
    clips = make_clips(model, clips=1).expand(16, -1, -1, -1, -1)
    block = model.blocks[-1]
    tokens = model.eval().forward_features(clips)
    assert all(torch.equal(tokens[0], clip) for clip in tokens)
    transformed = block.train().transform(tokens)
    kept = (transformed != tokens).flatten(2).any(2)  # [clips, frames]
    assert torch.equal(kept.all(1), kept.any(1))
    assert 0 < kept.any(1).sum() < 16


# Features


def test_parts_of_the_forward_pass(model: ILAVisionTransformer) -> None:
    clips = make_clips(model)
    tokens = model.forward_features(clips)
    assert tokens.shape == (2, 4, 1 + 16, model.num_features)
    assert model.forward_frames(tokens).shape == (2, 4, model.head_hidden_size)
    assert model.forward_head(tokens, pre_logits=True).shape == (2, model.head_hidden_size)
    assert torch.equal(model.forward_head(tokens), model(clips))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("output_fmt", ["NTCHW", "NTLC"])
def test_intermediates(output_fmt: Literal["NTCHW", "NTLC"], prefix: bool, norm: bool) -> None:
    model = make_model(depth=3, img_size=(64, 80))
    clips = make_clips(model)
    last, intermediates = model.forward_intermediates(
        clips, output_fmt=output_fmt, return_prefix_tokens=prefix, norm=norm
    )
    features = model.forward_features(clips)
    expected = model.norm(features) if norm else features
    assert torch.equal(last, expected)
    assert len(intermediates) == 3
    for intermediate in intermediates:
        patches = intermediate[0] if prefix else intermediate
        assert patches.shape == ((2, 4, 64, 4, 5) if output_fmt == "NTCHW" else (2, 4, 20, 64))
    patches = intermediates[-1][0] if prefix else intermediates[-1]
    if output_fmt == "NTCHW":
        assert torch.equal(patches[0, 1, :, 2, 3], expected[0, 1, 1 + 2 * 5 + 3])
        patches = patches.flatten(3).transpose(2, 3)
    assert torch.equal(patches, expected[:, :, 1:])
    if prefix:
        assert torch.equal(intermediates[-1][1], expected[:, :, :1])


@pytest.mark.parametrize(
    ("indices", "blocks"), [(None, [0, 1, 2]), (1, [2]), (2, [1, 2]), ([0, 2], [0, 2]), ([-1, 0], [2, 0]), ((1,), [1])]
)
def test_indices_of_intermediates(indices: Any, blocks: list[int]) -> None:
    model = make_model(depth=3)
    clips = make_clips(model)
    every = model.forward_intermediates(clips, intermediates_only=True)
    found = model.forward_intermediates(clips, indices, intermediates_only=True)
    assert len(found) == len(blocks)
    assert all(torch.equal(tokens, every[block]) for tokens, block in zip(found, blocks, strict=True))


def test_stop_early_leaves_later_blocks_alone() -> None:
    model = make_model(depth=3)
    clips = make_clips(model)
    expected = model.forward_intermediates(clips, [0, 1], intermediates_only=True)
    ran: list[int] = []
    for index, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    found = model.forward_intermediates(clips, [0, 1], intermediates_only=True, stop_early=True)
    assert ran == [0, 1]
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"indices": 0}, "indices=0 chooses no blocks: give 1 to 2"),
        ({"indices": 3}, "indices=3 chooses no blocks: give 1 to 2"),
        ({"indices": []}, r"indices=\[\] chooses no blocks"),
        ({"indices": [0, 2, -3]}, r"indices \[2, -3\] are out of range: the model has blocks 0 to 1"),
        ({"output_fmt": "NCHW"}, "output_fmt='NCHW' is not known: use 'NTCHW' or 'NTLC'"),
        ({"stop_early": True}, "pass intermediates_only=True as well"),
    ],
)
def test_errors_of_intermediates(model: ILAVisionTransformer, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.forward_intermediates(make_clips(model), **arguments)


# Heads


@pytest.mark.parametrize("head", HEADS)
def test_reset_to_no_head_gives_pre_logits(head: HeadKind) -> None:
    model = make_model(head=head)
    clips = make_clips(model)
    expected = model.forward_head(model.forward_features(clips), pre_logits=True)
    model.reset_classifier(0)
    assert model.num_classes == 0
    assert isinstance(model.get_classifier(), nn.Identity)
    assert torch.equal(model(clips), expected)
    assert model(clips).shape == (2, model.head_hidden_size)


@pytest.mark.parametrize("head", HEADS)
def test_reset_to_a_new_linear_head(head: HeadKind) -> None:
    model = make_model(head=head).to(torch.bfloat16)
    model.reset_classifier(3, class_names=["a", "b", "c"])
    assert model(make_clips(model).bfloat16()).shape == (2, 3)
    assert model.num_classes == 3
    assert model.class_names == ("a", "b", "c")
    assert not model.has_text_head
    assert model.get_classifier().weight.shape == (3, 64)
    model.reset_classifier(4)
    assert model.class_names is None


@pytest.mark.parametrize("training", [False, True])
def test_a_new_head_is_in_the_model_s_mode(training: bool) -> None:
    model = make_model().train(training)
    model.reset_classifier(3)
    assert all(module.training == training for module in model.head.modules())
    with torch.no_grad():
        video = torch.randn(1, 64)
        first, second = (model.forward_logits(video, torch.empty(1, 4, 17, 64)) for _ in range(2))
    assert torch.equal(first, second) != training, "dropout is for training"


def test_classifier_of_a_text_head_is_the_head(model: ILAVisionTransformer) -> None:
    assert model.has_text_head
    assert model.get_classifier() is model.head


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": -1}, "num_classes=-1 is out of range"),
        ({"num_classes": 2, "class_names": ["a"]}, "1 class_names for num_classes=2"),
        ({"num_classes": 0, "class_names": ["a"]}, "1 class_names for num_classes=0"),
        ({"num_classes": 2, "class_names": ["a", "a"]}, "repeated: 'a'"),
    ],
)
def test_errors_of_reset(model: ILAVisionTransformer, arguments: dict[str, Any], message: str) -> None:
    before = model.head
    with pytest.raises(ValueError, match=message):
        model.reset_classifier(**arguments)
    assert model.head is before


def test_linear_head_does_not_see_the_length_of_the_video_vector() -> None:
    head = make_model(head="linear").head
    video = torch.randn(2, 64)
    # So short that the layer norm's eps alone would show.
    torch.testing.assert_close(head(1e-3 * video, video), head(video, video))


def test_prompts_keep_the_class_features_that_they_start_from() -> None:
    prompts = make_model().head.prompts
    for layer in prompts.layers:
        for branch_end in (layer.cross_attn.proj, layer.mlp.fc2):
            nn.init.zeros_(branch_end.weight)
            nn.init.zeros_(branch_end.bias)
    text = torch.randn(2, 5, 64)
    torch.testing.assert_close(prompts(text, torch.randn(2, 16, 64)), text + prompts.alpha * text)


def test_text_head_is_the_cosine_to_refined_features(model: ILAVisionTransformer) -> None:
    tokens = model.forward_features(make_clips(model))
    video = model.forward_head(tokens, pre_logits=True)
    head = model.head
    context = (head.context_norm(tokens[:, :, 1:]) @ head.context_proj.weight.T).mean(1)
    for clip, patches, logits in zip(video, context, model.forward_head(tokens), strict=True):
        refined = head.prompts(head.text_features[None], patches[None])[0]
        cosine = torch.cosine_similarity(clip[None], refined)
        torch.testing.assert_close(logits, head.logit_scale.exp() * cosine)


def test_text_encoder_sets_classes(model: ILAVisionTransformer) -> None:
    encoder = TextEncoder(width=64, depth=1, embed_dim=64)
    names = ["surfing", "tai chi"]
    model.set_classes(names, encoder)
    assert model.class_names == ("surfing", "tai chi")
    assert model.num_classes == 2
    assert torch.equal(model.head.text_features, encoder(names))
    assert model(make_clips(model)).shape == (2, 2)
    assert not model.head.text_features.requires_grad


def test_text_features_are_copied(model: ILAVisionTransformer) -> None:
    features = torch.randn(3, 64)
    model.set_text_features(features, ["a", "b", "c"])
    features.zero_()
    assert model.head.text_features.any()
    assert model.class_names == ("a", "b", "c")
    model.set_text_features(torch.randn(2, 64))
    assert model.class_names is None


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ([], ValueError, "class names are empty: give at least one"),
        (["a", " ", ""], ValueError, r"class names at positions \[1, 2\] are blank"),
        (["b", "a", "b"], ValueError, "class names are repeated: 'b'"),
        ("surfing", TypeError, r"single string 'surfing': use \['surfing'\]"),
        (["a", 3], TypeError, r"class names must be strings, got 3 \(int\)"),
    ],
)
def test_errors_of_class_names(model: ILAVisionTransformer, names: Any, error: type[Exception], message: str) -> None:
    before = model.head.text_features
    with pytest.raises(error, match=message):
        model.set_classes(names, TextEncoder(width=64, depth=1, embed_dim=64))
    with pytest.raises(error, match=message):
        model.set_text_features(torch.randn(max(len(names), 1), 64), names)
    assert model.head.text_features is before


@pytest.mark.parametrize(
    ("features", "names", "message"),
    [
        (torch.zeros(64), None, r"features have shape \[64\]: expected \[classes, 64\]"),
        (torch.zeros(2, 63), None, r"features have shape \[2, 63\]: expected \[classes, 64\]"),
        (torch.zeros(0, 64), None, r"features have shape \[0, 64\]: expected \[classes, 64\]"),
        (torch.zeros(2, 64), ["a"], "1 names for 2 features"),
    ],
)
def test_errors_of_text_features(
    model: ILAVisionTransformer, features: Tensor, names: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.set_text_features(features, names)


def test_encoder_of_another_width_is_refused(model: ILAVisionTransformer) -> None:
    with pytest.raises(ValueError, match=r"\[1, 128\]: expected \[classes, 64\]"):
        model.set_classes(["a"], TextEncoder(width=64, depth=1, embed_dim=128))


def test_text_head_without_classes_says_what_to_do() -> None:
    model = ILAVisionTransformer(TINY, head="text").eval()
    assert model.num_classes == 0
    with pytest.raises(RuntimeError, match=r"no classes yet: call model.set_classes"):
        model(make_clips(model))
    # The video embedding does not need classes.
    assert model.forward_head(model.forward_features(make_clips(model)), pre_logits=True).shape == (2, 64)


def test_set_classes_needs_a_text_tower(model: ILAVisionTransformer) -> None:
    with pytest.raises(RuntimeError, match=r"came without one: load weights .*pass text_encoder="):
        model.set_classes(["a"])


@pytest.mark.parametrize(("head", "has"), [("linear", "a linear head"), ("none", "no head")])
def test_classes_need_a_text_head(head: HeadKind, has: str) -> None:
    model = make_model(head=head)
    with pytest.raises(RuntimeError, match=f"set_classes needs a text head, and this model has {has}"):
        model.set_classes(["a"])
    with pytest.raises(RuntimeError, match=f"set_text_features needs a text head, and this model has {has}"):
        model.set_text_features(torch.zeros(1, 64))


# Errors of input and configuration


@pytest.mark.parametrize(
    ("video", "error", "message"),
    [
        ("clip.mp4", TypeError, r"video is a str: expected a float tensor \[B, T, 3, 64, 64\]"),
        (
            torch.zeros(1, 4, 3, 64, 64, dtype=torch.uint8),
            TypeError,
            r"dtype torch.uint8: expected normalised floats; ila_models.create_transform\(model\)",
        ),
        (
            torch.zeros(4, 3, 64, 64),
            ValueError,
            r"shape \[4, 3, 64, 64\].*add the batch dimension with video\[None\]",
        ),
        (torch.zeros(3, 64, 64), ValueError, r"shape \[3, 64, 64\]: expected \[B, T, 3, 64, 64\]$"),
        (
            torch.zeros(1, 3, 8, 64, 64),
            ValueError,
            r"shape \[1, 3, 8, 64, 64\].*use video.permute\(0, 2, 1, 3, 4\)",
        ),
        (torch.zeros(1, 4, 1, 64, 64), ValueError, r"shape \[1, 4, 1, 64, 64\]: expected \[B, T, 3, 64, 64\]$"),
        (
            torch.zeros(1, 4, 3, 64, 64, dtype=torch.float16),
            TypeError,
            r"dtype torch.float16 and the model torch.float32: use video.to\(torch.float32\)",
        ),
        (torch.zeros(0, 4, 3, 64, 64), ValueError, "the batch is empty, give at least one clip"),
        (torch.zeros(1, 1, 3, 64, 64), ValueError, "T = 1 frame: ILA aligns neighbouring frames, give at least 2"),
        (
            torch.zeros(1, 4, 3, 64, 80),
            ValueError,
            r"64x80 pixels: this model was built for 64x64; .*img_size=\(64, 80\)",
        ),
    ],
)
@pytest.mark.parametrize("method", ["__call__", "forward_features", "forward_intermediates"])
def test_errors_of_the_input(
    model: ILAVisionTransformer, method: str, video: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(model, method)(video)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"img_size": (64, 100)},
            "img_size=64x100 is not a multiple of the patch size 16: the nearest that fits is 64x96",
        ),
        ({"img_size": (10, 64)}, "the nearest that fits is 64x64"),
        ({"img_size": (48, 64)}, "a grid of 3x4 tokens: .* at least 64 pixels on either side"),
        ({"img_size": (0, 0)}, "at least 64 pixels"),
        ({"img_size": (64,)}, r"img_size=\(64,\) is not a size: give \(height, width\) in whole pixels"),
        ({"img_size": (64.0, 64.0)}, r"img_size=\(64.0, 64.0\) is not a size"),
        ({"num_frames": 1}, "num_frames=1 is out of range: give a whole number of at least 2"),
        ({"num_frames": 8.0}, "num_frames=8.0 is out of range: give a whole number"),
        ({"alignment_width": 20}, "alignment_width=20 is out of range: .* at least 8, a multiple of 8"),
        ({"alignment_width": 0}, "alignment_width=0 is out of range"),
        ({"width": 100}, "width=100 is out of range: .* a multiple of 64"),
        ({"embed_dim": 100}, "embed_dim=100 is out of range: .* a multiple of 64"),
        ({"depth": 0}, "depth=0 is out of range"),
        ({"temporal_depth": -1}, "temporal_depth=-1 is out of range"),
        ({"interactive": "dense"}, "interactive='dense' is not known: use one of .*'separable', 'full'"),
        ({"alignment": "tokens"}, "alignment='tokens' is not known: use one of 'residual'"),
    ],
)
def test_errors_of_the_configuration(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(**changes)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_errors_of_the_drop_path_rate(rate: float) -> None:
    with pytest.raises(ValueError, match=re.escape(f"drop_path_rate={rate} is out of range: give a rate in [0, 1)")):
        ILAVisionTransformer(TINY, drop_path_rate=rate)


@pytest.mark.parametrize(("head", "classes"), [("linear", 0), ("linear", -1), ("text", -1), ("none", 5)])
def test_errors_of_the_number_of_classes(head: HeadKind, classes: int) -> None:
    with pytest.raises(ValueError, match=f"num_classes={classes} is out of range"):
        ILAVisionTransformer(TINY, head=head, num_classes=classes)


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(ValueError, match="head='txt' is not known: use one of 'text', 'linear', 'none'"):
        ILAVisionTransformer(TINY, head="txt", num_classes=5)  # type: ignore[arg-type]


# State, copies, tools


def names_of_state() -> str:
    """State-dict names of a model of one block, by head and interactive block, as the frozen list has them."""
    lines = []
    for head, interactive in itertools.product(("text", "linear"), ("separable", "full")):
        model = make_model(head=head, interactive=interactive, depth=1)
        lines += [f"[{head} head, {interactive} interactive block]", *model.state_dict(), ""]
    return "\n".join(lines)


def test_state_dict_names_are_frozen() -> None:
    """Files written with these names exist: a change needs a reader for the old ones."""
    assert names_of_state() == STATE_DICT_NAMES.read_text(encoding="utf-8")


@pytest.mark.parametrize("head", HEADS)
def test_state_dict_round_trip(head: HeadKind) -> None:
    model = make_model(head=head)
    train_step(model, make_clips(model))  # so that the batch norms' statistics are no longer what they start from
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    fresh = make_model(head=head)
    fresh.load_state_dict(torch.load(stream, weights_only=True))
    clips = make_clips(model)
    assert torch.equal(model.eval()(clips), fresh.eval()(clips))
    assert all(map(torch.equal, model.state_dict().values(), fresh.state_dict().values()))


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_after_a_training_step(model: ILAVisionTransformer, how: str) -> None:
    clips = make_clips(model)
    train_step(model, clips)
    twin = copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
    assert model.alignment_loss is not None  # the original keeps it
    assert twin.alignment_loss is None
    assert torch.equal(model.eval()(clips), twin.eval()(clips))
    with torch.no_grad():
        twin.head.logit_scale += 1
    assert not torch.allclose(model(clips), twin(clips))


@pytest.mark.parametrize("coarse", [False, True])
def test_parameter_groups_cover_every_parameter_in_order(model: ILAVisionTransformer, coarse: bool) -> None:
    groups = timm.models.group_parameters(model, model.group_matcher(coarse=coarse))
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert sorted(groups) == list(range(len(model.blocks) + 2))  # stem, every block, head
    stem, *blocks, head = (groups[index] for index in sorted(groups))
    assert {name.split(".")[0] for name in stem} == {"cls_token", "pos_embed", "patch_embed", "norm_pre"}
    assert all(f"blocks.{index}.attn.qkv.weight" in group for index, group in enumerate(blocks))
    # timm's ViTs put the last norm beside the last block too, unless the groups are coarse.
    assert {name.split(".")[0] for name in (head if coarse else blocks[-1])} >= {"norm", "proj", "temporal"}
    assert "head.logit_scale" in head


@pytest.mark.parametrize("head", HEADS)
def test_no_weight_decay_names_parameters(head: HeadKind) -> None:
    model = make_model(head=head)
    parameters = dict(model.named_parameters())
    assert model.no_weight_decay() <= set(parameters)
    assert all(parameters[name].ndim > 1 for name in model.no_weight_decay())
    assert {name for name in parameters if "pos_embed" in name or name == "cls_token"} == model.no_weight_decay()


def test_identity_start_is_the_mean_of_the_frame_vectors(model: ILAVisionTransformer) -> None:
    model.init_identity()
    tokens = model.forward_features(make_clips(model))
    video = model.forward_head(tokens, pre_logits=True)
    mean = model.forward_frames(tokens).mean(1)
    torch.testing.assert_close(video, 2 * mean)
    cosine = torch.cosine_similarity(mean[:, None], model.head.text_features, dim=-1)
    torch.testing.assert_close(model.forward_head(tokens), model.head.logit_scale.exp() * cosine)


def test_start_for_training_is_the_released_recipe_s(model: ILAVisionTransformer) -> None:
    model.init_identity()
    model.init_for_training()
    assert torch.equal(model.head.prompts.alpha, torch.full((64,), 0.1))
    for parameter in (model.temporal.pos_embed, model.temporal.blocks[0].mlp.fc2.weight):
        assert parameter.detach().std() == pytest.approx(0.02, rel=0.2)
    assert not model.temporal.blocks[0].mlp.fc2.bias.any()


def test_export_equals_eager() -> None:
    model = make_model(depth=1)
    clips = make_clips(model)
    exported = torch.export.export(model, (clips,))
    torch.testing.assert_close(exported.module()(clips), model(clips))


@torch.no_grad()
def test_compiled_equals_eager() -> None:
    model = make_model(depth=1)
    clips = make_clips(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(clips), model(clips))
