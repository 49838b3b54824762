#!/usr/bin/python3
"""Round trip: a real QEMU's device state leaves with `stubsave dump` and comes back with `restore`.

For each set of devices, of a guest that counts (machine.py):
  dump  the guest runs, is paused and dumped in every format; the trailer is checked here;
  a.    restored in a fresh QEMU on the same RAM it goes on: the next letter, the next number;
  b.    restored and dumped raw (g1), and that again (g2): g1 = g2 byte for byte, and s0, what the
        guest left, differs from g1 in nothing but what QEMU itself changes when it loads;
  c.    a QEMU that knows nothing of stubsave loads the state file with its trailer: g1 again;
  d.    the archive is good, holds s0 and gives g1 again;
  e.    so does a pipe in, and standard output.
QEMU itself says nothing meanwhile: neither an error nor a warning.
Then, on one machine, what must be refused and how all is left then (refusals.py), a QEMU that
dies or falls silent in the middle (deaths.py), and devices that QEMU cannot save (blockers.py).

What QEMU 7.2 changes when it loads a state: the IDE controller's bmdma retry byte, and a qxl's
number of updates, which goes up by one with each load. Other bytes must not differ.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
try:
    import blockers
    from deaths import Deaths
    from machine import (FOOTER_MAGIC, INCOMING, QEMU, SAVE, XEN_QEMU, Lab, Machine, Score, counted, expect,
                         expect_count, state_in)
    from refusals import Refusals
except ModuleNotFoundError as missing:
    sys.exit(f"needs {missing.name} (apt package python3-xxhash)")

LETTERS_FIRST, LETTERS_AFTER = 40, 40  # to wait for; more than an alphabet
EVENTS = ("-global", "migration.x-events=on")
AT_ONCE = 2

NIC = "netdev=net,romfile="  # its boot ROM would only cost time
MACHINES = [
    Machine("e1000", f"-device VGA -device e1000,{NIC}"),
    Machine("ahci+xhci+qxl", "-device qxl-vga -device qemu-xhci,id=usb -device usb-tablet,bus=usb.0"
            " -device ahci,id=ahci", "ide-hd,bus=ahci.0"),
    Machine("4cpu+lsi+ehci", f"-smp 4 -device VGA -device e1000,{NIC} -device lsi53c895a"
            " -device usb-ehci,id=usb -device usb-tablet,bus=usb.0", "scsi-hd"),
    Machine("virtio+hda", f"-device virtio-vga -device virtio-net-pci,{NIC} -device virtio-rng-pci"
            " -device virtio-balloon-pci -device virtio-serial-pci -audiodev none,id=none"
            " -device intel-hda -device hda-duplex,audiodev=none", "virtio-blk-pci"),
    Machine("2cpu+rtl8139+cirrus+ac97", f"-smp 2 -device cirrus-vga -device rtl8139,{NIC}"
            " -audiodev none,id=none -device AC97,audiodev=none -device piix3-usb-uhci,id=usb"
            " -device usb-tablet,bus=usb.0"),
    # Without Xen its guest does not run; the devices are saved and loaded all the same.
    Machine("xen binary", f"-device VGA -device rtl8139,{NIC} -device usb-ehci,id=usb"
            " -device usb-tablet,bus=usb.0", "ide-hd", XEN_QEMU, "qtest"),
]
QUICK = {"e1000", "xen binary"}


def differing(one: bytes, other: bytes) -> list[str]:
    """The section of each byte in which the states differ; sections are found by their look."""
    expect(len(one) == len(other), f"states of {len(one)} and {len(other)} bytes")
    offsets = [at for at, (a, b) in enumerate(zip(one, other)) if a != b]
    headers = re.finditer(rb"\x04\0\0\0.([\x04-\x40])([\x20-\x7e]{4,64})", one, re.DOTALL)
    named = [(match.start(), match[2][:match[1][0]].decode()) for match in headers]
    return [next((name for start, name in reversed(named) if start < at), "?") for at in offsets]


def expect_same(one: bytes, other: bytes, what: str, restless: tuple[str, ...] = ()) -> str:
    """See that two states differ in at most one byte of each restless section; say in how many."""
    sections = differing(one, other)
    kinds = [section.rsplit("/", 1)[-1] for section in sections]
    expect(len(set(kinds)) == len(kinds) and set(kinds) <= set(restless),
           f"{what} differ in {len(sections)} bytes, in {sorted(set(sections))}")
    return f"{len(sections)} bytes differ" + (f" ({', '.join(sections)})" if sections else "")


class Trip:
    """The round trips of one guest."""

    def __init__(self, lab: Lab, machine: Machine, score: Score) -> None:
        self._lab, self._machine, self._score = lab, machine, score
        self._ram, self._runs = lab.new_ram(), machine.accelerator != "qtest"
        self._s0, self._archive = lab.path("s0"), lab.path("archive")
        self._sent, self._count, self._g1 = "", 0, b""

    async def run(self) -> None:
        """All cases, unless there is nothing to restore. The one that goes on comes last."""
        name = self._machine.name
        if not await self._score.case(f"{name}: dump", self.dump()):
            return
        if await self._score.case(f"{name}: b. g1 = g2", self.settles()):
            await self._score.case(f"{name}: c. plain QEMU loads it", self.plain())
            await self._score.case(f"{name}: d. archive", self.archive())
            await self._score.case(f"{name}: e. pipe", self.pipe())
        await self._score.case(f"{name}: a. goes on", self.goes_on())

    async def dump(self) -> str:
        """Dump a running guest in all formats; it stays paused."""
        async with self._lab.guest(self._machine, self._ram) as guest:
            if self._runs:
                await guest.console.more(LETTERS_FIRST)
            to = ("dump", "--qmp", guest.qmp, "-o")
            await self._lab.good(*to, self._s0, "--pause", "--keep-paused")
            await guest.monitor.expect_status("paused")
            self._count = counted(self._ram)
            await self._lab.good(*to, self._archive, "--format", "archive")
            state = state_in(Path(self._s0).read_bytes())
            expect(os.stat(self._s0).st_mode & 0o777 == 0o600, "the state file is not 0600")
            for form, found in (("state", state_in), ("raw", bytes)):
                output = await self._lab.good(*to, "-", "--format", form)
                # A qxl may count an update while its guest stands; seen once in some hundred runs.
                expect_same(state, found(output), f"{self._s0} and --format {form}", ("qxl",))
            await guest.monitor.expect_status("paused")
            await guest.end()
            guest.expect_quiet()
        expect(counted(self._ram) == self._count, "the guest went on after --keep-paused")
        self._sent = guest.console.text
        if self._runs:
            expect_count(self._sent, self._count, "before the restore the guest")
        return f"{len(state)} bytes of state, count {self._count}"

    async def settles(self) -> str:
        """Restore s0 and dump it again as g1; restore g1 and dump it again as g2."""
        state, g1 = state_in(Path(self._s0).read_bytes()), self._lab.path("g1")
        self._g1 = await self._again(self._s0)
        Path(g1).write_bytes(self._g1)
        s0_g1 = expect_same(state, self._g1, "s0 and g1", ("ide", "qxl"))
        g1_g2 = expect_same(self._g1, await self._again(g1), "g1 and g2", ("qxl",))
        return f"s0 and g1: {s0_g1}; g1 and g2: {g1_g2}"

    async def plain(self) -> str:
        """Let QEMU itself load the state file with its trailer, and save it again."""
        again = self._lab.path("again")
        async with self._lab.guest(self._machine, self._ram, "-S", *INCOMING, *EVENTS,
                                   keep_ram=True) as guest:
            await guest.monitor.execute("migrate-incoming", uri=f"exec:cat {self._s0}")
            await guest.monitor.loaded()
            await guest.monitor.execute(SAVE, filename=again, live=False)
            guest.expect_quiet()
        self._expect_g1(Path(again).read_bytes())
        return "g1 again"

    async def archive(self) -> str:
        """Verify the archive, compare what it holds with s0, and restore it."""
        verdict = await self._lab.good("verify", self._archive)
        expect(b": good" in verdict, f"verify said {verdict!r}")
        held = await self._lab.good("read", self._archive, "-o", "-")
        expect_same(state_in(Path(self._s0).read_bytes()), held, "s0 and what the archive holds", ("qxl",))
        self._expect_g1(await self._again(self._archive))
        return f"{Path(self._archive).stat().st_size} bytes, good; g1 again"

    async def pipe(self) -> str:
        """Restore every format from a pipe."""
        raw = state_in(Path(self._s0).read_bytes())
        for source in (Path(self._s0).read_bytes(), Path(self._archive).read_bytes(), raw):
            self._expect_g1(await self._again("-", source))
        return "state, archive and raw: g1 again"

    async def goes_on(self) -> str:
        """Restore s0 in a QEMU that lets the guest run, on the RAM as the guest left it."""
        async with self._lab.guest(self._machine, self._ram, *INCOMING) as guest:
            expect(counted(self._ram) == self._count, "the count changed before the restore")
            await self._lab.good("restore", "--qmp", guest.qmp, "-i", self._s0, "--require-trailer")
            await guest.monitor.expect_status("running")
            if not self._runs:
                guest.expect_quiet()
                return "QEMU runs it; the guest cannot"
            await guest.console.more(LETTERS_AFTER)
            await guest.monitor.execute("stop")
            await guest.end()
            guest.expect_quiet()
        number = counted(self._ram)
        expect_count(self._sent + guest.console.text, number, "with the restore the guest")
        return f"{self._sent[-3:]} | {guest.console.text[:3]}, count {self._count} -> {number}"

    async def _again(self, file: str, source: bytes | None = None) -> bytes:
        """What is dumped, raw, after a restore of that in a fresh QEMU that stays paused."""
        async with self._lab.guest(self._machine, self._ram, "-S", *INCOMING,
                                   keep_ram=True) as guest:
            content = Path(file).read_bytes() if source is None else source
            # Of what has a trailer, or is an archive, nothing is accepted unseen.
            accepted = () if content[-64:-48] == FOOTER_MAGIC or content[0] == 0x89 else ("--accept-unverified",)
            await self._lab.good("restore", "--qmp", guest.qmp, "-i", file, *accepted, source=source)
            await guest.monitor.expect_status("paused")
            path = self._lab.path("raw")
            await self._lab.good("dump", "--qmp", guest.qmp, "--format", "raw", "-o", path)
            guest.expect_quiet()
            return Path(path).read_bytes()

    def _expect_g1(self, state: bytes) -> None:
        expect_same(self._g1, state, "g1 and what is saved again", ("qxl",))


async def test(lab: Lab, score: Score, quick: bool) -> None:
    """All machines, some at a time, then the refusals; nothing else runs beside these."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(machine: Machine) -> None:
        async with slots:
            await Trip(lab, machine, score).run()

    machines = [machine for machine in MACHINES if not quick or machine.name in QUICK]
    async with asyncio.TaskGroup() as group:
        for machine in machines:
            group.create_task(one(machine))
    await Refusals(lab, MACHINES[0], score).run()
    await Deaths(lab, MACHINES[0], score).run()
    for this in blockers.ALL:
        await blockers.Blockers(lab, this, score).run()


async def left_over(directory: Path) -> str:
    """See that no process of ours is left."""
    ours = os.fsencode(directory)
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            expect(ours not in entry.read_bytes(), f"process {entry.parent.name} is left")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    return "none"


async def run(options: argparse.Namespace) -> int:
    """Exit code of the program; a signal ends it early and in order."""
    task, score, begin = asyncio.current_task(), Score(), time.monotonic()
    assert task is not None
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel, number)
    try:
        with tempfile.TemporaryDirectory(prefix="stubsave-roundtrip-") as name:
            await test(Lab(options.stubsave, Path(name)), score, options.quick)
            await score.case("processes left", left_over(Path(name)))
    except asyncio.CancelledError as error:
        return 128 + int(error.args[0]) if error.args else 1
    print(f"{score.passed} passed, {score.failed} failed in {time.monotonic() - begin:.0f} s")
    return 1 if score.failed else 0


def main() -> int:
    """Read the command line, and see that everything is there."""
    built = Path(__file__).parents[2] / ".build/release/stubsave"
    parser = argparse.ArgumentParser(description="Dump and restore real QEMUs with stubsave.")
    parser.add_argument("--quick", action="store_true", help="two device sets only")
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    options = parser.parse_args()
    for program, way in ((QEMU, "apt package qemu-system-x86"),
                         (XEN_QEMU, "apt package qemu-system-xen"),
                         (options.stubsave, "make build")):
        if shutil.which(program) is None:
            print(f"needs {program} ({way})", file=sys.stderr)
            return 2
    if os.geteuid() != 0:
        print("needs root: `stubsave dump` makes a loop device", file=sys.stderr)
        return 2
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
