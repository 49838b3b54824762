#!/usr/bin/python3
"""No constant of a program has two meanings.

    merged_constants.py FOLDER...    whose *.build/*.o are linked together

Swift lays array literals of a function out as data that has the function's name and a number, weak, in every
module that has a copy of the function: the linker takes one of them. Swift 6.3.1, Embedded, numbers them
differently from module to module where the optimizer has turned the function round: then the code of one
module reads the constants of another, which are other ones, and nothing warns. Here every such object that is in
more than one object file must have the same bytes and relocations in all. If one has not: put no array literals of
one type into that function; numbers and StaticString are laid out in the code.
"""
from __future__ import annotations

import argparse
import re
import struct
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

# "Outlined variable" in Swift's mangling, and whether it is an object that needs no initializing at run time.
CONSTANT = re.compile(r"Tv\d*_?r?$")
SYMTAB, RELA, NOBITS = 2, 4, 8
WEAK, OBJECT = 2, 1


class Section(NamedTuple):
    """Of an ELF64 file (elf.h)."""
    kind: int
    offset: int
    size: int
    link: int
    info: int


class Objects:
    """The weak data objects of an object file: bytes, and what the linker puts in."""

    def __init__(self, data: bytes) -> None:
        assert data[:6] == b"\x7fELF\2\1", "no ELF64 file"
        self.data = data
        start, size, count = *struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HH", data, 58)
        self.sections = []
        for at in range(start, start + size * count, size):
            _, kind, _, _, offset, length, link, info = struct.unpack_from("<IIQQQQII", data, at)
            self.sections.append(Section(kind, offset, length, link, info))

    def _name(self, table: Section, at: int) -> str:
        start = self.sections[table.link].offset + at
        return self.data[start:self.data.index(b"\0", start)].decode()

    def _symbols(self, table: Section) -> list[tuple[str, int, int, int, int]]:
        """Name, info, section, value, size."""
        found = []
        for at in range(table.offset, table.offset + table.size, 24):
            name, info, _, section, value, size = struct.unpack_from("<IBBHQQ", self.data, at)
            found.append((self._name(table, name), info, section, value, size))
        return found

    def contents(self) -> dict[str, tuple[bytes, tuple[tuple[object, ...], ...]]]:
        """By name."""
        found = {}
        for table in (s for s in self.sections if s.kind == SYMTAB):
            symbols = self._symbols(table)
            for name, info, number, value, size in symbols:
                if not CONSTANT.search(name) or info >> 4 != WEAK or info & 15 != OBJECT or not 0 < number < len(self.sections):
                    continue
                section = self.sections[number]
                if section.kind != NOBITS:
                    start = section.offset + value
                    found[name] = (self.data[start:start + size], self._relocations(number, value, size, symbols))
        return found

    def _relocations(self, number: int, value: int, size: int,
                     symbols: list[tuple[str, int, int, int, int]]) -> tuple[tuple[object, ...], ...]:  # fmt: skip
        """Where in the object, and by which name or which bytes."""
        found = list[tuple[object, ...]]()
        for table in (s for s in self.sections if s.kind == RELA and s.info == number):
            for at in range(table.offset, table.offset + table.size, 24):
                offset, info, addend = struct.unpack_from("<QQq", self.data, at)
                if value <= offset < value + size:
                    name, _, section, start, _ = symbols[info >> 32]
                    target: object = (name, addend)
                    if not name and 0 < section < len(self.sections):  # of a string its bytes
                        place = self.sections[section].offset + start + addend
                        target = self.data[place:self.data.index(b"\0", place)]
                    found.append((offset - value, info & 0xFFFFFFFF, target))
        return tuple(found)


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Look for constants that have two meanings.")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    problems = 0
    for folder in parser.parse_args().folders:
        contents = defaultdict[str, dict[Path, object]](dict)
        files = sorted(folder.glob("*.build/*.o"))
        for path in files:
            for name, content in Objects(path.read_bytes()).contents().items():
                contents[name][path] = content
        shared = {name: found for name, found in contents.items() if len(found) > 1}
        differing = {name: found for name, found in shared.items() if len(set(found.values())) > 1}
        for name, found in differing.items():
            print(f"{name} differs: {', '.join(map(str, found))}", file=sys.stderr)
        print(f"{folder}: {len(files)} object files, {len(shared)} constants in more than one, {len(differing)} differ")
        # Nothing to look at is no proof.
        problems += len(differing) + (not shared)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
