"""Whether a folder's checkpoint is of the run that is to go on: the same configuration, and the same training data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from .checkpoint import RunState
from .config import TrainingConfig
from .errors import TrainingError

_logger = logging.getLogger(__name__)

# How the machine is used may change between the parts of a run; what is computed may not.
_USES_OF_THE_MACHINE = {
    ("data", "num_workers"),
    ("run", "save_every"),
    ("run", "validate_every"),
    ("run", "grad_checkpointing"),
}
# But for what helps a run that got lost in numbers that are not finite.
_REMEDIES = {
    ("optimizer", "lr"),
    ("optimizer", "alignment_lr"),
    ("optimizer", "skip_lr"),
    ("optimizer", "head_lr"),
    ("optimizer", "clip_norm"),
    ("run", "precision"),
}


def check_same_config(config: TrainingConfig, state: RunState, folder: Path) -> None:
    """Refuses to go on with the state of another configuration; says which of the fields that may change do.

    Raises:
        TrainingError: Names the fields that differ.
    """
    differing: list[str] = []
    changed: list[str] = []
    for section, values in config.as_dict().items():
        for name, value in values.items():
            before = state.config.get(section, {}).get(name)
            if value == before or (section, name) in _USES_OF_THE_MACHINE:
                continue
            message = f"{section}.{name} is {value!r}, was {before!r}"
            (changed if (section, name) in _REMEDIES else differing).append(message)
    if differing:
        raise TrainingError(
            f"{folder} holds a run of another configuration: {'; '.join(differing)}. Choose another folder, or the same"
            f" configuration"
        )
    for message in changed:
        _logger.warning("from step %d on, %s", state.step, message)


def check_same_data(data: dict[str, Any], state: RunState, folder: Path) -> None:
    """Refuses to go on with the state of other training data, as :attr:`Source.described` has them.

    Raises:
        TrainingError: Says what differs.
    """
    if state.data is None:  # a state of before they were noted
        return
    differing = []
    names, names_before = data["class_names"], state.data["class_names"]
    if len(names) != len(names_before):
        differing.append(f"{len(names)} classes, were {len(names_before)}")
    elif names != names_before:
        first = next(number for number, name in enumerate(names) if name != names_before[number])
        differing.append(f"class {first} is {names[first]!r}, was {names_before[first]!r}")
    if data["samples"] != state.data["samples"]:
        differing.append(f"{data['samples']} samples, were {state.data['samples']}")
    elif data["sha256"] != state.data["sha256"]:
        differing.append("paths, labels or their order are others")
    if differing:
        raise TrainingError(
            f"{folder} holds a run on other training data: {'; '.join(differing)}. Bring back the data as they were, or"
            f" choose another folder"
        )
