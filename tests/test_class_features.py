"""Features of class names: templates, ensembles, the cache, and what a text head does with them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from clips import write_clip
from conftest import use_empty_caches
from tiny import make_clips, make_model
from torch import Tensor

import ila_models
from ila_models.class_features import class_features
from ila_models.cli.main import main
from ila_models.text import TextEncoder
from ila_models.training.config import OptimizerSection
from ila_models.training.parameters import make_optimizer


@pytest.fixture(autouse=True)
def _caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_empty_caches(tmp_path / "caches", monkeypatch)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(width=64, depth=1, embed_dim=64)


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "caches" / "ila_models" / "class_features").glob("*.safetensors"))


def test_bare_names_are_the_text_tower_s_own_features(encoder: TextEncoder) -> None:
    names = ["tai chi", "surfing water"]
    torch.testing.assert_close(class_features(encoder, names), encoder(names), rtol=0, atol=0)


def test_a_template_is_the_text_with_the_name_in_it(encoder: TextEncoder) -> None:
    found = class_features(encoder, ["tai chi", "surfing"], templates=["a video of {}, {}!"])
    expected = encoder(["a video of tai chi, tai chi!", "a video of surfing, surfing!"])
    torch.testing.assert_close(found, expected)


def test_an_ensemble_is_the_mean_direction_at_the_mean_length(encoder: TextEncoder) -> None:
    templates = ["{}", "a video of {}.", "a person doing {}."]
    (found,) = class_features(encoder, ["tai chi"], templates=templates)
    texts = encoder([template.replace("{}", "tai chi") for template in templates])
    units = [text / text.norm() for text in texts]
    mean_length = sum(float(text.norm()) for text in texts) / 3
    torch.testing.assert_close(found, sum(units) / 3 * mean_length)


class Counting:
    """Counts the texts that a text tower reads."""

    def __init__(self, encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts = 0
        encode = encoder.encode

        def counted(texts: list[str], **options: Any) -> Tensor:
            self.texts += len(texts)
            return encode(texts, **options)

        monkeypatch.setattr(encoder, "encode", counted)


def test_the_same_names_are_read_once(encoder: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(encoder, monkeypatch)
    first = class_features(encoder, ["a", "b"])
    assert torch.equal(class_features(encoder, ["a", "b"]), first)
    assert counting.texts == 2
    class_features(encoder, ["b", "a"])
    class_features(encoder, ["a", "b"], templates=["a {}"])
    assert counting.texts == 6
    torch.manual_seed(1)
    other = TextEncoder(width=64, depth=1, embed_dim=64)
    assert not torch.allclose(class_features(other, ["a", "b"]), first)
    assert len(kept(tmp_path)) == 4


def test_a_damaged_cache_is_made_anew(encoder: TextEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = class_features(encoder, ["a"])
    (path,) = kept(tmp_path)
    for content in (b"", b"no tensors", path.read_bytes()[:-20]):
        path.write_bytes(content)
        caplog.clear()
        assert torch.equal(class_features(encoder, ["a"]), expected)
        assert "are computed again" in caplog.text
    caplog.clear()
    assert torch.equal(class_features(encoder, ["a"]), expected)
    assert caplog.text == ""


def test_a_cache_that_cannot_be_written_is_no_harm(encoder: TextEncoder, tmp_path: Path) -> None:
    (tmp_path / "caches").write_text("a file where the folder should be")
    assert class_features(encoder, ["a"]).shape == (1, 64)


def test_ten_thousand_names_are_set_in_seconds_once_they_are_known(
    encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "encode", lambda texts: torch.randn(len(texts), 64))
    names = [f"class {number}" for number in range(10_000)]
    model = make_model()
    model.set_classes(names, encoder)
    features = model.head.text_features.clone()
    start = time.monotonic()
    model.set_classes(names, encoder)
    assert time.monotonic() - start < 5
    assert torch.equal(model.head.text_features, features)
    with torch.inference_mode():
        assert model(make_clips(model, clips=1)).shape == (1, 10_000)


@pytest.mark.parametrize(
    ("templates", "error", "message"),
    [
        ("a {}", TypeError, r"templates must be a list of strings, got the single string 'a \{\}': use \['a \{\}'\]"),
        ([], ValueError, r"templates are empty: give at least one, such as 'a video of \{\}.'"),
        (["a video"], ValueError, r"template 'a video' has no place for the name: write \{\}"),
        ([3], TypeError, r"templates must be strings, got 3 \(int\)"),
    ],
)
def test_templates_that_are_none(templates: Any, error: type[Exception], message: str, encoder: TextEncoder) -> None:
    with pytest.raises(error, match=message):
        class_features(encoder, ["a"], templates=templates)
    with pytest.raises(error, match=message):
        make_model().set_classes(["a"], encoder, templates=templates)
    with pytest.raises(error, match=message):
        ila_models.create_model("ila_vit_b32", templates=templates)


def test_without_prompts_the_answer_is_the_cosine_to_the_names(encoder: TextEncoder) -> None:
    model = make_model()
    model.set_classes(["a", "b", "c"], encoder, templates=["a video of {}."])
    clips = make_clips(model)
    with torch.inference_mode():
        refined = model(clips)
        model.set_video_prompts(False)
        assert not model.has_video_prompts
        plain = model(clips)
        video = model.forward_head(model.forward_features(clips), pre_logits=True)
    texts = encoder([f"a video of {name}." for name in "abc"])
    expected = model.head.logit_scale.exp() * F.normalize(video, dim=-1) @ F.normalize(texts, dim=-1).T
    torch.testing.assert_close(plain, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(refined, plain, atol=1e-3)
    model.set_video_prompts()
    with torch.inference_mode():
        torch.testing.assert_close(model(clips), refined)


def test_prompts_belong_to_text_heads() -> None:
    model = make_model(head="linear")
    assert not model.has_video_prompts
    with pytest.raises(RuntimeError, match="set_video_prompts needs a text head"):
        model.set_video_prompts(False)


@pytest.mark.parametrize("prompts", [False, True])
def test_prompts_learn_when_they_are_asked_to(prompts: bool) -> None:
    model = make_model()
    make_optimizer(model, OptimizerSection(prompts=prompts))
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    in_head = {name for name in learning if name.startswith("head.")}
    assert ("head.prompts.alpha" in in_head) == ("head.context_proj.weight" in in_head) == prompts
    assert "head.logit_scale" not in learning
    assert "temporal.pos_embed" in learning


def test_templates_and_prompts_on_the_command_line(
    clip_b32: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_clip(tmp_path / "video.mp4", frames=8)
    (tmp_path / "templates.txt").write_text("a video of {}.\n\na photo of {}.\n")
    answers = []
    for options in ([], ["--template", "a video of {}."], ["--template", f"@{tmp_path / 'templates.txt'}"]):
        arguments = ["--quiet", "predict", str(video), "--model", "ila_vit_b32.openai", "--checkpoint", str(clip_b32)]
        assert main([*arguments, "--classes", "tai chi,surfing", "--json", "--no-video-prompts", *options]) == 0
        answers.append(json.loads(capsys.readouterr().out)["predictions"][0]["probability"])
    assert len(set(answers)) == 3
    assert main([*arguments, "--classes", "tai chi", "--template", "a video"]) == 1
    assert "template 'a video' has no place for the name" in capsys.readouterr().err


def test_templates_without_names_are_not_passed_over(clip_b32: Path) -> None:
    for arguments in ({}, {"num_classes": 3}):
        with pytest.raises(ValueError, match=r"are put round class_names=\[...\] \(--classes\) of a text head"):
            ila_models.create_model("ila_vit_b32", checkpoint_path=clip_b32, templates=["a {}"], **arguments)
