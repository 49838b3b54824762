#!/usr/bin/python3
"""Puts a table into the README, between its two marks."""

from __future__ import annotations

import argparse
from pathlib import Path

BEGIN, END = "<!-- consoles: make compare -->\n", "<!-- end of consoles -->\n"


def main() -> None:
    """Nothing is written unless both marks are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("readme", type=Path)
    options = parser.parse_args()
    text = options.readme.read_text(encoding="utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    table = options.table.read_text(encoding="utf-8").strip()
    options.readme.write_text(f"{text[:start]}\n{table}\n\n{text[end:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
