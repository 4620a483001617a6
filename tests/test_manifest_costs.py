"""The costs that the manifest states are those that are counted, and any model's can be counted."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from tiny import TINY, make_model

from ila_models.cli.catalogue import describe
from ila_models.configs import ARCHITECTURES, HeadKind, ILAConfig
from ila_models.info import count_costs, model_info
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
