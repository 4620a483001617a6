"""Turns formulas (``$x$``, ``$$x$$``) into MathML, which browsers show without a script."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)
_FUNCTION = re.compile(r"<mi>([a-z]{2,})</mi>")
"""Names such as cos, which the style sheet must not slant as it does letters."""


def on_page_content(content: str, **_: object) -> str:
    """Converts the formulas of a page."""

    def converted(formula: re.Match[str]) -> str:
        display = "block" if formula["tag"] == "div" else "inline"
        mathml = convert(html.unescape(formula["latex"]).strip(), display=display)
        mathml = _FUNCTION.sub(r'<mi mathvariant="normal">\1</mi>', mathml)
        return f'<div class="formula">{mathml}</div>' if display == "block" else mathml

    return _FORMULA.sub(converted, content)
