"""Makes pictures that have a light and a dark form follow the site's own switch.

On GitHub, ``<picture>`` chooses by what the reader's system prefers; the site has a switch that may say otherwise.
"""

from __future__ import annotations

import re

_NARROW = "(max-width: 720px)"
"""What a ``<source>`` for small screens says; the style sheet has the same width."""
_PICTURE = re.compile(
    r'<picture>(?P<sources>.*?)<img alt="(?P<alt>[^"]+)" src="(?P<light>[^"]+)">\s*</picture>', re.DOTALL
)
_SOURCE = re.compile(r'<source media="(?P<media>[^"]+)" srcset="(?P<address>[^"]+)">')


def on_page_markdown(markdown: str, **_: object) -> str:
    """Writes all forms of each picture, of which the theme and the style sheet show one."""
    return _PICTURE.sub(_all_forms, markdown)


def _all_forms(picture: re.Match[str]) -> str:
    forms = [(source["media"], source["address"]) for source in _SOURCE.finditer(picture["sources"])]
    forms.append(("", picture["light"]))
    has_narrow = any(_NARROW in media for media, _ in forms)
    shown = []
    for media, address in forms:
        scheme = "dark" if "dark" in media else "light"
        width = "" if not has_narrow else "{.narrow}" if _NARROW in media else "{.wide}"
        shown.append(f"![{picture['alt']}]({address}#only-{scheme}){width}")
    return "".join(shown)
