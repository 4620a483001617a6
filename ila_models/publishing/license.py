"""Under which licence weights are published, and who says so."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..weights.manifest import Record

_IDENTIFIER = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_LINK = re.compile(r"https?://[^\s<>\"']+|LICEN[CS]E(\.md|\.txt)?")
_ELSEWHERE = re.compile(r"see (https?://\S+)")

_STATED_ELSEWHERE = "stated-at-link"
"""Name of a licence of which only the place is known where it stands."""


@dataclass(frozen=True)
class License:
    """A licence as a model card states it.

    Attributes:
        id: An identifier of the Hub's list (``"mit"``, ``"cc-by-nc-4.0"``), or ``"other"``.
        name: With ``"other"``, its name, in the form of an identifier.
        link: With ``"other"``, where it stands: a URL, or a file ``LICENSE`` of the repository.

    Raises:
        ValueError: A field has not the form that the Hub takes.
    """

    id: str
    name: str | None = None
    link: str | None = None

    def __post_init__(self) -> None:
        """Checks the fields' forms. Which identifiers there are, only the Hub knows."""
        if not _IDENTIFIER.fullmatch(self.id):
            raise ValueError(
                f"license {self.id!r} is not an identifier of the Hub's: these have lower-case letters, digits, '.' and"
                f" '-', such as 'mit' or 'cc-by-nc-4.0' (https://huggingface.co/docs/hub/repositories-licenses)"
            )
        if self.id == "other":
            self._check_other()
        elif self.name is not None or self.link is not None:
            raise ValueError(f"license {self.id!r} needs neither name nor link: these belong to license 'other'")

    def _check_other(self) -> None:
        if not self.name or not self.link:
            raise ValueError(
                f"license 'other' has name={self.name!r} and link={self.link!r}: give both, such as 'my-license-1.0'"
                f" and the URL where it can be read: --license-name and --license-link on the command line,"
                f" License('other', name=..., link=...) of ila_models.publishing.license in Python"
            )
        if not _IDENTIFIER.fullmatch(self.name):
            raise ValueError(
                f"the licence's name {self.name!r} is not in the Hub's form: lower-case letters, digits, '.' and '-',"
                f" such as 'my-license-1.0'"
            )
        if not _LINK.fullmatch(self.link):
            raise ValueError(
                f"the licence's link {self.link!r} is neither a URL (https://...) nor a file LICENSE of the repository"
            )


def stated_license(record: Record) -> License | None:
    """The licence that the manifest states for a checkpoint, None where it states none.

    Raises:
        ValueError: What stands there is neither an identifier nor ``see URL``.
    """
    if record.license is None:
        return None
    elsewhere = _ELSEWHERE.fullmatch(record.license)
    return License("other", _STATED_ELSEWHERE, elsewhere[1]) if elsewhere else License(record.license)


def resolve_license(record: Record | None, asked: License | None) -> License:
    """Decides under which licence weights are published.

    Args:
        record: The checkpoint's record in the manifest; None for a model of the person's own.
        asked: What the person states.

    Returns:
        The manifest's licence if it states one, else the person's.

    Raises:
        ValueError: Nobody states a licence, or the two differ.
    """
    stated = None if record is None else stated_license(record)
    if record is None or stated is None:
        if asked is None:
            whose = "this model" if record is None else f"{record.name} by its authors"
            raise ValueError(
                f"no licence is stated for {whose}, and weights are not published without one: if you may license them,"
                f" state it on your own responsibility with --license ID on the command line, license=ID in Python"
                f" (https://huggingface.co/docs/hub/repositories-licenses lists the identifiers)"
            )
        return asked
    if asked is not None and asked != stated:
        raise ValueError(
            f"license {told(asked)} is asked for, but {record.name} is under {told(stated)} as the manifest states:"
            f" leave --license (license=) out, or correct the manifest"
        )
    return stated


def told(license: License) -> str:
    """A licence in a few words, for messages."""
    return license.id if license.link is None else f"{license.id} ({license.name}, {license.link})"
