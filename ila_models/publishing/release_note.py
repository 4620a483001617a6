"""What this machine remembers of a release, so that to publish it again costs two questions to the Hub, not minutes."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile

from ..whole_files import write_atomically
from .published import is_not_there
from .upload import Pushed, explained

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReleaseNote:
    """A release that was pushed, read back and found right.

    Attributes:
        made_of: What decides all of its bytes: source, package version, repository, licence.
        commit: The commit, 40 hexadecimal digits.
        tag: The commit's tag.
        sha256: Of the weights.
        size: Bytes of the weights.
        files: Name of each file, and its digest as the Hub tells it.
    """

    made_of: dict[str, object]
    commit: str
    tag: str
    sha256: str
    size: int
    files: dict[str, str]

    def write(self, path: Path) -> None:
        """Writes it whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        write_atomically(path, json.dumps(asdict(self), indent=2).encode() + b"\n")


def read_release_note(path: Path) -> ReleaseNote | None:
    """A note, None where there is none that can be read: then the release is made again, which is only slower."""
    try:
        return ReleaseNote(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        _logger.warning("%s cannot be read (%s), and is not used", path, error)
        return None


def still_published(note: ReleaseNote, repo_id: str) -> Pushed | None:
    """The release of a note if the Hub has it as it was: the same files in the commit, and the tag on it.

    Raises:
        PublishingError: The Hub cannot be asked.
    """
    with explained(f"publishing {repo_id}"):
        try:
            files = hub_digests(repo_id, note.commit, list(note.files))
            tags = {each.name: each.target_commit for each in HfApi().list_repo_refs(repo_id).tags}
        except HfHubHTTPError as error:
            if is_not_there(error):
                return None
            raise
    if files != note.files or tags.get(note.tag) != note.commit:
        return None
    return Pushed(repo_id=repo_id, commit=note.commit, tag=note.tag, is_new=False)


def hub_digests(repo_id: str, commit: str, names: list[str]) -> dict[str, str]:
    """By what the Hub knows the content of files: the sha256 of a large one, the hash of git of a small one."""
    found = HfApi().get_paths_info(repo_id, names, revision=commit)
    return {
        each.path: each.blob_id if each.lfs is None else each.lfs.sha256 for each in found if isinstance(each, RepoFile)
    }
