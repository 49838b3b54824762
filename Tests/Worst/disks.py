"""Disks that cost a reader as much as a disk of their length can, each at any share of its full
size: written record by record, from formats/save-disk.md and with what fixtures/ build with."""
from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "fixtures")]
import savedisk  # noqa: E402
import xxhash  # noqa: E402
from savedisk import (  # noqa: E402
    BEGIN, BLOCK, CHUNK, COMMIT, END, LZ4, NONE, OPTIONAL, ZEROS, ZLIB)

MIB = 1 << 20
STATE_BYTES = 64 * MIB  # the default of --max-state


class Disk:
    """A save disk that grows in a file; nothing of it is kept in memory."""

    def __init__(self, file: BinaryIO, chunk_bytes: int = MIB, max_streams: int = 16) -> None:
        identifier = savedisk.transfer_id("worst")
        self.header = savedisk.Header(transfer_id=identifier, chunk_bytes=chunk_bytes,
                                      max_streams=max_streams).encode()
        self.file, self.identifier = file, identifier
        self.seed = savedisk.transfer_seed(identifier)
        self.log, self.content = xxhash.xxh3_128(), xxhash.xxh3_128()
        self.records = self.log_bytes = self.raw = self.stored = self.streams = 0
        self.stream_raw = self.stream_chunks = 0
        file.write(self.header)

    def record(self, kind: int, body: bytes = b"", stream: int = 0, raw: int = 0,
               codec: int = 0) -> None:
        """Any record."""
        rest = struct.pack("<IIQIII28x", kind, stream, self.records, len(body), raw, codec) + body
        whole = xxhash.xxh3_64_digest(rest, self.seed) + rest + bytes(-len(body) % 64)
        if kind != COMMIT:
            self.log.update(whole)
            self.log_bytes += len(whole)
        self.records += 1
        self.file.write(whole)

    def begin(self, name: bytes) -> None:
        """A stream."""
        body = self.identifier + struct.pack("<I12x", len(name)) + name.ljust(32, b"\0")
        self.record(BEGIN, body, stream=self.streams)
        self.streams += 1
        self.stream_raw = self.stream_chunks = 0
        self.content.reset()

    def chunk(self, codec: int, body: bytes, raw: bytes) -> None:
        """A chunk of it."""
        self.record(CHUNK, body, self.streams - 1, len(raw), codec)
        self.content.update(raw)
        self.raw, self.stored = self.raw + len(raw), self.stored + len(body)
        self.stream_raw, self.stream_chunks = self.stream_raw + len(raw), self.stream_chunks + 1

    def end(self) -> None:
        """The end of the stream."""
        body = self.content.digest() + struct.pack("<QQ32x", self.stream_raw, self.stream_chunks)
        self.record(END, body, stream=self.streams - 1)

    def commit(self) -> None:
        """The end of the disk."""
        body = self.identifier + self.header[4080:] + self.log.digest() + struct.pack(
            "<4QI44x", self.log_bytes, self.records, self.raw, self.stored, self.streams)
        self.record(COMMIT, body)
        self.file.write(bytes(-(BLOCK + self.log_bytes + 192) % BLOCK))


def chunks(codec: int, chunk_bytes: int, raw: bytes) -> Callable[[BinaryIO, float], None]:
    """One stream of equal chunks, as many as the state may have bytes."""
    coders = {NONE: lambda: raw, ZEROS: lambda: b"", LZ4: lambda: savedisk.lz4_block(raw),
              ZLIB: lambda: zlib.compress(raw, 9)}
    def make(file: BinaryIO, share: float) -> None:
        disk, body = Disk(file, chunk_bytes), coders[codec]()
        disk.begin(b"qemu")
        for _ in range(int(STATE_BYTES * share) // chunk_bytes):
            disk.chunk(codec, body, raw)
        disk.end()
        disk.commit()
    return make


def optional(count: int, body: bytes) -> Callable[[BinaryIO, float], None]:
    """Optional records, which are all looked at and none of which is anything."""
    def make(file: BinaryIO, share: float) -> None:
        disk = Disk(file)
        disk.begin(b"qemu")
        disk.end()
        for _ in range(int(count * share)):
            disk.record(OPTIONAL | 9, body)
        disk.commit()
    return make


def streams(file: BinaryIO, share: float) -> None:
    """The most streams, each with its part of the bytes; the metadata's is among them."""
    disk, raw = Disk(file, 65536), (b"a stream's line\n" * 4096)
    for index in range(16):
        disk.begin((b"qemu", b"metadata", *(b"stream-%d" % n for n in range(14)))[index])
        for _ in range(int(STATE_BYTES * share) // 16 // 65536):
            disk.chunk(LZ4, savedisk.lz4_block(raw), raw)
        disk.end()
    disk.commit()


def metadata(file: BinaryIO, share: float) -> None:
    """A stream of metadata that takes all that there may be."""
    disk, raw = Disk(file), (b"m" * 4095 + b"\n") * 256
    disk.begin(b"qemu")
    disk.end()
    disk.begin(b"metadata")
    for _ in range(int(STATE_BYTES * share) // MIB):
        disk.chunk(NONE, raw, raw)
    disk.end()
    disk.commit()


NOISE = b"".join(savedisk.stream_digest(bytes([n & 255, n >> 8])) for n in range(65536))
DISKS: dict[str, Callable[[BinaryIO, float], None]] = {
    "zeros, 64 chunks of 1 MiB": chunks(ZEROS, MIB, bytes(MIB)),
    "zeros, 1024 chunks of 64 KiB": chunks(ZEROS, 65536, bytes(65536)),
    "LZ4, 255 times": chunks(LZ4, MIB, b"\x55" * MIB),
    "zlib, 1000 times": chunks(ZLIB, MIB, b"\x55" * MIB),
    "zlib, 64 KiB, two bytes in turn": chunks(ZLIB, 65536, b"\x55\xaa" * 32768),
    "noise, as it is": chunks(NONE, MIB, NOISE),
    "a million empty optional records": optional(1_000_000, b""),
    "optional records of 1 byte": optional(500_000, b"\xff"),
    "optional records of 1 MiB": optional(64, NOISE),
    "16 streams": streams,
    "metadata of 64 MiB": metadata,
}
