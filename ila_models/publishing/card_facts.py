"""All that a model card tells, before it is text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..configs import HeadKind
from ..info import Costs
from ..weights.checkpoint import Checkpoint
from ..weights.manifest import Citation, Record
from .license import License


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """All that a card tells; the attributes are those of :func:`~ila_models.publishing.card.model_card`.

    Attributes:
        repo_id: Repository on the Hub; None for a folder on a disk.
        checkpoint: What is published.
        head: The model's head.
        contract: What the weights expect of their input.
        costs: What the model costs.
        has_text_tower: Whether new class names can be set without another file.
        record: The checkpoint's record in the manifest.
        base_model: The CLIP repository that the model started from, None where nobody knows of one.
        license: Under which it is published.
        citations: Papers, the one to cite first.
    """

    repo_id: str | None
    checkpoint: Checkpoint
    head: HeadKind
    contract: dict[str, Any]
    costs: Costs
    has_text_tower: bool
    record: Record | None
    base_model: str | None
    license: License | None
    citations: tuple[Citation, ...]

    @property
    def folder(self) -> str:
        """Name of the folder that the weights stand in."""
        return self.checkpoint.path.resolve().parent.name

    @property
    def name(self) -> str:
        """What the model is called: the repository's name without its owner, or the folder's."""
        return self.folder if self.repo_id is None else self.repo_id.rpartition("/")[2]

    @property
    def model_name(self) -> str:
        """The model's name for ``create_model``; that of a folder holds beside the folder."""
        return f"local-dir:{self.folder}" if self.repo_id is None else f"hf-hub:{self.repo_id}"

    @property
    def checkpoint_path(self) -> str:
        """The same for the argument ``checkpoint_path``."""
        return self.folder if self.repo_id is None else self.model_name

    @property
    def text_tower(self) -> str | None:
        """Where another file's text tower can be had."""
        return None if self.base_model is None else f"hf-hub:{self.base_model}"
