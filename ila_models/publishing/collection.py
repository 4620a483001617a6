"""A Collection of the Hub that shows all published checkpoints and the paper together."""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import HfApi

from ..weights.manifest import OURS, citation, manifest_path
from .errors import PublishingError
from .upload import explained

TITLE = "ILA: Implicit Learnable Alignment for video recognition"
DESCRIPTION = "CLIP's image transformers as video models (arXiv 2304.10465, ICCV 2023), for ila_models."


def published_repositories(namespace: str, manifest: Path) -> dict[str, str]:
    """Repositories of a namespace that a manifest knows, and the name of the checkpoint in each.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no manifest.
    """
    try:
        checkpoints = json.loads(manifest.read_text(encoding="utf-8"))["checkpoints"]
        return {
            source["repo_id"]: name
            for name, entry in checkpoints.items()
            for source in entry["sources"]
            if source["layout"] == OURS and source.get("repo_id", "").startswith(f"{namespace}/")
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{manifest} is no manifest of checkpoints ({error!r}): name a weights_manifest.json"
        ) from error


def publish_collection(
    namespace: str, *, title: str = TITLE, private: bool = False, manifest: Path | None = None
) -> str:
    """Makes the Collection if there is none, and adds the paper and every published checkpoint that it lacks.

    Args:
        namespace: User or organisation of the Hub.
        title: Of the Collection.
        private: Make a new Collection private.
        manifest: Says what is published; None takes the package's.

    Returns:
        Its address.

    Raises:
        FileNotFoundError: There is no such manifest.
        ValueError: The file is no manifest.
        PublishingError: Nothing is published, or the Hub refuses or cannot be reached.
    """
    manifest = manifest or manifest_path()
    repositories = published_repositories(namespace, manifest)
    if not repositories:
        raise PublishingError(
            f"{manifest} knows no checkpoint published under {namespace}: publish some first, with"
            f" `ila-models publish NAME --namespace {namespace}`, or give the manifest that knows them by --manifest"
        )
    api = HfApi()
    with explained(f"the Collection of {namespace}"):
        collection = api.create_collection(
            title, namespace=namespace, description=DESCRIPTION, private=private, exists_ok=True
        )
        there = {(item.item_type, item.item_id) for item in collection.items}
        if ("paper", citation("ila").arxiv) not in there:
            api.add_collection_item(collection.slug, citation("ila").arxiv, item_type="paper", exists_ok=True)
        for repo_id in repositories:
            if ("model", repo_id) not in there:
                api.add_collection_item(collection.slug, repo_id, item_type="model", exists_ok=True)
    return collection.url
