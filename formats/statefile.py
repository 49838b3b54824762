#!/usr/bin/python3
"""A second reader of state files with trailers, written from save-disk.md, section 10, alone.

    statefile.py FILE    print what the trailer says

It shares nothing with the Swift code: where the two differ, one has a bug. Exit codes are stubsave's.
"""
from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path
from typing import NamedTuple, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))
import reader
import xxhash

GOOD, CORRUPT, INCOMPLETE, UNSUPPORTED = 0, 2, 3, 6
FOOTER = struct.Struct("<16sIIQQ16s8s")
MAGIC = b"\x89STUBTRLR\r\n\x1a\n\0\0\0"
DISK_MAGIC = b"\x89STUBSAVE\r\n\x1a\n\0\0\0"
FOUND_BY = 13  # bytes of either magic; the rest are zeros
MAX_TRAILER, FOOTER_BYTES = 1 << 20, 64
MAX_LOOKS = 64  # at footers further back than that
# Zeros at the end of a state without trailer: by the last part of the last section's name.
LONG_TAILS = {"ne2000": 65536, "lsiscsi": 16384, "ohci": 16384, "qxl": 16384, "tulip": 16384, "pvscsi": 16384}  # fmt: skip
VIRTIO, VIRTIO_TAIL, TAIL, NAME_WITHIN = "virtio-", 65536, 4096, 65536


class Trailer(NamedTuple):
    """Of a good one: lengths, and how many zeros follow it."""
    state: int
    metadata: int
    padding: int


class Failed(Exception):
    """The check that has failed, and where."""

    def __init__(self, check: str, code: int, field: str, offset: int, structure: str = "trailer") -> None:
        super().__init__(check, code, structure, field, offset)
        self.check, self.code, self.structure, self.field, self.offset = check, code, structure, field, offset


class Footer:
    """What stands before a place where a trailer may end."""

    def __init__(self, data: bytes, end: int, most: int = 1 << 64) -> None:
        self.end, self.start = end, end - FOOTER_BYTES
        (self.magic, self.version, self.features, self.state, self.metadata, self.digest,
         seal) = FOOTER.unpack_from(data, self.start)  # fmt: skip
        is_possible = self.metadata <= min(self.start, most)
        covered = data[self.start - self.metadata:self.start] if is_possible else b""
        covered += data[self.start + 16:self.start + 56]
        self.fits = is_possible and seal == xxhash.xxh3_64(covered).digest()

    @property
    def recognised(self) -> bool:
        """By its magic or by its hash."""
        return self.fits or self.magic == MAGIC


def find(data: bytes) -> Optional[Footer]:
    """"Finding it", with T12 to T14; None for T1."""
    length = len(data)
    if length >= FOOTER_BYTES and Footer(data, length).recognised:
        return Footer(data, length)
    end = len(data.rstrip(b"\0"))
    start = max(0, end - MAX_TRAILER - FOOTER_BYTES)
    at = data.rfind(MAGIC[:FOUND_BY], start)
    if at >= 0:
        place = at + FOOTER_BYTES
        if place > length:
            raise Failed("T13", INCOMPLETE, "end", end)
        if place < end:
            raise Failed("T14", CORRUPT, "trailing", place)
        return Footer(data, place)
    for place in range(max(end, FOOTER_BYTES), min(end + 8, length) + 1):
        footer = Footer(data, place)
        if footer.fits and footer.metadata <= MAX_TRAILER:
            return footer
    if data.rfind(DISK_MAGIC[:FOUND_BY], max(start, 1)) >= 0 or ends_in_magic(data, end):
        raise Failed("T13", INCOMPLETE, "end", end)
    place = further_back(data, start)
    if place is not None:
        raise Failed("T14", CORRUPT, "trailing", place)
    if length - end > tail_limit(data[:end]):
        raise Failed("T12", CORRUPT, "end", end)
    return None


def ends_in_magic(data: bytes, end: int) -> bool:
    """Whether the file was cut within a magic, "Finding it", 4."""
    return any(count < end and data[end - count:end] == magic[:count]
               for magic in (MAGIC, DISK_MAGIC) for count in range(4, FOUND_BY))  # fmt: skip


def further_back(data: bytes, limit: int) -> Optional[int]:
    """Where a trailer ends that begins its footer before `limit`, "Finding it", 5."""
    at, looks = data.find(MAGIC), 0
    while 0 <= at < limit:
        footer = Footer(data, at + FOOTER_BYTES, MAX_TRAILER)
        if looks == MAX_LOOKS or footer.fits:
            return footer.end
        looks += 1
        at = data.find(MAGIC, at + 1)
    return None


def tail_limit(content: bytes) -> int:
    """How many zeros may follow that."""
    first = max(0, len(content) - NAME_WITHIN)
    for at in range(len(content) - 1, first - 1, -1):
        if content[at] != 4 or content[at + 1:at + 3] != b"\0\0" or at + 6 >= len(content):
            continue
        name = content[at + 6:at + 6 + content[at + 5]]
        behind = content[at + 6 + content[at + 5]:][:2]
        if len(name) != content[at + 5] or len(name) < 3 or behind.strip(b"\0"):
            continue
        if all(0x20 < byte < 0x7F for byte in name):
            last = name.decode().rsplit("/", 1)[-1]
            if last.startswith(VIRTIO) and last != VIRTIO:
                return VIRTIO_TAIL
            return LONG_TAILS.get(last, TAIL)
    return TAIL


def judge(data: bytes) -> Optional[Trailer]:
    """Of a good one; None without one."""
    footer = find(data)
    if footer is None:
        return None

    def fail(check: str, field: str, at: int, code: int = CORRUPT) -> Failed:
        return Failed(check, code, field, footer.start + at)

    if footer.magic != MAGIC:
        raise fail("T2", "magic", 0)
    if footer.metadata > footer.start:
        raise fail("T3", "metadataBytes", 32)
    if not footer.fits:
        raise fail("T4", "hash", 56)
    if footer.version != 1:
        raise fail("T5", "version", 16, UNSUPPORTED)
    if footer.features:
        raise fail("T6", "requiredFeatures", 20, UNSUPPORTED)
    if footer.state + footer.metadata != footer.start:
        raise fail("T7", "stateBytes", 24)
    if footer.metadata % 4096:
        raise fail("T8", "metadataBytes", 32)
    if footer.digest != xxhash.xxh3_128(data[:footer.state]).digest():
        raise fail("T9", "stateDigest", 40)
    if footer.metadata:
        archive = data[footer.state:footer.start]
        found = reader.judge_bytes(archive)
        if found.exit_code:
            raise Failed("T10", found.exit_code, str(found.field), footer.state + (found.offset or 0),
                         str(found.structure))
        (capacity,) = struct.unpack_from("<Q", archive, 48)
        if capacity or any(stream.name == "qemu" for stream in found.streams or []):
            raise Failed("T11", CORRUPT, "metadata", footer.state)
    return Trailer(footer.state, footer.metadata, len(data) - footer.end)


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Judge a state file by its trailer.")
    parser.add_argument("file", type=Path)
    try:
        found = judge(parser.parse_args().file.read_bytes())
    except Failed as failed:
        print(f"{failed.check}: offset {failed.offset}, {failed.structure} {failed.field}")
        return failed.code
    print(f"good: {found}" if found else "unverified: no trailer")
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
