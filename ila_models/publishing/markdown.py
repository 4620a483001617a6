"""Markdown of a model card, safe for any text."""

from __future__ import annotations

import re
import textwrap

_UNBROKEN = re.compile(r"`[^`]*`|\[[^\]]*\]\(")


def paragraph(text: str, *, first: str = "", later: str = "") -> str:
    """Lines of at most 120 characters, none of which ends within a link's text or within code."""
    held = _UNBROKEN.sub(lambda match: match[0].replace(" ", "\0"), text)
    lines = textwrap.fill(
        held, 120, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
    return lines.replace("\0", " ")


def code(text: str) -> str:
    """Any text on one line, as code, so that nothing in it is Markdown."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"
