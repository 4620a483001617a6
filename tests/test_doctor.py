"""One page about a machine: what works, what may be missed, what does not work."""

from __future__ import annotations

import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from hub.server import HubServer

from ila_models import doctor
from ila_models.cli.main import main


def test_the_page(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {line[2:16].strip(): line for line in lines}
    assert len(found) == len(lines) == 17
    assert not any(line.startswith("!") for line in lines)
    assert f"torch {torch.__version__.partition('+')[0]}" in found["packages"]
    assert "h264, h265, vp9, av1" in found["video"]
    assert "decodes" in found["torchcodec"] or "FFmpeg" in found["torchcodec"]
    assert "answers in" in found["Hub"]
    assert "ila_vit_nano8.motion_8x64" in found["weights here"]
    assert "10 of 10 clips" in found["first answer"] or "9 of 10 clips" in found["first answer"]
    assert len(hub.requests) == 1  # nothing is fetched


def test_a_hub_that_is_not_there_is_a_note() -> None:
    finding = doctor.hub()
    assert finding.state == "note"
    assert f"{huggingface_hub.constants.ENDPOINT} is not reached (" in finding.text


def test_offline_mode_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in doctor.hub().text


def test_missing_extras_are_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == "onnx" else name)
    finding = doctor.extra("onnx", ("onnx", "onnxscript"))
    assert (finding.state, finding.text) == ("note", "onnx missing: pip install 'ila-models[onnx]'")


def test_a_missing_package_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: iter([doctor.Finding("packages", "av MISSING", "problem")]))
    monkeypatch.setattr("ila_models.cli.doctor.examine", doctor.examine)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out == "! packages      av MISSING\n"


def test_decoders_that_do_not_load_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    finding = doctor.decoders()
    assert finding.state == "problem"
    assert "pip install av" in finding.text


def test_a_cache_where_a_file_stands_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = doctor.cache("own cache", tmp_path / "file" / "ila_models")
    assert finding.state == "problem"
    assert "set ILA_MODELS_HOME" in finding.text
    assert doctor.cache("own cache", tmp_path / "new" / "ila_models").state in ("ok", "note")


def test_a_cache_that_may_not_be_searched_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", forbidden)
    assert doctor.cache("own cache", tmp_path).state == "problem"


def test_a_model_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ValueError("its hash is another one")

    monkeypatch.setattr(doctor, "create_model", broken)
    finding = doctor.answer()
    assert (finding.state, finding.text) == ("problem", "ila_vit_nano8 does not answer: its hash is another one")
