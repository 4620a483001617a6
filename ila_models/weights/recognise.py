"""One door for every kind of checkpoint: a file is recognised by its contents and put under our names.

What is known of a released file's or a CLIP file's sizes comes from its tensors; ours say it in their header.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from torch import Tensor

from . import clip, native, released
from .checkpoint import Checkpoint
from .errors import CheckpointError
from .files import read_tensor_file

_logger = logging.getLogger(__name__)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads and recognises a checkpoint file. Nothing in the file is executed.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is broken, carries code, or holds none of the known layouts.
    """
    file = read_tensor_file(path)
    if native.METADATA_KEY in file.metadata:
        checkpoint = native.read_native(file)
    elif released.is_released(file.tensors):
        checkpoint = released.read_released(file)
    elif (layout := clip.recognise_clip(file.tensors)) is not None:
        checkpoint = released.read_clip(file, layout)
    else:
        raise CheckpointError(
            f"{file.path}: no known checkpoint: its {len(file.tensors)} tensors ({_some(file.tensors)}) are"
            f" neither an ILA model (ours or released) nor CLIP as OpenAI, transformers, open_clip or timm write it"
        )
    _logger.info("%s: recognised as %s", file.path, checkpoint.layout)
    return checkpoint


def _some(tensors: Mapping[str, Tensor], count: int = 4) -> str:
    names = list(tensors)
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "") if names else "none"
