"""Do the labels of a data set mean what the model's outputs mean? Wrong label order gives wrong numbers silently."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from ..data.annotations import LabelledVideos
from ..data.labels import numbers_by_name

_logger = logging.getLogger(__name__)

_SHOWN = 10


def with_model_labels(videos: LabelledVideos, *, num_classes: int, class_names: Sequence[str] | None) -> LabelledVideos:
    """The same videos, labelled by the numbers of the model's outputs.

    Where the annotations name their classes and the model names its own, they are matched by name; blanks and
    underscores, capitals and small letters are alike in this. Numbers are taken as they are.

    Args:
        videos: As annotated.
        num_classes: The model's.
        class_names: The model's; None where it does not know them.

    Raises:
        ValueError: Labels and classes do not go together; the message says how to proceed.
    """
    if num_classes == 0:
        raise ValueError(
            "the model has no classes: create it with class_names=[...], or call model.set_classes([...])"
            " (ila-models evaluate: --classes FILE)"
        )
    if videos.labels_are_names:
        return _matched_by_name(videos, num_classes, class_names)
    return _checked_numbers(videos, num_classes, class_names)


def _matched_by_name(videos: LabelledVideos, num_classes: int, class_names: Sequence[str] | None) -> LabelledVideos:
    names = videos.class_names or ()
    if class_names is None:
        raise ValueError(
            f"the annotations name their classes ({_some(names)}), and the model does not name its {num_classes}: give"
            " it the names in the order of its outputs (class_names=[...]; ila-models evaluate: --classes FILE)"
        )
    present = set(videos.labels)
    used = {name: label for label, name in enumerate(names) if label in present}
    found = numbers_by_name(used, class_names)
    if unknown := [name for name in used if name not in found]:
        near = get_close_matches(unknown[0], class_names, n=1)
        hint = f" (is {unknown[0]!r} {near[0]!r}?)" if near else ""
        raise ValueError(
            f"{len(unknown)} of the {len(used)} classes in the annotations are none of the model's {num_classes}:"
            f" {_some(unknown)}{hint}; the model's are {_some(class_names)}. Rename them, or, if the model has a text"
            " head, give it the classes of this data (class_names=[...]; ila-models evaluate: --classes FILE)"
        )
    if len(set(found.values())) < len(found):
        raise ValueError(f"several classes of the annotations ({_some(list(used))}) are the same class of the model")
    numbers = {label: found[name] for name, label in used.items()}
    return replace(videos, labels=tuple(numbers[label] for label in videos.labels), class_names=tuple(class_names))


def _checked_numbers(videos: LabelledVideos, num_classes: int, class_names: Sequence[str] | None) -> LabelledVideos:
    names = videos.class_names
    if names is not None and len(names) != num_classes:
        raise ValueError(
            f"{len(names)} class names are given for the labels, and the model has {num_classes} classes: evaluate a"
            " model of these classes, or write names for labels in the annotations (CSV), which are matched by name"
        )
    highest = max(videos.labels)
    if highest >= num_classes:
        raise ValueError(
            f"label {highest} is out of range: the model has {num_classes} classes, 0 to {num_classes - 1}. Labels must"
            " start at 0, and the model must be one of this data's classes"
        )
    if names is not None and class_names is not None and tuple(names) != tuple(class_names):
        label = next(label for label, name in enumerate(names) if name != class_names[label])
        order = "in another order than" if set(names) == set(class_names) else "other than"
        raise ValueError(
            f"the class names given for the labels are {order} the model's: label {label} is {names[label]!r} there and"
            f" {class_names[label]!r} in the model, so every accuracy would be wrong. Mend the file of class names, or"
            " write names for labels in the annotations (CSV), which are matched by name"
        )
    if highest + 1 < num_classes and names is None:
        _logger.info(
            "labels go up to %d, and the model has %d classes: make sure that they mean the same", highest, num_classes
        )
    return replace(videos, class_names=tuple(class_names) if class_names is not None else names)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
