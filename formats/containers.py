#!/usr/bin/python3
"""A second reader of toolstacks' save files, written from containers.md alone.

    containers.py FILE    print length and SHA-256 of QEMU's state, with its trailer

It shares nothing with the Swift code: where the two differ, one has a bug. Exit codes are
stubsave's: 0, 2, 3, 4, 6, 7; 14 for a good file without a state. Checks carry their ids from the
document.
"""
from __future__ import annotations

import argparse
import dataclasses
import hashlib
import struct
import sys
from pathlib import Path
from typing import NamedTuple, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))
import statefile
import statehead

GOOD, CORRUPT, INCOMPLETE, NOT_ONE, UNSUPPORTED, OVER_LIMIT = 0, 2, 3, 4, 6, 7
EXIT_MISSING = 14
DEFAULT_MAX_STATE, MAX_TRAILER = 64 << 20, 1 << 20
MAX_BODY, PAGE = 128 << 20, 4096
MAX_SEARCHED = 1 << 20
CONTAINERS = {
    b"Xen saved domain, xl format\n \0 \r": "xl save file",
    b"libvirt-xml\n \0 \r": "libvirt save file",
    b"LibxlFmt": "libxl stream",
    b"XenSavedDomv2-\n": "xenopsd suspend image",
    b"XenSavedDomain\n": "xenopsd suspend image",
    b"QEVM": "state file",
}
# Section 9: what a file begins with, the word that a message must have, and whether `verify` judges it.
FOREIGN = [
    (0, b"\x1f\x8b", "gzip", False), (0, b"\x28\xb5\x2f\xfd", "zstd", False),
    (0, b"\xfd7zXZ\0", "xz", False), (0, b"BZh", "bzip2", False),
    (0, b"\x04\x22\x4d\x18", "lz4", False), (0, b"\x89LZO\0\r\n\x1a\n", "lzop", False),
    (0, b"\x02\x21\x4c\x18", "lz4", False), (0, b"\x5d\0\0", "lzma", False),
    (0, b"\x1f\x9d", "compress", False), (0, b"QED\0", "QED", False),
    *((0, bytes([first]) + b"\x2a\x4d\x18", "zstd or lz4", False) for first in range(0x50, 0x60)),
    (0, b"vhdxfile", "VHDX", False), (0, b"KDMV", "VMDK", False),
    (0, b"# Disk DescriptorFile", "VMDK", False), (0, b"PK\x05\x06", "zip", False),
    (0, b"\xf0\x0f\xeb\xed", "memory", False), (0, b"\xf0\x0f\xeb\xee", "memory", False),
    (0, b"PK\x03\x04", "zip", False), (257, b"ustar", "tar", False),
    (0, b"QFI\xfb", "qcow2", False), (0, b"conectix", "VHD", False),
    (0, b"KDUMP   ", "memory", False), (0, b"makedumpfile\0", "memory", False),
    (0, b"\xed\xeb\x0f\xf0", "memory", False), (0, b"\xee\xeb\x0f\xf0", "memory", False),
    (0, b"LinuxGuestRecord", "xend", False), (0, b"LibvirtQemudSave", "LibvirtQemudSave", False),
    (0, b"LibvirtQemudPart", "LibvirtQemudPart", False), (0, b"\xff" * 8 + b"XENF", "libxc", False),
    (0, b"QEVM", "QEMU", True), (0, statefile.DISK_MAGIC, "save disk", True),
]  # fmt: skip
RECORD = "EMULATOR_CONTEXT record"
LIBXL_NAMES = ["END", "LIBXC_CONTEXT", "EMULATOR_XENSTORE_DATA", "EMULATOR_CONTEXT",
               "CHECKPOINT_END", "CHECKPOINT_STATE"]  # fmt: skip
LIBXC_NAMES = ["END", "PAGE_DATA", "X86_PV_INFO", "X86_PV_P2M_FRAMES", "X86_PV_VCPU_BASIC",
               "X86_PV_VCPU_EXTENDED", "X86_PV_VCPU_XSAVE", "SHARED_INFO", "X86_TSC_INFO",
               "HVM_CONTEXT", "HVM_PARAMS", "TOOLSTACK", "X86_PV_VCPU_MSRS", "VERIFY", "CHECKPOINT",
               "CHECKPOINT_DIRTY_PFN_LIST", "STATIC_DATA_END", "X86_CPUID_POLICY",
               "X86_MSR_POLICY"]  # fmt: skip
XENOPSD_NAMES = {0x0F: "Xenops", 0xF0: "Libxc", 0xF1: "Libxl", 0xF2: "Libxc_legacy",
                 0xF00: "Qemu_trad", 0xF01: "Qemu_xen", 0xF10: "Demu", 0xF11: "Varstored",
                 0xF12: "Swtpm0", 0xF13: "Swtpm", 0xFFFF: "End_of_image"}  # fmt: skip
OPTIONAL = 1 << 31
XL_PVH, LIBVIRT_PVH = b'"type.pvh"', b">xenpvh<"
ONLY_PV = {2, 3, 4, 5, 6, 7, 12}
ONLY_HVM = {9, 10}
KEY_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/_@")


class Entry(NamedTuple):
    """A header or record."""
    offset: int
    size: int
    structure: str


@dataclasses.dataclass
class Verdict:
    """What the document says of a file: good, or the first check that failed and where."""
    exit_code: int = GOOD
    structure: Optional[str] = None
    field: Optional[str] = None
    offset: Optional[int] = None
    container: Optional[str] = None
    size: int = 0
    behind: int = 0
    entries: list[Entry] = dataclasses.field(default_factory=list)
    state: Optional[tuple[int, int]] = None
    trailer: Optional[str] = None
    is_unverified: bool = False


class Bad(Exception):
    """A check has failed."""

    def __init__(self, exit_code: int, structure: str, name: str, offset: int) -> None:
        super().__init__(exit_code, structure, name, offset)
        self.place = (exit_code, structure, name, offset)


class Reader:
    """Walks over a file in memory."""

    def __init__(self, data: bytes, max_state: int) -> None:
        self.data, self.max_state = data, max_state
        self.at = 0
        self.entries = list[Entry]()
        self.state: Optional[tuple[int, int, str]] = None  # with the field that states its length
        self.state_record, self.length_field = 0, ""
        self.bare_length = 0  # the state without its trailer
        self.is_pvh = self.has_last_records = False

    # -- pieces

    def need(self, count: int, structure: str) -> bytes:
        """The next bytes, not yet taken."""
        found = self.data[self.at:self.at + count]
        if len(found) < count:
            raise Bad(INCOMPLETE, structure, "end", len(self.data))
        return found

    def skip(self, count: int, structure: str) -> None:
        """Pass over bytes that must be there."""
        if self.at + count > len(self.data):
            raise Bad(INCOMPLETE, structure, "end", len(self.data))
        self.at += count

    def zeros(self, count: int, structure: str, name: str, start: int = 0) -> None:
        """`count` bytes from `start` of what is next are zero."""
        for offset in range(self.at + start, self.at + start + count):
            if self.data[offset]:
                raise Bad(CORRUPT, structure, name, offset)

    def padding(self, length: int, structure: str) -> None:
        """Up to a multiple of 8."""
        count = -length % 8
        self.need(count, structure)
        self.zeros(count, structure, "padding")
        self.at += count

    def note(self, offset: int, size: int, structure: str) -> None:
        """Something has been found right."""
        self.entries.append(Entry(offset, size, structure))

    # -- containers

    def read(self, container: str) -> None:
        """All of it."""
        if container == "xenopsd suspend image":
            self.suspend_image()
            return
        if container == "state file":
            self.state_file()
            return
        if container == RECORD:
            self.single_record()
            return
        if container == "xl save file":
            self.xl_header()
        elif container == "libvirt save file":
            self.libvirt_header()
        self.libxl()
        # Section 2, "An end that is none".
        if self.at != len(self.data) and not self.has_last_records:
            raise Bad(CORRUPT, "save file", "trailing", self.at)

    def state_file(self) -> None:
        """Section 8."""
        name = "state file"
        if len(self.data.rstrip(b"\0")) > self.max_state + MAX_TRAILER:  # Q2
            raise self.over_limit(0, len(self.data), name, "end")
        self.at = len(self.data)
        self.state, self.length_field = (0, self.at, name), "end"
        self.note(0, self.at, name)

    def single_record(self) -> None:
        """Section 8."""
        full = "libxl EMULATOR_CONTEXT"
        start, _, length = self.head(full)
        if length < 8:  # L6
            raise Bad(CORRUPT, full, "body_length", start + 4)
        self.emulator(start, length, full)
        self.padding(length, full)
        self.note(start, length, full)
        rest = self.data[self.at:].lstrip(b"\0")
        if rest:  # R1
            raise Bad(CORRUPT, "save file", "trailing", len(self.data) - len(rest))

    def xl_header(self) -> None:
        """Section 3."""
        name = "xl header"
        order, flags, _, length = struct.unpack_from("<4I", self.need(48, name), 32)
        if order != 0x01020304:  # X2
            raise Bad(UNSUPPORTED if order == 0x04030201 else CORRUPT, name, "byteorder", 32)
        if flags & ~3 or not flags & 2:  # X3
            raise Bad(UNSUPPORTED, name, "mandatory_flags", 36)
        if 0 < length < 4:  # X4
            raise Bad(CORRUPT, name, "optional_data_len", 44)
        self.at = 48
        self.note(0, 48, name)
        if length:
            name = "xl optional data"
            (config,) = struct.unpack("<I", self.need(4, name))
            if config > length - 4:  # X5
                raise Bad(CORRUPT, name, "config_size", self.at)
            self.is_pvh = XL_PVH in self.data[self.at + 4:self.at + 4 + min(config, MAX_SEARCHED)]
            self.skip(length, name)
            self.note(48, length, name)

    def libvirt_header(self) -> None:
        """Section 4."""
        name = "libvirt header"
        version, length = struct.unpack_from("<II", self.need(64, name), 16)
        if version != 2:  # V2
            raise Bad(UNSUPPORTED, name, "version", 16)
        if length == 0:  # V3
            raise Bad(CORRUPT, name, "xmlLen", 20)
        self.zeros(40, name, "unused", 24)  # V4
        self.at = 64
        self.note(0, 64, name)
        self.is_pvh = LIBVIRT_PVH in self.data[64:64 + min(length - 1, MAX_SEARCHED)]
        self.skip(length - 1, "libvirt XML")
        self.need(1, "libvirt XML")
        self.zeros(1, "libvirt XML", "xml")  # V5
        self.at += 1
        self.note(64, length, "libvirt XML")

    def suspend_image(self) -> None:
        """Section 7."""
        if self.need(15, "suspend image") != b"XenSavedDomv2-\n":  # S1
            raise Bad(UNSUPPORTED, "suspend image", "signature", 0)
        self.at = 15
        self.note(0, 15, "suspend image")
        has_memory = False
        while True:
            start = self.at
            kind, length = struct.unpack("<QQ", self.need(16, "suspend image header"))
            if kind not in XENOPSD_NAMES:  # S2
                raise Bad(UNSUPPORTED if kind else CORRUPT, "suspend image header", "type", start)
            name = XENOPSD_NAMES[kind]
            full = f"xenopsd {name}"
            if name == "Libxc_legacy":  # S2
                raise Bad(UNSUPPORTED, full, "type", start)
            is_memory = name in ("Libxc", "Libxl")
            if is_memory and has_memory or name == "End_of_image" and not has_memory:  # S3
                raise Bad(CORRUPT, full, "type", start)
            if name == "Demu" and length == 0:  # S4
                raise Bad(UNSUPPORTED, full, "length", start + 8)
            if length and (name in ("Libxc", "Libxl", "End_of_image")
                           or start + 16 + length >= 1 << 63):  # S4
                raise Bad(CORRUPT, full, "length", start + 8)
            self.at += 16
            if name == "Libxc":
                has_memory = True
                self.note(start, 0, full)
                Libxc(self, in_libxl=False).records()
            elif name == "Libxl":
                has_memory = True
                self.note(start, 0, full)
                self.libxl()
            elif name.startswith("Qemu_"):
                self.take_state(length, full, "record", "length", start)
                self.note(start, length, full)
            else:
                self.skip(length, full)
                self.note(start, length, full)
            if name == "End_of_image":
                return

    # -- libxl

    def libxl(self) -> None:
        """Section 5."""
        start = self.at
        header = self.need(16, "libxl header")
        version, options = struct.unpack_from(">II", header, 8)
        if header[:8] != b"LibxlFmt":  # L1
            raise Bad(CORRUPT, "libxl header", "ident", start)
        if version != 2:  # L2
            raise Bad(UNSUPPORTED, "libxl header", "version", start + 8)
        if options & ~2:  # L3
            raise Bad(UNSUPPORTED, "libxl header", "options", start + 12)
        self.at += 16
        self.note(start, 16, "libxl header")
        libxc: Optional[Libxc] = None
        inside = ever = False
        while True:
            start, kind, length = self.head("libxl record")
            if kind >= len(LIBXL_NAMES):
                self.unknown(start, kind, length, "libxl record")
                continue
            name = LIBXL_NAMES[kind]
            full = f"libxl {name}"
            allowed = {"END": libxc is not None and not inside, "LIBXC_CONTEXT": libxc is None,
                       "CHECKPOINT_END": inside, "CHECKPOINT_STATE": ever}  # fmt: skip
            if not allowed.get(name, True):  # L5
                raise Bad(CORRUPT, full, "type", start)
            lengths = {"CHECKPOINT_STATE": length == 4, "EMULATOR_XENSTORE_DATA": length >= 8,
                       "EMULATOR_CONTEXT": length >= 8}  # fmt: skip
            if not lengths.get(name, length == 0):  # L6
                raise Bad(CORRUPT, full, "body_length", start + 4)
            if name == "CHECKPOINT_STATE":
                if struct.unpack("<I", self.need(4, full))[0] > 3:  # L9
                    raise Bad(CORRUPT, full, "control_id", self.at)
                self.at += 4
            elif length:
                self.emulator(start, length, full)
            self.padding(length, full)  # L10
            self.note(start, length, full)
            if name == "END":
                return
            if name == "LIBXC_CONTEXT":
                libxc = Libxc(self, in_libxl=True)
            if name in ("LIBXC_CONTEXT", "CHECKPOINT_END"):
                assert libxc is not None
                self.has_last_records = False
                inside = libxc.records() == "CHECKPOINT"
                ever = ever or inside

    def head(self, structure: str) -> tuple[int, int, int]:
        """A record's: where it is, type, length."""
        start = self.at
        kind, length = struct.unpack("<II", self.need(8, structure))
        self.at += 8
        return start, kind, length

    def unknown(self, start: int, kind: int, length: int, structure: str) -> None:
        """L4, C9 and C11."""
        if not kind & OPTIONAL:
            raise Bad(UNSUPPORTED, structure, "type", start)
        if structure == "libxc record" and length > MAX_BODY:
            raise Bad(CORRUPT, structure, "body_length", start + 4)
        self.skip(length, structure)
        self.padding(length, structure)
        self.note(start, length, structure)

    def emulator(self, start: int, length: int, full: str) -> None:
        """A body with a sub-header."""
        emulator, _ = struct.unpack("<II", self.need(8, full))
        if emulator > 2:  # L7
            raise Bad(UNSUPPORTED, full, "emulator_id", self.at)
        self.at += 8
        if full.endswith("XENSTORE_DATA"):
            self.xenstore_data(length - 8, full)
        else:
            self.take_state(length - 8, full, "emulator_ctx", "body_length", start)

    def xenstore_data(self, length: int, full: str) -> None:
        """L8."""
        in_key, word = True, 0
        for offset in range(self.at, min(self.at + length, len(self.data))):
            byte = self.data[offset]
            is_wrong = word == 0 if byte == 0 else byte not in KEY_BYTES or word == 0 and byte == 0x2F
            if in_key and is_wrong:
                raise Bad(CORRUPT, full, "xenstore_data", offset)
            in_key, word = (not in_key, 0) if byte == 0 else (in_key, word + 1)
        self.skip(length, full)
        if not in_key or word:
            raise Bad(CORRUPT, full, "xenstore_data", self.at)

    # -- section 8

    def take_state(self, length: int, full: str, name: str, said: str, start: int) -> None:
        """QEMU's state."""
        if self.state is not None:  # Q1
            raise Bad(UNSUPPORTED, full, "type", start)
        self.state_record = start
        if length > self.max_state + MAX_TRAILER:  # Q2
            raise self.over_limit(self.at, length, full, said)
        if length < 4 or self.need(4, full) != b"QEVM":  # Q3
            raise Bad(CORRUPT, full, name, self.at)
        begin = self.at
        self.skip(length, full)
        self.state, self.length_field = (begin, length, full), said
        self.has_last_records = True

    def over_limit(self, begin: int, length: int, full: str, said: str) -> Bad:
        """Q2 and Q4, unless H3 names it."""
        state = self.data[begin:begin + min(length, statehead.MAX_BYTES)]
        found = statehead.judge(state) if state[:4] == b"QEVM" else None
        if found and found.exit_code == statehead.MIGRATION:
            return Bad(statehead.MIGRATION, "state file", "record", begin + found.offset)
        return Bad(OVER_LIMIT, full, said, self.state_record + {"body_length": 4, "length": 8, "end": 0}[said])

    def check_trailer(self) -> Optional[str]:
        """Whether there is one: "good" or "none"; None without a state."""
        if self.state is None:
            return None
        begin, length, full = self.state
        state = self.data[begin:begin + length]
        try:
            found = statefile.judge(state)
        except statefile.Failed as failed:
            raise Bad(failed.code, failed.structure, failed.field, begin + failed.offset) from None
        if (found.state if found else length) > self.max_state:  # Q4
            raise self.over_limit(begin, found.state if found else length, full, self.length_field)
        self.bare_length = found.state if found else length
        return "good" if found else "none"

    def check_start(self) -> None:
        """H1 to H3."""
        assert self.state
        begin, _, _ = self.state
        found = statehead.judge(self.data[begin:begin + self.bare_length])
        if found.exit_code:
            raise Bad(found.exit_code, "state file", "record", begin + found.offset)


class Libxc:
    """A libxc stream (section 6)."""

    def __init__(self, reader_: Reader, in_libxl: bool) -> None:
        self.reader, self.in_libxl = reader_, in_libxl
        self.has_static_end = False
        r = reader_
        start, name = r.at, "libxc image header"
        marker, ident, self.version, options = struct.unpack_from(">Q4sIH", r.need(24, name))
        if marker != (1 << 64) - 1:  # C1
            raise Bad(CORRUPT, name, "marker", start)
        if ident != b"XENF":  # C2
            raise Bad(CORRUPT, name, "id", start + 8)
        if self.version not in (2, 3):  # C3
            raise Bad(UNSUPPORTED, name, "version", start + 12)
        if options:  # C4
            raise Bad(UNSUPPORTED, name, "options", start + 16)
        r.zeros(6, name, "reserved", 18)  # C5
        r.at += 24
        r.note(start, 24, name)
        start, name = r.at, "libxc domain header"
        self.guest, shift = struct.unpack_from("<IH", r.need(16, name))
        if self.guest not in (1, 2):  # C6
            raise Bad(UNSUPPORTED, name, "type", start)
        if shift != 12:  # C7
            raise Bad(UNSUPPORTED, name, "page_shift", start + 4)
        r.zeros(2, name, "reserved", 6)  # C8
        r.at += 16
        r.note(start, 16, name)

    def records(self) -> str:
        """Up to END or CHECKPOINT, which is returned."""
        r, last = self.reader, ""
        while True:
            start, kind, length = r.head("libxc record")
            if kind >= (len(LIBXC_NAMES) if self.version == 3 else 0x10):
                r.unknown(start, kind, length, "libxc record")
                continue
            name = LIBXC_NAMES[kind]
            full = f"libxc {name}"
            if not self.allowed(kind, name):  # C10
                raise Bad(CORRUPT, full, "type", start)
            if length > MAX_BODY or not fits(name, length):  # C11
                raise Bad(CORRUPT, full, "body_length", start + 4)
            if name == "PAGE_DATA":
                self.page_data(start, length)
            else:
                self.fixed(name, full, length)
                r.skip(length, full)
            r.padding(length, full)  # C17
            r.note(start, length, full)
            self.has_static_end = self.has_static_end or name == "STATIC_DATA_END"
            if name in ("END", "CHECKPOINT"):
                return name
            # Section 2, "An end that is none".
            if name not in ("X86_PV_VCPU_XSAVE", "X86_PV_VCPU_MSRS"):
                is_last_of_pvh = r.is_pvh and name == "HVM_PARAMS" and last == "HVM_CONTEXT"
                r.has_last_records = name == "X86_PV_VCPU_EXTENDED" or is_last_of_pvh
            last = name

    def allowed(self, kind: int, name: str) -> bool:
        """C10."""
        if kind in ONLY_PV and self.guest != 1 or kind in ONLY_HVM and self.guest != 2:
            return False
        if name == "PAGE_DATA":
            return self.version < 3 or self.has_static_end
        return not (name == "CHECKPOINT_DIRTY_PFN_LIST"
                    or name == "STATIC_DATA_END" and self.has_static_end
                    or name == "CHECKPOINT" and not self.in_libxl)

    def fixed(self, name: str, full: str, length: int) -> None:
        """C12 to C14."""
        r = self.reader
        if name == "X86_PV_INFO":
            body = r.need(8, full)
            if body[0] not in (4, 8):
                raise Bad(CORRUPT, full, "guest_width", r.at)
            if body[1] not in (3, 4):
                raise Bad(CORRUPT, full, "pt_levels", r.at + 1)
            r.zeros(6, full, "reserved", 2)
        elif name == "X86_PV_P2M_FRAMES":
            first, last = struct.unpack("<II", r.need(8, full))
            if first > last:
                raise Bad(CORRUPT, full, "p2m_start_pfn", r.at)
        elif name.startswith("X86_PV_VCPU_"):
            r.need(8, full)
            r.zeros(4, full, "reserved", 4)
        elif name == "X86_TSC_INFO":
            r.need(24, full)
            r.zeros(4, full, "reserved", 20)
        elif name == "HVM_PARAMS":
            (count,) = struct.unpack_from("<I", r.need(8, full))
            if 8 + 16 * count != length:
                raise Bad(CORRUPT, full, "count", r.at)
            r.zeros(4, full, "reserved", 4)

    def page_data(self, start: int, length: int) -> None:
        """C12, C14 to C16."""
        r, full = self.reader, "libxc PAGE_DATA"
        (count,) = struct.unpack_from("<I", r.need(8, full))
        if count == 0 or 8 + 8 * count > length:
            raise Bad(CORRUPT, full, "count", r.at)
        r.zeros(4, full, "reserved", 4)
        r.at += 8
        pages = 0
        for _ in range(count):
            (number,) = struct.unpack("<Q", r.need(8, full))
            kind = number >> 60
            if number >> 52 & 0xFF or kind in (5, 6, 7, 8):
                raise Bad(CORRUPT, full, "pfn", r.at)
            pages += kind in (0, 1, 2, 3, 4, 9, 10, 11, 12)
            r.at += 8
        if 8 + 8 * count + PAGE * pages != length:
            raise Bad(CORRUPT, full, "body_length", start + 4)
        r.skip(PAGE * pages, full)


def fits(name: str, length: int) -> bool:
    """The column `body_length` of section 6."""
    if name in ("END", "VERIFY", "CHECKPOINT", "STATIC_DATA_END"):
        return length == 0
    exact = {"X86_PV_INFO": 8, "SHARED_INFO": 4096, "X86_TSC_INFO": 24}
    if name in exact:
        return length == exact[name]
    if name in ("X86_CPUID_POLICY", "X86_MSR_POLICY"):
        return length > 0 and length % (24 if name == "X86_CPUID_POLICY" else 16) == 0
    if name == "X86_PV_P2M_FRAMES" and length % 8:
        return False
    least = {"PAGE_DATA": 16, "HVM_CONTEXT": 1, "TOOLSTACK": 0}
    return length >= least.get(name, 8)


def is_record(data: bytes) -> bool:
    """A single EMULATOR_CONTEXT record."""
    if len(data) < 20:
        return False
    kind, _, emulator, _ = struct.unpack_from("<4I", data)
    return kind == 3 and emulator <= 2 and data[16:20] == b"QEVM"


def foreign(data: bytes) -> Optional[tuple[str, bool]]:
    """Section 9: what a file is that is no save file, and whether `verify` judges it."""
    if data[:4] == b"\x7fELF" and data[16:18] == (b"\0\4" if data[5:6] == b"\2" else b"\4\0"):
        return "ELF core", False
    if data[:4] == b"\x7fELF":
        return "ELF file", False
    for offset, magic, word, is_judged in FOREIGN:
        if data.startswith(magic, offset):
            return word, is_judged
    return None


def judge_bytes(data: bytes, max_state: int = DEFAULT_MAX_STATE) -> Verdict:
    """The verdict on a whole file."""
    container = next((name for magic, name in CONTAINERS.items() if data.startswith(magic)), None)
    if container is None and is_record(data):
        container = RECORD
    if container is None:
        return Verdict(NOT_ONE, "save file", "magic", 0)
    walk = Reader(data, max_state)
    found = Verdict(container=container, entries=walk.entries)
    try:
        walk.read(container)
        found.trailer = walk.check_trailer()
        if found.trailer:
            walk.check_start()
        found.behind = len(data) - walk.at
        found.is_unverified = found.trailer == "none" or (
            found.trailer is None and found.behind > 0 and container != "xenopsd suspend image")
    except Bad as bad:
        found.exit_code, found.structure, found.field, found.offset = bad.place
    found.size = walk.at
    if walk.state is not None:
        found.state = walk.state[:2]
    return found


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Judge a save file, and find QEMU's state in it.")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    data = options.file.read_bytes()
    found = judge_bytes(data)
    if found.exit_code:
        place = f"{found.structure} {found.field}, offset {found.offset}"
        print(f"{options.file}: {place}", file=sys.stderr)
        return found.exit_code
    if found.state is None:
        print(f"{options.file}: no state", file=sys.stderr)
        return EXIT_MISSING
    start, length = found.state
    print(length, hashlib.sha256(data[start:start + length]).hexdigest())
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
