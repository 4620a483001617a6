"""Reads ``weights_manifest.json``, the only place where an address or a number of a checkpoint stands."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

FILE_NAME = "weights_manifest.json"

NOT_MEASURED = "not measured yet"
"""What stands in the file for a hash, a size or a metric that nobody has measured; None in Python."""

NOT_STATED = "not stated"
"""What stands in the file for a licence that nobody states; None in Python."""

OURS = "ila_models"
"""The layout of files of this package."""


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A file in a repository of the Hugging Face Hub.

    Attributes:
        repo_id: ``owner/name``.
        filename: The file in it.
        revision: The commit, or ``"main"`` where nobody has pinned one.
        layout: ``"ila_models"`` for files of ours with their configuration inside, ``"open_clip"`` for CLIP.
        sha256: Hash of the file; None where nobody has measured it.
        size: Bytes; None where nobody has measured it.
    """

    repo_id: str
    filename: str
    revision: str
    layout: str
    sha256: str | None
    size: int | None

    @property
    def url(self) -> str:
        """The address that a person opens in a browser."""
        return f"https://huggingface.co/{self.repo_id}/blob/{self.revision}/{self.filename}"


@dataclass(frozen=True, kw_only=True)
class DriveSource:
    """A file of Google Drive by its ``file_id``; the other attributes are as in :class:`HubSource`."""

    file_id: str
    layout: str
    sha256: str | None
    size: int | None

    @property
    def url(self) -> str:
        """The address that a person opens in a browser."""
        return f"https://drive.google.com/file/d/{self.file_id}/view"


@dataclass(frozen=True, kw_only=True)
class PackageSource:
    """A file that comes with this package; the other attributes are as in :class:`HubSource`."""

    filename: str
    layout: str
    sha256: str | None
    size: int | None

    @property
    def path(self) -> Path:
        """Where the file stands on this machine."""
        return Path(__file__).resolve().parents[1] / "checkpoints" / self.filename

    @property
    def url(self) -> str:
        """Where the file stands in this repository."""
        return f"ila_models/checkpoints/{self.filename}"


Source = HubSource | DriveSource | PackageSource
_SOURCES = {"huggingface_hub": HubSource, "google_drive": DriveSource, "package": PackageSource}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Data that models are trained and measured on: its name, its name on the Hub (None if not there), its classes."""

    name: str
    hub_id: str | None
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class Citation:
    """A paper: its title, its arXiv number, its BibTeX entry."""

    title: str
    arxiv: str
    bibtex: str


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Protocol of a metric.

    Attributes:
        dataset: What was classified.
        split: Which part of it.
        clips: Clips of each video.
        crops: Crops of each clip.
    """

    dataset: Dataset
    split: str
    clips: int
    crops: int


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """A claim.

    Attributes:
        top1: Percent of videos whose likeliest class is right.
        top5: Percent of videos whose class is among the five likeliest.
        by: Who claims it: ``"paper"``, or who measured it.
        source: Where it is said, a URL or a file of this repository.
    """

    top1: float
    top5: float
    by: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One checkpoint of the manifest.

    Attributes:
        name: ``architecture.tag``.
        default: Whether it is what ``pretrained=True`` takes for the architecture without a tag.
        description: One sentence.
        arguments: ``num_frames``, ``img_size``, ``interactive``, ``head``, ``num_classes``.
        parameters: Parameters of the whole model with its head, without a text tower.
        multiply_adds: Of one clip through the whole model, one multiply-add as one; with 400 classes where the user
            names them.
        base_model: Hub repository of the CLIP that it was trained from; None if it was trained from scratch.
        preprocessing: Mean, std, interpolation, antialias, resize_ratio, sampling, views (clips, crops).
        sources: Where it can be had, best first.
        evaluation: Data and views of the metrics, None where there are none.
        reported: Accuracy as somebody claims it; None where nobody does.
        measured: Accuracy as this project measured it; None where it has not.
        paper_gflops: Multiply-adds per clip in units of 1e9 as the paper prints them (for its token form).
        license: Licence of the weights, or where it stands; None where their authors state none.
        citations: Papers, the one to cite first.
    """

    name: str
    default: bool
    description: str
    arguments: dict[str, Any]
    parameters: int
    multiply_adds: int
    base_model: str | None
    preprocessing: dict[str, Any]
    sources: tuple[Source, ...]
    evaluation: Evaluation | None
    reported: Accuracy | None
    measured: Accuracy | None
    paper_gflops: float | None
    license: str | None
    citations: tuple[Citation, ...]

    @property
    def architecture(self) -> str:
        """The part of the name before the dot."""
        return self.name.split(".", 1)[0]

    @property
    def tag(self) -> str:
        """The part of the name after the dot."""
        return self.name.split(".", 1)[1]


def manifest_path() -> Path:
    """The manifest: in the package of an installed wheel, one folder up in a checkout or an editable install.

    Raises:
        FileNotFoundError: It stands in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parent):
        if (path := folder / FILE_NAME).is_file():
            return path
    raise FileNotFoundError(f"{FILE_NAME} is neither in {package} nor in {package.parent}: reinstall ila-models")


@functools.cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(manifest_path().read_text(encoding="utf-8"))
    return document


@functools.cache
def records() -> MappingProxyType[str, Record]:
    """All checkpoints by name, in the manifest's order."""
    return MappingProxyType({name: _record(name, **entry) for name, entry in _document()["checkpoints"].items()})


def forget_manifest() -> None:
    """Makes the next call read the file anew, after it was changed."""
    _document.cache_clear()
    records.cache_clear()


def preprocessing(name: Literal["ila", "clip", "motion"]) -> dict[str, Any]:
    """What weights expect of their input, as a fresh dictionary.

    Args:
        name: ``"ila"`` of the released models, ``"clip"`` of frozen CLIP, ``"motion"`` of models trained on
            :mod:`ila_models.data.motion`, whose clips are taken whole.
    """
    return dict(_document()["preprocessing"][name])


def dataset(name: str) -> Dataset:
    """The data of this short name, with which tags begin: ``"k400"``, ``"ssv2"``, ``"motion"``."""
    return Dataset(**_document()["datasets"][name])


def citation(name: Literal["ila", "clip"]) -> Citation:
    """A paper of the manifest."""
    return Citation(**_document()["citations"][name])


def default_record(architecture: str) -> Record | None:
    """What ``pretrained=True`` takes for an architecture without a tag; None where it has no checkpoint."""
    of_it = (record for record in records().values() if record.architecture == architecture and record.default)
    return next(of_it, None)


def _record(name: str, **entry: Any) -> Record:
    metrics, evaluation = entry.pop("metrics"), entry["evaluation"]
    return Record(
        **entry
        | {
            "name": name,
            "preprocessing": preprocessing(entry["preprocessing"]),
            "sources": tuple(_source(**source) for source in entry["sources"]),
            "evaluation": evaluation and Evaluation(**evaluation | {"dataset": dataset(evaluation["dataset"])}),
            "reported": metrics["reported"] and Accuracy(**metrics["reported"]),
            "measured": None if metrics["measured"] == NOT_MEASURED else Accuracy(**metrics["measured"]),
            "license": None if entry["license"] == NOT_STATED else entry["license"],
            "citations": tuple(map(citation, entry["citations"])),
        }
    )


def _source(kind: str, **fields: Any) -> Source:
    return _SOURCES[kind](**{name: None if value == NOT_MEASURED else value for name, value in fields.items()})
