"""Draws the README's badges out of pyproject.toml and weights_manifest.json; with --check, compares.

python .ci/badges.py [--check]

They are files of the repository: nobody is asked when a page is opened, and none claims what does not stand there.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from ila_models.weights.manifest import records

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"
HEIGHT, PADDING, LETTER = 20, 7, 6.6  # pixels; the last of a letter of 11 pixels, on average
GREY, BLUE, GREEN = "#4b5563", "#1d5fa8", "#1a7f37"


def badges() -> dict[str, tuple[str, str, str]]:
    """By file name: what it is about, what it says, and the colour of that."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    versions = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    licence = re.search(r'^license = "(.+)"$', project, re.MULTILINE)
    trained = [record for record in records().values() if record.evaluation is not None]
    measured = {record.name: record.measured for record in trained if record.measured is not None}
    assert licence is not None
    ((name, accuracy),) = measured.items()
    return {
        "badge_python": ("Python", f"{versions[0]} to {versions[-1]}", BLUE),
        "badge_licence": ("licence", licence[1], BLUE),
        "badge_checkpoints": ("trained checkpoints", str(len(trained)), BLUE),
        "badge_measured": (f"top-1 of {name}", f"{accuracy.top1:.1f} %, measured", GREEN),
    }


def svg(about: str, said: str, colour: str) -> str:
    """A badge."""
    left, right = (round(len(text) * LETTER + 2 * PADDING) for text in (about, said))
    words = "".join(
        f'<text x="{start + width / 2:g}" y="14" textLength="{width - 2 * PADDING}">{text}</text>\n'
        for text, start, width in ((about, 0, left), (said, left, right))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{HEIGHT}"'
        f' font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" text-anchor="middle" fill="#ffffff">\n'
        f"<title>{about}: {said}</title>\n"
        f'<clipPath id="round"><rect width="{left + right}" height="{HEIGHT}" rx="3"/></clipPath>\n'
        f'<g clip-path="url(#round)"><rect width="{left}" height="{HEIGHT}" fill="{GREY}"/>'
        f'<rect x="{left}" width="{right}" height="{HEIGHT}" fill="{colour}"/></g>\n{words}</svg>\n'
    )


def main() -> int:
    """Writes, or compares: 1 if a file differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a badge is out of date")
    check = parser.parse_args().check
    files = {FOLDER / f"{name}.svg": svg(*badge) for name, badge in badges().items()}
    outdated = [path for path in files if not path.is_file() or path.read_text(encoding="utf-8") != files[path]]
    if check and outdated:
        names = ", ".join(str(path.relative_to(ROOT)) for path in outdated)
        sys.stderr.write(f"out of date: {names}; run: python .ci/badges.py\n")
        return 1
    for path in outdated:
        path.write_text(files[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
