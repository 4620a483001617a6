"""Shows the package's own code on a page: a fence ``source`` holds dotted names, the site shows what they name.

Docstrings are left out, for the text beside the code says the same. A name that does not exist ends the build.
"""

from __future__ import annotations

import ast
import re
import textwrap
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```source\n(?P<names>.*?)^```$", re.MULTILINE | re.DOTALL)


class Source(NamedTuple):
    """Source code of one thing.

    Attributes:
        path: Its file, relative to the repository.
        name: Its name within the file.
        line: The number of its first line.
        code: Its lines without docstring, dedented.
    """

    path: str
    name: str
    line: int
    code: str


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replaces the fences by code."""
    return _FENCE.sub(lambda fence: _shown([source_of(name) for name in fence["names"].split()]), markdown)


def source_of(name: str) -> Source:
    """The code of a function, class, method or constant, ``ila_models.alignment.soft_masks``.

    Raises:
        PluginError: There is none of that name.
    """
    module, inner = _module(name)
    text = module.read_text(encoding="utf-8")
    body = ast.parse(text).body
    node: ast.stmt | None = None
    for part in inner:
        node = next((statement for statement in body if part in _defined(statement)), None)
        if node is None:
            raise PluginError(f"a fence `source` names {name}, but {module} defines no {'.'.join(inner)}")
        body = getattr(node, "body", [])
    assert node is not None, "a name has a part after its module"
    lines = dict(enumerate(text.splitlines()[node.lineno - 1 : node.end_lineno], node.lineno))
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        for number in range(body[0].lineno, (body[0].end_lineno or body[0].lineno) + 1):
            del lines[number]
    code = re.sub(r":\n\n+", ":\n", textwrap.dedent("\n".join(lines.values())))
    return Source(str(module.relative_to(ROOT)), ".".join(inner), node.lineno, code)


def _module(name: str) -> tuple[Path, list[str]]:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        path = ROOT.joinpath(*parts[:length]).with_suffix(".py")
        if path.is_file():
            return path, parts[length:]
    raise PluginError(f"a fence `source` names {name}, which is in no module")


def _defined(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign):
        return {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return set()


def _shown(sources: list[Source]) -> str:
    """A block of code for each thing; constants of a file that follow each other share one."""
    blocks = []
    for (path, _), group in groupby(sources, key=lambda source: (source.path, source.name.isupper() or source.name)):
        together = list(group)
        names = ", ".join(source.name for source in together)
        code = "\n".join(source.code for source in together)
        blocks.append(f'```python title="{names} ({path}, line {together[0].line})"\n{code}\n```')
    return "\n".join(blocks)
