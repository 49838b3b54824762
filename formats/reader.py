#!/usr/bin/python3
"""A second reader of the save disk, written from save-disk.md alone.

It shares nothing with the Swift code and so guards the format: where the two differ, one has a
bug. Checks carry their ids from section 7 of the document (H1, R4 …) and stand in its order.
"""
from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import re
import stat
import struct
import sys
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO, Iterable, Optional, Union

import lz4.block
import xxhash
import zstandard

GOOD, CORRUPT, INCOMPLETE, NOT_A_DISK, UNSUPPORTED, OVER_LIMIT = 0, 2, 3, 4, 6, 7
WORDS = {GOOD: "good", CORRUPT: "corrupt", INCOMPLETE: "incomplete",
         NOT_A_DISK: "not a save disk", UNSUPPORTED: "unsupported", OVER_LIMIT: "over a limit"}
EXIT_PERMISSION, EXIT_IO, EXIT_MISSING, EXIT_USAGE = 8, 11, 14, 64

MAGIC = b"\x89STUBSAVE\r\n\x1a\n\0\0\0"
BLOCK = 4096
BEGIN, CHUNK, END, COMMIT, ABORT = 1, 2, 3, 4, 5
BODY_BYTES = {BEGIN: 64, END: 64, COMMIT: 128, ABORT: 8}
NONE, ZEROS, LZ4, ZLIB, ZSTD = 0, 1, 2, 3, 4
CODECS = {"none": NONE, "zeros": ZEROS, "lz4": LZ4, "zlib": ZLIB, "zstd": ZSTD}
DEFAULT_CODECS = frozenset((LZ4, ZLIB, ZSTD))  # beside none and zeros
CHUNK_SIZES = (65536, 131072, 262144, 524288, 1048576)
ZERO_CHUNK = bytes(max(CHUNK_SIZES))  # what codec zeros decodes to, made once
NAME_FIRST = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789")
NAME_REST = NAME_FIRST | frozenset(b"-._")
KNOWN_STREAMS = ("qemu", "metadata")  # beside the one that was asked for
MUST_UNDERSTAND = 1  # of stream begin's flags
DEFAULT_MAX_STATE = 64 << 20
Buffer = Union[bytes, memoryview]


@dataclass
class Stream:
    """One stream of a disk; `xxh128` is the digest as recorded, with decoding also as computed."""
    name: str
    rawBytes: int = 0
    storedBytes: int = 0
    chunkCount: int = 0
    xxh128: Optional[str] = None
    sha256: Optional[str] = None


@dataclass
class Verdict:
    """What the document says of an input: good, or the first check that failed and where."""
    exit_code: int = GOOD
    check: Optional[str] = None
    structure: Optional[str] = None
    field: Optional[str] = None
    offset: Optional[int] = None
    reason: str = ""
    streams: Optional[list[Stream]] = None
    disk_bytes: Optional[int] = None
    kept: Optional[bytes] = None  # raw bytes of the stream that `keep` of judge() names

    @property
    def verdict(self) -> str:
        return WORDS[self.exit_code]

    def as_json(self, path: str) -> dict[str, Any]:
        streams = None if self.streams is None else [vars(s) for s in self.streams]
        return {"path": path, "verdict": self.verdict, "exitCode": self.exit_code,
                "structure": self.structure, "field": self.field, "offset": self.offset,
                "streams": streams, "diskBytes": self.disk_bytes}


class Fault(Exception):
    """A check that failed; its arguments are the first six fields of Verdict, in order."""


def check(holds: bool, ident: str, where: str, offset: int, reason: str,
          code: int = CORRUPT) -> None:
    """One line of the document's tables: unless it holds, the verdict is `code`, at `where`."""
    if not holds:
        raise Fault(code, ident, *where.rsplit(" ", 1), offset, reason)


def check_zero(data: Buffer, at: int, ident: str, where: str) -> None:
    """A check for zeros, its offset the first other byte; `at` is where data is in the input."""
    rest = bytes(data).lstrip(b"\0")
    check(not rest, ident, where, at + len(data) - len(rest), "is not zero")


def align(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def log_limit(max_state: int) -> int:
    """The reader's limit on the log (section 8)."""
    return max_state + max_state // 64 + (1 << 20)


class Source:
    """The input, read strictly forwards, each byte once, never more than was asked for."""

    def __init__(self, source: Union[Buffer, BinaryIO], length: int) -> None:
        self.length = length
        self._file = source if hasattr(source, "read") else None
        self._view = None if self._file else memoryview(source)  # type: ignore[arg-type]
        self._position = 0

    def take(self, count: int) -> Buffer:
        """The next `count` bytes; the caller has compared `count` with limits and the length."""
        if self._view is not None:
            data = self._view[self._position:self._position + count]
            self._position += len(data)
        else:
            data = read_up_to(self._file, count)
        if len(data) != count:  # the length was taken once, at the start
            raise OSError(errno.EIO, "the input became shorter while it was read")
        return data


def read_up_to(file: BinaryIO, count: int) -> bytes:
    """`count` bytes or, at the end of the file, fewer, in memory that grows with what is there."""
    parts, missing = [], count
    while missing:
        part = file.read(min(missing, 1 << 20))
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def lz4_block(body: Buffer, raw_bytes: int) -> Optional[bytes]:
    """Decode one LZ4 block, None if it is none that gives exactly raw_bytes bytes.

    Of a match with offset 0, which liblz4 takes, either verdict is right: section 6.
    """
    try:
        # liblz4 refuses input left over and more output, but not less output: see the length.
        raw = lz4.block.decompress(body, uncompressed_size=raw_bytes)
    except (lz4.block.LZ4BlockError, ValueError):
        return None
    return raw if len(raw) == raw_bytes else None


def zlib_stream(body: Buffer, raw_bytes: int) -> Optional[bytes]:
    """Decode one zlib stream, None if it is none, not all of body, or not raw_bytes bytes."""
    decoder = zlib.decompressobj()  # without zdict: a stream that wants a dictionary is an error
    try:
        # One byte of room more, for else zlib stops before it has seen the end and the checksum.
        raw = decoder.decompress(body, raw_bytes + 1)
    except zlib.error:
        return None
    complete = decoder.eof and not decoder.unused_data and not decoder.unconsumed_tail
    return raw if complete and len(raw) == raw_bytes else None


def zstd_blocks_fit(body: Buffer, at: int, raw_bytes: int) -> bool:
    """Whether the blocks from `at` on are as large as they may be, and end the body."""
    most, checksum, last = min(raw_bytes, 131072), 4 * (body[4] >> 2 & 1), False
    while not last:
        head = int.from_bytes(bytes(body[at:at + 3]), "little")
        last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
        if at + 3 > len(body) or kind == 3 or size > most or (kind == 2 and size == 0):
            return False
        at += 3 + (1 if kind == 1 else size)  # kind 1, RLE, stores one byte
    return at + checksum == len(body)


def zstd_frame(body: Buffer, raw_bytes: int) -> Optional[bytes]:
    """Decode one Zstandard frame of a single segment that states raw_bytes, None if it is none."""
    if len(body) < 6 or bytes(body[:4]) != b"\x28\xb5\x2f\xfd" or body[4] & 0x3B != 0x20:
        return None
    size = 1 << (body[4] >> 6)
    stated = int.from_bytes(bytes(body[5:5 + size]), "little") + (256 if size == 2 else 0)
    if len(body) < 5 + size or stated != raw_bytes \
            or not zstd_blocks_fit(body, 5 + size, raw_bytes):
        return None
    # In pieces, as decompressobj does it, libzstd also refuses a block that gives too much.
    decoder = zstandard.ZstdDecompressor().decompressobj()
    try:
        raw = decoder.decompress(body)
    except zstandard.ZstdError:
        return None
    return raw if decoder.eof and not decoder.unused_data and len(raw) == raw_bytes else None


def decoded(body: memoryview, raw_bytes: int, codec: int) -> Optional[Buffer]:
    """The raw bytes of a chunk that has passed D1 to D6, or None if D7 fails."""
    if codec == NONE:
        return body
    if codec == ZEROS:
        return memoryview(ZERO_CHUNK)[:raw_bytes]
    return {LZ4: lz4_block, ZLIB: zlib_stream, ZSTD: zstd_frame}[codec](body, raw_bytes)


@dataclass
class Header:
    """The fields of block 0 that the log is judged by."""
    chunk_bytes: int
    transfer_id: bytes
    capacity: int
    max_raw: int
    allowed: int
    max_streams: int
    hash: bytes


def domid_fits(domid: int) -> bool:
    return domid <= 0x7FEF or domid == 0xFFFFFFFF


def parse_header(source: Source) -> Header:
    """Checks H1 to H15, in the document's order."""
    if source.length < BLOCK:
        begins = bytes(source.take(min(source.length, 16))) == MAGIC
        check(begins, "H1", "header end", source.length, "too short", NOT_A_DISK)
        check(False, "H15", "header end", source.length, "header is cut", INCOMPLETE)
    block = bytes(source.take(BLOCK))
    (magic, version, features, direction, chunk_bytes, transfer_id, capacity, max_raw, allowed,
     max_streams, recipient, target) = struct.unpack_from("<16s4I16s2Q4I", block)
    digest = xxhash.xxh3_128_digest(block[:4080])
    capacity_fits = capacity == 0 or (capacity % BLOCK == 0 and 8192 <= capacity <= 1 << 62)
    check(magic == MAGIC, "H2", "header magic", 0, "differs", NOT_A_DISK)
    check(digest == block[4080:], "H3", "header hash", 4080, "differs")
    check(version == 1, "H4", "header version", 16, f"is {version}", UNSUPPORTED)
    check(features == 0, "H5", "header requiredFeatures", 20, f"is {features:#x}", UNSUPPORTED)
    check(direction in (1, 2), "H6", "header direction", 24, f"is {direction}")
    check(chunk_bytes in CHUNK_SIZES, "H7", "header chunkBytes", 28, f"is {chunk_bytes}")
    check(transfer_id != bytes(16), "H8", "header transferID", 32, "is zero")
    check(capacity_fits, "H9", "header capacityBytes", 48, f"is {capacity}")
    check(allowed & 3 == 3, "H10", "header allowedCodecs", 64, f"is {allowed:#x}")
    check(1 <= max_streams <= 16, "H11", "header maxStreams", 68, f"is {max_streams}")
    check(domid_fits(recipient), "H12", "header recipientDomid", 72, f"is {recipient:#x}")
    check(domid_fits(target), "H13", "header targetDomid", 76, f"is {target:#x}")
    check_zero(block[100:4080], 100, "H14", "header reserved")  # compatibleFeatures are before it
    return Header(chunk_bytes, transfer_id, capacity, max_raw, allowed, max_streams, block[4080:])


class LogReader:
    """Walks the log behind a header that has passed."""

    def __init__(self, source: Source, header: Header, *, archive: bool, max_state: int,
                 codecs: Iterable[int], decode: bool, keep: Optional[str]) -> None:
        self.source, self.header, self.archive = source, header, archive
        self.known = {*KNOWN_STREAMS, keep}
        self.max_state, self.decode, self.keep = max_state, decode, keep
        self.codecs = {NONE, ZEROS, *codecs}
        first, last = struct.unpack("<QQ", header.transfer_id)
        self.seed = first ^ last
        within = 0 < header.capacity <= source.length
        self.end = header.capacity if within else source.length  # E
        self.log_digest = xxhash.xxh3_128()
        self.records = self.total_raw = self.total_stored = 0
        self.streams: list[Stream] = []
        self.open = False   # whether a stream is; it is the last of self.streams
        self.short = False  # whether the open stream has had a chunk that is not full
        self.kept: list[Buffer] = []

    def run(self) -> int:
        """Judge the log; the length of the save disk (Z) if all is good."""
        start, done = BLOCK, False
        while not done:
            start, done = self.record(start)
        return start

    def record(self, p: int) -> tuple[int, bool]:
        """Judge the record at p (R1 to R13 and what follows); where the next is, whether done."""
        end, capacity = self.end, self.header.capacity
        check(p != end, "R1", "disk end", p, "ends before a commit", INCOMPLETE)
        check(p + 64 <= end, "R2", "record end", end, "record header is cut", INCOMPLETE)
        head = bytes(self.source.take(64))
        check(head != bytes(64), "R3", "disk end", p, "zeros before a commit", INCOMPLETE)
        digest, kind, stream, sequence, stored, raw, codec = struct.unpack_from("<8s2IQ3I", head)
        q = p + align(64 + stored, 64)
        where = "record storedBytes"
        check(stored <= self.header.chunk_bytes, "R4", where, p + 24, f"is {stored}")
        check(capacity == 0 or q <= capacity, "R5", where, p + 24, "goes beyond capacityBytes")
        check(q - BLOCK <= log_limit(self.max_state), "R6", where, p + 24, "log is over the limit",
              OVER_LIMIT)
        check(q <= end, "R7", "record end", end, "record is cut", INCOMPLETE)
        rest = memoryview(self.source.take(q - p - 64))
        body, padding = rest[:stored], rest[stored:]
        hasher = xxhash.xxh3_64(head[8:], seed=self.seed)
        hasher.update(body)
        check(hasher.digest() == digest, "R8", "record hash", p, "differs")
        check_zero(head[36:], p + 36, "R9", "record reserved")
        check_zero(padding, p + 64 + stored, "R10", "record padding")
        check(sequence == self.records, "R11", "record sequence", p + 16, f"is {sequence}")
        check(kind != 0, "R12", "record type", p + 8, "is 0")
        known, optional = BEGIN <= kind <= ABORT, bool(kind >> 31)
        check(known or optional, "R13", "record type", p + 8, f"is {kind:#x}", UNSUPPORTED)
        if known:
            self.known_type(p, kind, stream, stored, raw, codec)
        if kind == COMMIT:
            return self.commit(p, bytes(body)), True
        if kind == BEGIN:
            self.stream_begin(p, bytes(body))
        elif kind == CHUNK:
            self.chunk(p, body, raw, codec)
        elif kind == END:
            self.stream_end(p, bytes(body))
        elif kind == ABORT:
            self.abort(p, bytes(body))
        self.records += 1
        self.log_digest.update(head)
        self.log_digest.update(rest)
        return q, False

    def known_type(self, p: int, kind: int, stream: int, stored: int, raw: int,
                   codec: int) -> None:
        """Checks K1 to K5."""
        begun = len(self.streams)
        placed = {BEGIN: not self.open, CHUNK: self.open and not self.short, END: self.open,
                  COMMIT: not self.open and begun > 0, ABORT: True}[kind]
        expected = {BEGIN: begun, CHUNK: begun - 1, END: begun - 1}.get(kind, 0)
        check(placed, "K1", "record type", p + 8, f"{kind} may not stand here")
        check(stream == expected, "K2", "record stream", p + 12, f"is {stream}, not {expected}")
        if kind != CHUNK:
            check(codec == 0, "K3", "record codec", p + 32, f"is {codec}, not 0")
            check(raw == 0, "K4", "record rawBytes", p + 28, f"is {raw}, not 0")
            check(stored == BODY_BYTES[kind], "K5", "record storedBytes", p + 24, f"is {stored}")

    def stream_begin(self, p: int, body: bytes) -> None:
        """Checks B1 to B9, in the document's order."""
        transfer_id, count, flags = struct.unpack_from("<16sII", body)
        where = "stream begin name"
        check(transfer_id == self.header.transfer_id, "B1", "stream begin transferID", p + 64,
              "differs from the header's")
        check(1 <= count <= 32, "B2", "stream begin nameBytes", p + 80, f"is {count}")
        check(flags in (0, MUST_UNDERSTAND), "B8", "stream begin flags", p + 84, f"is {flags:#x}")
        check_zero(body[24:32], p + 88, "B3", "stream begin reserved")
        for at, byte in enumerate(body[32:32 + count]):
            check(byte in (NAME_REST if at else NAME_FIRST), "B4", where, p + 96 + at,
                  f"byte {byte:#04x} may not stand there")
        check_zero(body[32 + count:], p + 96 + count, "B5", where)
        name = body[32:32 + count].decode("ascii")
        check(name not in [s.name for s in self.streams], "B6", where, p + 96, f"{name} is taken")
        check(len(self.streams) < self.header.max_streams, "B7", "record stream", p + 12,
              "more streams than maxStreams")
        check(not flags or name in self.known, "B9", "stream begin flags", p + 84,
              f"{name} must be understood", UNSUPPORTED)
        self.streams.append(Stream(name))
        self.open, self.short = True, False
        self.digest, self.sha256 = xxhash.xxh3_128(), hashlib.sha256()

    def chunk(self, p: int, body: memoryview, raw: int, codec: int) -> None:
        """Checks D1 to D7."""
        stored, total, header = len(body), self.total_raw + raw, self.header
        fits = {NONE: stored == raw, ZEROS: stored == 0}.get(codec, 1 <= stored < raw)
        allowed = codec <= 31 and bool(header.allowed >> codec & 1)
        check(allowed, "D1", "record codec", p + 32, f"{codec} is not allowed")
        check(codec in self.codecs, "D2", "record codec", p + 32, f"{codec} is not accepted",
              UNSUPPORTED)
        check(1 <= raw <= header.chunk_bytes, "D3", "record rawBytes", p + 28, f"is {raw}")
        check(fits, "D4", "record storedBytes", p + 24, f"{stored} for {raw}, codec {codec}")
        check(header.max_raw == 0 or total <= header.max_raw, "D5", "record rawBytes", p + 28,
              "more than maxRawBytes")
        check(total <= self.max_state, "D6", "record rawBytes", p + 28, "state is over the limit",
              OVER_LIMIT)
        current = self.streams[-1]
        if self.decode:
            data = decoded(body, raw, codec)
            check(data is not None, "D7", "chunk body", p + 64, f"does not give {raw} bytes")
            self.digest.update(data)
            self.sha256.update(data)
            if current.name == self.keep:
                self.kept.append(data)
        current.chunkCount += 1
        current.rawBytes += raw
        current.storedBytes += stored
        self.total_raw = total
        self.total_stored += stored
        self.short = raw < header.chunk_bytes

    def stream_end(self, p: int, body: bytes) -> None:
        """Checks S1 to S4."""
        current = self.streams[-1]
        digest, raw, count = struct.unpack_from("<16sQQ", body)
        check(raw == current.rawBytes, "S1", "stream end rawBytes", p + 80, f"is {raw}")
        check(count == current.chunkCount, "S2", "stream end chunkCount", p + 88, f"is {count}")
        check_zero(body[32:], p + 96, "S3", "stream end reserved")
        if self.decode:
            check(digest == self.digest.digest(), "S4", "stream end digest", p + 64, "differs")
            current.sha256 = self.sha256.hexdigest()
        current.xxh128 = digest.hex()
        self.open = False

    def abort(self, p: int, body: bytes) -> None:
        """Checks A1 and A2; the second always fails."""
        check_zero(body[4:], p + 68, "A1", "abort reserved")
        code = int.from_bytes(body[:4], "little")
        check(False, "A2", "abort code", p + 64, f"is {code}: the writer gave up", INCOMPLETE)

    def commit(self, p: int, body: bytes) -> int:
        """Checks C1 to C13; the length of the save disk (Z)."""
        (transfer_id, header_hash, log_digest, log_bytes, records, raw, stored,
         streams) = struct.unpack_from("<16s16s16s4QI", body)
        log_fits = log_digest == self.log_digest.digest()
        check(transfer_id == self.header.transfer_id, "C1", "commit transferID", p + 64, "differs")
        check(header_hash == self.header.hash, "C2", "commit headerHash", p + 80, "differs")
        check(log_bytes == p - BLOCK, "C3", "commit logBytes", p + 112, f"is {log_bytes}")
        check(log_fits, "C4", "commit logDigest", p + 96, "differs")
        check(records == self.records, "C5", "commit recordCount", p + 120, f"is {records}")
        check(raw == self.total_raw, "C6", "commit rawBytes", p + 128, f"is {raw}")
        check(stored == self.total_stored, "C7", "commit storedBytes", p + 136, f"is {stored}")
        check(streams == len(self.streams), "C8", "commit streamCount", p + 144, f"is {streams}")
        check_zero(body[84:], p + 148, "C9", "commit reserved")
        z = align(p + 192, BLOCK)  # C10 cannot happen
        check(z <= self.end, "C11", "commit end", self.end, "padding is cut", INCOMPLETE)
        check_zero(self.source.take(z - p - 192), p + 192, "C12", "commit padding")
        trailing = self.archive and self.source.length > z
        check(not trailing, "C13", "disk trailing", z, "bytes after the end")
        return z


def judge(source: Union[Buffer, BinaryIO], *, length: int, is_archive_candidate: bool,
          is_pipe: bool = False, max_state: int = DEFAULT_MAX_STATE,
          codecs: Iterable[int] = DEFAULT_CODECS, decode: bool = True,
          keep: Optional[str] = None) -> Verdict:
    """Judge bytes, or a file object that stands at its byte 0, of `length` bytes (I).

    `is_archive_candidate`: a regular file. `is_pipe`: read from a pipe, which is always an
    archive. `keep`: name of the stream that is asked for: a good verdict holds its bytes in `kept`.
    Raises OSError if a file object fails or gives fewer than `length` bytes.
    """
    origin = Source(source, length)
    try:
        header = parse_header(origin)
        archive = is_pipe or (is_archive_candidate and length != header.capacity)
        log = LogReader(origin, header, archive=archive, max_state=max_state, codecs=codecs,
                        decode=decode, keep=keep)
        disk_bytes = log.run()
    except Fault as fault:
        return Verdict(*fault.args)
    kept = b"".join(log.kept) if keep and decode else None
    return Verdict(streams=log.streams, disk_bytes=disk_bytes, kept=kept)


def judge_bytes(data: bytes, **options: Any) -> Verdict:
    """Judge bytes as the contents of a regular file; options as for judge()."""
    return judge(data, length=len(data), is_archive_candidate=True, **options)


def judge_path(path: str, **options: Any) -> Verdict:
    """Judge a regular file, a block device, or anything else as a pipe."""
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        regular = stat.S_ISREG(mode)
        if regular or stat.S_ISBLK(mode):
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            return judge(file, length=length, is_archive_candidate=regular, **options)
        # No Q passes R6 beyond the limit and no Z is 4096 further, so that with one byte more
        # even the lengths that checks compare with come out on the same side.
        bound = BLOCK + log_limit(options.get("max_state", DEFAULT_MAX_STATE)) + BLOCK + 1
        data = read_up_to(file, bound)
        return judge(data, length=len(data), is_archive_candidate=False, is_pipe=True, **options)


# The command line

class UsageError(Exception):
    """The command line is wrong."""


class Parser(argparse.ArgumentParser):
    """argparse would exit with 2, which here means corrupt."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(message)


def printable(text: str) -> str:
    """Text from outside, fit for a terminal: what is not printable ASCII becomes \\xNN."""
    return "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in os.fsencode(text))


def put(descriptor: int, text: str) -> None:
    """Write all of it at once: a buffer would fail at exit, where nobody can catch it."""
    data = text.encode("ascii", "backslashreplace")
    while data:
        data = data[os.write(descriptor, data):]


def complain(text: str) -> None:
    try:
        put(2, f"reader.py: {text}\n")
    except OSError:
        pass  # nobody is left to be told


def byte_count(text: str) -> int:
    """100, 100KiB, 64MiB, 1GiB."""
    match = re.fullmatch(r"([0-9]{1,19})(KiB|MiB|GiB)?", text, re.ASCII)
    number = int(match[1]) << {None: 0, "KiB": 10, "MiB": 20, "GiB": 30}[match[2]] if match else -1
    if not 0 <= number <= 1 << 62:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes")
    return number


def codec_set(text: str) -> frozenset[int]:
    names = text.split(",") if text else []
    if not all(name in CODECS for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of {', '.join(CODECS)}")
    return frozenset(CODECS[name] for name in names)


def parser() -> Parser:
    p = Parser(prog="reader.py", add_help=False, allow_abbrev=False,
               description="Judge save disks; print length and SHA-256 of the stream qemu.")
    p.add_argument("disks", metavar="DISK", nargs="*", help="regular file, block device or pipe")
    p.add_argument("--max-state", type=byte_count, default=DEFAULT_MAX_STATE, metavar="BYTES",
                   help="limit on the raw bytes; KiB, MiB, GiB may follow (default 64MiB)")
    p.add_argument("--codecs", type=codec_set, default=DEFAULT_CODECS, metavar="LIST",
                   help="accepted beside none and zeros (default lz4,zlib,zstd)")
    p.add_argument("--no-decode", dest="decode", action="store_false",
                   help="leave out decoding and stream digests; SHA-256 is printed as -")
    p.add_argument("--json", action="store_true", help="one JSON object per DISK on stdout")
    p.add_argument("--output", metavar="FILE", help="write the stream qemu there if good")
    p.add_argument("-h", "--help", action="store_true", help="print this and exit")
    return p


def io_exit_code(error: OSError) -> int:
    if isinstance(error, FileNotFoundError):
        return EXIT_MISSING
    return EXIT_PERMISSION if isinstance(error, PermissionError) else EXIT_IO


def save(path: str, data: bytes) -> None:
    """State holds guest secrets: 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)


def one_disk(path: str, options: argparse.Namespace) -> int:
    """Judge one DISK and report it; its exit code."""
    shown = printable(path)
    try:
        verdict = judge_path(path, max_state=options.max_state, codecs=options.codecs,
                             decode=options.decode, keep="qemu" if options.output else None)
    except (OSError, MemoryError) as error:
        code = io_exit_code(error) if isinstance(error, OSError) else EXIT_IO
        reason = getattr(error, "strerror", None) or "out of memory"
        complain(f"{shown}: {printable(reason)}")
        if options.json:  # no verdict, but an object, so that lines and arguments pair up
            none = {**Verdict().as_json(shown), "verdict": None, "exitCode": code}
            put(1, json.dumps(none) + "\n")
        return code
    if options.json:
        put(1, json.dumps(verdict.as_json(shown)) + "\n")
    if verdict.exit_code != GOOD:
        if not options.json:
            complain(f"{shown}: {verdict.verdict}: offset {verdict.offset}, {verdict.structure} "
                     f"{verdict.field}: {printable(verdict.reason)} ({verdict.check})")
        return verdict.exit_code
    qemu = next((s for s in verdict.streams or [] if s.name == "qemu"), None)
    if qemu is None:
        if options.json and not options.output:
            return GOOD  # the disk is good, and no stream was asked for
        complain(f"{shown}: good, but has no stream qemu")
        return EXIT_MISSING
    if options.output:
        save(options.output, verdict.kept or b"")
    if not options.json:
        put(1, f"{qemu.rawBytes} {qemu.sha256 or '-'}\n")
    return GOOD


def main(arguments: list[str]) -> int:
    """Run the command line; the exit code."""
    try:
        options = parser().parse_intermixed_args(arguments)
        if options.help:
            put(1, parser().format_help())
            return 0
        if not options.disks or len(options.disks) > 1 and not options.json:
            raise UsageError("one DISK, or with --json one or more")
        if options.output and (len(options.disks) > 1 or not options.decode):
            raise UsageError("--output goes with one DISK and not with --no-decode")
        codes = [one_disk(path, options) for path in options.disks]
        return next((code for code in codes if code), 0)
    except UsageError as error:
        complain(printable(str(error)))
        return EXIT_USAGE
    except OSError as error:  # from writing: those from reading are dealt with per disk
        where = f"{printable(str(error.filename))}: " if error.filename else "writing: "
        complain(where + printable(error.strerror or "failed"))
        return io_exit_code(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
