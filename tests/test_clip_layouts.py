"""CLIP in each layout: the names, and above all that the converted weights compute what the original computes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ila_models.weights.clip import ClipShape, OpenAIClip, clip_shape, recognise_clip, to_openai
from ila_models.weights.errors import CheckpointError
from ila_models.weights.files import read_tensor_file

State = dict[str, torch.Tensor]

# Heads are 64 wide in every CLIP; the rest is as small as it can be and tells all sizes apart.
WIDTH, TEXT_WIDTH, EMBED, PATCH, PIXELS, WORDS, POSITIONS = 128, 64, 32, 16, 64, 99, 12
DEPTH, TEXT_DEPTH = 3, 2
SHAPE = ClipShape(WIDTH, DEPTH, PATCH, PIXELS, EMBED, TEXT_WIDTH, TEXT_DEPTH)
IMAGE_ONLY = ClipShape(WIDTH, DEPTH, PATCH, PIXELS, EMBED, None, None)


def open_clip_model(*, custom_text: bool = False) -> torch.nn.Module:
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

    image = CLIPVisionCfg(layers=DEPTH, width=WIDTH, head_width=64, patch_size=PATCH, image_size=PIXELS)
    text = CLIPTextCfg(POSITIONS, WORDS, width=TEXT_WIDTH, heads=TEXT_WIDTH // 64, layers=TEXT_DEPTH)
    kind = CustomTextCLIP if custom_text else CLIP
    return scrambled(kind(EMBED, image, text, quick_gelu=True))


def transformers_model() -> torch.nn.Module:
    from transformers import CLIPConfig, CLIPModel

    shared = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "bos_token_id": 0, "eos_token_id": WORDS - 1}
    text = {
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
        "num_hidden_layers": TEXT_DEPTH,
        "num_attention_heads": TEXT_WIDTH // 64,
        "vocab_size": WORDS,
        "max_position_embeddings": POSITIONS,
    }
    image = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": WIDTH // 64,
        "image_size": PIXELS,
        "patch_size": PATCH,
    }
    config = CLIPConfig(text_config=shared | text, vision_config=shared | image, projection_dim=EMBED)
    return scrambled(CLIPModel(config))


def timm_model(**options: object) -> torch.nn.Module:
    import timm

    sizes = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": WIDTH // 64, "img_size": PIXELS, "patch_size": PATCH}
    model = timm.create_model("vit_base_patch32_clip_quickgelu_224", **({"num_classes": EMBED} | sizes | options))
    model = scrambled(model)
    if model.head.bias is not None:
        torch.nn.init.zeros_(model.head.bias)
    return model


def scrambled(model: torch.nn.Module) -> torch.nn.Module:
    """Fill every parameter with numbers of its own, so that no two tensors can change places unnoticed."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        scale = 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
        parameter.data = torch.randn(parameter.shape, generator=generator) * scale
    return model.eval()


def transformers_state() -> State:
    return transformers_model().state_dict()


def openai_state() -> State:
    """As a TorchScript archive of OpenAI's gives it: half precision, with its settings beside the weights."""
    settings = {"input_resolution": PIXELS, "context_length": POSITIONS, "vocab_size": WORDS}
    weights = {name: value.half() for name, value in open_clip_model().state_dict().items()}
    mask = torch.zeros(POSITIONS, POSITIONS)
    return weights | {name: torch.tensor(value) for name, value in settings.items()} | {"attn_mask": mask}


STATES: dict[str, Callable[[], State]] = {
    "openai": openai_state,
    "open_clip": lambda: open_clip_model(custom_text=True).state_dict(),
    "transformers": transformers_state,
    "timm": lambda: timm_model().state_dict(),
}


@pytest.fixture(params=list(STATES))
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def state(layout: str) -> State:
    return STATES[layout]()


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def tokens() -> torch.Tensor:
    """Three texts of different length; the end-of-text token has the largest number."""
    tokens = torch.zeros(3, POSITIONS, dtype=torch.long)
    for row, length in enumerate((3, 6, POSITIONS - 1)):
        tokens[row, :length] = torch.arange(1, length + 1)
        tokens[row, length] = WORDS - 1
    return tokens


def load_into_open_clip(clip: OpenAIClip) -> torch.nn.Module:
    """OpenAI's names are those of open_clip's own model, which serves as the reference implementation."""
    model = open_clip_model()
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    weights = {**clip.visual, **clip.text}
    if clip.logit_scale is not None:
        weights["logit_scale"] = clip.logit_scale
    incompatible = model.load_state_dict(weights, strict=bool(clip.text))
    assert not incompatible.unexpected_keys
    return model


def test_names_and_shapes(layout: str, state: State) -> None:
    assert recognise_clip(state) == layout
    clip = to_openai(state, layout)  # type: ignore[arg-type]
    wanted = open_clip_model().state_dict()
    visual = {name: value.shape for name, value in wanted.items() if name.startswith("visual.")}
    text = {name: value.shape for name, value in wanted.items() if not name.startswith("visual.")}
    text.pop("logit_scale")
    assert {name: value.shape for name, value in clip.visual.items()} == visual
    assert {name: value.shape for name, value in clip.text.items()} == ({} if layout == "timm" else text)
    assert (clip.logit_scale is None) == (layout == "timm")
    assert clip_shape(clip) == (IMAGE_ONLY if layout == "timm" else SHAPE)


def test_standard_open_clip_files_count_as_openai() -> None:
    state = open_clip_model().state_dict()
    assert recognise_clip(state) == "openai"
    clip = to_openai(state, "openai")
    for name, value in state.items():
        if name != "logit_scale":
            assert {**clip.visual, **clip.text}[name].data_ptr() == value.data_ptr(), name


def test_dtypes_stay_and_only_joined_tensors_are_copied(layout: str, state: State) -> None:
    dtype = torch.float16 if layout == "openai" else torch.bfloat16
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    addresses = {value.untyped_storage().data_ptr() for value in state.values()}
    clip = to_openai(state, layout)  # type: ignore[arg-type]
    for name, value in {**clip.visual, **clip.text}.items():
        assert value.dtype == dtype, name
        joined = layout == "transformers" and ".in_proj_" in name
        assert (value.untyped_storage().data_ptr() in addresses) != joined, name


def test_source_names(layout: str, state: State) -> None:
    clip = to_openai(state, layout)  # type: ignore[arg-type]
    scale = set() if clip.logit_scale is None else {"logit_scale"}
    assert set(clip.source_names) == {*clip.visual, *clip.text, *scale}
    for target, sources in clip.source_names.items():
        parts = sources.split(", ")
        assert all(part in state for part in parts), target
        assert len(parts) == (3 if layout == "transformers" and ".in_proj_" in target else 1), target
    if layout == "transformers":
        before = "vision_model.encoder.layers.1.self_attn"
        assert clip.source_names["visual.transformer.resblocks.1.attn.in_proj_bias"] == (
            f"{before}.q_proj.bias, {before}.k_proj.bias, {before}.v_proj.bias"
        )


@torch.no_grad()
def test_transformers_computes_the_same(pixels: torch.Tensor, tokens: torch.Tensor) -> None:
    original = transformers_model()
    converted = load_into_open_clip(to_openai(original.state_dict(), "transformers"))
    image = original.visual_projection(original.vision_model(pixels).pooler_output)
    text = original.text_projection(original.text_model(tokens).pooler_output)
    torch.testing.assert_close(converted.encode_image(pixels), image, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(converted.encode_text(tokens), text, rtol=1e-5, atol=1e-5)
    assert torch.equal(converted.logit_scale, original.logit_scale)


@torch.no_grad()
@pytest.mark.parametrize("custom_text", [True, False])
def test_open_clip_computes_the_same(pixels: torch.Tensor, tokens: torch.Tensor, custom_text: bool) -> None:
    original = open_clip_model(custom_text=custom_text)
    converted = load_into_open_clip(to_openai(original.state_dict(), "open_clip" if custom_text else "openai"))
    assert torch.equal(converted.encode_image(pixels), original.encode_image(pixels))
    assert torch.equal(converted.encode_text(tokens), original.encode_text(tokens))


@torch.no_grad()
def test_timm_computes_the_same(pixels: torch.Tensor) -> None:
    original = timm_model()
    converted = load_into_open_clip(to_openai(original.state_dict(), "timm"))
    torch.testing.assert_close(converted.encode_image(pixels), original(pixels), rtol=1e-5, atol=1e-5)


def test_timm_head_without_bias() -> None:
    state = timm_model().state_dict()
    bias = state.pop("head.bias")
    assert bias.eq(0).all()
    assert clip_shape(to_openai(state, "timm")) == IMAGE_ONLY


def test_image_tower_of_transformers_alone() -> None:
    kept = ("vision_model.", "visual_projection.")
    state = {name: value for name, value in transformers_state().items() if name.startswith(kept)}
    clip = to_openai(state, "transformers")
    assert (clip.text, clip.logit_scale) == ({}, None)
    assert clip_shape(clip) == IMAGE_ONLY


@pytest.mark.parametrize("scale", [torch.tensor(4.6), torch.tensor([4.6])])
def test_logit_scale_is_a_scalar(scale: torch.Tensor) -> None:
    clip = to_openai(open_clip_model().state_dict() | {"logit_scale": scale}, "openai")
    assert clip.logit_scale is not None
    assert clip.logit_scale.shape == ()


@pytest.mark.parametrize(
    ("layout", "extra"),
    [
        ("transformers", ["vision_model.embeddings.position_ids", "text_model.embeddings.position_ids"]),
        ("openai", ["attn_mask", "visual.transformer.resblocks.0.attn_mask", "transformer.resblocks.1.attn_mask"]),
        ("open_clip", ["text.attn_mask"]),
    ],
)
def test_what_is_not_weights_is_left_out(layout: str, extra: list[str]) -> None:
    state = STATES[layout]() | {name: torch.zeros(1, 5) for name in extra}
    clip = to_openai(state, layout)  # type: ignore[arg-type]
    assert clip_shape(clip) == SHAPE


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["weight", "bias"],
        ["vit.embeddings.cls_token"],
        ["conv1.weight", "layer1.0.conv1.weight"],
        ["token_embedding.weight", "transformer.resblocks.0.ln_1.weight"],
        ["patch_embed.proj.weight", "layers.0.blocks.0.norm1.weight"],
        ["visual.conv1.weight", "mit.positional_embedding"],
    ],
)
def test_not_recognised(names: list[str]) -> None:
    assert recognise_clip({name: torch.zeros(1) for name in names}) is None


def test_all_that_is_wrong_with_names_is_one_error(layout: str, state: State) -> None:
    image_block, text_block = {
        "openai": ("visual.transformer.resblocks", "transformer.resblocks"),
        "open_clip": ("visual.transformer.resblocks", "text.transformer.resblocks"),
        "transformers": ("vision_model.encoder.layers", "text_model.encoder.layers"),
        "timm": ("blocks", None),
    }[layout]
    third = {"transformers": "self_attn.k_proj.weight", "timm": "attn.qkv.weight"}.get(layout, "attn.in_proj_weight")
    missing = [f"{image_block}.0.{third}", f"{image_block}.1.*", *([f"{text_block}.0.*"] if text_block else [])]
    kept = {name: v for name, v in state.items() if not any(name.startswith(m.removesuffix("*")) for m in missing)}
    kept |= {"stranger.weight": torch.zeros(1), f"{image_block}.2.ls.gamma": torch.zeros(1)}
    with pytest.raises(CheckpointError) as error:
        to_openai(kept, layout)  # type: ignore[arg-type]
    found = re.fullmatch(r".*Missing: (.*)\. Unexpected: (.*)\.", str(error.value))
    assert found is not None
    found_missing, found_unexpected = found.groups()
    assert sorted(found_missing.split(", ")) == sorted(missing)
    assert found_unexpected.split(", ") == ["stranger.weight", f"{image_block}.2.ls.gamma"]


@pytest.mark.parametrize(
    ("kept", "missing"),
    [
        (["positional_embedding"], ["token_embedding.weight", "ln_final.bias", "text_projection", "resblocks.0.*"]),
        (["transformer.resblocks.1.ln_1.weight"], ["transformer.resblocks.0.*", "transformer.resblocks.1.ln_1.bias"]),
    ],
)
def test_half_a_text_tower(kept: list[str], missing: list[str]) -> None:
    state = open_clip_model().state_dict()
    partial = {name: value for name, value in state.items() if name.startswith("visual.") or name in kept}
    with pytest.raises(CheckpointError) as error:
        to_openai(partial, "openai")
    assert all(name in str(error.value) for name in missing)


def test_block_numbers_that_no_model_has() -> None:
    name = "visual.transformer.resblocks.{}.ln_1.weight"
    extra = {name.format(number): torch.zeros(WIDTH) for number in ("99999999", "00", "-1")}
    with pytest.raises(CheckpointError, match=r"Missing: none. Unexpected: .*99999999.*\.00\..*\.-1\."):
        to_openai(open_clip_model().state_dict() | extra, "openai")


@pytest.mark.parametrize(
    ("layout", "changes", "reason"),
    [
        ("timm", {"head.bias": torch.ones(EMBED)}, "classifier fine-tuned from CLIP"),
        ("timm", {"norm_pre.weight": None, "norm_pre.bias": None}, "for instance one trained on ImageNet"),
        ("timm", {"attn_pool.latent": torch.zeros(1)}, "SigLIP"),
        ("transformers", {"logit_bias": torch.zeros(1)}, "SigLIP"),
        ("transformers", {"vision_model.head.probe": torch.zeros(1)}, "SigLIP"),
        ("transformers", {"visual_projection.weight": None}, "Missing: visual_projection.weight"),
        ("openai", {"visual.layer1.0.conv1.weight": torch.zeros(1)}, "ResNet"),
        ("open_clip", {"visual.trunk.pos_embed": torch.zeros(1)}, "one of timm's"),
        ("open_clip", {"text_decoder.ln.weight": torch.zeros(1)}, "CoCa"),
        ("openai", {"visual.positional_embedding": torch.zeros(16, WIDTH)}, "16 positions.*square number"),
        ("timm", {"pos_embed": torch.zeros(1, 1, WIDTH)}, "pos_embed has 1 positions"),
        ("timm", {"pos_embed": torch.zeros(17)}, r"pos_embed has the shape \[17\]"),
        ("openai", {"visual.conv1.weight": torch.zeros(WIDTH, 4, 16, 16)}, "square RGB patches"),
        ("openai", {"visual.conv1.weight": torch.zeros(WIDTH, 3, 16)}, r"CLIP's is \[D, 3, p, p\]"),
        ("openai", {"visual.proj": torch.zeros(EMBED)}, r"visual.proj has the shape \[32\]"),
        ("openai", {"positional_embedding": torch.zeros(())}, r"positional_embedding has the shape \[\]"),
        ("openai", {"visual.ln_pre.bias": torch.zeros(WIDTH).long()}, "visual.ln_pre.bias, torch.int64"),
        ("openai", {"logit_scale": torch.zeros(2)}, r"logit_scale, \[2\] for a scalar"),
        (
            "transformers",
            {"text_model.encoder.layers.1.self_attn.v_proj.bias": torch.zeros(3)},
            r"have to be alike: .*q_proj.*k_proj.*\[3\] text_model.encoder.layers.1.self_attn.v_proj.bias",
        ),
        (
            "transformers",
            {"text_projection.weight": torch.zeros(9, 8), "vision_model.encoder.layers.2.mlp.fc1.bias": torch.zeros(5)},
            r"mlp.fc1.bias, \[5\] for \[512\].*text_projection.weight, \[8, 9\] for \[64, 32\] as text_projection",
        ),
    ],
)
def test_refused(layout: str, changes: dict[str, torch.Tensor | None], reason: str) -> None:
    state = STATES[layout]()
    for name, value in changes.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    assert recognise_clip(state) == layout
    with pytest.raises(CheckpointError, match=reason):
        to_openai(state, layout)  # type: ignore[arg-type]


def test_a_timm_vit_from_imagenet_is_recognised_as_such() -> None:
    import timm

    state = timm.create_model("vit_tiny_patch16_224", depth=1).state_dict()
    assert recognise_clip(state) == "timm"
    with pytest.raises(CheckpointError, match="not CLIP's"):
        to_openai(state, "timm")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_from_a_torchscript_archive(tmp_path: Path) -> None:
    model = open_clip_model().half()
    path = tmp_path / "ViT-B-16.pt"
    torch.jit.script(model).save(path)
    file = read_tensor_file(path)
    assert (file.container, recognise_clip(file.tensors)) == ("torchscript", "openai")
    clip = to_openai(file.tensors, "openai")
    converted = {**clip.visual, **clip.text, "logit_scale": clip.logit_scale}
    for name, value in model.state_dict().items():
        assert torch.equal(converted[name], value), name  # type: ignore[arg-type]
        assert converted[name].dtype == torch.float16  # type: ignore[union-attr]
