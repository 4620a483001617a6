"""Arguments that name something: an empty one, as an unset variable of a shell gives, is refused.

Without that, ``predict "$VIDEOS"`` would take the current folder, which is what Python makes of an empty path.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def given(argument: str) -> str:
    """The argument as it is, for argparse's ``type``.

    Raises:
        argparse.ArgumentTypeError: It is empty or blank.
    """
    if not argument.strip():
        raise argparse.ArgumentTypeError(
            f"{argument!r} is empty: is a variable of the shell not set? Name a file or folder; . is the current folder"
        )
    return argument


def given_path(argument: str) -> Path:
    """The same as a path.

    Raises:
        argparse.ArgumentTypeError: It is empty or blank.
    """
    return Path(given(argument))
