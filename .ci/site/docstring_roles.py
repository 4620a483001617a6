"""Reads Sphinx's roles in docstrings (``:func:`~ila_models.load_video```), which mkdocstrings would show as they are.

A role becomes a link where the thing has a place in the reference, and code where it has none. A name that does not
exist is a warning, which ends a strict build.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import griffe

_logger = logging.getLogger("mkdocs.plugins.docstring_roles")
_ROLE = re.compile(r":(?:func|class|meth|data|mod|attr|exc):`(?P<short>~?)(?P<name>[\w.]+)`")
_LITERAL = re.compile(r"(?:^|(?<=\n))(?P<text>[^\n]*?)::\n\n(?P<block>(?:[ ]{4}[^\n]*\n?|\n)+)")


class DocstringRoles(griffe.Extension):
    """Rewrites the docstrings of a package once all of it is known."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrites the docstrings of everything in a package."""
        waiting: list[griffe.Object] = [pkg]
        while waiting:
            thing = waiting.pop()
            waiting += [member for member in thing.members.values() if isinstance(member, griffe.Object)]
            if thing.docstring is not None:
                thing.docstring.value = _as_markdown(thing.docstring.value, thing)


def _as_markdown(text: str, thing: griffe.Object) -> str:
    def link(role: re.Match[str]) -> str:
        path = _path(role["name"], thing)
        if path is None:
            _logger.warning("%s: nothing is called %s, which its docstring names", thing.path, role["name"])
        shown = role["name"].rpartition(".")[2] if role["short"] else role["name"]
        return f'<autoref optional identifier="{path or ""}">`{shown}`</autoref>'

    def code(literal: re.Match[str]) -> str:
        text = literal["text"].rstrip()
        lines = "\n".join(line.removeprefix("    ") for line in literal["block"].strip("\n").split("\n"))
        return (f"{text}:\n\n" if text else "") + f"```python\n{lines}\n```\n\n"

    return _LITERAL.sub(code, _ROLE.sub(link, text))


def _path(name: str, thing: griffe.Object) -> str | None:
    """Where ``name`` is defined, as a docstring of ``thing`` sees it: its members, what encloses it, whole paths."""
    scope: griffe.Object | None = thing
    while scope is not None:
        for whole in (f"{scope.path}.{name}", name):
            try:
                return thing.package.modules_collection[whole].canonical_path
            except (KeyError, griffe.AliasResolutionError):
                pass
        scope = scope.parent
    return None
