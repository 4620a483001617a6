"""Files that stand in a repository already, before something is published there."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from ..weights.errors import CheckpointError
from ..weights.hub import fetch_hub_file
from .errors import PublishingError
from .upload import explained, release_tags

_NOT_FOR_US = (401, 403, 404)


def published_file(repo_id: str, name: str) -> Path | None:
    """A file of the newest commit of a repository; None if there is none, or no such repository for this token.

    Raises:
        PublishingError: There may be one, but the Hub does not give it now.
    """
    try:
        return fetch_hub_file(repo_id, name, None)
    except FileNotFoundError:
        return None
    except CheckpointError as error:
        if is_not_there(error.__cause__):
            return None  # what is wrong with the token, if anything, the push explains
        raise PublishingError(
            f"publishing {repo_id}: what is published there cannot be read: {error}: run this again, it goes on from"
            f" there"
        ) from error


def edited_since_release(repo_id: str, name: str) -> Path | None:
    """A file of the newest commit of a repository, if it is another one than that of the newest release there.

    Raises:
        PublishingError: There may be one, but the Hub does not give it now.
    """
    newest = published_file(repo_id, name)
    if newest is None:
        return None
    with explained(f"publishing {repo_id}"):
        releases = release_tags(HfApi(), repo_id)
    if not releases:
        return None
    try:
        released = fetch_hub_file(repo_id, name, releases[max(releases)])
    except FileNotFoundError:
        return None  # a tag of somebody else's, on a commit that is no release of ours
    except CheckpointError as error:
        raise PublishingError(f"publishing {repo_id}: its last release cannot be read: {error}") from error
    return None if newest.read_bytes() == released.read_bytes() else newest


def is_not_there(error: BaseException | None) -> bool:
    """Whether the Hub says that there is no such repository or commit, or none for this token."""
    return isinstance(error, HfHubHTTPError) and error.response.status_code in _NOT_FOR_US
