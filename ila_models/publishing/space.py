"""The app as a Space of the Hugging Face Hub, written into a folder: ``app.py``, its requirements, the card."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from ..demo import DEMO_MODEL
from ..factory import is_model
from ..version import __version__
from ..weights.download import parse_hub_id
from ..weights.manifest import HubSource, default_record, records
from ..whole_files import write_atomically
from .bundle import CARD_NAME
from .owned_folder import require_own_folder
from .project import PROJECT_ADDRESS
from .space_card import space_card

APP_FILE = "app.py"
_PACKAGE = "ila-models"
_MEGABYTES, _SECONDS = 50, 60  # anybody may upload to a Space, and its processor is small
_NO_CUDA = "https://download.pytorch.org/whl/cpu"


def write_space(folder: str | os.PathLike[str], *, models: Sequence[str] = (DEMO_MODEL,)) -> Path:
    """Writes the app as a Space that is ready for the Hub.

    The versions that it pins are those of this machine, with which the app was tried.

    Args:
        folder: Where to; made if need be. Its name is the Space's.
        models: To choose from, the first one at the start: checkpoints of the manifest, or ``hf-hub:owner/name``.

    Returns:
        The folder.

    Raises:
        ValueError: There is no such model, or a Space could not have it.
        FileExistsError: The folder holds files, and none of a Space of ours.
        RuntimeError: The package or gradio is not installed, so that no versions are known.
        OSError: The folder cannot be written to.
    """
    folder = Path(folder)
    repositories = [repository for name in models if (repository := _repository(name)) is not None]
    versions = _versions()
    require_own_folder(folder, sign=APP_FILE, what="a Space")
    (folder / CARD_NAME).unlink(missing_ok=True)  # until all is there that it tells of
    write_atomically(folder / APP_FILE, _app(models).encode())
    write_atomically(folder / "requirements.txt", _requirements(versions).encode())
    card = space_card(folder.resolve().name, models, repositories=repositories, gradio=versions["gradio"])
    write_atomically(folder / CARD_NAME, str(card).encode())
    return folder


def _repository(model: str) -> str | None:
    """The Hub's repository that a model is fetched from; None of one that comes with the package.

    Raises:
        ValueError: There is no such model, or a Space could not have it.
    """
    if model.startswith("hf-hub:"):
        try:
            return parse_hub_id(model)[0]
        except FileNotFoundError as error:
            raise ValueError(f"model {model!r} is no repository: give hf-hub:owner/name") from error
    if not is_model(model):
        raise ValueError(
            f"model {model!r}: a Space takes checkpoints of `ila-models list` and hf-hub:owner/name; publish a model of"
            f" your own first"
        )
    record = records().get(model) or default_record(model)
    if record is None:
        raise ValueError(f"{model} has no pretrained checkpoint: name one of `ila-models list`, such as {model}.TAG")
    return next((source.repo_id for source in record.sources if isinstance(source, HubSource)), None)


def _versions() -> dict[str, str]:
    """Versions here of gradio and of what the package always needs.

    Raises:
        RuntimeError: One of them is not installed.
    """
    try:
        needed = [each for each in requires(_PACKAGE) or () if "extra ==" not in each]
        names = ["gradio", *(re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in needed)]
        # A build for one kind of hardware (+cpu, +cu130) is found by the version without it.
        return {name: version(name).partition("+")[0] for name in names}
    except PackageNotFoundError as error:
        raise RuntimeError(
            f"a Space pins what the app was tried with: pip install 'ila-models[app]' ({error})"
        ) from error


def _app(models: Sequence[str]) -> str:
    return (
        f'"""The app of {PROJECT_ADDRESS} as a Space; `ila-models space` wrote it."""\n\n'
        "from ila_models.app import Limits, launch\n\n"
        'if __name__ == "__main__":\n'
        f"    launch({json.dumps(list(models))}, limits=Limits(megabytes={_MEGABYTES}, seconds={_SECONDS}))\n"
    )


def _requirements(versions: dict[str, str]) -> str:
    pins = [f"{name}=={number}" for name, number in sorted(versions.items())]
    lines = [
        "# torch without CUDA, for a Space without a GPU: remove this line for one with a GPU.",
        f"--extra-index-url {_NO_CUDA}",
        f"{_PACKAGE}[app] @ git+{PROJECT_ADDRESS}@v{__version__}",
        *pins,
    ]
    return "\n".join(lines) + "\n"
