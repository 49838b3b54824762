"""Mutators of save disks, for differential.py: each takes a disk and gives another one.

All chance comes from the random.Random that they are given. Most make hashes right again
afterwards, from one hash to everything that can be made to fit, so that the checks behind the
hashes decide; fixtures/savedisk.py does the building and mending.
"""
from __future__ import annotations

import random
import struct
import zlib
from typing import Callable

import reader
import savedisk
import zstandard
from mending import decoded, hashes_right, joined, made_right, mended, new_record
from recipes.zstd import COMPRESSED, RAW, RLE, of_blocks, one_match
from savedisk import (
    ABORT, BEGIN, BLOCK, CHUNK, COMMIT, LZ4, NONE, ZEROS, ZLIB, ZSTD, set_field, walk)

NOTABLE = (2, 3, 4, 5, 8, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 4096, 8192, 65535, 65536,
           65537, 131072, 1 << 20, (1 << 20) + 1, 0x7FEF, 0x7FF0, 0xFFFFFFFE, 0x80000000,
           0x80000002, 0x80000004, 1 << 62, (1 << 62) + 4096)
LEAST_MATCH = 1 + 65539  # a literal, and a match of length code 52 (RFC 8878, section 3.1.1.3.2.1.1)
Mutator = Callable[[random.Random, bytes, bytes], bytes]  # the other disk is for parts of it
PLAIN: list[Mutator] = []   # for any bytes
LOGGED: list[Mutator] = []  # for disks with a record, maybe cut


def plain(mutator: Mutator) -> Mutator:
    """Register a mutator for any bytes."""
    PLAIN.append(mutator)
    return mutator


def logged(mutator: Mutator) -> Mutator:
    """Register a mutator for disks with records."""
    LOGGED.append(mutator)
    return mutator


def somewhere(rng: random.Random, disk: bytes) -> int:
    """An offset: anywhere, or at or near a boundary of a structure, or within a record."""
    edges = [0, 80, 96, 4080, BLOCK, len(disk)]
    for record in walk(disk):
        edges += [record.offset, record.body, record.body_end, record.end]
    kind = rng.randrange(4)
    at = (rng.randrange(len(disk) + 1) if kind == 0 else rng.choice(edges) if kind == 1
          else rng.choice(edges) + rng.randrange(-9, 64) if kind == 2
          else rng.randrange(BLOCK, max(edges[-1], BLOCK) + 65))
    return min(max(at, 0), len(disk))


@plain
def bit_flip(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    at = min(somewhere(rng, disk), max(len(disk) - 1, 0))
    new = bytearray(disk or b"\0")
    new[at] ^= 1 << rng.randrange(8)
    return bytes(new)


@plain
def byte_set(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    at = min(somewhere(rng, disk), max(len(disk) - 1, 0))
    return disk[:at] + bytes([rng.choice((0, 1, 127, 128, 255, 97, 65))]) + disk[at + 1:]


@plain
def zero_range(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    at, count = somewhere(rng, disk), rng.choice((1, 8, 64, 512, 4096, rng.randrange(1, 2000)))
    if rng.randrange(2):  # sectors
        at, count = at // 512 * 512, 512 * rng.randrange(1, 9)
    zeros = bytes(min(count, len(disk) - at))
    return disk[:at] + zeros + disk[at + count:]


@plain
def truncate(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    return disk[:max(somewhere(rng, disk), 1)]


@plain
def extend(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    count = rng.choice((1, 63, 64, 512, 4095, 4096, 8192, -len(disk) % BLOCK))
    return disk + rng.choice((bytes(count), rng.randbytes(count)))


@plain
def insert_bytes(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    at, count = somewhere(rng, disk), rng.choice((1, 4, 8, 64, 128, 512, rng.randrange(1, 99)))
    at -= at % 64 if rng.randrange(2) else 0
    return disk[:at] + rng.choice((bytes(count), rng.randbytes(count))) + disk[at:]


@plain
def delete_bytes(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    at, count = somewhere(rng, disk), rng.choice((1, 4, 8, 64, 128, 512, rng.randrange(1, 99)))
    at -= at % 64 if rng.randrange(2) else 0
    return disk[:at] + disk[at + count:] or disk


def places(disk: bytes) -> dict[str, list[int]]:
    """The structures that lie whole in the disk, and the bases of each."""
    found: dict[str, list[int]] = {"header": [0]}
    for record in walk(disk):
        if record.end <= len(disk):
            found.setdefault("record", []).append(record.offset)
            body = savedisk.BODY_OF_TYPE.get(record.kind, "")
            if record.stored_bytes == savedisk.STRUCTURE_BYTES.get(body):
                found.setdefault(body, []).append(record.offset)
    return found


@logged
def field_value(rng: random.Random, disk: bytes, other: bytes) -> bytes:
    """A field gets another value; then something is made right."""
    found, theirs = places(disk), places(other)
    structure = rng.choice(list(found))
    base, entry = rng.choice(found[structure]), rng.choice(savedisk.fields_of(structure))
    old = savedisk.get_field(disk, structure, entry.name, base)
    donor, donors = rng.choice(((disk, found), (other, theirs)))
    foreign = savedisk.get_field(donor, structure, entry.name,
                                 rng.choice(donors.get(structure, found[structure])))
    if isinstance(foreign, bytes) and len(foreign) < entry.size:  # the donor ends before
        foreign = old
    if isinstance(old, int):
        most = (1 << 8 * entry.size) - 1
        swapped = int.from_bytes(old.to_bytes(entry.size, "little"), "big")
        value: savedisk.Value = rng.choice(
            (0, 1, most, old + 1, old - 1, old ^ (most + 1 >> 1), swapped, foreign,
             rng.randrange(most + 1), old ^ 1 << rng.randrange(8 * entry.size),
             rng.choice(NOTABLE), rng.choice(NOTABLE)))
    else:
        at = rng.randrange(entry.size)
        at = rng.choice((0, at, at % 8, entry.size - 1))
        one = bytes([old[at] ^ rng.choice((1, 128, rng.randrange(1, 256)))])
        value = rng.choice((bytes(entry.size), foreign, rng.randbytes(entry.size), old[::-1],
                            *(old[:at] + one + old[at + 1:],) * 4))
    new = bytearray(disk)
    set_field(new, structure, entry.name, value, base)
    return mended(rng, bytes(new), base)


@logged
def header_values(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    """Header fields at and around what this log needs; header hash and commit made right."""
    end = savedisk.align(list(walk(disk))[-1].end, BLOCK)
    sums = (savedisk.right_commit_fields(disk) or (0, {}))[1]
    raw, streams = int(sums.get("rawBytes", 0)), int(sums.get("streamCount", 1))
    domids = (0, 1, 0x7FEF, 0x7FF0, 0xFFFFFFFE, 0xFFFFFFFF)
    values: dict[str, tuple[savedisk.Value, ...]] = {
        "version": (1, 2), "requiredFeatures": (0, 1),
        "compatibleFeatures": (0, 1, 0xFFFFFFFF, rng.getrandbits(32)), "direction": (0, 1, 2, 3),
        "chunkBytes": reader.CHUNK_SIZES, "transferID": (rng.randbytes(16),),
        "capacityBytes": (0, len(disk), end, end + 4096, end - 4096, 1 << 62, (1 << 62) + 4096),
        "maxRawBytes": (0, 1, raw - 1, raw, raw + 1, 2 * raw),
        "allowedCodecs": (1, 2, 3, 7, 11, 15, 0xFFFFFFFF, rng.getrandbits(32) | 3),
        "maxStreams": (0, 1, 16, 17, streams - 1, streams, streams + 1),
        "recipientDomid": domids, "targetDomid": domids, "targetUUID": (rng.randbytes(16),)}
    new = bytearray(disk)
    for name in rng.sample(sorted(values), rng.choice((1, 1, 2, 3))):
        set_field(new, "header", name, rng.choice(values[name]))
    full = bool(rng.randrange(4))
    disk = made_right(bytes(new)) if full else savedisk.rehash(bytes(new), commit_header_hash=True)
    capacity = int(savedisk.get_field(disk, "header", "capacityBytes"))
    if len(disk) < capacity <= len(disk) + 8192 and rng.randrange(2):
        disk += rng.choice((bytes, rng.randbytes))(capacity - len(disk))
    return disk


def rearranged(rng: random.Random, disk: bytes, records: list[bytes]) -> bytes:
    """The disk with these records, renumbered or not, and something made right."""
    new = joined(disk, records, bool(rng.randrange(4)))
    return mended(rng, new) if records else new


@logged
def swap_records(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    _, records = savedisk.split(disk)
    i, j = rng.randrange(len(records)), rng.randrange(len(records))
    records[i], records[j] = records[j], records[i]
    return rearranged(rng, disk, records)


@logged
def duplicate_record(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    _, records = savedisk.split(disk)
    records.insert(rng.randrange(len(records) + 1), rng.choice(records))
    return rearranged(rng, disk, records)


@logged
def remove_record(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    _, records = savedisk.split(disk)
    records.pop(rng.randrange(len(records)))
    return rearranged(rng, disk, records)


@logged
def shuffle_records(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    _, records = savedisk.split(disk)
    i, j = sorted(rng.randrange(len(records) + 1) for _ in range(2))
    part = records[i:j]
    rng.shuffle(part)
    return rearranged(rng, disk, records[:i] + part + records[j:])


@logged
def splice(rng: random.Random, disk: bytes, other: bytes) -> bytes:
    """The start of one log, then the end of another; often cut between streams."""
    (_, ours), (_, theirs) = savedisk.split(disk), savedisk.split(other)
    cuts = [[i for i, record in enumerate(log) if record[8] in (BEGIN, COMMIT)]
            if rng.randrange(2) else list(range(len(log) + 1)) for log in (ours, theirs)]
    i, j = (rng.choice(cut or [0]) for cut in cuts)
    return rearranged(rng, disk, ours[:i] + theirs[j:])


@logged
def other_header(rng: random.Random, disk: bytes, other: bytes) -> bytes:
    return mended(rng, other[:BLOCK] + disk[BLOCK:])


@logged
def optional_records(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    """Records of types with bit 31, with anything in the fields that nobody looks at."""
    _, records = savedisk.split(disk)
    count = rng.choice((1, 1, 2, 5))
    while count:
        count -= 1
        body = rng.randbytes(rng.choice((0, 1, 8, 63, 64, 65, 128, 3000)))
        kind = rng.choice((1, 2, 3, 4, 5, 0, 0x40000001, 0x60000001, 0xFF00, rng.getrandbits(31))) | rng.choice((1, 1, 1, 0)) << 31
        odd = new_record(kind, body, *(rng.choice((0, rng.getrandbits(32))) for _ in range(3)))
        records.insert(rng.randrange(len(records) + 1), odd)
    return rearranged(rng, disk, records)


@logged
def abort_early(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    _, records = savedisk.split(disk)
    code, rest = rng.choice((0, 1, 5, 6, rng.getrandbits(32))), rng.choice((0, 0, 0, 1, 1 << 31))
    abort = new_record(ABORT, struct.pack("<II", code, rest), 0, 0, 0)
    return joined(disk, records[:rng.randrange(len(records))] + [abort], True)


def length(body: bytes, at: int, nibble: int) -> tuple[int, int]:
    """A length of the LZ4 block format that starts with `nibble`, and where it ends."""
    total, more = nibble, nibble == 15
    while more:
        total, more, at = total + body[at], body[at] == 255, at + 1
    return total, at


def match_offsets(body: bytes) -> list[int]:
    """Where an LZ4 block has its match offsets, as far as it is one."""
    found: list[int] = []
    at = 0
    try:
        while True:
            token = body[at]
            literals, at = length(body, at + 1, token >> 4)
            at += literals
            if at + 2 > len(body):
                return found
            found.append(at)
            _, at = length(body, at + 2, token & 15)
    except IndexError:
        return found


def edited(rng: random.Random, codec: int, body: bytes) -> bytes:
    """A body with one edit, among them the codec's own weak places."""
    at = rng.choice((0, 1, len(body) - 1, rng.randrange(len(body)), rng.randrange(len(body))))
    at = min(at, len(body) - 1)
    matches = match_offsets(body) if codec == LZ4 else []
    if matches and rng.randrange(2):
        at = rng.choice(matches)
        old = int.from_bytes(body[at:at + 2], "little")
        value = rng.choice((0, 0, 1, 2, 7, 8, 0xFFFF, old + 1, old - 1, rng.randrange(1 << 16)))
        return body[:at] + (value & 0xFFFF).to_bytes(2, "little") + body[at + 2:]
    byte = bytes([rng.choice((0, 255, body[at] ^ 1 << rng.randrange(8), rng.randrange(256)))])
    return rng.choice((body[:at] + byte + body[at + 1:], body[:at] + byte + body[at + 1:],
                       body[:at] + byte + body[at:], body[:at] + body[at + 1:], body[:at],
                       body + byte))


def recoded(rng: random.Random, raw: bytes) -> tuple[int, bytes]:
    """Another codec's body for the same bytes: zlib's and zstd's in odd forms, right or nearly so."""
    codec = rng.choice((NONE, ZEROS, LZ4, ZLIB, ZLIB, ZLIB, ZLIB, ZSTD, ZSTD, ZSTD))
    if codec == ZSTD:
        return codec, zstd_frames(rng, raw)
    if codec != ZLIB:
        return codec, b"" if codec == ZEROS else raw if codec == NONE else savedisk.lz4_block(raw)
    bits, cut = rng.choice((*range(9, 16), -15, 31)), rng.choice((0, len(raw) // 2, len(raw)))
    form = (rng.randrange(10), zlib.DEFLATED, bits, rng.randrange(1, 10), rng.randrange(5))
    preset = 0 < bits < 16 and rng.randrange(8) == 0
    coder = zlib.compressobj(*form, raw[:99]) if preset else zlib.compressobj(*form)
    body = coder.compress(raw[:cut])
    for _ in range(rng.randrange(4)):
        body += coder.flush(
            rng.choice((zlib.Z_PARTIAL_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH)))
    body += coder.compress(raw[cut:]) + coder.flush()
    return codec, body + rng.choice((b"", b"", b"", b"\0", body))


def zstd_blocks(rng: random.Random, size: int) -> bytes:
    """A frame by hand, of blocks as large as they may be, or nearly."""
    blocks, left = [], size
    while left > 0 and len(blocks) < 40:
        count = min(left, rng.choice((left, 131071, 131072, 131073, rng.randrange(1, left + 1))))
        if rng.randrange(2) and 0 <= count - LEAST_MATCH < 1 << 16:
            match = one_match(1, 0, 52, f"{count - LEAST_MATCH:016b}")
            blocks.append((COMPRESSED, len(match), match))
        else:
            blocks.append((RLE, count, rng.randbytes(1)))
        left -= count
    odd = rng.choice((None,) * 4 + ((RAW, 0, b""), (3, 1, b"a"), (RLE, 1, b"a")))
    if odd:
        blocks.insert(rng.randrange(len(blocks) + 1), odd)
    return of_blocks(size, *blocks)


def zstd_frames(rng: random.Random, raw: bytes) -> bytes:
    """A frame of one segment, with and without a checksum, or what is nearly one."""
    if rng.randrange(3) == 0:
        return zstd_blocks(rng, len(raw))
    coder = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(
        compression_level=rng.choice((1, 3, 19)), window_log=rng.choice((10, 17, 20, 20, 20)),
        write_checksum=rng.randrange(3) == 0, write_content_size=rng.randrange(6) > 0))
    body = coder.compress(raw)
    skippable = b"\x50\x2a\x4d\x18\4\0\0\0none"
    return rng.choice((b"", b"", b"", b"", skippable)) + body + rng.choice(
        (b"", b"", b"", b"", b"\0", body, skippable))


def changed_chunk(rng: random.Random, disk: bytes, recode: bool,
                  mend: Callable[[bytes], bytes]) -> bytes:
    """The disk with one chunk edited or coded anew, and what mend makes right made right."""
    found = [r for r in walk(disk) if r.kind == CHUNK and r.end <= len(disk)]
    shrunk = [r for r in found if disk[r.offset + 32] >= LZ4]
    if not found:
        return disk
    record = rng.choice(shrunk or found)
    raw_bytes, codec, raw = decoded(disk, record)
    body = disk[record.body:record.body_end]
    if recode:
        codec, body = recoded(rng, raw or rng.randbytes(99))
    elif body:
        body = edited(rng, codec, body)
    near = (raw_bytes - 1, raw_bytes + 1, len(body), len(body) + 1)  # checks D4 and D7
    raw_bytes = rng.choice((*(raw_bytes,) * 12, *near))
    stream = int(savedisk.get_field(disk, "record", "stream", record.offset))
    _, records = savedisk.split(disk)
    records[record.index] = new_record(CHUNK, body, stream, raw_bytes & 0xFFFFFFFF, codec)
    return mend(joined(disk, records, True))


@logged
def body_edit(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    """A body changes; its record's hash and the commit are right, the stream's digest is not."""
    return changed_chunk(rng, disk, False, hashes_right)


@logged
def body_edit_digest_right(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    """Likewise, but if it still decodes, the digest is right too: the codec alone decides."""
    return changed_chunk(rng, disk, False, made_right)


@logged
def body_recoded(rng: random.Random, disk: bytes, _: bytes) -> bytes:
    """A body in another coding that may or may not be a right one, all hashes right."""
    return changed_chunk(rng, disk, True, made_right)


def mutated(rng: random.Random, disk: bytes, other: bytes) -> tuple[bytes, list[str]]:
    """The disk after 0 to 3 mutations, and their names."""
    names = []
    for _ in range(rng.choices((0, 1, 2, 3), (3, 72, 15, 10))[0]):
        fit = PLAIN + LOGGED * 2 if any(walk(disk)) else PLAIN
        mutator = rng.choice([*fit, field_value] + [field_value] * 12 if any(walk(disk)) else fit)
        disk = mutator(rng, disk, other)
        names.append(mutator.__name__)
    return disk, names
