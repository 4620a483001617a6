"""Eight bits: near the answers in float32, on the shipped checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_fused import assert_same, trained
from tiny import make_clips, make_model

import ila_models
from ila_models.data.motion import TEST_SEED, motion_clips
from ila_models.weights.manifest import preprocessing


def test_answers_stay_near() -> None:
    clips, _ = motion_clips(range(100), seed=TEST_SEED)
    model = ila_models.create_model("ila_vit_nano8", pretrained=True)
    transform = ila_models.create_transform(model)
    with torch.inference_mode():
        expected = model(transform(clips))
        assert ila_models.quantize_int8(model) is model
        found = model(transform(clips))
    assert model.fused
    assert not torch.equal(found, expected)
    assert_same(found, expected, 0.03)
    assert float((found.argmax(dim=1) == expected.argmax(dim=1)).double().mean()) >= 0.98


@pytest.mark.parametrize("head", ["text", "linear"])
def test_only_the_blocks_change(head: str) -> None:
    model = trained(head=head)
    kept = {name: tensor.clone() for name, tensor in model.named_parameters() if not name.startswith("blocks.")}
    ila_models.quantize_int8(model)
    for name, tensor in model.named_parameters():
        if not name.startswith("blocks."):
            assert torch.equal(tensor, kept[name])
    with torch.inference_mode():
        assert model(make_clips(model)).isfinite().all()


def test_baselines_are_made_eight_bit_too() -> None:
    model = make_model(head="linear", alignment="none")
    clips = make_clips(model)
    with torch.inference_mode():
        expected = model(clips)
        found = ila_models.quantize_int8(model)(clips)
    assert not torch.equal(found, expected)
    assert_same(found, expected, 0.1)


@pytest.mark.parametrize("alignment", ["residual", "none"])
def test_it_is_done_once_and_for_all(alignment: Any, tmp_path: Path) -> None:
    model = make_model(head="linear", alignment=alignment)
    model.pretrained_cfg = preprocessing("ila")
    clips = make_clips(model)
    with torch.inference_mode():
        once = ila_models.quantize_int8(model)(clips)
        assert torch.equal(ila_models.quantize_int8(model)(clips), once)
    with pytest.raises(RuntimeError, match="quantized for inference and cannot be trained"):
        model.train()
    with pytest.raises(ValueError, match="quantized for inference"):
        ila_models.save_pretrained(model, tmp_path)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(RuntimeError, match=r"eight bits take torchao.*pip install 'ila-models\[int8\]'"):
        ila_models.quantize_int8(make_model())
