"""Writes into ``weights_manifest.json`` what publishing found out: where a checkpoint stands, and its hash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..whole_files import write_atomically
from .cache import locked
from .manifest import HubSource, forget_manifest


def add_hub_source(name: str, source: HubSource, *, manifest: Path) -> None:
    """Makes a Hub repository the first source of a checkpoint, in place of an earlier entry of that repository.

    Only a file that comes with the package stays before it: that one needs no network.

    Args:
        name: ``architecture.tag``.
        source: The published file, its commit and hash known.
        manifest: The file to change; it changes as a whole or not at all.

    Raises:
        ValueError: The file has no such checkpoint.
        OSError: It cannot be written.
    """
    with locked(manifest):
        document: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        if name not in document["checkpoints"]:
            raise ValueError(f"{manifest} has no checkpoint {name!r}: add its record first")
        entry = document["checkpoints"][name]
        others = [each for each in entry["sources"] if each.get("repo_id") != source.repo_id]
        fields = ("repo_id", "filename", "revision", "layout", "sha256", "size")
        published = {"kind": "huggingface_hub"} | {field: getattr(source, field) for field in fields}
        at_hand = [each for each in others if each["kind"] == "package"]
        entry["sources"] = [*at_hand, published, *(each for each in others if each not in at_hand)]
        write_atomically(manifest, as_text(document).encode())
    forget_manifest()


def as_text(document: dict[str, Any]) -> str:
    """The manifest as it is written."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
