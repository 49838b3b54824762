#!/usr/bin/python3
"""Puts a table into the README, between the two marks that are named after it."""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Nothing is written unless both marks are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="NAME.md, for <!-- NAME: make compare --> and <!-- end of NAME -->")
    parser.add_argument("readme", type=Path)
    options = parser.parse_args()
    name, text = options.table.stem, options.readme.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: make compare -->\n", f"<!-- end of {name} -->\n"
    start, stop = text.index(begin) + len(begin), text.index(end)
    table = options.table.read_text(encoding="utf-8").strip()
    options.readme.write_text(f"{text[:start]}\n{table}\n\n{text[stop:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
