"""Tables and pictures of the README and of docs/benchmarks.md, out of benchmarks/results/: nothing is typed by hand.

::

    python benchmarks/report.py [--check]

``--check`` only compares the tables with the results.
"""

from __future__ import annotations

import argparse
import sys

from pictures import DRAWINGS, THEMES, save
from provenance import REPOSITORY
from tables import TABLES

PICTURES = REPOSITORY / "docs" / "pictures"


def main() -> int:
    """Writes tables and pictures; with --check, says whether the tables are as the results have them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a table is another")
    options = parser.parse_args()
    different = []
    for path, tables in TABLES.items():
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        written = text
        for name, make in tables.items():
            written = with_table(written, name, make(), where=path)
        if written != text:
            different.append(path)
            if not options.check:
                (REPOSITORY / path).write_text(written, encoding="utf-8")
    if options.check:
        if different:
            sys.stderr.write(f"{', '.join(different)}: not as the results have it; run benchmarks/report.py\n")
        return 1 if different else 0
    PICTURES.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        for name, draw in DRAWINGS.items():
            if (figure := draw(THEMES[theme])) is not None:
                save(figure, PICTURES / f"{name}_{theme}.png", THEMES[theme])
    return 0


def with_table(text: str, name: str, table: str, *, where: str) -> str:
    """A text with the table of a name between its marks."""
    begin = f"<!-- {name}: written by benchmarks/report.py out of benchmarks/results -->\n"
    end = f"<!-- end of {name} -->\n"
    if begin not in text or end not in text:
        raise SystemExit(f"{where}: the marks of {name!r} are missing")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


if __name__ == "__main__":
    raise SystemExit(main())
