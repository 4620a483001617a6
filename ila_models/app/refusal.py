"""What is not done, and what is said then."""

from __future__ import annotations

from pathlib import Path


class RefusedError(ValueError):
    """What somebody asks for is not done; the message is for that person, and says what to do."""


def gone(path: Path) -> RefusedError:
    """What is said of an upload that the app itself has deleted, while the page on which it stands was left open."""
    return RefusedError(
        f"“{path.name}” is no longer here: uploads are deleted within an hour. Please upload it again, or press an"
        " example."
    )


def unreadable(path: Path, error: Exception) -> RefusedError:
    """What is said of a file that cannot be read as a video, without the folders of this machine."""
    reason = str(error).replace(str(path), path.name)
    return RefusedError(
        f"“{path.name}” cannot be read as a video. It may be damaged, cut off, or of another kind; please try another"
        f" file, or save it anew as mp4. The reason: {reason}"
    )
