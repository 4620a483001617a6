"""What the outputs of a video are called: names that are safe as paths below any folder."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote, urlsplit

_NAMELESS = "video"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
# What ends a line for some reader is no part of a name: C0, delete, C1, and Unicode's two separators.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def safe_name(text: str) -> str:
    """Makes a name of any text: a relative path that never leaves the folder which it is taken from.

    Args:
        text: Components with forward slashes between them; it may be empty or absolute, and hold surrogate escapes.

    Returns:
        One component or more with forward slashes between them, none of them empty, ``.`` or ``..``; without control
        characters, and encodable as UTF-8.
    """
    text = _CONTROL.sub("_", text).encode("utf-8", "backslashreplace").decode("utf-8")
    parts = posixpath.normpath(text).split("/")
    return "/".join(part for part in parts if part not in ("", ".", "..")) or _NAMELESS


def path_name(path: str) -> str:
    """The name of a video at a path: all of the path, but for the last suffix."""
    return safe_name(posixpath.splitext(path)[0])


def address_name(address: str) -> str:
    """The name of a video at an address: the last part of its path without the suffix, or the host where it has none.

    User names and passwords, queries and fragments stay out of it.
    """
    try:
        url = urlsplit(address)
        last = posixpath.basename(unquote(url.path, errors="surrogateescape").rstrip("/"))
        return path_name(last) if last else safe_name(url.hostname or "")
    except ValueError:  # an address that is none: what is wrong with it is told when it is read
        return _NAMELESS


def is_address(text: str) -> bool:
    """Whether a text is an address of any scheme, rather than a path."""
    return _ADDRESS.match(text) is not None
