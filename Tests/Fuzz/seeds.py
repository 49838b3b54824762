"""Seeds and dictionaries for the fuzzers: from fixtures, the format's layout and QMP's words."""
from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "fixtures"), str(ROOT / "formats"), str(Path(__file__).parent)]
import reader  # noqa: E402
import savedisk  # noqa: E402
import savefiles  # noqa: E402
import xxhash  # noqa: E402
from savedisk import BLOCK, CHUNK, DiskBuilder, Header  # noqa: E402
from words import CELLS, COMMANDS, QMP_LINES, QMP_WORDS, VALUES  # noqa: E402

FIXTURES = ROOT / "fixtures"
DISK_BYTES, BODY_BYTES, SAVE_FILE_BYTES = 24576, 4096, 16384
TRAILER_MAGIC = b"\x89STUBTRLR\r\n\x1a\n\0\0\0"
# Kinds of messages (xs_wire.h).
XS_DIRECTORY, XS_READ, XS_START, XS_END, XS_EVENT, XS_ERROR, XS_PART = 1, 2, 6, 7, 15, 16, 22


def disks() -> Iterator[bytes]:
    """The fixtures that are not too long to be mutated fast."""
    for entry in json.loads((FIXTURES / "manifest.json").read_text())["fixtures"]:
        if entry["bytes"] <= DISK_BYTES:
            yield (FIXTURES / entry["file"]).read_bytes()


def save_files(container: str) -> Iterator[bytes]:
    """The fixtures of a toolstack's save file."""
    for entry in json.loads((FIXTURES / "manifest.json").read_text())["saveFiles"]:
        if entry["container"] == container and entry["bytes"] <= SAVE_FILE_BYTES:
            yield (FIXTURES / entry["file"]).read_bytes()


def codec_bodies() -> Iterator[bytes]:
    """Bodies of chunks with their codec and raw length; and bytes to be coded."""
    for disk in disks():
        for record in savedisk.walk(disk):
            body = disk[record.body:record.body_end]
            if record.kind == CHUNK and record.end <= len(disk) and len(body) <= BODY_BYTES:
                raw, codec = struct.unpack_from("<II", disk, record.offset + 28)
                yield bytes([codec & 7]) + struct.pack("<I", (raw - 1) & 0xFFFFFF)[:3] + body
                yield bytes([0x80 | codec & 7, 0, 0, 0]) + body


def condensed_states() -> Iterator[bytes]:
    """QEMU's states with short payloads: its own headers, names, footers and end."""
    sections = defaultdict(list)
    for line in (FIXTURES / "states/sections.tsv").read_text().splitlines():
        if not line.startswith("#"):
            file, *numbers, _ = line.split("\t")
            sections[file].append(tuple(map(int, numbers)))
    for file, found in sections.items():
        state = (FIXTURES / "states" / file).read_bytes()
        short = state[:8]
        for offset, number, _, _, head, payload in found:
            body = state[offset + head:offset + head + min(payload, 24)]
            short += state[offset:offset + head] + body + b"\x7e" + struct.pack(">I", number)
        yield short + b"\0"
        yield short[:600] + b"\0" + state[-40:]
        yield short[:8] + b"\7\0\0\0\2pc\x08\0\1\0\0" + short[8:] + b"\0\6\0\0\0\1{"


def trailers() -> Iterator[bytes]:
    """State files with and without metadata."""
    for index, text in enumerate((b"", b"qemu 7.2.22\nmachine pc\n", b"dom0 time 2026\n" * 99)):
        metadata = b""
        if text:
            builder = DiskBuilder(Header(transfer_id=savedisk.transfer_id(f"trailer {index}")))
            builder.stream("metadata", text)
            builder.commit()
            metadata = builder.finish()
        for state in (b"", b"QEVM" + bytes(60), b"QEVM state " * 40):
            digest = xxhash.xxh3_128(state).digest()
            middle = struct.pack("<IIQQ", 1, 0, len(state), len(metadata)) + digest
            footer = TRAILER_MAGIC + middle + xxhash.xxh3_64(metadata + middle).digest()
            yield state + metadata + footer


def xenstore_message(kind: int, request: int, payload: bytes) -> bytes:
    """A message as xenstored sends it."""
    return struct.pack("<4I", kind, request, 0, len(payload)) + payload


def xenstore_replies() -> Iterator[bytes]:
    """What a xenstored says, behind the number of what it is asked (XenstoreTarget.swift)."""
    event = xenstore_message(XS_EVENT, 0, b"/local/domain/5/stubsave/answer\x007\0")
    error = xenstore_message(XS_ERROR, 1, b"ENOENT\0")
    conversations = {
        0: xenstore_message(XS_READ, 1, b"1 idle"),
        1: xenstore_message(XS_DIRECTORY, 1, b"offer\0answer\0"),
        2: xenstore_message(4, 1, b"OK\0") + event,
        3: b"".join((xenstore_message(XS_START, 1, b"12\0"), xenstore_message(XS_READ, 2, b"x"),
                     *(xenstore_message(kind, number, b"OK\0")
                       for number, kind in ((3, 12), (4, 11), (5, 13), (6, XS_END))))),
        4: xenstore_message(17, 1, b"T\0"),
        5: b"".join(xenstore_message(XS_READ, n, bytes(n)) for n in range(1, 5)),
        6: event * 3,
        7: b"".join((xenstore_message(XS_ERROR, 1, b"E2BIG\0"),
                     xenstore_message(XS_PART, 2, b"17\0first\0second\0"),
                     xenstore_message(XS_PART, 3, b"17\0third\0\0"))),
    }  # fmt: skip
    for question, replies in conversations.items():
        yield bytes([question]) + replies
        yield bytes([question]) + event + replies
        yield bytes([question]) + error


def relayed() -> Iterator[bytes]:
    """Conversations through the relay: a client's lines begin with ">"."""
    for command in COMMANDS:
        yield b">" + command + b'\n{"return":{},"id":1}\n'
        yield b">" + command + b'\n!\n{"error":{"class":"GenericError","desc":"no"},"id":1}\n'
    for line in QMP_LINES:
        yield line
        yield b'>{"execute":"stop","id":"x"}\n' + line + b"\n"


def monitored() -> Iterator[bytes]:
    """What a QEMU says to its monitor's client, which asks twice."""
    greeting = QMP_LINES[0] + b"\r\n"
    both = b'{"return":{},"id":1}\r\n{"return":{"status":"paused"},"id":2}\r\n'
    yield greeting + both
    for line in QMP_LINES:
        yield greeting + line + b"\n" + both
        yield greeting + both + line + b"\n"


# The longest inputs, and where they come from.
SEEDS = {
    "header": (4352, lambda: (disk[:BLOCK] for disk in disks())),
    "disk": (DISK_BYTES, disks),
    "codec": (BODY_BYTES + 4, codec_bodies),
    "trailer": (16384, trailers),
    "sections": (4096, condensed_states),
    "json": (2048, lambda: (*QMP_LINES, *COMMANDS)),
    "relay": (2048, relayed),
    "monitor": (4096, monitored),
    "xenstore": (8192, xenstore_replies),
    "messages": (300, lambda: CELLS),
    "values": (300, lambda: VALUES),
    "xl": (SAVE_FILE_BYTES, lambda: save_files("xl save file")),
    "libvirt": (SAVE_FILE_BYTES, lambda: save_files("libvirt save file")),
    "libxl": (SAVE_FILE_BYTES, lambda: save_files("libxl stream")),
    "xenopsd": (SAVE_FILE_BYTES, lambda: save_files("xenopsd suspend image")),
}


def save_seeds(target: str, folder: Path) -> None:
    """Write a target's seeds, named by their contents as libFuzzer does."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[target][1]():
        path = folder / hashlib.sha1(seed).hexdigest()
        if not path.exists():
            path.write_bytes(seed)


def format_tokens() -> Iterator[bytes]:
    """Magics, types, sizes and names of formats/save-disk.md, as they lie on a disk."""
    yield from (savedisk.MAGIC, TRAILER_MAGIC, b"qemu", b"metadata", b"pci", b"tpm")
    for number in (*range(6), 0x80000000, 0x80000009, 0xFFFFFFFF, *savedisk.CHUNK_SIZES, 0x7FEF):
        yield struct.pack("<I", number)
    for number in (BLOCK, 2 * BLOCK, 1 << 62, (1 << 64) - 1):
        yield struct.pack("<Q", number)
    for record in (savedisk.BEGIN, savedisk.CHUNK, savedisk.END, savedisk.COMMIT, savedisk.ABORT):
        length = savedisk.STRUCTURE_BYTES.get(
            {1: "stream begin", 3: "stream end", 4: "commit", 5: "abort"}.get(record, ""), 64)
        yield struct.pack("<IIQI", record, 0, 0, length)
    yield from (reader.MAGIC, b"\x78\x01", b"\x78\x9c", b"\x04\0\0\0", b"\x7e\0\0\0")


def save_file_tokens() -> Iterator[bytes]:
    """Magics, types and lengths of formats/containers.md."""
    yield from (savefiles.XL_MAGIC, savefiles.LIBVIRT_MAGIC, savefiles.LIBXL_IDENT, b"QEVM",
                savefiles.IMAGE_SIGNATURE, b"\xff" * 8 + b"XENF", TRAILER_MAGIC)  # fmt: skip
    for kind in range(0x14):
        for length in (0, 4, 8, 16, 24, 48):
            yield struct.pack("<II", kind, length)
    yield from (struct.pack("<II", 0x80000001, 8), struct.pack(">II", 3, 0), struct.pack("<I", 2))
    for number in savefiles.XENOPSD.values():
        yield struct.pack("<QQ", number, 0)
        yield struct.pack("<QQ", number, 16)
    for kind in (0, 5, 9, 13, 15):
        yield struct.pack("<Q", kind << 60)
    # A PVH guest, limits, both END, an absolute key.
    yield from (b'"type.pvh"', b">xenpvh<", struct.pack("<II", 0x80000013, (128 << 20) + 1), bytes(16), b"/k\0v\0")


def dictionary(target: str) -> bytes:
    """A dictionary in libFuzzer's form."""
    tokens: list[bytes] = []
    if target in ("header", "disk", "codec", "trailer", "sections"):
        tokens = list(format_tokens())
    elif target in ("json", "relay", "monitor"):
        tokens = QMP_WORDS
    elif target in ("xl", "libvirt", "libxl", "xenopsd"):
        tokens = list(save_file_tokens())
    elif target == "messages":
        tokens = sorted({word for cell in CELLS for word in cell.split()})
    else:
        tokens = sorted({word for value in VALUES for word in (value, *value.split(b"/"))})
    lines = ['"' + "".join(f"\\x{byte:02x}" for byte in token) + '"'
             for token in tokens if 0 < len(token) <= 64]
    return "\n".join([*dict.fromkeys(lines), ""]).encode()
