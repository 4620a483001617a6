"""Datasets and Spaces out of a folder with a card, to the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from huggingface_hub import RepoCard

from ..weights.manifest import citation
from .bundle import CARD_NAME
from .upload import Pushed, push_folder, require_owner


def publish_folder(
    folder: Path, repo_id: str, *, repo_type: Literal["dataset", "space"], private: bool = False
) -> Pushed:
    """Publishes a dataset or a Space: one commit, one tag.

    Args:
        folder: Holds a ``README.md`` whose front matter is the Hub's, and that names the paper.
        repo_id: ``owner/name``.
        repo_type: Which of the two.
        private: Make a new repository private.

    Raises:
        FileNotFoundError: The folder or its ``README.md`` is not there.
        ValueError: The ``README.md`` has no front matter, names no paper, or a Space's says no ``sdk``; or
            ``repo_id`` names no owner.
        PublishingError: The Hub refuses or cannot be reached.
    """
    require_owner(repo_id)
    card_path = folder / CARD_NAME
    if not card_path.is_file():
        raise FileNotFoundError(f"{card_path} is missing: a {repo_type} on the Hub needs its card")
    card = RepoCard.load(card_path, repo_type=repo_type)
    facts = card.data.to_dict()
    if not facts:
        raise ValueError(f"{card_path} has no front matter (lines between two ---) for the Hub to read")
    arxiv = citation("ila").arxiv
    if arxiv not in str(card):
        raise ValueError(
            f"{card_path} does not name arXiv {arxiv}: add a link to https://arxiv.org/abs/{arxiv}, by which the"
            f" paper's page lists this {repo_type}"
        )
    sdk = facts.get("sdk")
    if repo_type == "space" and not sdk:
        raise ValueError(f"{card_path} says no sdk, which a Space needs: add `sdk: gradio` to its front matter")
    return push_folder(
        folder,
        repo_id,
        message=f"Release {repo_id.partition('/')[2]}",
        repo_type=repo_type,
        private=private,
        space_sdk=sdk if repo_type == "space" else None,
    )
