"""The manifest says what the released files are; these facts are copied from the specification by hand."""

import math

import pytest

from ila_models.configs import ARCHITECTURES
from ila_models.weights.manifest import DriveSource, HubSource, default_record, manifest_path, records

# name: file id on Google Drive, top-1, top-5, the paper's GFLOPs (None: not known)
RELEASED = {
    "ila_vit_b32.k400_8x224": ("1hbl3nndAcxENsif0QuEJ_8UxiTv9jSOh", 81.3, 95.0, 40),
    "ila_vit_b32.k400_16x224": ("1GEO8m1qfDsOj-81YW5jc8ekAxPWMrtg3", 82.4, 95.8, None),
    "ila_vit_b16.k400_8x224": ("1lAUgzxBDHoueXDaG9X9WFlBPVBl5LNdk", 84.0, 96.6, 149),
    "ila_vit_b16.k400_16x224": ("1IYz8DzzgoNbU1aXyeHFl69t6pb0RNMsV", 85.7, 97.2, 295),
    "ila_vit_l14.k400_8x224": ("1IhalyRKqAbJ9efLAgAA4f7t9hwRMux0p", 88.0, 98.1, 673),
    "ila_vit_l14_336.k400_16x336": ("132aB_FF-jPKP1z3kZArG_tOj32rVIFYc", 88.7, 97.8, 3130),
    "ila_vit_b16.ssv2_8x224": ("1Ei0fO-W8u4jBQO0qG6V7nlRjKUuozbLa", 65.0, 89.2, None),
    "ila_vit_b16.ssv2_16x224": ("1NYXsYSOjRuuOIXiCTaTE2gFUCi-1qC_5", 66.8, 90.3, 438),
    "ila_vit_l14.ssv2_8x224": ("10xHxzyUH38bjkAAutlBvMkj0BxXaaobB", 67.8, 90.5, 907),
    "ila_vit_l14_336.ssv2_16x336": ("1ZquukTAxosC2k1uquI9jnMsk4BA2N5w5", 70.2, 91.8, 3723),
}
CLIP = {
    "ila_vit_b32.openai": "timm/vit_base_patch32_clip_224.openai",
    "ila_vit_b16.openai": "timm/vit_base_patch16_clip_224.openai",
    "ila_vit_l14.openai": "timm/vit_large_patch14_clip_224.openai",
    "ila_vit_l14_336.openai": "timm/vit_large_patch14_clip_336.openai",
}


def test_it_holds_the_ten_released_checkpoints_and_clip():
    assert set(records()) == set(RELEASED) | set(CLIP)
    assert manifest_path().name == "weights_manifest.json"


@pytest.mark.parametrize("name", RELEASED)
def test_released_record(name):
    record = records()[name]
    file_id, top1, top5, gflops = RELEASED[name]
    (source,) = record.sources
    assert isinstance(source, DriveSource)
    assert source.file_id == file_id
    assert source.sha256 is None, "nobody has measured it"
    assert record.reported == {"top1": top1, "top5": top5, "by": "paper"}
    assert record.measured is None
    assert record.paper_gflops == gflops
    assert record.license is None
    assert (record.evaluation["clips"], record.evaluation["crops"]) == (4, 3)


@pytest.mark.parametrize("name", RELEASED)
def test_the_tag_says_what_the_arguments_say(name):
    record = records()[name]
    data, _, shape = record.tag.partition("_")
    frames, pixels = map(int, shape.split("x"))
    assert record.arguments["num_frames"] == frames
    assert tuple(record.arguments["img_size"]) == (pixels, pixels) == ARCHITECTURES[record.architecture].img_size
    head, interactive, classes = {"k400": ("text", "separable", 400), "ssv2": ("linear", "full", 174)}[data]
    assert record.arguments["head"] == head
    assert record.arguments["interactive"] == interactive
    assert record.arguments["num_classes"] == classes


@pytest.mark.parametrize("name", CLIP)
def test_clip_record(name):
    (source,) = records()[name].sources
    assert isinstance(source, HubSource)
    assert source.repo_id == CLIP[name]
    assert source.filename == "open_clip_model.safetensors", "the file that has both towers"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_default_each_with_the_fewest_frames_of_kinetics(architecture):
    kinetics = [r for r in records().values() if r.architecture == architecture and r.tag.startswith("k400")]
    assert [r.name for r in records().values() if r.architecture == architecture and r.default] == [
        min(kinetics, key=lambda record: record.arguments["num_frames"]).name
    ]
    assert default_record(architecture).default


def test_preprocessing():
    released, clip = records()["ila_vit_b16.k400_8x224"].preprocessing, records()["ila_vit_b16.openai"].preprocessing
    assert released["mean"] == [0.485, 0.456, 0.406]
    assert released["std"] == [0.229, 0.224, 0.225]
    assert (released["interpolation"], released["antialias"]) == ("bilinear", False)
    assert released["views"] == [4, 3]
    assert [math.floor(released["resize_ratio"] * pixels) for pixels in (224, 336)] == [256, 384]
    assert clip["mean"] == [0.48145466, 0.4578275, 0.40821073]
    assert clip["std"] == [0.26862954, 0.26130258, 0.27577711]
