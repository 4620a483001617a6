"""Checkpoints to the Hub and back, with the real client and a Hub that stands on this machine."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from checkpoint_files import write_training_state
from conftest import use_empty_caches
from hub.server import HubServer
from zoo import RELEASED, open_zoo, released_state, write_released

from ila_models import CheckpointError, create_model
from ila_models.cli.main import main
from ila_models.publishing.folder import publish_folder
from ila_models.training.config import RECIPES
from ila_models.weights.manifest import forget_manifest, manifest_path

K400, SSV2 = "ila_vit_b16.k400_8x224", "ila_vit_b16.ssv2_8x224"
PUBLISHED_FILES = {"README.md", "config.json", "model.safetensors", "test/reference.safetensors"}


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    yield open_zoo(tmp_path, monkeypatch)
    forget_manifest()


@pytest.fixture
def released(tmp_path: Path, manifest: Path) -> Path:
    """A folder with two released files, whose names tell nothing."""
    folder = tmp_path / "released"
    folder.mkdir()
    write_released(K400, folder / "first.pth")
    write_released(SSV2, folder / "second.pth")
    return folder


def publish(*arguments: str | Path, manifest: Path, license: str | None = "mit") -> int:
    stated = ["--license", license] if license else []
    options = ["--namespace", "owner", "--manifest", manifest, *stated]
    return main(["--quiet", "publish", *map(str, [*arguments, *options])])


def clip_for(model: torch.nn.Module, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, model.num_frames, 3, *model.config.img_size, generator=generator)


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model(clip_for(model))


def test_all_ten_are_published_and_come_back_bit_by_bit(
    hub: HubServer, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "released"
    folder.mkdir()
    expected = {}
    for number, name in enumerate(RELEASED):
        write_released(name, folder / f"file{number}.bin", seed=number)
        expected[name] = logits(create_model(name, checkpoint_path=folder / f"file{number}.bin"))
    assert publish("--all", "--checkpoint", folder, manifest=manifest) == 0
    said = capsys.readouterr().out
    for name in RELEASED:
        repository = hub.repository(f"owner/{name}")
        assert {path for path in repository.head.files if not path.startswith(".")} == PUBLISHED_FILES
        assert [commit.title for commit in repository.commits][1:] == [f"Release {name}"], "one commit"
        assert repository.tags == {"v1": repository.head.oid}
        source = json.loads(manifest.read_text())["checkpoints"][name]["sources"][0]
        assert (source["repo_id"], source["revision"]) == (f"owner/{name}", repository.head.oid)
        assert f"{name}  hf-hub:owner/{name} v1" in said
    assert hub.unknown == []

    use_empty_caches(tmp_path / "elsewhere", monkeypatch)
    for name in RELEASED:
        model = create_model(f"hf-hub:owner/{name}")
        assert torch.equal(logits(model), expected[name])
        assert model.pretrained_cfg["architecture"] == name.partition(".")[0]
        assert torch.equal(logits(timm.create_model(f"hf-hub:owner/{name}", pretrained=True)), expected[name])

    use_empty_caches(tmp_path / "third", monkeypatch)
    for name in RELEASED:
        assert torch.equal(logits(create_model(name, pretrained=True)), expected[name])
    asked = len(hub.requests)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in RELEASED:
        assert torch.equal(logits(create_model(name, pretrained=True)), expected[name])
    assert len(hub.requests) == asked, "offline and online, a cache that has it is enough"


def test_a_second_run_publishes_nothing_twice(
    hub: HubServer, manifest: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(SSV2, "--checkpoint", released / "second.pth", manifest=manifest) == 0
    before, noted = hub.repository(f"owner/{SSV2}").head, manifest.read_text()
    uploads = hub.count("PUT", "")
    capsys.readouterr()
    assert publish(SSV2, "--checkpoint", released / "second.pth", manifest=manifest) == 0
    repository = hub.repository(f"owner/{SSV2}")
    assert (repository.head, repository.tags, manifest.read_text()) == (before, {"v1": before.oid}, noted)
    assert hub.count("PUT", "") == uploads
    assert "v1" in (said := capsys.readouterr().out)
    assert "was there already" in said


def forbid_preparing(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(*arguments: object, **options: object) -> None:
        raise AssertionError("this takes minutes")

    monkeypatch.setattr("ila_models.publishing.release._prepare", prepare)


def test_what_is_published_is_not_prepared_again_but_noted(
    hub: HubServer, manifest: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another = tmp_path / "another.json"
    another.write_text(manifest.read_text())
    assert publish(SSV2, "--checkpoint", released, manifest=manifest) == 0
    forbid_preparing(monkeypatch)
    asked = len(hub.requests)
    assert publish(SSV2, "--checkpoint", released, manifest=another) == 0
    assert [request.partition("?")[0] for request in hub.requests[asked:]] == [
        f"POST /api/models/owner/{SSV2}/paths-info/{hub.repository(f'owner/{SSV2}').head.oid}",
        f"GET /api/models/owner/{SSV2}/refs",
    ]
    assert another.read_text() == manifest.read_text()


@pytest.mark.parametrize("lost", ["repository", "tag", "file", "note"])
def test_what_the_hub_has_no_more_is_published_again(
    lost: str, hub: HubServer, manifest: Path, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(SSV2, "--checkpoint", released, manifest=manifest) == 0
    repository = hub.repository(f"owner/{SSV2}")
    if lost == "repository":
        hub.delete(repository)
    elif lost == "tag":
        repository.tags.clear()
    elif lost == "file":
        del repository.head.files["config.json"]
    else:
        (tmp_path / "home" / "ila_models" / "releases" / "owner" / f"{SSV2}.json").write_text("{")
    capsys.readouterr()
    assert publish(SSV2, "--checkpoint", released, manifest=manifest) == 0
    repository = hub.repository(f"owner/{SSV2}")
    assert set(repository.head.files) >= PUBLISHED_FILES
    assert repository.head.oid in repository.tags.values()
    assert ("was there already" in capsys.readouterr().out) == (lost in ("tag", "note"))


def test_another_licence_is_another_release(
    hub: HubServer, manifest: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for license in ("mit", "apache-2.0"):
        assert publish(SSV2, "--checkpoint", released, manifest=manifest, license=license) == 0
    assert set(hub.repository(f"owner/{SSV2}").tags) == {"v1", "v2"}
    assert "was there already" not in capsys.readouterr().out


def test_a_card_that_somebody_edited_is_kept(
    hub: HubServer,
    manifest: Path,
    released: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    command = (SSV2, "--checkpoint", released / "second.pth")
    assert publish(*command, manifest=manifest) == 0
    card = Path(huggingface_hub.hf_hub_download(f"owner/{SSV2}", "README.md")).read_bytes()
    edited = card + b"\nMeasured by me: 65.1.\n"
    api = huggingface_hub.HfApi()
    api.upload_file(path_or_fileobj=edited, path_in_repo="README.md", repo_id=f"owner/{SSV2}")
    use_empty_caches(tmp_path / "elsewhere", monkeypatch)
    assert publish(*command, manifest=manifest) == 0
    assert Path(huggingface_hub.hf_hub_download(f"owner/{SSV2}", "README.md")).read_bytes() == edited
    assert "its README.md was edited since the last release, and is kept as it is" in caplog.text
    caplog.clear()
    use_empty_caches(tmp_path / "third", monkeypatch)
    assert (
        publish(
            *command, "--license-name", "own", "--license-link", "https://e.org/l", manifest=manifest, license="other"
        )
        == 0
    )
    found = Path(huggingface_hub.hf_hub_download(f"owner/{SSV2}", "README.md")).read_text()
    assert "license_name: own" in found, "what was released since is ours to write anew"


def test_the_manifest_that_was_written_is_said_last(
    hub: HubServer, manifest: Path, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(SSV2, "--checkpoint", released, manifest=manifest) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"commits and hashes are noted in {manifest}"
    assert publish(SSV2, "--checkpoint", released, "--dry-run", tmp_path / "out", manifest=manifest) == 0
    assert "noted" not in capsys.readouterr().out
    assert publish(SSV2, "--checkpoint", released, manifest=tmp_path / "no.json") == 1
    assert f"--manifest {tmp_path / 'no.json'}: no such file" in capsys.readouterr().err


def test_publishing_says_once_what_it_read(hub: HubServer, manifest: Path, released: Path, tmp_path: Path) -> None:
    options = ["--namespace", "owner", "--manifest", str(manifest), "--license", "mit", "--checkpoint", str(released)]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert main(["publish", K400, *options]) == 0
    lines = said.getvalue().splitlines()
    (recognised,) = (line for line in lines if "recognised as" in line)
    assert recognised.startswith(f"{released / 'first.pth'}: recognised as a released ILA checkpoint (Kinetics-400")
    assert not [line for line in lines if "ila-models convert" in line]
    assert not [line for line in lines if f"/.{K400}." in line], "nobody knows those temporary folders"
    create_model(K400, checkpoint_path=released / "first.pth", num_classes=0)
    assert logging.getLogger("ila_models.factory").level == logging.NOTSET


def test_a_new_release_is_the_next_tag(hub: HubServer, manifest: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_released(SSV2, tmp_path / "file.pth", seed=seed)
        assert publish(SSV2, "--checkpoint", tmp_path / "file.pth", manifest=manifest) == 0
    repository = hub.repository(f"owner/{SSV2}")
    assert repository.tags == {f"v{number}": commit.oid for number, commit in enumerate(repository.commits) if number}
    assert set(repository.tags) == {"v1", "v2"}
    source = json.loads(manifest.read_text())["checkpoints"][SSV2]["sources"][0]
    assert source["revision"] == repository.head.oid
    assert source["sha256"] == repository.head.files["model.safetensors"].sha256


def test_a_converted_file_is_published_as_it_is(hub: HubServer, manifest: Path, released: Path, tmp_path: Path) -> None:
    converted = tmp_path / "mine.safetensors"
    assert main(["--quiet", "convert", str(released / "second.pth"), str(converted)]) == 0
    assert publish(SSV2, "--checkpoint", converted, manifest=manifest) == 0
    published = hub.repository(f"owner/{SSV2}").head.files["model.safetensors"]
    assert published.location.read_bytes() == converted.read_bytes()


def test_a_private_repository_is_for_those_with_a_token(
    hub: HubServer, manifest: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert publish(SSV2, "--private", "--checkpoint", released / "second.pth", manifest=manifest) == 0
    assert hub.repository(f"owner/{SSV2}").private
    use_empty_caches(tmp_path / "elsewhere", monkeypatch)
    assert create_model(f"hf-hub:owner/{SSV2}").num_classes == 174
    use_empty_caches(tmp_path / "stranger", monkeypatch)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(CheckpointError, match=r"private or gated: then log in with `hf auth login`, or set HF_TOKEN"):
        create_model(f"hf-hub:owner/{SSV2}")


@pytest.mark.parametrize("token", [None, "hf_wrong", "hf_read"])
def test_without_a_token_that_may_write(
    token: str | None,
    hub: HubServer,
    manifest: Path,
    released: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    before = manifest.read_text()
    assert publish(SSV2, "--checkpoint", released / "second.pth", manifest=manifest) == 1
    said = capsys.readouterr().err
    assert f"failed: {SSV2}: publishing owner/{SSV2}" in said
    assert "HF_TOKEN" in said or "write access" in said
    assert manifest.read_text() == before


# What is refused


def test_a_licence_must_be_stated(
    hub: HubServer, manifest: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(SSV2, "--checkpoint", released / "second.pth", manifest=manifest, license=None) == 1
    assert "--license" in capsys.readouterr().err
    assert hub.requests == []


def test_a_file_is_published_for_nothing_but_what_it_is(
    hub: HubServer, manifest: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(K400, "--checkpoint", released / "second.pth", manifest=manifest) == 1
    said = capsys.readouterr().err
    assert f"second.pth is not {K400}: it is {SSV2}: its interactive block is full, expected separable" in said
    assert hub.requests == []


def test_weights_that_are_not_finite_are_not_published(
    hub: HubServer, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = released_state(SSV2)
    state["mit.classify_head.2.bias"][3] = torch.nan
    write_training_state(tmp_path / "file.pth", state)
    assert publish(SSV2, "--checkpoint", tmp_path / "file.pth", manifest=manifest) == 1
    assert "not finite" in capsys.readouterr().err
    assert hub.requests == []


def test_a_folder_is_told_apart_by_contents(
    hub: HubServer, manifest: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (released / "notes.txt").write_text("which file is which?")
    (released / "config.json").write_text("{}")
    assert publish(K400, SSV2, "ila_vit_b32", "--checkpoint", released, manifest=manifest) == 1
    said = capsys.readouterr()
    assert f"1 of 3 checkpoints have no file in {released}: ila_vit_b32.k400_8x224\n" in said.err
    assert "run the same command again" not in said.err
    assert [line.split()[0] for line in said.out.splitlines()[:-1]] == [K400, SSV2]

    assert publish("--all", "--checkpoint", released, manifest=manifest) == 1
    lacking = ", ".join(name for name in RELEASED if name not in (K400, SSV2))
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == f"8 of 10 checkpoints have no file in {released}: {lacking}"
    assert "failed" not in said.err

    (released / "third.pth").write_bytes((released / "first.pth").read_bytes())
    assert publish("--all", "--checkpoint", released, manifest=manifest) == 1
    assert f"are both {K400}: leave one in the folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name checkpoints, or give --all"),
        ([K400, "--all"], "name checkpoints, or give --all"),
        (["ila_vit_b16.k400"], "no checkpoint 'ila_vit_b16.k400'"),
        ([K400, "--checkpoint", "nowhere.pth"], "--checkpoint nowhere.pth: no such file or folder"),
        ([K400, SSV2, "--checkpoint", __file__], "is one file for 2 checkpoints"),
        (
            [K400, "--license", "other"],
            "give both, such as 'my-license-1.0' and the URL where it can be read: --license",
        ),
        ([K400, "--license-name", "mine"], "--license-name and --license-link go with --license other"),
        (["dataset", "x", "--manifest", "x.json"], "--manifest does not go with publish dataset"),
        (["collection", "--license-name", "mine"], "--license-name does not go with publish collection"),
        (["dataset"], "publish dataset takes one folder"),
        (["collection", K400], "publish collection takes no names"),
        (["space", "x", "--dry-run", "out"], "--dry-run does not go with publish space"),
    ],
)
def test_command_lines_that_say_too_little_or_too_much(
    arguments: list[str], message: str, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--quiet", "publish", *arguments, "--namespace", "owner"]) == 1
    assert message in capsys.readouterr().err


def test_trying_again_is_advised_where_it_may_help(
    hub: HubServer, manifest: Path, released: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.forbidden.add("owner")
    assert publish(SSV2, "--checkpoint", released, manifest=manifest) == 1
    said = capsys.readouterr().err
    assert said.endswith(f"1 of 1 checkpoints failed: {SSV2}; run the same command again to go on\n")
    (released / "second.pth").unlink()
    assert publish(K400, SSV2, "--checkpoint", released, manifest=manifest) == 1
    assert "run the same command again" not in capsys.readouterr().err, "which lacks the same file then"
    assert publish(SSV2, "--checkpoint", released / "first.pth", manifest=manifest) == 1
    said = capsys.readouterr().err
    assert said.endswith(f"1 of 1 checkpoints failed: {SSV2}\n")
    (note := manifest.parent / "out" / K400 / "thesis.tex").parent.mkdir(parents=True)
    note.touch()
    assert publish(K400, "--checkpoint", released, "--dry-run", manifest.parent / "out", manifest=manifest) == 1
    assert capsys.readouterr().err.endswith(f"1 of 1 checkpoints failed: {K400}\n")


def test_the_help_shows_every_option_that_publishing_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["publish", "--help"])
    usage = capsys.readouterr().out.partition("\n\n")[0]
    for option in ("--license other --license-name NAME --license-link URL", "[--manifest FILE]", "collection"):
        assert option in usage


# Without the network


@pytest.mark.parametrize("namespace", ["../evil", "bad name", "a/b"])
def test_a_namespace_that_cannot_be(
    namespace: str, hub: HubServer, manifest: Path, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["publish", SSV2, "--checkpoint", str(released / "second.pth"), "--license", "mit"]
    for extra in ([], ["--dry-run", str(tmp_path / "out")]):
        assert main(["--quiet", *command, "--namespace", namespace, *extra]) == 1
        assert f"namespace={namespace!r} is not the name of a user" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert hub.requests == []


def test_a_licence_s_text_is_at_an_address(manifest: Path, released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stated = ("--license-name", "own", "--license-link", "LICENSE")
    command = (SSV2, "--checkpoint", released / "second.pth", *stated)
    assert publish(*command, manifest=manifest, license="other") == 1
    assert "--license-link LICENSE: give a URL" in capsys.readouterr().err


def test_a_dry_run_writes_what_would_be_pushed(
    hub: HubServer, manifest: Path, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = manifest.read_text(), tmp_path / "out"
    for _ in range(2):
        assert publish(K400, "--checkpoint", released, "--dry-run", out, manifest=manifest) == 0
    assert f"{K400}  prepared in {out / K400}, nothing pushed" in capsys.readouterr().out
    files = {path.relative_to(out / K400).as_posix() for path in (out / K400).rglob("*") if path.is_file()}
    assert files == {*PUBLISHED_FILES, ".prepared.json"}
    assert hub.requests == []
    assert manifest.read_text() == before
    expected = logits(create_model(K400, checkpoint_path=released / "first.pth"))
    assert torch.equal(logits(create_model(f"local-dir:{out / K400}")), expected)
    assert torch.equal(logits(timm.create_model(f"local-dir:{out / K400}", pretrained=True)), expected)


def test_a_dry_run_leaves_a_folder_of_others_alone(
    manifest: Path, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "out" / K400 / "thesis.tex"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    assert publish(K400, "--checkpoint", released, "--dry-run", tmp_path / "out", manifest=manifest) == 1
    assert "was not prepared by this command: move it away" in capsys.readouterr().err
    assert mine.read_text() == "years of work"


# The rest of the paper's page


def test_a_collection_of_all_that_was_published(
    hub: HubServer, manifest: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--quiet", "publish", "collection", "--namespace", "owner", "--manifest", str(manifest)]
    assert main(command) == 1
    assert f"{manifest} knows no checkpoint published under owner" in capsys.readouterr().err
    for names in ([SSV2], [K400, SSV2]):
        assert publish(*names, "--checkpoint", released, manifest=manifest) == 0
        capsys.readouterr()
        assert main(command) == 0
        (address,) = capsys.readouterr().out.split()
        (collection,) = hub.collections.values()
        assert address.endswith(collection.slug)
        assert {item.id for item in collection.items} == {"2304.10465", *(f"owner/{name}" for name in names)}


@pytest.mark.parametrize("content", ["[]", "{", '{"checkpoints": {"a": 1}}'])
def test_a_collection_needs_a_manifest(
    content: str, hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.json").write_text(content)
    command = ["--quiet", "publish", "collection", "--namespace", "owner", "--manifest", str(tmp_path / "mine.json")]
    assert main(command) == 1
    assert f"{tmp_path / 'mine.json'} is no manifest of checkpoints" in capsys.readouterr().err
    assert hub.requests == []


def test_the_checkpoint_of_the_package_is_published_as_our_own(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "ila_vit_nano8.motion_8x64"
    path = tmp_path / "weights_manifest.json"
    path.write_text(manifest_path().read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr("ila_models.weights.manifest.manifest_path", lambda: path)
    forget_manifest()
    shipped = create_model(name, pretrained=True)
    assert publish(name, manifest=path, license=None) == 0
    card = hub.repository(f"owner/{name}").head.files["README.md"].location.read_text()
    assert f"ila-models train --config {name} --out DIR" in card
    assert (RECIPES / f"{name}.yaml").is_file()
    assert "license: mit" in card
    assert "a program drew" in card
    assert json.loads(path.read_text())["checkpoints"][name]["sources"][0]["kind"] == "package", "found without the Hub"
    fetched = create_model(f"hf-hub:owner/{name}")
    assert fetched.class_names == shipped.class_names
    assert torch.equal(logits(fetched), logits(shipped))
    assert main(["--quiet", "verify", f"hf-hub:owner/{name}"]) == 0
    forget_manifest()


def test_the_package_s_manifest_is_read_where_none_is_given(
    hub: HubServer, manifest: Path, released: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ila_models.publishing.collection.manifest_path", lambda: manifest)
    assert publish(SSV2, "--checkpoint", released, manifest=manifest) == 0
    assert main(["--quiet", "publish", "collection", "--namespace", "owner"]) == 0
    (collection,) = hub.collections.values()
    assert {item.id for item in collection.items} == {"2304.10465", f"owner/{SSV2}"}


def test_a_folder_s_repository_has_an_owner(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="repo_id='motion' has no owner: give 'OWNER/motion'"):
        publish_folder(tmp_path, "motion", repo_type="dataset")
    assert hub.requests == []


@pytest.mark.parametrize(("kind", "extra"), [("dataset", ""), ("space", "sdk: gradio\n")])
def test_a_dataset_and_a_space_out_of_a_folder(
    kind: str, extra: str, hub: HubServer, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "motion"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "clip.mp4").write_bytes(b"\0" * 1000)
    (folder / "__pycache__").mkdir()
    for left_behind in (".env", "__pycache__/app.pyc"):
        (folder / left_behind).write_bytes(b"secret")
    command = ["--quiet", "publish", kind, str(folder), "--namespace", "owner"]
    assert main(command) == 1
    assert "README.md is missing" in capsys.readouterr().err
    (folder / "README.md").write_text("# Motion\n")
    assert main(command) == 1
    assert "has no front matter" in capsys.readouterr().err
    (folder / "README.md").write_text(f"---\nlicense: mit\n{extra}---\n# Motion\n")
    assert main(command) == 1
    assert "does not name arXiv 2304.10465" in capsys.readouterr().err
    assert hub.requests == []
    (folder / "README.md").write_text(f"---\nlicense: mit\n{extra}---\nhttps://arxiv.org/abs/2304.10465\n")
    for news in ("", ", was there already"):
        assert main(command) == 0
        repository = hub.repository("owner/motion", kind)
        assert f"{kind} owner/motion v1 (commit {repository.head.oid[:12]}{news})" in capsys.readouterr().out
        assert set(repository.head.files) - {".gitattributes"} == {"README.md", "train/clip.mp4"}
        assert len(repository.commits) == 2


def test_a_space_says_its_sdk(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\narXiv 2304.10465\n")
    assert main(["--quiet", "publish", "space", str(tmp_path), "--namespace", "owner"]) == 1
    assert "says no sdk, which a Space needs" in capsys.readouterr().err
