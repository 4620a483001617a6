"""The app as a Space: its files, its card, the way to the Hub, and that it starts and answers."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from app_process import running
from gradio_client import Client, handle_file
from hub.cards import check_card
from hub.server import HubServer
from huggingface_hub import SpaceCard

from ila_models import __version__
from ila_models.app.examples import write_examples
from ila_models.cli.main import main
from ila_models.publishing.project import PROJECT_ADDRESS
from ila_models.publishing.space import write_space

FILES = {"app.py", "requirements.txt", "README.md"}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with the shipped checkpoint; no test changes it."""
    return write_space(tmp_path_factory.mktemp("space") / "ila-points")


def test_the_card_tells_the_hub_what_it_is(space: Path) -> None:
    text = (space / "README.md").read_text(encoding="utf-8")
    assert check_card(text) == ([], [])
    data = SpaceCard(text).data.to_dict()
    assert (data["sdk"], data["sdk_version"], data["app_file"]) == ("gradio", version("gradio"), "app.py")
    assert data["license"] == "mit"
    assert len(data["short_description"]) <= 60, "the Hub takes no longer one"
    assert {"emoji", "colorFrom", "colorTo", "title", "tags", "python_version"} <= set(data)
    assert "https://arxiv.org/abs/2304.10465" in text
    assert "the repository must be public and have that tag** before" in " ".join(text.split())


def test_everything_is_pinned(space: Path) -> None:
    lines = (space / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if not line.startswith(("#", "--"))]
    assert wanted[0] == f"ila-models[app] @ git+{PROJECT_ADDRESS}@v{__version__}"
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in wanted[1:])
    pinned = dict(line.split("==") for line in wanted[1:])
    assert {"torch", "torchvision", "timm", "av", "gradio", "huggingface-hub"} <= set(pinned)
    assert pinned["gradio"] == version("gradio")


def test_the_hub_is_told_of_models_that_it_holds(tmp_path: Path) -> None:
    names = ["ila_vit_b16.openai", "hf-hub:owner/mine@v2", "ila_vit_nano8"]
    arguments = [option for name in names for option in ("--model", name)]
    assert main(["--quiet", "space", str(tmp_path / "many"), *arguments]) == 0
    data = SpaceCard.load(tmp_path / "many" / "README.md").data.to_dict()
    assert data["models"] == ["timm/vit_base_patch16_clip_224.openai", "owner/mine"]
    assert 'launch(["ila_vit_b16.openai", "hf-hub:owner/mine@v2", "ila_vit_nano8"]' in (
        tmp_path / "many" / "app.py"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("local-dir:mine", "a Space takes checkpoints of `ila-models list` and hf-hub:owner/name"),
        ("ila_vit_b61", "a Space takes checkpoints of `ila-models list`"),
        ("hf-hub:mine", "is no repository: give hf-hub:owner/name"),
    ],
)
def test_models_that_a_space_could_not_have(
    model: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--quiet", "space", str(tmp_path / "out"), "--model", model]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_its_own_folder_is_written_anew_and_no_other(space: Path, tmp_path: Path) -> None:
    folder = write_space(tmp_path / "ila-points", models=["ila_vit_b16.openai"])
    write_space(folder)
    for name in FILES:
        assert (folder / name).read_bytes() == (space / name).read_bytes()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds files that are not of a Space"):
        write_space(tmp_path / "mine")
    assert (tmp_path / "mine" / "README.md").read_text() == "years of work"


def test_it_is_published(space: Path, hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--quiet", "publish", "space", str(space), "--namespace", "owner"]
    assert main(command) == 0
    assert "space owner/ila-points v1" in capsys.readouterr().out
    repository = hub.repository("owner/ila-points", "space")
    assert set(repository.head.files) - {".gitattributes"} == FILES
    for name in FILES:
        assert repository.head.files[name].location.read_bytes() == (space / name).read_bytes()
    assert hub.unknown == []
    assert main(command) == 0
    assert "was there already" in capsys.readouterr().out


def test_it_starts_answers_and_leaves_nothing(space: Path, tmp_path: Path) -> None:
    video = write_examples(tmp_path)[0]
    with running([str(space / "app.py")], tmp_path) as app:
        client = Client(app.url, verbose=False)
        _, answer, *_ = client.predict(handle_file(video), "ila_vit_nano8", "", False, api_name="/recognise")
        assert answer["label"] == "moving left"
        client.close()
        assert list(app.temporary.glob("ila_models_app_*")), "where uploads and pictures are"
        app.process.terminate()
        assert app.process.wait(timeout=60) == 0
    assert list(app.temporary.glob("ila_models_app_*")) == []
    assert "Traceback" not in "".join(app.said)
