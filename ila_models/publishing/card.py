"""The model card, ``README.md`` of a published model: what the Hub reads of it, above what people read."""

from __future__ import annotations

import re
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..configs import HeadKind
from ..info import Costs
from ..weights.checkpoint import Checkpoint
from ..weights.manifest import Accuracy, Evaluation, Record, citation
from .card_facts import CardFacts
from .card_text import card_text
from .config_json import LIBRARY_NAME, input_contract
from .license import License
from .project import PROJECT_ADDRESS

PIPELINE_TAG = "video-classification"

_NO_SLUG = re.compile(r"[^a-z0-9]+")


def model_card(
    checkpoint: Checkpoint,
    *,
    repo_id: str | None,
    costs: Costs,
    has_text_tower: bool,
    record: Record | None = None,
    license: License | None = None,
    base_model: str | None = None,
) -> ModelCard:
    """Writes the card of a checkpoint of the manifest, or of anybody's own model.

    The same arguments give the same text. Accuracy is told for a checkpoint of the manifest only, with who claims it.

    Args:
        checkpoint: What is published; its tensors are not looked at.
        repo_id: Repository ``owner/name`` of which the card will be the ``README.md``; None for that of the folder of
            ``checkpoint.path``, by which the card then names the model.
        costs: What the model costs, see :func:`~ila_models.info.count_costs`.
        has_text_tower: Whether the file of the weights brings CLIP's text tower.
        record: The checkpoint's record in the manifest, None for any other model.
        license: Under which it is published; None leaves it open, and the card says so.
        base_model: The CLIP repository that the model started from; None where nobody knows of one. Of a checkpoint
            of the manifest, the record says it.

    Raises:
        RuntimeError: The package is not installed, so that its address is not known.
    """
    base_model = base_model if record is None else record.base_model
    facts = CardFacts(
        repo_id=repo_id,
        checkpoint=checkpoint,
        head=_head(checkpoint, can_be_named=has_text_tower or base_model is not None),
        contract=input_contract(checkpoint),
        costs=costs,
        has_text_tower=has_text_tower,
        record=record,
        base_model=base_model,
        license=license,
        citations=record.citations if record else (citation("ila"), citation("clip")),
    )
    data = ModelCardData(**_metadata(facts))
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{card_text(facts)}")


def _head(checkpoint: Checkpoint, *, can_be_named: bool) -> HeadKind:
    """The head that users get. Without classes, and without a text tower to name some, that is none."""
    if checkpoint.kind == "clip":
        return "text"
    return "none" if checkpoint.num_classes == 0 and not can_be_named else checkpoint.head


def _metadata(facts: CardFacts) -> dict[str, Any]:
    record, license = facts.record, facts.license
    from_clip = [] if facts.base_model is None else ["clip"]
    metadata: dict[str, Any] = {
        "library_name": LIBRARY_NAME,
        "pipeline_tag": PIPELINE_TAG,
        "tags": ["video", "action-recognition", *from_clip, "ila", f"arxiv:{citation('ila').arxiv}"],
    }
    if license is not None:
        metadata |= {"license": license.id, "license_name": license.name, "license_link": license.link}
    if facts.base_model is not None:
        metadata["base_model"] = facts.base_model
        frozen = record is not None and record.evaluation is None  # CLIP itself, in another file
        if not frozen and facts.checkpoint.kind == "ila":
            metadata["base_model_relation"] = "finetune"
    if record is not None and record.evaluation is not None:
        if record.evaluation.dataset.hub_id is not None:
            metadata["datasets"] = [record.evaluation.dataset.hub_id]
        metadata["metrics"] = ["accuracy"]
        metadata["model_name"] = facts.name
        metadata["eval_results"] = _results(record, record.evaluation) or None
    return metadata


def _results(record: Record, evaluation: Evaluation) -> list[EvalResult]:
    results = []
    if record.reported is not None:
        results += _claim(record.reported, evaluation, f"as reported by the {record.reported.by}")
    if record.measured is not None:
        results += _claim(record.measured, evaluation, f"measured by {record.measured.by}")
    return results


def _claim(accuracy: Accuracy, evaluation: Evaluation, whose: str) -> list[EvalResult]:
    """Top-1 and top-5 of one claim.

    The Hub's client joins results with the same dataset, `config` and split under the first one's source: `config`
    keeps two claims apart.
    """
    data = evaluation.dataset
    is_url = accuracy.source.startswith("https://")
    return [
        EvalResult(
            task_type=PIPELINE_TAG,
            task_name="Video classification",
            dataset_type=data.hub_id or _NO_SLUG.sub("-", data.name.lower()).strip("-"),
            dataset_name=data.name,
            dataset_config=f"{evaluation.clips}x{evaluation.crops} views, {whose}",
            dataset_split=evaluation.split,
            metric_type="accuracy",
            metric_name=f"{name} accuracy (%), {evaluation.clips}x{evaluation.crops} views, {whose}",
            metric_value=value,
            verified=False,
            source_name=accuracy.by,
            source_url=accuracy.source if is_url else f"{PROJECT_ADDRESS}/blob/main/{accuracy.source}",
        )
        for name, value in (("Top-1", accuracy.top1), ("Top-5", accuracy.top5))
    ]
