"""Shows what a command of the program says of itself: a fence ``help`` holds its name."""

from __future__ import annotations

import contextlib
import io
import os
import re

from ila_models.cli.main import main

_FENCE = re.compile(r"^```help\n(?P<command>.*?)\n```$", re.MULTILINE)
COLUMNS = "100"
"""Characters in a line: what a page has room for."""


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replaces the fences by the commands' help."""
    return _FENCE.sub(lambda fence: f"```text\n{help_of(fence['command'])}```", markdown)


def help_of(command: str) -> str:
    """What ``ila-models COMMAND --help`` prints; ends the build where there is no such command."""
    os.environ["COLUMNS"] = COLUMNS
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main([*command.split(), "--help"])
    if not printed.getvalue():
        raise LookupError(f"a fence `help` names {command}, and `ila-models {command} --help` says nothing")
    return printed.getvalue()
