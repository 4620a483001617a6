"""The costs that the manifest states are those that are counted, and any model's can be counted."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import aligned_models
import pytest
from tiny import TINY, make_model

from ila_models.cli.catalogue import describe
from ila_models.cli.main import main
from ila_models.configs import ARCHITECTURES, HeadKind, ILAConfig
from ila_models.image_model import ImageModelRecipe
from ila_models.info import count_aligned_costs, count_costs, model_info
from ila_models.weights.manifest import Accuracy, records


@pytest.mark.parametrize("name", records())
def test_the_manifest_states_what_is_counted(name: str) -> None:
    record = records()[name]
    numbers = {
        field.name: record.arguments[field.name] for field in fields(ILAConfig) if field.name in record.arguments
    }
    config = replace(ARCHITECTURES[record.architecture], **numbers | {"img_size": tuple(numbers["img_size"])})
    costs = count_costs(config, head=record.arguments["head"], num_classes=record.arguments["num_classes"])
    assert (costs.parameters, costs.macs) == (record.parameters, record.multiply_adds)


@pytest.mark.parametrize(("head", "num_classes"), [("text", 5), ("linear", 3), ("none", 0)])
def test_the_parameters_counted_are_those_of_a_real_model(head: HeadKind, num_classes: int) -> None:
    model = make_model(head=head, num_classes=num_classes)
    costs = count_costs(TINY, head=head, num_classes=num_classes)
    assert costs.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert costs.parameters - costs.backbone_parameters == sum(each.numel() for each in model.head.parameters())
    assert (costs.macs > costs.backbone_macs) == (head != "none")


def test_a_text_head_without_classes_is_counted_with_as_many_as_kinetics_has() -> None:
    assert count_costs(TINY, head="text", num_classes=0) == count_costs(TINY, head="text", num_classes=400)


def test_info_of_a_name_tells_the_same_costs() -> None:
    info, record = model_info("ila_vit_b32.openai"), records()["ila_vit_b32.openai"]
    assert (info.parameters, info.macs, info.num_classes) == (record.parameters, record.multiply_adds, 400)


def test_info_tells_who_claims_an_accuracy_and_who_measured_it() -> None:
    info = model_info("ila_vit_b32.k400_8x224")
    lines = describe(info).splitlines()
    told = lines.index("  accuracy         top-1 81.3, top-5 95.0 on Kinetics-400, 4x3 views")
    assert lines[told + 1].strip() == "reported by the paper, not measured here"
    measured = Accuracy(top1=81.0, top5=94.9, by="somebody", source="https://example.org")
    lines = describe(replace(info, record=replace(info.record, measured=measured))).splitlines()
    assert lines[told + 1].strip() == "reported by the paper"
    assert lines[told + 2] == "  measured         top-1 81.0, top-5 94.9 on Kinetics-400, 4x3 views"
    assert lines[told + 3].strip() == "by somebody: https://example.org"


def test_info_of_other_frames_and_pixels(capsys: pytest.CaptureFixture[str]) -> None:
    plain, longer = model_info("ila_vit_nano8"), model_info("ila_vit_nano8", num_frames=16, img_size=128)
    assert (longer.num_frames, longer.img_size) == (16, (128, 128))
    assert longer.macs > 8 * plain.macs  # twice the frames of four times the patches
    assert main(["info", "ila_vit_b32", "--num-frames", "16"]) == 0
    told = capsys.readouterr().out
    assert "ila_vit_b32.k400_8x224 is of 8 frames of 224x224 pixels, which its figures are for" in told
    assert "GFLOPs" not in told
    assert "top-1" not in told


def test_info_of_an_image_model_with_alignment(capsys: pytest.CaptureFixture[str]) -> None:
    info = model_info("timm/vit_base_patch16_clip_224.openai", img_size=224)
    # What the specification says of CLIP's frames alone, and of the released form on them, in G.
    assert info.image_macs is not None
    assert info.image_macs / 1e9 == pytest.approx(141, rel=0.01)
    assert info.backbone_macs / 1e9 == pytest.approx(199, rel=0.01)
    assert (info.num_frames, info.img_size, info.head, info.num_classes) == (8, (224, 224), "linear", 512)
    assert info.macs - info.backbone_macs == 768 * 512
    assert info.parameters - info.backbone_parameters == 768 * 512 + 512
    assert main(["info", "timm/vit_small_patch14_reg4_dinov2", "--img-size", "70", "--num-frames", "3"]) == 0
    told = capsys.readouterr().out
    assert "3 frames of 70x70 pixels" in told
    assert "without a head" in told
    assert "G of timm's image model on the same frames" in told


@pytest.mark.parametrize("name", aligned_models.ARCHITECTURES)
def test_costs_of_every_image_model_are_counted(name: str) -> None:
    model = aligned_models.aligned_model(name)
    assert isinstance(model.recipe, ImageModelRecipe)
    costs = count_aligned_costs(model.recipe, model.config)
    assert costs.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert costs.parameters - costs.backbone_parameters == sum(
        each.numel() for each in model.get_classifier().parameters()
    )
    assert costs.macs - costs.backbone_macs == model.get_classifier().weight.numel()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm/resnet50", {}, "timm .* has no vision transformer of the name 'resnet50'"),
        (
            "timm/vit_base_patch16_siglip_224",
            {"alignment": "token"},
            "image models of timm have the residual form only",
        ),
        ("timm/vit_base_patch16_siglip_224", {"num_frames": 0}, "num_frames=0"),
        ("timm/vit_base_patch16_siglip_224", {"img_size": 100_000}, "up to 4096 pixels a side are counted"),
        ("timm/deit_tiny_distilled_patch16_224", {}, "timm/deit_tiny_distilled_patch16_224 takes no alignment: "),
        ("timm/vit_base_patch16_siglip_224", {"img_size": 48}, "has a grid of 3x3 patches"),
    ],
)
def test_image_models_that_cannot_be_counted(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_info(name, **options)
