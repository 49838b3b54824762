#!/usr/bin/python3
"""A second reader of a device state's first bytes, written from containers.md, section 8, alone: H1 to H3.

    statehead.py FILE    print what FILE begins as

It shares nothing with the Swift code: where the two differ, one has a bug. Exit codes are stubsave's.
"""
from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path
from typing import NamedTuple, Optional

GOOD, CORRUPT, INCOMPLETE, MIGRATION, UNSUPPORTED = 0, 2, 3, 4, 6
MAGIC, VERSION, MAX_BYTES, MAX_MACHINE = b"QEVM", 3, 8192, 256
CONFIGURATION, SUBSECTION, FULL = 0x07, 0x05, 0x04
# Starts, parts and ends of sections that go on; subsections; commands.
OF_A_MIGRATION = (0x01, 0x02, 0x03, SUBSECTION, 0x08)
EARLY = b"virtio-mem-device-early"
# Bytes behind a subsection's version.
SUBSECTIONS = {b"configuration/target-page-bits": 4, b"configuration/uuid": 16}
CAPABILITIES = b"configuration/capabilities"


class Found(NamedTuple):
    """Good, or the first byte that does not fit."""
    exit_code: int
    offset: int


class Short(Exception):
    """It ends before that."""


class Bytes:
    """Taken one after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, count: int) -> bytes:
        """That many; Short if they are not there."""
        if self.at + count > len(self.data):
            raise Short
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, count: int = 4) -> int:
        """Big-endian."""
        return int.from_bytes(self.take(count), "big")

    def named(self) -> bytes:
        """A length of one byte, and so many."""
        return self.take(self.number(1))


def judge(state: bytes) -> Found:
    """Of a state that begins with QEVM."""
    data = state[:MAX_BYTES]
    if len(data) < 8:  # H1
        return Found(INCOMPLETE, len(data))
    (version,) = struct.unpack_from(">I", data, 4)
    if version != VERSION:
        return Found(UNSUPPORTED if version else CORRUPT, 4)
    at = 8
    if data[8:9] == bytes([CONFIGURATION]):  # H2
        behind = configuration(data)
        if isinstance(behind, Found):
            return behind
        at = behind
    return section(data, at)


def configuration(data: bytes) -> int | Found:
    """Where what follows it begins."""
    bytes_ = Bytes(data, 9)
    try:
        count = bytes_.number()
        if count > MAX_MACHINE:
            return Found(CORRUPT, 8)
        bytes_.take(count)
    except Short:
        return Found(INCOMPLETE, 8)
    at = bytes_.at
    while (behind := subsection(data, at)) is not None:
        at = behind
    return at


def subsection(data: bytes, at: int) -> Optional[int]:
    """Where what follows it begins; None if it is none that is passed over."""
    if data[at:at + 1] != bytes([SUBSECTION]):
        return None
    bytes_ = Bytes(data, at + 1)
    try:
        name = bytes_.named()
        bytes_.number()
        if name in SUBSECTIONS:
            bytes_.take(SUBSECTIONS[name])
        elif name == CAPABILITIES:
            for _ in range(bytes_.number()):
                bytes_.named()
        else:
            return None
    except Short:
        return None
    return bytes_.at


def section(data: bytes, at: int) -> Found:
    """H3."""
    if at >= len(data):
        return Found(INCOMPLETE, at)
    if data[at] in OF_A_MIGRATION:
        return Found(MIGRATION, at)
    if data[at] != FULL:
        return Found(CORRUPT, at)
    bytes_ = Bytes(data, at + 1)
    try:
        bytes_.number()
        name = bytes_.named()
        bytes_.take(8)
    except Short:
        return Found(INCOMPLETE, at)
    if not name or any(not 0x21 <= byte <= 0x7E for byte in name):
        return Found(CORRUPT, at)
    return Found(MIGRATION if name.endswith(EARLY) else GOOD, at)


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Judge a device state by its first bytes.")
    parser.add_argument("file", type=Path)
    with parser.parse_args().file.open("rb") as file:
        data = file.read(MAX_BYTES)
    if not data.startswith(MAGIC):
        print("no state of QEMU's")
        return CORRUPT
    found = judge(data)
    print(f"{'a device state' if not found.exit_code else 'no device state'}, offset {found.offset}")
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main())
