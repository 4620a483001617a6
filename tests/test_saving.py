"""A model of one's own into a folder or to the Hub, and back."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from checkpoint_files import CLIP_CONFIG, name_architecture, openai_clip, write_plain
from conftest import use_empty_caches
from hub.server import Fault, HubServer
from huggingface_hub import metadata_load
from tiny import TINY, make_clips, make_model
from torch import nn

from ila_models import (
    CheckpointError,
    ILAVisionTransformer,
    create_model,
    create_transform,
    push_to_hub,
    save_pretrained,
    verify,
)
from ila_models.publishing.bundle import write_reference
from ila_models.publishing.errors import PublishingError
from ila_models.publishing.license import License
from ila_models.publishing.project import PROJECT_ADDRESS
from ila_models.weights.manifest import preprocessing

NAMES = ("surfing", "tai chi", "arm wrestling", "abseiling", "zumba")


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model is an architecture with a name, which timm knows as well."""
    name_architecture("ila_vit_b16", TINY, monkeypatch)


def own_model(head: str = "text", *, names: bool = True, **changes: Any) -> ILAVisionTransformer:
    model = make_model(head=head, **changes)
    model.pretrained_cfg = dict(preprocessing("clip"))
    model.class_names = NAMES if names and head != "none" else None
    return model


def without_classes() -> ILAVisionTransformer:
    model = ILAVisionTransformer(TINY, head="text", num_classes=0).eval()
    model.pretrained_cfg = dict(preprocessing("ila"))
    return model


MODELS = {
    "text": own_model,
    "text, unnamed": lambda: own_model(names=False),
    "text, no classes yet": without_classes,
    "linear": lambda: own_model("linear"),
    "no head": lambda: own_model("none"),
    "full": lambda: own_model("linear", interactive="full", temporal_depth=2, alignment_width=32),
}


@torch.no_grad()
def answers(model: nn.Module) -> torch.Tensor:
    clips = make_clips(model)
    return model(clips) if not model.has_text_head or model.num_classes else model.forward_features(clips)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", "b"], "2 class_names for a model of 5 classes: name all, in order"),
        (["a", "a", "b", "c", "d"], "class names are repeated: 'a'"),
        (["a", "b", "c", "d", 3], r"class names must be strings, got 3 \(int\)"),
    ],
)
def test_names_that_no_file_may_have_leave_the_file_before(names: Any, reason: str, tmp_path: Path) -> None:
    model = own_model("linear")
    folder = save_pretrained(model, tmp_path / "model")
    before = (folder / "model.safetensors").read_bytes()
    model.class_names = names
    with pytest.raises((ValueError, TypeError), match=reason):
        save_pretrained(model, folder)
    assert (folder / "model.safetensors").read_bytes() == before
    model.class_names = list("abcde")
    save_pretrained(model, folder)
    assert create_model(f"local-dir:{folder}").class_names == tuple("abcde")


def test_a_head_without_video_prompts_stays_without(tmp_path: Path) -> None:
    model = own_model()
    model.set_video_prompts(False)
    again = create_model(f"local-dir:{save_pretrained(model, tmp_path / 'model')}")
    assert not again.has_video_prompts
    clips = make_clips(model)
    with torch.inference_mode():
        assert torch.equal(again(clips), model(clips))


def test_a_form_that_has_no_pair_features_may_be_small(tmp_path: Path) -> None:
    model = own_model("linear", alignment="none", alignment_width=4096)
    again = create_model(f"local-dir:{save_pretrained(model, tmp_path / 'model')}")
    assert again.config == model.config


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(hub: HubServer, tmp_path: Path) -> None:
    for source in ("local-dir:runs/b16", Path("runs/b16")):
        with pytest.raises(FileNotFoundError, match=r"'runs/b16': no such file or folder \(in "):
            verify(source)
    with pytest.raises(FileNotFoundError, match=r"'runs/b16': no such file or folder \(in "):
        create_model("local-dir:runs/b16")
    with pytest.raises(FileNotFoundError, match=r"'runs/b16': no such file or folder \(in "):
        timm.create_model("aligned_vit", pretrained_cfg={"source": "local-dir", "file": "runs/b16"})
    assert hub.requests == []
    with pytest.raises(CheckpointError, match="'runs/b16': there is no such file or folder, and the Hub has no repo"):
        create_model("ila_vit_b16", checkpoint_path="runs/b16")


@pytest.mark.parametrize("under", [None, "state_dict", "model"])
def test_a_state_dict_of_ours_is_not_taken_for_a_broken_clip(under: str | None, tmp_path: Path) -> None:
    state = own_model("linear").state_dict()
    torch.save(state if under is None else {under: state}, tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match=r"state dict of an ila_models model.*model\.load_state_dict\(\.\.\.\)"):
        create_model("ila_vit_b16", checkpoint_path=tmp_path / "mine.pth")


@pytest.mark.parametrize("kind", MODELS)
def test_a_folder_gives_the_model_back(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind]()
    torch.manual_seed(1)
    expected = answers(model)
    assert save_pretrained(model, tmp_path / "mine") == tmp_path / "mine"
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"README.md", "config.json", "model.safetensors"}
    for make in (create_model, timm.create_model):
        loaded = make(f"local-dir:{tmp_path / 'mine'}")
        torch.manual_seed(1)
        assert torch.equal(answers(loaded), expected)
        assert (loaded.config, loaded.class_names, loaded.num_classes) == (
            model.config,
            model.class_names,
            model.num_classes,
        )
        assert type(loaded.head) is type(model.head)
        assert not loaded.training
        contract = {key: loaded.pretrained_cfg[key] for key in model.pretrained_cfg}
        assert contract == model.pretrained_cfg
        assert create_transform(loaded).mean == tuple(model.pretrained_cfg["mean"])


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = own_model()
    for name in ("a", "b"):
        save_pretrained(model, tmp_path / name, repo_id="owner/name")
    for name in ("README.md", "config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_half_precision_comes_back_as_float32(tmp_path: Path) -> None:
    model = own_model().half()
    loaded = create_model(f"local-dir:{save_pretrained(model, tmp_path)}")
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].to(tensor.dtype))
        assert tensor.dtype in (torch.float32, torch.int64)


def test_the_model_is_left_as_it_is(tmp_path: Path) -> None:
    model = own_model().train()
    before = copy.deepcopy(model.state_dict())
    save_pretrained(model, tmp_path)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_text_tower_travels_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_architecture("ila_vit_tiny_clip", CLIP_CONFIG, monkeypatch)
    write_plain(tmp_path / "clip.pt", openai_clip().state_dict())
    model = create_model("ila_vit_tiny_clip", checkpoint_path=tmp_path / "clip.pt", class_names=NAMES)
    loaded = create_model(f"local-dir:{save_pretrained(model, tmp_path / 'mine')}")
    assert loaded.class_names == NAMES
    for each in (model, loaded):
        each.set_classes(["playing guitar", "juggling"])
    assert torch.equal(loaded.head.text_features, model.head.text_features)


def test_other_frames_and_classes_than_were_saved(tmp_path: Path) -> None:
    folder = save_pretrained(own_model(), tmp_path)
    model = create_model(f"local-dir:{folder}", num_classes=3, num_frames=6)
    assert model(make_clips(model)).shape == (2, 3)
    with pytest.raises(ValueError, match="contradicts temporal_depth=5"):
        create_model(f"local-dir:{folder}", temporal_depth=5)
    assert timm.create_model(f"local-dir:{folder}", num_classes=7, num_frames=6).num_classes == 7


def test_a_model_of_no_named_architecture(tmp_path: Path) -> None:
    model = own_model(width=128, depth=1)
    folder = save_pretrained(model, tmp_path)
    loaded = create_model(f"local-dir:{folder}")
    assert loaded.config == model.config
    assert loaded.pretrained_cfg["architecture"] is None


def test_a_card_that_was_edited_is_kept(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("My words.")
    save_pretrained(own_model(), tmp_path)
    assert (tmp_path / "README.md").read_text() == "My words."


def test_answers_of_other_weights_do_not_stay(tmp_path: Path) -> None:
    save_pretrained(own_model(), tmp_path)
    write_reference(tmp_path)
    assert verify(tmp_path).replay is not None
    save_pretrained(own_model("linear"), tmp_path)
    assert verify(tmp_path).replay is None


def test_what_config_json_says(tmp_path: Path) -> None:
    config = json.loads((save_pretrained(own_model(), tmp_path, license="mit") / "config.json").read_text())
    assert config["architecture"] == "ila_vit_b16"
    assert config["label_names"] == list(NAMES)
    assert config["arguments"]["head"] == "text"
    assert config["preprocessing"] == preprocessing("clip")


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file: name the folder"):
        save_pretrained(own_model(), tmp_path / "file")
    with pytest.raises(ValueError, match="pretrained_cfg lacks mean, std"):
        save_pretrained(make_model(), tmp_path / "new")
    with pytest.raises(ValueError, match="licen"):
        save_pretrained(own_model(), tmp_path / "new", license="My Licence!")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "error"),
    [("local-dir:nowhere", "no such file"), ("hf-hub:", "not a Hub id"), ("hf-hub:one/two/three", "not a Hub id")],
)
def test_names_that_are_no_weights(name: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=error):
        create_model(name)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a folder without model\.safetensors"):
        create_model(f"local-dir:{tmp_path}")
    with pytest.raises(ValueError, match="are both given: choose one source of weights"):
        create_model(f"local-dir:{tmp_path}", checkpoint_path=tmp_path / "file.pt")


def test_the_licence_of_a_kept_card_stays(tmp_path: Path) -> None:
    save_pretrained(own_model(), tmp_path, license="mit")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save_pretrained(own_model(), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]["license"] == "mit"
    assert (tmp_path / "config.json").read_bytes() == before["config.json"]
    with pytest.raises(
        ValueError, match=r"license apache-2.0 is asked for, but \S+README.md, which is kept, states"
    ) as no:
        save_pretrained(own_model(), tmp_path, license="apache-2.0")
    assert "states license mit: edit the card" in str(no.value)


@pytest.mark.parametrize(
    "front_matter", ["license: [a", "license: My Own", "license: other", "- mit"], ids=["yaml", "id", "other", "list"]
)
def test_a_card_whose_licence_cannot_be_read_stops_nobody_but_who_states_one(
    front_matter: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front_matter}\n---\nMy words.")
    with pytest.raises(ValueError, match=r"cannot be taken over: .*: edit the card"):
        save_pretrained(own_model(), tmp_path, license="mit")
    save_pretrained(own_model(), tmp_path)
    assert "license" not in json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert f"{tmp_path / 'README.md'}: the licence in its front matter cannot" in warning.getMessage()


def test_what_a_model_started_from_is_told_if_it_is_known(tmp_path: Path) -> None:
    model = own_model()
    for name, cfg, given, expected in (
        ("unknown", {}, None, None),
        ("known", {"base_model": "timm/clip"}, None, "timm/clip"),
        ("given", {"base_model": "timm/clip"}, "owner/clip", "owner/clip"),
    ):
        model.pretrained_cfg = {**preprocessing("ila"), **cfg}
        folder = save_pretrained(model, tmp_path / name, base_model=given)
        assert json.loads((folder / "config.json").read_text()).get("base_model") == expected
        assert metadata_load(folder / "README.md").get("base_model") == expected
    again = save_pretrained(own_model(), tmp_path / "known")
    assert json.loads((again / "config.json").read_text())["base_model"] == "timm/clip", "as the kept card says"
    (again / "README.md").write_text("---\nbase_model: [two, models]\n---\n")
    save_pretrained(own_model(), again)
    assert "base_model" not in json.loads((again / "config.json").read_text())
    with pytest.raises(ValueError, match="Repo id must"):
        save_pretrained(model, tmp_path / "new", base_model="two words")
    assert not (tmp_path / "new").exists()


# To the Hub


@pytest.mark.parametrize("save", [push_to_hub, lambda model, name: save_pretrained(model, "never", repo_id=name)])
def test_a_repository_has_an_owner(save: Any, hub: HubServer) -> None:
    with pytest.raises(ValueError, match="repo_id='my_model' has no owner: give 'OWNER/my_model'"):
        save(own_model(), "my_model")
    assert hub.requests == []


@pytest.mark.parametrize(
    "license", ["mit", License("other", name="mine-1.0", link="https://example.org/licence")], ids=["mit", "other"]
)
def test_a_second_push_takes_the_licence_over(license: Any, hub: HubServer) -> None:
    model = own_model()
    first = push_to_hub(model, "owner/mine", license=license, base_model="timm/clip")
    again = push_to_hub(model, "owner/mine")
    assert (again.commit, again.tag, again.is_new) == (first.commit, "v1", False)
    same = push_to_hub(model, "owner/mine", license=license, base_model="timm/clip")
    assert not same.is_new


def test_a_licence_that_the_card_contradicts(hub: HubServer) -> None:
    push_to_hub(own_model(), "owner/mine", license="mit")
    before = hub.repository("owner/mine").head
    with pytest.raises(
        ValueError, match=r"license cc0-1\.0 is asked for, but the card of owner/mine, which is kept"
    ) as no:
        push_to_hub(own_model(), "owner/mine", license="cc0-1.0")
    assert "states license mit: edit the card's front matter" in str(no.value)
    assert hub.repository("owner/mine").head is before
    push_to_hub(own_model(), "owner/bare")
    with pytest.raises(ValueError, match=r"license mit is asked for, .* states no licence: edit"):
        push_to_hub(own_model(), "owner/bare", license="mit")


def test_a_card_that_cannot_be_asked_for(hub: HubServer) -> None:
    hub.faults.append(Fault("HEAD", r"/README\.md$", "status", times=None, status=500))
    with pytest.raises(PublishingError, match="what is published there cannot be read"):
        push_to_hub(own_model(), "owner/mine")


def test_pushing_tells_nothing_of_temporary_folders(hub: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="ila_models")
    push_to_hub(own_model(), "owner/mine")
    assert not [message for message in caplog.messages if "ila_models_push_" in message]


def test_the_hub_gives_the_model_back(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = own_model()
    torch.manual_seed(1)
    expected = answers(model)
    pushed = push_to_hub(model, "owner/mine", private=True, license="mit", message="Trained on my videos")
    repository = hub.repository("owner/mine")
    assert (pushed.commit, pushed.tag, pushed.is_new) == (repository.head.oid, "v1", True)
    assert [commit.title for commit in repository.commits][1:] == ["Trained on my videos"]
    assert repository.private
    use_empty_caches(tmp_path / "elsewhere", monkeypatch)
    for name in ("hf-hub:owner/mine", f"hf-hub:owner/mine@{pushed.tag}", f"hf-hub:owner/mine@{pushed.commit}"):
        for make in (create_model, timm.create_model):
            loaded = make(name)
            torch.manual_seed(1)
            assert torch.equal(answers(loaded), expected)
    found = verify("hf-hub:owner/mine")
    assert found.described
    assert found.replay is not None


def test_a_second_push(hub: HubServer) -> None:
    model = own_model("linear")
    first = push_to_hub(model, "owner/mine")
    again = push_to_hub(model, "owner/mine")
    assert (again.commit, again.tag, again.is_new) == (first.commit, "v1", False)
    with torch.no_grad():
        model.head.fc.bias += 1
    other = push_to_hub(model, "owner/mine")
    assert (other.tag, other.is_new) == ("v2", True)
    assert len(hub.repository("owner/mine").commits) == 3


def test_a_card_that_was_edited_on_the_hub_is_kept(hub: HubServer) -> None:
    push_to_hub(own_model(), "owner/mine")
    repository = hub.repository("owner/mine")
    mine = repository.regular(b"My words, see arXiv 2304.10465.")
    repository.commit({**repository.head.files, "README.md": mine}, "Better words")
    pushed = push_to_hub(own_model(), "owner/mine")
    assert repository.head.files["README.md"] == mine
    assert pushed.commit == repository.head.oid


def test_pushing_where_one_may_not(hub: HubServer) -> None:
    hub.forbidden.add("others")
    with pytest.raises(PublishingError, match="use one of the owner's with write access"):
        push_to_hub(own_model(), "others/mine")


def test_a_repository_without_ours(hub: HubServer) -> None:
    (hub.root / "owner" / "empty").mkdir(parents=True)
    (hub.root / "owner" / "empty" / "README.md").write_text("Nothing yet.")
    with pytest.raises(CheckpointError, match="owner/empty holds none of"):
        create_model("hf-hub:owner/empty")


def test_the_project_has_one_address() -> None:
    pyproject = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'Repository = "{PROJECT_ADDRESS}"' in pyproject
