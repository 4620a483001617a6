"""Names of outputs: no two alike, and none that a file system refuses."""

from __future__ import annotations

import hashlib

_MOST_BYTES = 200
"""Of a folder's or a file's name. File systems take 255, and formats add endings of their own."""


class Names:
    """Gives every video a name of its own."""

    def __init__(self) -> None:
        """Begins with none that is taken."""
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, name: str) -> None:
        """Notes a name that was given earlier."""
        self._taken.add(name)

    def give(self, wanted: str) -> str:
        """The name, shortened where it is too long, and with ``-2``, ``-3`` and so on where it is taken."""
        # A folder with a dot before its name is the command's own.
        wanted = f"_{wanted[1:]}" if wanted.startswith(".") else wanted
        name = wanted = "/".join(map(_short, wanted.split("/")))
        while name in self._taken:
            number = self._next.get(wanted, 2)
            self._next[wanted] = number + 1
            name = f"{wanted}-{number}"
        self._taken.add(name)
        return name


def _short(component: str) -> str:
    encoded = component.encode()
    if len(encoded) <= _MOST_BYTES:
        return component
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return f"{encoded[: _MOST_BYTES - 17].decode(errors='ignore')}-{digest}"
