"""Making right what mutations.py has put out of order, to different degrees."""
from __future__ import annotations

import random
import struct
from typing import Optional

import reader
import savedisk
import xxhash
from savedisk import BEGIN, BLOCK, CHUNK, END, RecordAt, set_field, walk


def made_right(disk: bytes) -> bytes:
    """Ids, numbers, stream ends, hashes and commit made to fit what the log holds."""
    new = bytearray(disk)
    savedisk.rehash_header(new)
    digest, raw_bytes, chunks, begun = xxhash.xxh3_128(), 0, 0, 0
    for record in walk(disk):
        at = record.offset
        if record.end > len(disk):
            break
        set_field(new, "record", "sequence", record.index, at)
        if record.kind == BEGIN and record.stored_bytes == 64:
            set_field(new, "record", "stream", begun, at)
            set_field(new, "stream begin", "transferID", bytes(new[32:48]), at)
            digest, raw_bytes, chunks, begun = xxhash.xxh3_128(), 0, 0, begun + 1
        elif record.kind == CHUNK:
            set_field(new, "record", "stream", begun - 1, at)
            stated, codec, data = decoded(disk, record)
            digest.update(data or b"")
            raw_bytes, chunks = raw_bytes + stated, chunks + 1
        elif record.kind == END and record.stored_bytes == 64:
            set_field(new, "record", "stream", begun - 1, at)
            set_field(new, "stream end", "digest", digest.digest(), at)
            set_field(new, "stream end", "rawBytes", raw_bytes, at)
            set_field(new, "stream end", "chunkCount", chunks, at)
        savedisk.rehash_record(new, at)
    return savedisk.make_commit_right(bytes(new))


def hashes_right(disk: bytes) -> bytes:
    """All hashes made right, and the commit, but no digest of a stream."""
    return savedisk.make_commit_right(savedisk.rehash(disk))


def mended(rng: random.Random, disk: bytes, base: int = 0) -> bytes:
    """Nothing, the hash of the structure at base, all hashes and the commit, or all made right."""
    level = rng.randrange(8)
    if level == 0 or len(disk) < BLOCK:
        return disk
    if level <= 2:
        new = bytearray(disk)
        if base:
            savedisk.rehash_record(new, base)
        else:
            savedisk.rehash_header(new)
        return bytes(new)
    if level <= 4:
        return savedisk.rehash(disk, commit_header_hash=True, commit_log_digest=True)
    return hashes_right(disk) if level <= 6 else made_right(disk)


def decoded(disk: bytes, record: RecordAt) -> tuple[int, int, Optional[bytes]]:
    """A chunk's stated length, its codec, and its raw bytes if it decodes."""
    raw_bytes, codec = struct.unpack_from("<II", disk, record.offset + 28)
    if codec > reader.ZLIB or not 1 <= raw_bytes <= max(reader.CHUNK_SIZES):
        return raw_bytes, codec, None
    data = reader.decoded(memoryview(disk)[record.body:record.body_end], raw_bytes, codec)
    return raw_bytes, codec, None if data is None else bytes(data)


def joined(disk: bytes, records: list[bytes], renumber: bool) -> bytes:
    """The disk with other records; what fills it up to its capacity stays."""
    new = savedisk.join(disk[:BLOCK], records, renumber=renumber)
    allocated = savedisk.get_field(disk, "header", "capacityBytes") == len(disk)
    return new + disk[len(new):] if allocated else new


def new_record(kind: int, body: bytes, stream: int, raw_bytes: int, codec: int) -> bytes:
    """A record without hash and number."""
    head = struct.pack("<8sIIQIII28s", b"", kind, stream, 0, len(body), raw_bytes, codec, b"")
    return head + body.ljust(savedisk.align(len(body), 64), b"\0")
