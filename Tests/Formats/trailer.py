"""State files with trailers, and the checks of formats/save-disk.md, section 10, from its text."""
from __future__ import annotations

import struct

import savedisk
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
