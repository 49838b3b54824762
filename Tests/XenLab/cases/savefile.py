"""xl's save file: where QEMU's state is in it (tools/xl/xl.h, docs/specs/libxl-migration-stream.pandoc,
libxc-migration-stream.pandoc)."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from dom0 import expect, good, refused

MAGIC = b"Xen saved domain, xl format\n \0 \r"
LIBXL, LIBXL_VERSION = b"LibxlFmt", 2
LIBXC, LIBXC_VERSION = b"\xff" * 8 + b"XENF", (2, 3)
END, LIBXC_CONTEXT, EMULATOR_CONTEXT, UPSTREAM = 0, 1, 3, 2
# The footer of formats/save-disk.md, section 10.
TRAILER, FOOTER_BYTES = b"\x89STUBTRLR\r\n\x1a\n\0\0\0", 64


def emulator_states(path: Path) -> list[bytes]:
    """The bodies of the EMULATOR_CONTEXT records, whole; the file must be good up to its end."""
    with path.open("rb") as file:
        expect(file.read(32) == MAGIC, f"{path}: not xl's")
        *_, optional = struct.unpack("<4I", file.read(16))
        file.read(optional)
        identifier, version, _ = struct.unpack(">8sII", file.read(16))
        expect((identifier, version) == (LIBXL, LIBXL_VERSION), f"{path}: not libxl's")
        states = list[bytes]()
        while True:
            kind, length = struct.unpack("<II", file.read(8))
            if kind == END:
                break
            if kind == LIBXC_CONTEXT:
                skip_libxc(file)
            elif kind == EMULATOR_CONTEXT:
                emulator, _ = struct.unpack("<II", file.read(8))
                expect(emulator == UPSTREAM, f"{path}: emulator {emulator}")
                states.append(file.read(length - 8))
            else:
                file.seek(length, 1)
            file.seek(-length % 8, 1)
        expect(not file.read(), f"{path}: something after its end")
        return states


def with_state(path: Path, target: Path, change: Callable[[bytes], bytes]) -> None:
    """A copy of a save file with something else in its EMULATOR_CONTEXT record."""
    data = path.read_bytes()
    (state,) = emulator_states(path)
    start = data.rindex(state)
    kind, length, emulator, index = struct.unpack_from("<4I", data, start - 16)
    expect((kind, length, emulator) == (EMULATOR_CONTEXT, len(state) + 8, UPSTREAM), "another record")
    after = data[start + len(state) + -length % 8:]
    changed = change(state)
    record = struct.pack("<4I", kind, len(changed) + 8, emulator, index) + changed
    target.write_bytes(data[:start - 16] + record + bytes(-len(changed) % 8) + after)


def skip_libxc(file: BinaryIO) -> None:
    """The guest's memory and processors."""
    marker, version, _, _, _ = struct.unpack(">12sIHHI", file.read(24))
    expect(marker == LIBXC and version in LIBXC_VERSION, f"not libxc's: {marker!r} {version}")
    file.seek(16, 1)  # the domain's header
    while True:
        kind, length = struct.unpack("<II", file.read(8))
        file.seek(length + -length % 8, 1)
        if kind == END:
            return


def qemus(state: bytes) -> bytes:
    """What QEMU has written, without the trailer, if there is one."""
    footer = state[-FOOTER_BYTES:]
    if not footer.startswith(TRAILER):
        return state
    length, metadata = struct.unpack_from("<QQ", footer, 24)
    expect(length + metadata + FOOTER_BYTES == len(state), f"trailer: {length}, {metadata} of {len(state)}")
    return state[:length]


def told(path: Path) -> None:
    """What `stubsave verify`, `inspect` and `extract` say of a good file is what stands in it, and `wrap`
    makes its record again."""
    data = path.read_bytes()
    (state,) = emulator_states(path)
    start = data.rindex(state)
    trailer = "none" if qemus(state) == state else "good"
    verdict = json.loads(good("verify", "--json", str(path)).output)
    found = (verdict["container"], verdict["containerBytes"], verdict["state"]["offset"],
             verdict["state"]["bytes"], verdict["state"]["stateBytes"], verdict["state"]["trailer"])
    wanted = ("xl save file", len(data), start, len(state), len(qemus(state)), trailer)
    expect(found == wanted, f"verify: {found}, not {wanted}")
    inspection = json.loads(good("inspect", "--json", str(path)).output)
    structures = [record["structure"] for record in inspection["records"]]
    expect(inspection["recordsNotListed"] == 0, f"{inspection['recordsNotListed']} records are not listed")
    expect((structures[0], structures[-1]) == ("xl header", "libxl END"), f"inspect: {structures}")
    for structure in ("libxl LIBXC_CONTEXT", "libxc domain header", "libxc HVM_CONTEXT", "libxl EMULATOR_CONTEXT"):
        expect(structures.count(structure) == 1, f"inspect: {structures.count(structure)} times {structure}")
    expect("libxc PAGE_DATA" in structures, f"inspect: no memory in {structures}")
    expect(inspection["sections"], "inspect: no sections")
    expect(good("extract", str(path)).output == state, "extract: another state")
    target = path.with_suffix(".state")
    try:
        good("extract", str(path), "-o", str(target))
        record = good("wrap", str(target)).output
    finally:
        target.unlink(missing_ok=True)
    expect(record == data[start - 16:start - 16 + len(record)], "wrap: another record")
    expect(len(record) == 16 + len(state) + -len(state) % 8, f"wrap: {len(record)} bytes")


def told_bad(path: Path) -> None:
    """A file that must not be restored is not good for `stubsave` either, and gives nothing."""
    refused(2, "verify", str(path))
    expect(refused(2, "extract", str(path)).output == b"", "extract: something of a damaged file")
