"""What the page says."""

from __future__ import annotations

from ..weights.manifest import citation, records
from .limits import Limits
from .models import LoadedModel

TITLE = "ILA: see what a video model aligns"
POINT = (
    "**A point** is a place that the model chooses in a frame: for each pair of neighbouring frames it predicts one in"
    " the earlier and one in the later frame, as it has learned from the names of classes alone, so that a point need"
    " not lie on what moves."
)
MASK = (
    "**The mask** is a soft spotlight round the point: patches near it count fully, those further away less and less."
    " What is weighed so is added to the frame's tokens once more, together with features made of both frames."
)
_NAMES_SHOWN = 12


def introduction() -> str:
    """What stands under the title."""
    arxiv = citation("ila").arxiv
    return (
        "Show it a short video, and it says what happens there. An"
        f" [ILA model](https://arxiv.org/abs/{arxiv}) aligns every two neighbouring frames before it looks at each of"
        " them: the points show where."
    )


def limits_line(limits: Limits, *, kept_minutes: int) -> str:
    """What may be uploaded, and what becomes of it."""
    return (
        f"Videos {limits}: mp4, mov, webm; mkv and avi, too, which browsers may not play. They are deleted after"
        f" {kept_minutes} minutes at the latest."
    )


def about(loaded: LoadedModel) -> str:
    """What a model is, and what it chooses among."""
    known = loaded.model.pretrained_cfg
    record = records().get(f"{known['architecture']}.{known['tag']}")
    said = f"{record.description[0].upper()}{record.description[1:]}." if record else f"The weights of {loaded.name}."
    names = loaded.own_names or ()
    if len(names) > _NAMES_SHOWN:
        said += f" It chooses among {len(names)} classes, such as {', '.join(names[:3])}."
    elif names:
        said += f" It chooses among {', '.join(names)}, whatever it is shown."
    elif loaded.text_encoder is None:
        said += f" It chooses among {loaded.model.num_classes} classes, whose names it does not know."
    if loaded.text_encoder is not None:
        said += " It reads any class names that you type." if names else " Type class names for it to choose among."
    return said
