"""The manifest says what the released files are; these facts are copied from the specification by hand."""

import copy
import json
import math

import pytest
from jsonschema import Draft202012Validator

from ila_models.configs import ARCHITECTURES
from ila_models.data.motion import MOTION_CLASSES
from ila_models.weights.files import file_sha256
from ila_models.weights.manifest import (
    OURS,
    DriveSource,
    HubSource,
    PackageSource,
    dataset,
    default_record,
    manifest_path,
    records,
)
from ila_models.weights.manifest_edit import add_hub_source, as_text

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
MOTION = "ila_vit_nano8.motion_8x64"


def test_it_follows_its_schema():
    schema = json.loads(manifest_path().with_name("weights_manifest.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    document = json.loads(manifest_path().read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(document)] == []
    for damage in (
        {"license": None},
        {"parameters": "many"},
        {"sources": [{"kind": "google_drive", "file_id": "1", "layout": "released", "sha256": None, "size": 3}]},
        {"accuracy": 99},
    ):
        damaged = copy.deepcopy(document)
        damaged["checkpoints"]["ila_vit_b16.k400_8x224"].update(damage)
        assert not validator.is_valid(damaged), damage


def test_it_is_written_as_the_publishing_command_writes_it():
    text = manifest_path().read_text(encoding="utf-8")
    assert as_text(json.loads(text)) == text


def test_a_release_is_noted_as_the_first_source(tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(manifest_path().read_bytes())
    name, sha256 = "ila_vit_b16.k400_8x224", "ab" * 32
    for commit in ("1" * 40, "2" * 40):  # a second release takes the place of the first
        source = HubSource(
            repo_id=f"owner/{name}",
            filename="model.safetensors",
            revision=commit,
            layout=OURS,
            sha256=sha256,
            size=7,
        )
        add_hub_source(name, source, manifest=manifest)
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (manifest_path(), manifest))
    sources = after["checkpoints"][name].pop("sources")
    assert [each.get("revision") for each in sources] == ["2" * 40, None]
    assert sources[1:] == before["checkpoints"][name].pop("sources")
    assert before == after
    with pytest.raises(ValueError, match=r"no checkpoint 'ila_vit_b16\.other'"):
        add_hub_source("ila_vit_b16.other", source, manifest=manifest)


def test_it_holds_the_ten_released_checkpoints_clip_and_ours():
    assert set(records()) == set(RELEASED) | set(CLIP) | {MOTION}
    assert manifest_path().name == "weights_manifest.json"


@pytest.mark.parametrize("name", RELEASED)
def test_released_record(name):
    record = records()[name]
    file_id, top1, top5, gflops = RELEASED[name]
    (source,) = record.sources
    assert isinstance(source, DriveSource)
    assert source.file_id == file_id
    assert source.sha256 is None, "nobody has measured it"
    claim = record.reported
    assert (claim.top1, claim.top5, claim.by) == (top1, top5, "paper")
    assert claim.source == "https://arxiv.org/abs/2304.10465"
    assert record.measured is None
    assert record.paper_gflops == gflops
    assert record.license is None
    assert (record.evaluation.clips, record.evaluation.crops) == (4, 3)
    assert [paper.arxiv for paper in record.citations] == ["2304.10465", "2103.00020"]


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
    assert record.arguments["num_classes"] == classes == record.evaluation.dataset.num_classes
    assert record.evaluation.dataset == dataset(data)


@pytest.mark.parametrize("name", CLIP)
def test_clip_record(name):
    (source,) = records()[name].sources
    assert isinstance(source, HubSource)
    assert source.repo_id == CLIP[name]
    assert source.filename == "open_clip_model.safetensors", "the file that has both towers"
    assert records()[name].base_model == CLIP[name]


def test_the_motion_record():
    record = records()[MOTION]
    (source,) = record.sources
    assert isinstance(source, PackageSource)
    assert source.path.parent == manifest_path().parent / "ila_models" / "checkpoints"
    assert (source.sha256, source.size) == (file_sha256(source.path), source.path.stat().st_size)
    assert source.size < 6_000_000
    assert default_record("ila_vit_nano8") is record
    assert record.reported is None
    assert record.base_model is None
    assert record.license == "mit"
    assert record.evaluation.dataset == dataset("motion")
    assert record.evaluation.dataset.num_classes == len(MOTION_CLASSES)
    measured = json.loads((manifest_path().parent / record.measured.source).read_text(encoding="utf-8"))
    assert (record.measured.top1, record.measured.top5) == (measured["top1"], measured["top5"])
    assert measured["sha256"] == source.sha256


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "ila_vit_nano8"])
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
