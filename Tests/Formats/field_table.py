#!/usr/bin/python3
"""formats/field-mutations.md: every field of the format with nine other values, hashes made right.

    field_table.py                                write the document
    field_table.py --check --stubsave PROGRAM     compare it, and ask stubsave for each verdict

A value is refused, or it is harmless: then the state that is read is the same byte for byte, and
the table says why it may be so. A field without a reason is an error, and so is the reverse.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "formats"), str(ROOT / "fixtures")]
import reader  # noqa: E402
import savedisk  # noqa: E402
from recipes import samples  # noqa: E402
from savedisk import BEGIN, COMMIT, DiskBuilder  # noqa: E402
from trailer import FOOTER, TrailerFile  # noqa: E402

DOCUMENT = ROOT / "formats/field-mutations.md"
COLUMNS = ("0", "1", "max", "+1", "−1", "sign", "swapped", "valid", "random")

# Another value that the field might have in some good disk.
VALID: dict[tuple[str, str], int | bytes] = {
    ("header", "direction"): 2, ("header", "chunkBytes"): 131072,
    ("header", "transferID"): savedisk.transfer_id("another"),
    ("header", "capacityBytes"): 1 << 20, ("header", "maxRawBytes"): 310,
    ("header", "allowedCodecs"): 15, ("header", "maxStreams"): 2,
    ("header", "recipientDomid"): 5, ("header", "targetDomid"): 4,
    ("header", "targetUUID"): savedisk.transfer_id("a guest"),
    ("header", "compatibleFeatures"): 4, ("stream begin", "flags"): 1,
    ("record", "type"): 0x80000002, ("record", "stream"): 1, ("record", "sequence"): 4,
    ("record", "storedBytes"): 64, ("record", "rawBytes"): 65536, ("record", "codec"): 3,
    ("stream begin", "transferID"): savedisk.transfer_id("another"),
    ("stream begin", "nameBytes"): 3, ("stream begin", "name"): b"tpm".ljust(32, b"\0"),
    ("stream end", "digest"): savedisk.stream_digest(b"another"),
    ("stream end", "rawBytes"): 299, ("stream end", "chunkCount"): 2,
    ("commit", "transferID"): savedisk.transfer_id("another"),
    ("commit", "headerHash"): savedisk.stream_digest(b"another"),
    ("commit", "logDigest"): savedisk.stream_digest(b"another"),
    ("commit", "logBytes"): 4096, ("commit", "recordCount"): 7, ("commit", "rawBytes"): 309,
    ("commit", "storedBytes"): 100, ("commit", "streamCount"): 1, ("abort", "code"): 2,
    ("trailer", "stateBytes"): 64, ("trailer", "metadataBytes"): 4096,
    ("trailer", "stateDigest"): savedisk.stream_digest(b"another"),
}  # fmt: skip

# Why a value that is accepted does no harm, by the row of the table.
HARMLESS = {
    "header direction": "binds those who attach the disk; dom0 compares the header with its own",
    "header chunkBytes": "a larger chunk size, where no chunk is full",
    "header capacityBytes": "0, the disk grows; or room behind the commit that is never read",
    "header maxRawBytes": "0, no limit; or one that the state keeps",
    "header allowedCodecs": "admits codecs that no record has; the reader has its own set",
    "header maxStreams": "admits more streams than there are, 16 at most",
    "header recipientDomid": "says for whom it was made; dom0 compares the header with its own",
    "header targetDomid": "says for whom it was made; dom0 compares the header with its own",
    "header targetUUID": "says for whom it was made; dom0 compares the header with its own",
    "header compatibleFeatures": "a feature that no reader has to know; "
        "dom0 compares the header with its own",
    "stream begin flags": "qemu must be understood, and is",
    "record (optional) type": "another optional type, skipped like this one",
    "record (optional) stream": "of an optional record: looked at by nobody",
    "record (optional) storedBytes":
        "a longer body where the padding's zeros are, looked at by nobody",
    "record (optional) rawBytes": "of an optional record: looked at by nobody",
    "record (optional) codec": "of an optional record: looked at by nobody",
    "stream begin name": "another name: the reader that asks for qemu finds none (14)",
}


@dataclass
class Row:
    """A field of one base disk."""
    label: str
    old: bytes
    valid: int | bytes | None
    make: Callable[[bytes], bytes]  # the file with these bytes in the field, hashes right
    base: bytes
    is_trailer: bool = False

    def values(self) -> Iterator[bytes | None]:
        """The other values, None where it would be the one that it has."""
        size, number = len(self.old), int.from_bytes(self.old, "little")
        modulus = 1 << 8 * size
        chance = hashlib.shake_256(self.label.encode()).digest(size)
        valid = self.valid if isinstance(self.valid, bytes) else (
            self.old if self.valid is None else self.valid.to_bytes(size, "little"))
        for value in (0, 1, modulus - 1, number + 1, number - 1, number ^ modulus >> 1,
                      int.from_bytes(self.old, "big"), int.from_bytes(valid, "little"),
                      int.from_bytes(chance, "little")):
            new = (value % modulus).to_bytes(size, "little")
            yield None if new == self.old else new


def reseal(disk: bytes) -> bytes:
    """All hashes, the commit's among them."""
    return savedisk.rehash(disk, commit_header_hash=True, commit_log_digest=True)


def changed(disk: bytes, at: int, value: bytes, seal: bool) -> bytes:
    new = disk[:at] + value + disk[at + len(value):]
    return reseal(new) if seal else new


def row(disk: bytes, label: str, at: int, size: int, valid: int | bytes | None, seal: bool) -> Row:
    return Row(label, disk[at:at + size], valid, lambda value: changed(disk, at, value, seal), disk)


def disk_rows(base: Callable[..., DiskBuilder], records: dict[int, str],
              with_header: bool) -> Iterator[Row]:
    """The fields of a sample disk: of its header, and of the records that are named."""
    disk = base("field mutations").finish()
    places = list(savedisk.walk(disk))
    if with_header:
        for field in savedisk.fields_of("header"):
            valid = VALID.get(("header", field.name))
            yield row(disk, f"header {field.name}", field.offset, field.size, valid,
                      field.kind != "hash")
    for index, name in records.items():
        at = places[index].offset
        for field in savedisk.fields_of("record"):
            yield row(disk, f"record ({name}) {field.name}", at + field.offset, field.size,
                      VALID.get(("record", field.name)), field.name != "hash")
        if len(padding := places[index].padding):
            yield row(disk, f"record ({name}) padding", padding.start, len(padding), None, True)
        body = savedisk.BODY_OF_TYPE.get(places[index].kind, "")
        for field in savedisk.fields_of(body) if body else ():
            valid = VALID.get((body, field.name))
            if valid is None and places[index].kind == BEGIN and field.name == "nameBytes":
                valid = 3
            # The log digest is what is changed: the record's hash alone is made right.
            if body == "commit" and field.name in ("logDigest", "headerHash"):
                yield commit_row(disk, f"{body} {field.name}", at, field.offset, field.size, valid)
            else:
                yield row(disk, f"{body} {field.name}", at + 64 + field.offset, field.size, valid,
                          True)
        if places[index].kind == COMMIT:
            end = places[index].end
            yield row(disk, "commit padding", end, savedisk.align(end, 4096) - end, None, True)


def commit_row(disk: bytes, label: str, at: int, offset: int, size: int,
               valid: int | bytes | None) -> Row:
    def make(value: bytes) -> bytes:
        new = bytearray(changed(disk, at + 64 + offset, value, False))
        savedisk.rehash_record(new, at)
        return bytes(new)
    return Row(label, disk[at + 64 + offset:][:size], valid, make, disk)


def rows() -> Iterator[Row]:
    """All rows, in the order of the document."""
    yield from disk_rows(samples.small, {0: "stream begin", 1: "chunk, lz4", 4: "chunk, none",
                                         2: "stream end", 6: "commit"}, True)
    yield from disk_rows(samples.with_optional, {1: "optional"}, False)
    yield from disk_rows(samples.aborted, {2: "abort"}, False)
    file = TrailerFile()
    for name, (offset, size) in FOOTER.items():
        yield Row(f"trailer {name}", file.footer[offset:offset + size],
                  VALID.get(("trailer", name)),
                  lambda value, at=offset, name=name: file.changed(at, value, name != "hash"),
                  file.data, True)


# --- Verdicts ------------------------------------------------------------------------------------


def judged(case: Row, data: bytes) -> str:
    """The check that refuses it, or good if it gives what the base gives."""
    if case.is_trailer:
        return TrailerFile.check(data)
    found, base = (reader.judge_bytes(disk, keep="qemu") for disk in (data, case.base))
    if found.exit_code != reader.GOOD:
        return str(found.check)
    if found.kept not in (base.kept, b""):
        raise ValueError(f"{case.label}: another state is read")
    return "good"


def document() -> tuple[str, list[tuple[Row, bytes, str]]]:
    """The document, and all cases that are in it."""
    lines, cases, reasons = [], [], dict(HARMLESS)
    for case in rows():
        cells = []
        for value in case.values():
            if value is None:
                cells.append("=")
                continue
            data = case.make(value)
            verdict = judged(case, data)
            cases.append((case, data, verdict))
            cells.append(f"**{verdict}**" if verdict == "good" else verdict)
        why = ""
        if "**good**" in cells:
            why = HARMLESS[case.label]
            reasons.pop(case.label, None)
        lines.append(f"| {case.label} | {' | '.join(cells)} | {why} |")
    if reasons:
        raise ValueError(f"reasons for nothing: {sorted(reasons)}")
    return HEAD + "\n".join(lines) + "\n", cases


HEAD = f"""# Every field with other values

Made by `Tests/Formats/field_table.py` from the layout in sections 4, 5 and 10 of
[save-disk.md](save-disk.md); a test makes it anew, compares it, and asks `stubsave` for each
verdict. A field gets another value: 0, 1, the largest, one more, one less, the highest bit flipped,
the bytes in reverse, another value that a good disk might have there, a random one. Then **all
hashes that depend on it are made right**, as somebody who means harm would; only where a hash is
the field, it stays wrong. A field that is longer than 8 bytes is taken as one little-endian number.

The entry is the check of section 7 or 10 that refuses it; `=`, that is the value that it has;
**good**, it is accepted, and the last column says why that does no harm: the state is the same,
byte for byte.

| field | {' | '.join(COLUMNS)} | accepted, because |
|---|{'---|' * len(COLUMNS)}---|
"""


def asked(program: Path, cases: list[tuple[Row, bytes, str]]) -> list[str]:
    """Where stubsave says something else."""
    complaints = []
    with tempfile.TemporaryDirectory() as name:
        disks = [case for case in cases if not case[0].is_trailer]
        paths = []
        for index, (_, data, _) in enumerate(disks):
            paths.append(Path(name) / f"{index:05}")
            paths[-1].write_bytes(data)
        run = subprocess.run([program, "verify", "--json", *paths], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, check=False)
        lines = run.stdout.splitlines()
        if len(lines) != len(disks):
            return [f"{len(lines)} verdicts on {len(disks)} disks"]
        for (case, data, verdict), line in zip(disks, lines):
            said = json.loads(line)
            v = reader.judge_bytes(data)
            if (said["exitCode"], said.get("structure"), said.get("field"),
                    said.get("offset")) != (v.exit_code, v.structure, v.field, v.offset):
                complaints.append(f"{case.label}: {verdict}, but stubsave says {said}")
        for case, data, verdict in cases:
            if case.is_trailer:
                paths[0].write_bytes(data)
                run = subprocess.run([program, "inspect", paths[0]], capture_output=True,
                                     text=True, check=False)
                if not TrailerFile.fits(verdict, run.returncode, run.stdout + run.stderr):
                    complaints.append(f"{case.label}: {verdict}, but stubsave says {run}")
    return complaints


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="The table of fields and other values.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--stubsave", type=Path, help="to be asked for the same verdicts")
    options = parser.parse_args()
    text, cases = document()
    complaints = asked(options.stubsave.resolve(), cases) if options.stubsave else []
    if not options.check:
        DOCUMENT.write_text(text, encoding="utf-8")
    elif not DOCUMENT.exists() or DOCUMENT.read_text(encoding="utf-8") != text:
        complaints.append(f"{DOCUMENT.name} is not what the layout gives; run this without --check")
    for complaint in complaints:
        print(complaint)
    print(f"{len(cases)} values, {sum(verdict == 'good' for *_, verdict in cases)} accepted")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
