"""A folder to a Hub repository: one commit, one tag, nothing twice."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

from ..weights.files import file_sha256
from ..weights.hub import TransportError, first_line, git_sha1
from .errors import PublishingError

_logger = logging.getLogger(__name__)

RepoType = Literal["model", "dataset", "space"]

_VERSION_TAG = re.compile(r"^v(\d+)$")


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """A released state of a repository.

    Attributes:
        repo_id: ``owner/name``.
        commit: Its 40 hexadecimal digits.
        tag: ``v1``, ``v2``, ...
        is_new: Whether this call made the commit.
    """

    repo_id: str
    commit: str
    tag: str
    is_new: bool


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    message: str,
    repo_type: RepoType = "model",
    private: bool = False,
    space_sdk: str | None = None,
    keep: Collection[str] = (),
) -> Pushed:
    """Pushes all files of a folder as one commit and tags it; what is there already is not pushed again.

    The repository is made if there is none. Files there that the folder does not have are left alone. Before anything
    is uploaded, the client has the Hub check the card.

    Args:
        folder: What to push, hidden files and ``__pycache__`` excepted.
        repo_id: ``owner/name``.
        message: Of the commit.
        repo_type: Kind of repository.
        private: Make a new repository private; an existing one stays as it is.
        space_sdk: ``"gradio"``, ...; for a new Space.
        keep: Files that are not pushed where the repository has one of that name.

    Raises:
        PublishingError: The Hub refuses or cannot be reached. Calling it again goes on from there.
    """
    api = HfApi()
    files = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    with explained(f"publishing {repo_id}"):
        api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True, space_sdk=space_sdk)
        head = api.repo_info(repo_id, repo_type=repo_type).sha
        if head is None:
            raise PublishingError(f"publishing {repo_id}: the Hub names no commit of it: try again")
        changed = _changed(api, repo_id, repo_type, head, files, keep)
        commit = head
        if changed:
            _logger.info("%s: pushing %s", repo_id, ", ".join(changed))
            commit = api.create_commit(
                repo_id,
                [CommitOperationAdd(name, files[name]) for name in changed],
                commit_message=message,
                repo_type=repo_type,
                parent_commit=head,
            ).oid
        else:
            _logger.info("%s: all %d files are there already", repo_id, len(files))
        return Pushed(repo_id=repo_id, commit=commit, tag=_tag(api, repo_id, repo_type, commit), is_new=bool(changed))


def repository_of(namespace: str, name: str) -> str:
    """The repository ``namespace/name``, before anything is done for it.

    Raises:
        ValueError: The Hub has no user or organisation of such a name.
    """
    repo_id = f"{namespace}/{name}"
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(
            f"namespace={namespace!r} is not the name of a user or an organisation of the Hub, as in"
            f" huggingface.co/NAME: {first_line(error)}"
        ) from error
    return repo_id


def require_owner(repo_id: str) -> None:
    """Refuses a name without an owner, before anything is asked of the Hub.

    Raises:
        ValueError: Says what to give.
    """
    if "/" not in repo_id:
        raise ValueError(f"repo_id={repo_id!r} has no owner: give 'OWNER/{repo_id}'")


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns the client's errors into ours."""
    try:
        yield
    except PublishingError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code
        ways_out = {
            401: "log in with `hf auth login`, or set HF_TOKEN to a token that may write",
            403: "your token may not write there: use one of the owner's with write access",
            412: "somebody else changed the repository meanwhile: look at it, then run this again",
            429: "the Hub asks to wait: run this again in a few minutes, it goes on from there",
        }
        way_out = ways_out.get(status, "run this again, it goes on from there")
        raise PublishingError(f"{doing}: {first_line(error)} (status {status}): {way_out}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PublishingError(
            f"{doing}: the Hub's answer came damaged ({first_line(error)}): run this again, it goes on from there"
        ) from error
    except ValueError as error:
        # The card: the client asks the Hub about it, and hands on what the Hub says.
        raise PublishingError(f"{doing}: the Hub refuses: {' '.join(str(error).split())}") from error
    except (TransportError, OSError, RuntimeError) as error:
        # The client's upload of a large file ends in a RuntimeError round the one that tells why.
        cause = f": {first_line(error.__cause__)}" if isinstance(error.__cause__, Exception) else ""
        raise PublishingError(f"{doing}: {first_line(error)}{cause}: run this again, it goes on from there") from error


def same_as_published(remote: RepoFile, path: Path) -> bool:
    """Whether a file of a repository has the bytes of a file here."""
    if remote.size != path.stat().st_size:
        return False
    if remote.lfs is not None:
        return remote.lfs.sha256 == file_sha256(path)
    return remote.blob_id == git_sha1(path)


def _changed(
    api: HfApi, repo_id: str, repo_type: RepoType, commit: str, files: dict[str, Path], keep: Collection[str]
) -> list[str]:
    """Names of the files that the commit does not have, or has with other bytes."""
    found = api.get_paths_info(repo_id, list(files), revision=commit, repo_type=repo_type)
    published = {each.path: each for each in found if isinstance(each, RepoFile)}
    return [
        name
        for name, path in sorted(files.items())
        if name not in published or (name not in keep and not same_as_published(published[name], path))
    ]


def release_tags(api: HfApi, repo_id: str, repo_type: RepoType = "model") -> dict[int, str]:
    """The commits of a repository's releases ``v1``, ``v2``, ..., by their numbers."""
    tags = api.list_repo_refs(repo_id, repo_type=repo_type).tags
    return {int(match[1]): each.target_commit for each in tags if (match := _VERSION_TAG.match(each.name))}


def _tag(api: HfApi, repo_id: str, repo_type: RepoType, commit: str) -> str:
    """The tag of a commit, made if it has none."""
    releases = release_tags(api, repo_id, repo_type)
    for number in sorted(releases, reverse=True):
        if releases[number] == commit:
            return f"v{number}"
    tag = f"v{max(releases, default=0) + 1}"
    # One that somebody else has made meanwhile may be of another commit: the Hub's refusal is right.
    api.create_tag(repo_id, tag=tag, revision=commit, repo_type=repo_type)
    return tag


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield path
