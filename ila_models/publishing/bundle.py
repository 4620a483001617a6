"""What a repository of ours holds, written into a folder: weights, their description, a model card.

::

    model.safetensors           weights, with their configuration in the header
    config.json                 the same configuration for people, timm and the Hub
    README.md                   the model card
    test/reference.safetensors  a clip and the model's answers to it; releases have it
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from huggingface_hub.utils import validate_repo_id

from ..aligned_vit import AlignedViT
from ..ila_vit import ILAVisionTransformer
from ..info import count_costs
from ..text import check_names_of_classes
from ..video_model import VideoModel, create_video_model
from ..weights.aligned import AlignedCheckpoint, write_aligned
from ..weights.checkpoint import CONTRACT, Checkpoint, contract_of
from ..weights.hub import CONFIG_NAME, REFERENCE_NAME, WEIGHTS_NAME
from ..weights.manifest import Record
from ..weights.native import write_native
from ..whole_files import write_atomically
from .aligned_bundle import aligned_checkpoint_of, aligned_config_json
from .aligned_card import aligned_card
from .card import model_card
from .config_json import config_json
from .kept_card import kept_base_model, kept_license
from .license import License
from .quiet import quiet_loads
from .reference import make_reference, save_reference
from .upload import require_owner

_logger = logging.getLogger(__name__)

CARD_NAME = "README.md"


def save_pretrained(
    model: VideoModel,
    folder: str | os.PathLike[str],
    *,
    repo_id: str | None = None,
    license: License | str | None = None,
    base_model: str | None = None,
) -> Path:
    """Writes a model into a folder: ``config.json``, ``model.safetensors``, ``README.md``.

    ``create_model("local-dir:FOLDER")`` and, once it is on the Hub, ``create_model("hf-hub:owner/name")`` give the
    model back with bit-equal weights (as float32), class names and, if it has one, text tower; of an image model with
    alignment, :func:`~ila_models.load_aligned_vit` does. Every file appears
    complete or not at all. A ``README.md`` that stands there is kept; reference tensors of weights that stood there
    before are removed.

    Args:
        model: The model; its ``pretrained_cfg`` says what its input must be.
        folder: Where to; made if need be.
        repo_id: ``owner/name`` for the model card's examples; without, they load the folder from beside it.
        license: Licence of the weights, an identifier of the Hub's such as ``"mit"``; None takes that of a card that
            stands in the folder, and without one states none.
        base_model: The repository of the Hub (CLIP's, or the image model's) that the model started from; None takes
            ``model.pretrained_cfg["base_model"]`` or what a card in the folder states, and without claims nothing.

    Returns:
        The folder.

    Raises:
        ValueError: The model was changed for inference, its ``pretrained_cfg`` lacks its input contract, ``license`` is
            no identifier or not what the card in the folder says, ``repo_id`` names no owner, ``base_model`` is no
            name of the Hub's, or an image model with alignment could not be built again.
        OSError: A file cannot be written; what stood there is untouched.
    """
    folder = Path(folder)
    if repo_id is not None:
        require_owner(repo_id)
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file: name the folder to write into")
    license = License(license) if isinstance(license, str) else license
    base_model = base_model or model.pretrained_cfg.get("base_model")
    if (card := folder / CARD_NAME).is_file():
        license = kept_license(card, license, where=str(card))
        base_model = base_model or kept_base_model(card)
    if base_model is not None:
        validate_repo_id(base_model)
    if isinstance(model, AlignedViT):
        aligned = aligned_checkpoint_of(model, folder / WEIGHTS_NAME)
        write_aligned(aligned)
        (folder / REFERENCE_NAME).unlink(missing_ok=True)  # answers of other weights, which these would seem to fail
        _write_aligned_description(aligned, folder, repo_id=repo_id, license=license, base_model=base_model)
        return folder
    checkpoint = checkpoint_of(model, folder / WEIGHTS_NAME)
    write_native(checkpoint, folder / WEIGHTS_NAME)
    (folder / REFERENCE_NAME).unlink(missing_ok=True)
    write_description(checkpoint, folder, repo_id=repo_id, license=license, base_model=base_model)
    return folder


def checkpoint_of(model: ILAVisionTransformer, path: Path) -> Checkpoint:
    """A model as the checkpoint that :func:`~ila_models.weights.native.write_native` writes.

    Raises:
        ValueError: The model was changed for inference, or its ``pretrained_cfg`` lacks its input contract.
    """
    if form := model.inference_form:
        raise ValueError(
            f"the model is {form} for inference, and its tensors fit no other model: save it before fuse() or"
            " quantize_int8(), or create it anew without fused=True"
        )
    if missing := [key for key in CONTRACT if key not in model.pretrained_cfg]:
        raise ValueError(
            f"the model's pretrained_cfg lacks {', '.join(missing)}, without which nobody could prepare its input: make"
            f" the model by create_model, or fill model.pretrained_cfg"
        )
    if model.class_names is not None:
        check_names_of_classes(model.class_names, model.num_classes)
    return Checkpoint(
        path=path,
        layout="an ila_models model",
        kind="ila",
        config=model.config,
        head="text" if model.has_text_head else "linear" if model.num_classes else "none",
        num_classes=model.num_classes,
        tensors={name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
        names={},
        text_tensors={name: tensor.cpu() for name, tensor in model.text_tensors.items()},
        class_names=None if model.class_names is None else tuple(model.class_names),
        video_prompts=model.has_video_prompts or not model.has_text_head,
        preprocessing=contract_of(model.pretrained_cfg),
        is_ours=True,
    )


def write_description(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    repo_id: str | None,
    record: Record | None = None,
    license: License | None = None,
    base_model: str | None = None,
) -> None:
    """Writes ``config.json``, and a model card where none stands, beside the weights.

    Raises:
        OSError: A file cannot be written.
    """
    _write_config(config_json(checkpoint, record, license=license, base_model=base_model), folder)
    if _keeps_card(folder):
        return
    costs = count_costs(checkpoint.config, head=checkpoint.head, num_classes=checkpoint.num_classes)
    card = model_card(
        checkpoint,
        repo_id=repo_id,
        costs=costs,
        record=record,
        license=license,
        base_model=base_model,
        has_text_tower=bool(checkpoint.text_tensors),
    )
    write_atomically(folder / CARD_NAME, str(card).encode())


def _write_aligned_description(
    checkpoint: AlignedCheckpoint, folder: Path, *, repo_id: str | None, license: License | None, base_model: str | None
) -> None:
    """The same of an image model with alignment."""
    _write_config(aligned_config_json(checkpoint, license=license, base_model=base_model), folder)
    if not _keeps_card(folder):
        card = aligned_card(checkpoint, repo_id=repo_id, license=license, base_model=base_model)
        write_atomically(folder / CARD_NAME, str(card).encode())


def _write_config(description: dict[str, Any], folder: Path) -> None:
    content = json.dumps(description, indent=2, ensure_ascii=False)
    write_atomically(folder / CONFIG_NAME, content.encode() + b"\n")


def _keeps_card(folder: Path) -> bool:
    """Whether a card stands there, which is then not written anew."""
    if stands := (folder / CARD_NAME).exists():
        _logger.info("%s stands already and is kept", folder / CARD_NAME)
    return stands


def write_reference(folder: Path) -> None:
    """Writes a clip and the answers of the model in a folder beside it.

    Raises:
        OSError: The file cannot be written.
    """
    with quiet_loads():
        model = create_video_model(f"local-dir:{folder}")
    save_reference(make_reference(model), folder / REFERENCE_NAME)
