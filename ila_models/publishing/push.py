"""A model of one's own to the Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..video_model import VideoModel
from .bundle import CARD_NAME, save_pretrained, write_reference
from .kept_card import kept_base_model, kept_license
from .license import License
from .published import published_file
from .upload import Pushed, push_folder, require_owner


def push_to_hub(
    model: VideoModel,
    repo_id: str,
    *,
    private: bool = False,
    license: License | str | None = None,
    base_model: str | None = None,
    message: str = "Push model with ila_models",
) -> Pushed:
    """Pushes a model to the Hugging Face Hub, in one commit and with a tag.

    ``create_model("hf-hub:owner/name")`` gives it back; of an image model with alignment, ``load_aligned_vit`` does.
    What is pushed is what :func:`save_pretrained` writes, and a clip with the model's answers to it, by which
    ``ila-models verify hf-hub:owner/name`` checks a download. A model card that stands in the repository is kept.

    Args:
        model: The model; it is not changed.
        repo_id: ``owner/name``; made if there is none. Needs a token: ``hf auth login``, or ``HF_TOKEN``.
        private: Make a new repository private; an existing one stays as it is.
        license: Licence of the weights, an identifier of the Hub's such as ``"mit"``; None takes that of the card that
            stands in the repository, and without one states none.
        base_model: As in :func:`save_pretrained`.
        message: Of the commit.

    Returns:
        The repository, its commit and its tag.

    Raises:
        ValueError: The model's ``pretrained_cfg`` lacks its input contract, ``license`` is no identifier or not what
            the card in the repository says, or ``repo_id`` names no owner.
        PublishingError: The Hub refuses or cannot be reached. Calling it again goes on from there.
    """
    require_owner(repo_id)
    license = License(license) if isinstance(license, str) else license
    if (card := published_file(repo_id, CARD_NAME)) is not None:
        license = kept_license(card, license, where=f"the card of {repo_id}")
        base_model = base_model or model.pretrained_cfg.get("base_model") or kept_base_model(card)
    with tempfile.TemporaryDirectory(prefix="ila_models_push_") as scratch:
        folder = save_pretrained(model, Path(scratch), repo_id=repo_id, license=license, base_model=base_model)
        write_reference(folder)
        return push_folder(folder, repo_id, message=message, private=private, keep=(CARD_NAME,))
