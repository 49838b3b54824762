#!/usr/bin/python3
"""List the sections of every device that QEMU has, and compare with what QEMU itself says of them.

A machine is started for each device that `-device help` lists; one that does not start, or that QEMU
does not save, is passed over, and counted. Of each state the test checks, in two forms, with QEMU's
footers and with the footers taken out, as under Xen, that
  1. `stubsave inspect` lists the sections that QEMU's own trace says it has saved, in its order, each
     with the offset, id, instance, version and length that QEMU's framing gives it;
  2. it says which of them it has found by their look only: none, and all.
A whole `migrate` of a machine is named as one, listed, and neither wrapped nor called good.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import struct
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import NamedTuple

sys.dont_write_bytecode = True
try:
    from machine import QEMU, SAVE, Failure, expect, running
except ModuleNotFoundError as missing:
    sys.exit(f"needs {missing.name} (apt package python3-xxhash)")

AT_ONCE = 2
DEADLINE_SECONDS = 20  # for one machine, which takes about 0.2 s
LEAST_MACHINES = 140  # QEMU 7.2 of Debian: 160 and more; fewer would be a sweep of nothing
MACHINE = "-nodefaults -no-user-config -display none -accel tcg,tb-size=8 -m 16 -S -qmp stdio".split()
# A machine for each CPU model would say nothing about sections.
PASSED_OVER = ("CPU devices",)
# What a device is plugged into, and what it cannot be without.
BUSES = {"usb-bus": "-usb", "HDA": "-device intel-hda", "SCSI": "-device lsi53c895a",
         "virtio-serial-bus": "-device virtio-serial-pci", "ccid-bus": "-usb -device usb-ccid"}
THINGS = ("-blockdev null-co,node-name=d,size=1048576 -chardev null,id=c -audiodev none,id=a "
          "-object memory-backend-ram,id=m,size=2M -object cryptodev-backend-builtin,id=k "
          "-device ipmi-bmc-sim,id=b -fsdev local,id=f,path=/,security_model=none").split()
WANTED = {  # QEMU's word for what is missing, and what helps
    "drive property": "drive=d", "drive": "drive=d", "hardware not": "drive=d", "chardev": "chardev=c",
    "memdev": "memdev=m", "chassis": "chassis_nr=1", "bmc": "bmc=b", "cryptodev": "cryptodev=k",
    "fsdev": "fsdev=f", "audio": "audiodev=a", "serial property": "serial=s,drive=d"}
# These wait for somebody at the other end of what they are given.
WAITING = ("vhost", "ivshmem-doorbell")
# Bridges and IOMMUs are saved before all others, by priority: on a machine with PCI Express, too.
ON_BOTH = ("Controller/Bridge/Hub devices",)
IOMMUS = ("intel-iommu", "virtio-iommu-pci")

SECTION, END, FOOTER = 4, 0, 0x7E
HEADER = struct.Struct(">BIB")
NUMBERS = struct.Struct(">II")


class Device(NamedTuple):
    """A line of `-device help`."""

    name: str
    bus: str
    category: str


class Section(NamedTuple):
    """What QEMU says of a section."""

    offset: int
    id: int
    name: str
    instance: int
    version: int
    payload: int


def devices() -> list[Device]:
    """All that this QEMU has, but for what is passed over."""
    text = subprocess.run([QEMU, "-device", "help"], check=True, capture_output=True, text=True).stdout
    found, category = [], ""
    for line in text.splitlines():
        if match := re.match(r'name "([^"]+)"(?:, bus ([^,]+))?', line):
            found.append(Device(match[1], match[2] or "", category))
        elif line.endswith(":"):
            category = line[:-1]
    return [device for device in found if device.category not in PASSED_OVER]


def framing(state: bytes, names: list[str]) -> list[Section]:
    """The sections, as QEMU's footers end them, known by the names that it says it has saved."""
    expect(state.startswith(b"QEVM\0\0\0\3"), f"begins with {state[:8].hex()}")
    sections, at = [], 8
    for index, name in enumerate(names):
        mark, id, count = HEADER.unpack_from(state, at)
        start = at + HEADER.size + count
        expect((mark, state[at + HEADER.size:start].decode()) == (SECTION, name), f"{name} at {at}")
        footer = bytes([FOOTER]) + struct.pack(">I", id)
        if index + 1 == len(names):
            footer += bytes([END])
            end = len(state) - len(footer)
            expect(state.endswith(footer), f"no end behind {name}")
        else:
            following = names[index + 1].encode()
            behind = re.compile(re.escape(footer + bytes([SECTION])) + b"....."
                                + re.escape(following), re.DOTALL)
            match = behind.search(state, start + NUMBERS.size)
            expect(match is not None, f"no footer behind {name}")
            end = match.start()
        sections.append(Section(at, id, name, *NUMBERS.unpack_from(state, start),
                                end - start - NUMBERS.size))
        at = end + 5
    return sections


def without_footers(state: bytes, sections: list[Section]) -> tuple[bytes, list[Section]]:
    """As QEMU writes it under Xen."""
    data, moved = bytearray(state[:8]), []
    for section in sections:
        size = HEADER.size + len(section.name) + NUMBERS.size + section.payload
        moved.append(section._replace(offset=len(data)))
        data += state[section.offset:section.offset + size]
    return bytes(data) + bytes([END]), moved


def zero_tail(state: bytes) -> int:
    """With how many zeros it ends."""
    return len(state) - len(state.rstrip(b"\0"))


class Sweep:
    """Machines, two at a time, and what has been found of them."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.sections = self.failed = 0
        self.started: list[str] = []
        self.refused: list[str] = []
        self.tail = self.xens_tail = 0
        self.tails: dict[str, int] = {}

    async def all(self) -> None:
        """Every device on each machine that it is tried on."""
        found = devices()
        todo = [(device, "pc") for device in found]
        todo += [(device, "q35") for device in found
                 if device.category in ON_BOTH or device.name in IOMMUS]
        await asyncio.gather(*(self._one(*each) for each in todo))

    async def _one(self, device: Device, machine: str) -> None:
        async with self._turns:
            label = f"{machine}-{device.name}"
            bus = BUSES.get(device.bus, "").split()
            words = await self._save(label, ["-M", machine, *bus, "-device", device.name])
            help = next((value for word, value in WANTED.items() if word in words), None)
            if words and help and not device.name.startswith(WAITING):
                words = await self._save(label, ["-M", machine, *THINGS, *bus, "-device",
                                                 f"{device.name},{help}"])
            if words:
                self.refused.append(f"{label}: {words}")
                return
            try:
                await self._check(label)
                self.started.append(label)
            except (Failure, ValueError, KeyError) as failure:
                self.failed += 1
                print(f"FAILED {label}: {failure}", flush=True)

    async def _save(self, label: str, arguments: list[str]) -> str:
        """Save a new machine's state; give back why there is none."""
        path, trace = self._folder / f"{label}.dev", self._folder / f"{label}.trace"
        orders = [{"execute": "qmp_capabilities"},
                  {"execute": SAVE, "arguments": {"filename": str(path)}}, {"execute": "quit"}]
        text = "".join(json.dumps(order) + "\n" for order in orders).encode()
        async with running(QEMU, *MACHINE, "-trace", "vmstate_save", "-D", str(trace), *arguments,
                           stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
            try:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    said, errors = await process.communicate(text)
            except TimeoutError:
                return f"no end after {DEADLINE_SECONDS} s"
        said, errors = said.decode(errors="replace"), errors.decode(errors="replace")
        refusals = [line for line in said.splitlines() if '"error"' in line]
        if process.returncode == 0 and not refusals and path.exists():
            return ""
        lines = [line.removeprefix(f"{QEMU}: ") for line in errors.splitlines()]
        return f"exit {process.returncode}: " + " ".join([*refusals, *lines])[:200]

    async def _check(self, label: str) -> None:
        path = self._folder / f"{label}.dev"
        state = path.read_bytes()
        lines = (self._folder / f"{label}.trace").read_text().splitlines()
        names = [line.split(" ", 1)[1].rsplit(", ", 1)[0] for line in lines
                 if line.startswith("vmstate_save ")]
        sections = framing(state, names)
        await self._compare(path, sections, "footers")
        state, sections = without_footers(state, sections)
        path.write_bytes(state)
        await self._compare(path, sections, "look")
        # Under Xen the run's state is not stored (store-global-state=off), and without ACPI's tables
        # any device may be the last.
        saved = state
        if sections[-1].name == "globalstate":
            saved = state[:sections[-1].offset] + bytes([END])
        self.tail = max(self.tail, zero_tail(state))
        self.xens_tail = max(self.xens_tail, zero_tail(saved))
        for section in sections:
            end = section.offset + HEADER.size + len(section.name) + NUMBERS.size + section.payload
            tail = zero_tail(state[section.offset:end]) + 1
            name = section.name.split("/")[-1]
            self.tails[name] = max(self.tails.get(name, 0), tail)
        self.sections += len(sections)
        path.unlink()

    async def _compare(self, path: Path, sections: list[Section], way: str) -> None:
        code, report = await self.report("inspect", "--json", str(path))
        expect(code == 0, f"exit {code}")
        expect((report["kind"], report.get("machine")) == ("device-state", None), report["kind"])
        listed = [Section(each["offset"], each["id"], each["name"], each["instance"],
                          each["version"], each["payloadBytes"]) for each in report["sections"]]
        for one, other in zip(sections, listed):
            expect(one == other, f"{way}: {other}; QEMU says {one}")
        expect(len(listed) == len(sections),
               f"{way}: {len(listed)} sections; QEMU says {len(sections)}")
        expect(report["sectionsFoundBy"] == way, f"{report['sectionsFoundBy']} instead of {way}")

    async def report(self, *words: str) -> tuple[int, dict]:
        """A command's exit code, and its JSON."""
        async with running(self._program, *words, stdout=PIPE, stderr=DEVNULL) as process:
            said, _ = await process.communicate()
        return process.returncode or 0, json.loads(said)

    async def migration(self) -> None:
        """A whole migration, RAM and all, in the form that `migrate` has."""
        path = self._folder / "migration"
        events = [{"capability": "events", "state": True}]
        orders = [{"execute": "qmp_capabilities"},
                  {"execute": "migrate-set-capabilities", "arguments": {"capabilities": events}},
                  {"execute": "migrate", "arguments": {"uri": f"exec:cat >{path}"}}]
        async with running(QEMU, "-M", "pc", *MACHINE, stdin=PIPE, stdout=PIPE,
                           stderr=DEVNULL) as process:
            assert process.stdin and process.stdout
            process.stdin.write("".join(json.dumps(order) + "\n" for order in orders).encode())
            async with asyncio.timeout(DEADLINE_SECONDS):
                while b'"completed"' not in (line := await process.stdout.readline()):
                    expect(line != b"" and b'"error"' not in line, f"QEMU says {line!r}")
        size = path.stat().st_size
        code, report = await self.report("inspect", "--json", str(path), "--max-state", "1GiB")
        kinds = [section["kind"] for section in report["sections"] if section["name"] == "ram"]
        expect(code == 0 and report["kind"] == "migration-stream"
               and str(report.get("machine")).startswith("pc-i440fx-"), f"{code}: {report}")
        expect(report["sectionsFoundBy"] == "footers" and kinds[0] == "start"
               and kinds[-1] == "last part", f"RAM's sections: {kinds}")
        expect(report["sections"][-1]["name"] == "globalstate", str(report["sections"][-1]))
        for words in (["wrap", str(path), "-o", str(self._folder / "wrapped")],
                      ["wrap", str(path), "-o", "-", "--max-state", "1MiB"]):
            async with running(self._program, *words, stdout=PIPE, stderr=PIPE) as process:
                _, errors = await process.communicate()
            expect(process.returncode == 4 and b"a whole migration stream" in errors,
                   f"{' '.join(words)}: exit {process.returncode}: {errors!r}")
        print(f"ok     a whole migration: {size} bytes, {len(report['sections'])} sections, "
              f"{report['machine']}")


async def sweep(program: str) -> int:
    """Everything, and what has come of it."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stubsave-sweep-") as folder:
        work = Sweep(program, Path(folder))
        try:
            await work.migration()
        except (Failure, TimeoutError) as failure:
            work.failed += 1
            print(f"FAILED a whole migration: {failure}")
        await work.all()
    for line in sorted(work.refused):
        print(f"not saved: {line}")
    if len(work.started) < LEAST_MACHINES:
        work.failed += 1
        print(f"FAILED only {len(work.started)} machines were saved; wanted: {LEAST_MACHINES}")
    longest = sorted(work.tails.items(), key=lambda each: -each[1])[:6]
    print(f"longest zero tail of a state: {work.tail} bytes, with Xen's settings {work.xens_tail}; "
          "of one that has another device last: "
          + ", ".join(f"{size} ({name})" for name, size in longest))
    print(f"{len(work.started)} machines with {work.sections} sections listed twice, "
          f"{len(work.refused)} not saved by QEMU, {work.failed} failed "
          f"({time.monotonic() - begin:.0f} s)")
    return 1 if work.failed else 0


def main() -> int:
    """Read the command line."""
    built = Path(__file__).parents[2] / ".build/release/stubsave"
    parser = argparse.ArgumentParser(description="List the sections of every device of QEMU's.")
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    options = parser.parse_args()
    if not Path(options.stubsave).exists():
        parser.error(f"{options.stubsave} is not there: make build")
    return asyncio.run(sweep(options.stubsave))


if __name__ == "__main__":
    sys.exit(main())
