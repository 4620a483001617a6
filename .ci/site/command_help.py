"""Shows what the program says of its commands: a fence ``help`` becomes a section for each of them."""

from __future__ import annotations

import argparse
import os
import re

from ila_models.cli.main import make_parser

_FENCE = re.compile(r"^```help\n.*?^```$", re.MULTILINE | re.DOTALL)
COLUMNS = "100"
"""Characters in a line: what a page has room for."""


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replaces the fences."""
    return _FENCE.sub(lambda _: help_of_all(), markdown)


def help_of_all() -> str:
    """What ``ila-models COMMAND --help`` prints, of every command."""
    os.environ["COLUMNS"] = COLUMNS
    commands = next(
        action.choices for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return "\n\n".join(f"## {name}\n\n```text\n{parser.format_help()}```" for name, parser in commands.items())
