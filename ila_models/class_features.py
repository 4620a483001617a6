"""Class names to the features that a text head compares with: templates, ensembles of them, and a cache on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence

import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from .settings import weights_sha256
from .text import TextEncoder, check_class_names
from .weights.cache import cache_folder
from .whole_files import write_atomically

_logger = logging.getLogger(__name__)

BARE_NAMES = ("{}",)
"""The released models' templates: a class name as it is."""
_FORMAT = 1  # of the cache; another number forgets all


def class_features(encoder: TextEncoder, names: Sequence[str], *, templates: Sequence[str] = BARE_NAMES) -> Tensor:
    """Features of classes, [C, E], not normalised, of names within templates.

    The feature of a class is the mean of the unit features of its texts, at their mean length: with one template, the
    feature of its only text. What was computed once for a text tower, names and templates is read from this package's
    cache.

    Args:
        encoder: CLIP's text tower.
        names: Class names.
        templates: Texts with ``{}`` in the place of the name; several make an ensemble.

    Raises:
        TypeError: ``names`` or ``templates`` are one string, or hold something else than strings.
        ValueError: There are no names or templates, a name is blank or stands twice, or a template has no ``{}``.
    """
    names, templates = check_class_names(names), check_templates(templates)
    if next(encoder.parameters()).is_meta:  # where only shapes are looked at, there is nothing to keep
        return _encode(encoder, names, templates)
    path = cache_folder() / "class_features" / f"{_key(encoder, names, templates)}.safetensors"
    try:
        return load(path.read_bytes())["features"]
    except FileNotFoundError:
        pass
    except (OSError, SafetensorError, KeyError) as error:
        _logger.warning("%s cannot be read (%s): the class features are computed again", path, error)
    features = _encode(encoder, names, templates).cpu().contiguous()
    try:
        write_atomically(path, save({"features": features}))
    except OSError as error:
        _logger.debug("the class features are not kept: %s", error)
    return features


def _encode(encoder: TextEncoder, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    texts = [template.replace("{}", name) for name in names for template in templates]
    features = encoder.encode(texts).unflatten(0, (len(names), len(templates)))
    if len(templates) == 1:
        return features[:, 0]
    lengths = features.norm(dim=-1, keepdim=True).mean(dim=1)
    return F.normalize(features, dim=-1).mean(dim=1) * lengths


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """Returns templates as a tuple.

    Raises:
        TypeError: They are one string, or one of them is none.
        ValueError: There are none, or one has no ``{}``.
    """
    if isinstance(templates, str):
        raise TypeError(
            f"templates must be a list of strings, got the single string {templates!r}: use [{templates!r}]"
        )
    if not templates:
        raise ValueError("templates are empty: give at least one, such as 'a video of {}.'")
    for template in templates:
        if not isinstance(template, str):
            raise TypeError(f"templates must be strings, got {template!r} ({type(template).__name__})")
        if "{}" not in template:
            raise ValueError(
                f"template {template!r} has no place for the name: write {{}} there, as in 'a video of {{}}.'"
            )
    return tuple(templates)


def _key(encoder: TextEncoder, names: Sequence[str], templates: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps([_FORMAT, list(names), list(templates)]).encode())
    digest.update(weights_sha256(encoder).encode())
    return digest.hexdigest()
