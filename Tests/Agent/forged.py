"""What a stubdomain writes that would have dom0 take its word for dom0's own."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "fixtures"), str(ROOT / "Tests/QEMU")]
import savedisk  # noqa: E402
import xxhash  # noqa: E402
from machine import FOOTER_MAGIC  # noqa: E402
from savedisk import DiskBuilder, Header  # noqa: E402

STATE = (ROOT / "fixtures/states/x06-pc-linux-2vcpu.dev").read_bytes()
LIES = (b"dom0 time 2031-01-01T00:00:00Z\ndom0 uuid 11111111-2222-3333-4444-555555555555\n"
        b"dom0 devices " + b"0" * 32 + b"\ndom0 device -device something-of-S\n"
        b"qemu 7.2.22\nmachine pc\n")


def state_file(state: bytes) -> bytes:
    """A state with a trailer of its own making, whole in itself."""
    builder = DiskBuilder(Header(transfer_id=savedisk.transfer_id("forged")))
    builder.stream("metadata", LIES)
    builder.commit()
    metadata = builder.finish()
    middle = struct.pack("<IIQQ", 1, 0, len(state), len(metadata))
    middle += xxhash.xxh3_128_digest(state)
    return state + metadata + FOOTER_MAGIC + middle + xxhash.xxh3_64_digest(metadata + middle)


def disk(header: Header, state: bytes) -> bytes:
    """A disk with that state and those lines, up to where it ends."""
    builder = DiskBuilder(header)
    builder.stream("qemu", state)
    builder.stream("metadata", LIES)
    builder.commit()
    return bytes(builder.data).ljust(savedisk.align(builder.position, 4096), b"\0")
