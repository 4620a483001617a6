"""Puts files from outside docs/ on the site, and makes links that leave docs/ go where their file is to be seen.

Pages are written for GitHub, where ``../README.md#models`` and ``../benchmarks/results`` are links that work. On the
site, such a link goes to the page that shows the file, or to the repository on GitHub. A link to a file that does not
exist is left as it is: ``mkdocs build --strict`` tells it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"README.md": "readme.md", "CHANGELOG.md": "changelog.md", "examples/README.md": "examples.md"}
"""Files of the repository that are pages, and the pages' names."""
_LINK = re.compile(r'(?P<before>\]\(|(?:src|srcset|href)=")(?P<path>[^)"#:\s]+)(?P<anchor>#[^)"\s]*)?(?P<after>[)"])')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files as pages."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of a page."""
    uri = page.file.src_uri
    source = next((path for path, name in PAGES.items() if name == uri), f"docs/{uri}")

    def rewritten(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
        on_site = PAGES.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
        if on_site is not None and files.get_file_from_path(on_site) is not None:
            address = posixpath.relpath(on_site, posixpath.dirname(uri) or ".")
        elif (ROOT / target).exists():
            kind = "tree" if (ROOT / target).is_dir() else "blob"
            address = f"{config.extra['repository']}/{kind}/main/{target}"
        else:
            return link[0]
        return f"{link['before']}{address}{link['anchor'] or ''}{link['after']}"

    # Code is not text: `[x](y)` in a block or a span is no link.
    parts = re.split(r"(^```.*?^```|`[^`\n]*`)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("`") else _LINK.sub(rewritten, part) for part in parts)
