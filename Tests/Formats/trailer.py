"""State files with trailers, and the checks of formats/save-disk.md, section 10, from its text."""
from __future__ import annotations

import struct
from collections.abc import Iterator

import savedisk
import savefiles
import statefile
import xxhash
from savedisk import DiskBuilder, Header

MAGIC = b"\x89STUBTRLR\r\n\x1a\n\0\0\0"
FOOTER_BYTES = 64
# Offset and size of each field of the footer.
FOOTER = {"magic": (0, 16), "version": (16, 4), "requiredFeatures": (20, 4), "stateBytes": (24, 8),
          "metadataBytes": (32, 8), "stateDigest": (40, 16), "hash": (56, 8)}  # fmt: skip
# What stubsave says of it; a file without a trailer is unverified.
WORDS = {"T1": "trailer: none", "T2": "trailer magic", "T3": "trailer metadataBytes",
         "T4": "trailer hash", "T5": "trailer version", "T6": "trailer requiredFeatures",
         "T7": "trailer stateBytes", "T8": "trailer metadataBytes", "T9": "trailer stateDigest",
         "T12": "trailer end", "T13": "trailer end", "T14": "trailer trailing",
         "good": "trailer: good"}  # fmt: skip
EXIT_CODES = {"T1": 0, "good": 0, "T5": 6, "T6": 6, "T13": 3}


class TrailerFile:
    """A state of QEMU's, metadata and a footer."""

    def __init__(self) -> None:
        self.state = b"QEVM\0\0\0\3\4\0\0\0\0\5timer" + bytes(109)
        builder = DiskBuilder(Header(transfer_id=savedisk.transfer_id("trailer")))
        builder.stream("metadata", b"qemu 7.2.22\nmachine pc\n")
        builder.commit()
        self.metadata = builder.finish()
        middle = struct.pack("<IIQQ", 1, 0, len(self.state), len(self.metadata))
        middle += xxhash.xxh3_128(self.state).digest()
        self.footer = self.with_hash(MAGIC + middle + bytes(8))

    @property
    def data(self) -> bytes:
        """The whole file."""
        return self.state + self.metadata + self.footer

    def with_hash(self, footer: bytes) -> bytes:
        """The footer with its hash right, over as much metadata as it states."""
        body = self.state + self.metadata
        count = min(int.from_bytes(footer[32:40], "little"), len(body))
        covered = body[len(body) - count:] + footer[16:56]
        return footer[:56] + xxhash.xxh3_64(covered).digest()

    def changed(self, at: int, value: bytes, seal: bool) -> bytes:
        """The file with other bytes in its footer."""
        footer = self.footer[:at] + value + self.footer[at + len(value):]
        return self.state + self.metadata + (self.with_hash(footer) if seal else footer)

    @staticmethod
    def check(data: bytes) -> str:
        """The first check that fails, or good."""
        try:
            return "good" if statefile.judge(data) else "T1"
        except statefile.Failed as failed:
            return failed.check

    @staticmethod
    def fits(verdict: str, exit_code: int, text: str) -> bool:
        """Whether that is what stubsave inspect has to say."""
        return exit_code == EXIT_CODES.get(verdict, 2) and WORDS[verdict] in text


# More than a trailer is long, as an old volume has it behind what was written last.
FAR = bytes(1 << 20) + b"\1"
Placed = tuple[str, bytes, tuple[int, str | None, str | None, int | None]]
UNVERIFIED = (0, None, None, None)


def placed() -> Iterator[Placed]:
    """Trailers that something follows, however much, and what a cut has left: by "Finding it"."""
    state = TrailerFile().state
    damaged = state[:-1] + b"\1"
    for metadata in ("", "qemu 7.2.22\n"):
        mark = savefiles.trailer(state, metadata)
        what = "metadata" if metadata else "no metadata"
        followed = (2, "trailer", "trailing", len(state + mark))
        yield f"{what}, much behind", state + mark + FAR, followed
        yield f"{what}, no zeros behind", state + mark + b"\1" * len(FAR), followed
        yield f"{what}, zeros at the end", state + mark + FAR + bytes(1 << 20), followed
        yield f"{what}, damaged state, much behind", damaged + mark + FAR, followed
        yield f"{what}, another trailer behind", state + mark + FAR + state + mark + FAR, followed
        wrong = mark[:-1] + bytes([mark[-1] ^ 1])
        yield f"{what}, damaged itself, much behind", state + wrong + FAR, UNVERIFIED
        for count in range(1, 13):
            cut = state + mark[:count]
            found = (3, "trailer", "end", len(cut)) if count >= 4 else UNVERIFIED
            yield f"{what}, cut after {count}", cut, found
            yield f"{what}, cut after {count}, zeros behind", cut + bytes(4000), found
    # Footers that fit nothing, with as much metadata as is looked at; the 65th counts without a look.
    none = MAGIC + struct.pack("<IIQQ", 1, 0, 0, 1 << 20) + bytes(24)
    before = state + bytes([1]) * (1 << 20)
    yield "64 wrong footers", before + none * 64 + FAR, UNVERIFIED
    for count in (65, 20000):
        place = len(before) + 65 * FOOTER_BYTES
        yield f"{count} wrong footers", before + none * count + FAR, (2, "trailer", "trailing", place)
