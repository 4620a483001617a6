"""Graphs that run without this package: torch's exported programs and ONNX files."""

from __future__ import annotations

import copy
import io
import sys
from pathlib import Path

import numpy
import onnxruntime
import pytest
import torch
from aligned_models import aligned_model, clips_for
from test_fused import assert_same, trained
from tiny import make_clips

import ila_models
from ila_models.cli.main import main
from ila_models.configs import AlignmentForm, AlignmentTarget, HeadKind, InteractiveBlock
from ila_models.ila_vit import ILAVisionTransformer

SIZES = [(1, 3), (2, 4), (3, 7), (17, 3), (1, 16)]


def answer(path: Path, clips: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"video": clips.numpy()})[0])


@pytest.mark.parametrize(("head", "interactive"), [("text", "separable"), ("linear", "full"), ("none", "separable")])
def test_onnx_answers_like_torch_for_any_clips_and_frames(
    head: HeadKind, interactive: InteractiveBlock, tmp_path: Path
) -> None:
    model = trained(head=head, interactive=interactive)
    assert ila_models.export_onnx(model, tmp_path / "new" / "model.onnx") == tmp_path / "new" / "model.onnx"
    assert not model.fused  # it was a copy
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.onnx"]
    for clips, frames in SIZES:
        video = make_clips(model, clips=clips, frames=frames)
        with torch.inference_mode():
            assert_same(answer(tmp_path / "new" / "model.onnx", video), model(video), 1e-4)


def test_inputs_and_outputs_have_names(tmp_path: Path) -> None:
    names = {}
    for head in ("linear", "none"):
        session = onnxruntime.InferenceSession(ila_models.export_onnx(trained(head=head), tmp_path / f"{head}.onnx"))
        (video,), (output,) = session.get_inputs(), session.get_outputs()
        assert (video.name, video.shape) == ("video", ["clips", "frames", 3, 64, 64])
        names[head] = (output.name, output.shape)
    assert names == {"linear": ("logits", ["clips", 5]), "none": ("embeddings", ["clips", 64])}


def test_an_exported_program_is_saved_and_loaded(tmp_path: Path) -> None:
    model = trained(head="linear").train()
    program = ila_models.export_program(model)
    assert model.training
    content = io.BytesIO()
    torch.export.save(program, content)
    content.seek(0)
    loaded = torch.export.load(content).module()
    model.eval()
    for clips, frames in SIZES:
        video = make_clips(model, clips=clips, frames=frames)
        with torch.inference_mode():
            assert_same(loaded(video), model(video))


@pytest.mark.parametrize("target", ["first", "middle"])
@pytest.mark.parametrize("form", ["residual", "token", "neighbour_average"])
def test_a_common_frame_is_found_among_any_number(form: AlignmentForm, target: AlignmentTarget) -> None:
    model = trained(head="linear", alignment=form, alignment_target=target)
    program = ila_models.export_program(model).module()
    for clips, frames in SIZES:
        video = make_clips(model, clips=clips, frames=frames)
        with torch.inference_mode():
            assert_same(program(video), model(video))


def test_two_frames_are_too_few_for_a_graph() -> None:
    model = trained(head="linear")
    program = ila_models.export_program(model).module()
    with pytest.raises(AssertionError, match="Guard failed"):
        program(make_clips(model, frames=2))


def test_a_wrong_answer_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_text("of an earlier day")

    class Wrong:
        def __init__(self, path: Path, **options: object) -> None:
            pass

        def run(self, names: None, inputs: dict[str, numpy.ndarray]) -> list[numpy.ndarray]:
            return [numpy.zeros((2, 5), dtype=numpy.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Wrong)
    with pytest.raises(RuntimeError, match=r"answers otherwise than torch, by 1.0e\+00 of the largest output"):
        ila_models.export_onnx(trained(head="linear"), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_text() == "of an earlier day"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(RuntimeError, match=r"takes onnxscript: pip install 'ila-models\[onnx\]'"):
        ila_models.export_onnx(trained(), tmp_path / "model.onnx")


def test_16_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"torch.bfloat16.*export model.float\(\)"):
        ila_models.export_onnx(copy.deepcopy(trained()).bfloat16(), tmp_path / "model.onnx")


def test_a_head_without_classes_is_refused(tmp_path: Path) -> None:
    model = ILAVisionTransformer(trained().config, head="text")
    with pytest.raises(RuntimeError, match="no classes yet"):
        ila_models.export_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(RuntimeError, match="no classes yet"):
        ila_models.export_program(model)


@pytest.mark.parametrize(
    "name", ["vit_base_patch16_siglip_224", "vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"]
)
def test_image_models_with_alignment(name: str, tmp_path: Path) -> None:
    model = aligned_model(name)
    program = ila_models.export_program(model).module()
    written = ila_models.export_onnx(model, tmp_path / "model.onnx")
    for clips, frames in ((1, 3), (3, 7)):
        video = clips_for(model, clips=clips, frames=frames)
        with torch.inference_mode():
            assert_same(answer(written, video), model(video), 1e-4)
            assert_same(program(video), model(video))


def test_the_command_takes_a_saved_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = ila_models.save_pretrained(aligned_model("deit3_small_patch16_224"), tmp_path / "saved")
    assert main(["export", str(tmp_path / "deit.onnx"), "--model", f"local-dir:{saved}"]) == 0
    assert "video [clips, frames, 3, 80, 80], RGB of mean" in (told := capsys.readouterr().out)
    assert told.endswith("to logits [clips, 7]\n")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "motion.onnx"), "--model", "ila_vit_nano8"]) == 0
    assert "video [clips, frames, 3, 64, 64], RGB of mean" in capsys.readouterr().out
    model = ila_models.create_model("ila_vit_nano8", pretrained=True)
    video = make_clips(model)
    with torch.inference_mode():
        assert_same(answer(tmp_path / "motion.onnx", video), model(video), 1e-4)
