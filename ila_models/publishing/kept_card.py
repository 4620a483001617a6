"""A model card that stands there already and is kept: what it states goes on to hold."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from huggingface_hub import metadata_load
from huggingface_hub.utils import validate_repo_id
from yaml import YAMLError

from .license import License, told

_logger = logging.getLogger(__name__)

_LICENSE_KEYS = ("license", "license_name", "license_link")


def kept_license(card: Path, asked: License | None, *, where: str) -> License | None:
    """Decides under which licence weights are that get no new card.

    Args:
        card: The card that is kept.
        asked: What the person states; None leaves it at what the card says.
        where: The card's place, for people.

    Returns:
        The card's licence; None where it states none or, with a warning, where it cannot be read.

    Raises:
        ValueError: The two differ, or one is asked for and the card's cannot be read.
    """
    try:
        id, name, link = (_text(_front_matter(card), key) for key in _LICENSE_KEYS)
        stated = None if id is None else License(id, name, link)
    except (ValueError, YAMLError) as error:
        reason = f"the licence in its front matter cannot be taken over: {' '.join(str(error).split())}"
        if asked is None:
            _logger.warning("%s: %s", where, reason)
            return None
        raise ValueError(f"{where} is kept, but {reason}: edit the card") from error
    if asked is not None and asked != stated:
        states = "no licence" if stated is None else f"license {told(stated)}"
        raise ValueError(
            f"license {told(asked)} is asked for, but {where}, which is kept, states {states}: edit the card's front"
            f" matter and what it says of the licence, or leave license= out"
        )
    return stated


def kept_base_model(card: Path) -> str | None:
    """From which model of the Hub a model started, as the card states; None where it cannot be read or states none."""
    try:
        stated = _text(_front_matter(card), "base_model")
        if stated is not None:
            validate_repo_id(stated)
    except (ValueError, YAMLError):
        return None
    return stated


def _front_matter(card: Path) -> dict[str, Any]:
    return metadata_load(card) or {}


def _text(facts: dict[str, Any], key: str) -> str | None:
    value = facts.get(key)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{key} is {value!r}, expected one text")
