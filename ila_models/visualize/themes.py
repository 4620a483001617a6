"""Colours of the pictures, for pages of light and of dark background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Theme = Literal["light", "dark"]


@dataclass(frozen=True, kw_only=True)
class Colours:
    """What a picture is drawn with, as matplotlib names colours.

    Attributes:
        paper: The background.
        ink: Text.
        muted: Lines and what is said in passing.
        accent: Bars.
    """

    paper: str
    ink: str
    muted: str
    accent: str


THEMES: dict[Theme, Colours] = {
    "light": Colours(paper="#ffffff", ink="#1f2328", muted="#6e7781", accent="#0969da"),
    "dark": Colours(paper="#0d1117", ink="#e6edf3", muted="#8b949e", accent="#4493f8"),
}

# On a photograph, which is the same on any page. Orange and sky blue are told apart by colour-blind eyes as well, and
# the marks have shapes of their own.
EARLIER = "#ff9f1c"
LATER = "#3fc1ff"
OUTLINE = "#101418"


def colours_of(theme: str) -> Colours:
    """The colours of a theme.

    Raises:
        ValueError: There is no such theme.
    """
    for name in get_args(Theme):
        if theme == name:
            return THEMES[name]
    raise ValueError(f"theme={theme!r} is not known: use one of {', '.join(map(repr, get_args(Theme)))}")
