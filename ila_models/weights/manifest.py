"""Reads ``weights_manifest.json``, the only place where an address or a number of a checkpoint stands."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

FILE_NAME = "weights_manifest.json"


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A file in a repository of the Hugging Face Hub.

    Attributes:
        repo_id: ``owner/name``.
        filename: The file in it.
        revision: Branch, tag or commit; None for the main branch.
        layout: What kind of file it is, for people.
        sha256: Hash of the file; None where nobody has measured it.
        size: Bytes; None where nobody has measured it.
    """

    repo_id: str
    filename: str
    revision: str | None
    layout: str
    sha256: str | None
    size: int | None

    @property
    def url(self) -> str:
        """The address that a person opens in a browser."""
        return f"https://huggingface.co/{self.repo_id}/blob/{self.revision or 'main'}/{self.filename}"


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


Source = HubSource | DriveSource
_SOURCES = {"huggingface_hub": HubSource, "google_drive": DriveSource}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One checkpoint of the manifest.

    Attributes:
        name: ``architecture.tag``.
        default: Whether it is what ``pretrained=True`` takes for the architecture without a tag.
        description: One sentence.
        arguments: ``num_frames``, ``img_size``, ``interactive``, ``head``, ``num_classes``.
        preprocessing: Mean, std, interpolation, antialias, resize_ratio, sampling, views (clips, crops).
        sources: Where it can be had, best first.
        evaluation: Data and views of the metrics, None where there are none.
        reported: Accuracy as somebody claims it, in percent, with ``by``; None where nobody does.
        measured: Accuracy as this project measured it; None where it has not.
        paper_gflops: Multiply-adds per clip in units of 1e9 as the paper prints them (for its token form).
        license: Licence of the weights, or where it stands; None where their authors state none.
    """

    name: str
    default: bool
    description: str
    arguments: dict[str, Any]
    preprocessing: dict[str, Any]
    sources: tuple[Source, ...]
    evaluation: dict[str, Any] | None
    reported: dict[str, Any] | None
    measured: dict[str, Any] | None
    paper_gflops: float | None
    license: str | None

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
    return json.loads(manifest_path().read_text(encoding="utf-8"))


@functools.cache
def records() -> MappingProxyType[str, Record]:
    """All checkpoints by name, in the manifest's order."""
    document = _document()
    return MappingProxyType(
        {
            name: Record(
                name=name,
                default=entry["default"],
                description=entry["description"],
                arguments=entry["arguments"],
                preprocessing=preprocessing(entry["preprocessing"]),
                sources=tuple(_source(**source) for source in entry["sources"]),
                evaluation=entry["evaluation"],
                reported=entry["metrics"]["reported"],
                measured=entry["metrics"]["measured"],
                paper_gflops=entry["paper_gflops"],
                license=entry["license"],
            )
            for name, entry in document["checkpoints"].items()
        }
    )


def _source(kind: str, **fields: Any) -> Source:
    return _SOURCES[kind](**fields)


def preprocessing(name: Literal["ila", "clip"]) -> dict[str, Any]:
    """What the released models (``"ila"``) or frozen CLIP (``"clip"``) expect of their input, as a fresh dictionary."""
    return dict(_document()["preprocessing"][name])


def default_record(architecture: str) -> Record:
    """What ``pretrained=True`` takes for an architecture without a tag."""
    return next(record for record in records().values() if record.architecture == architecture and record.default)
