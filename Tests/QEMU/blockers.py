"""Devices that QEMU cannot save, and of which it says so when it is asked: it is asked first.

Used by roundtrip.py, on one machine for each: the guest is not touched, and what is said are QEMU's own
words. What QEMU 7.2 does if it is not asked shows that this is not for nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from machine import (INCOMING, XEN_QEMU, Guest, Lab, Machine, Score, expect, state_in)

LETTERS_FIRST = 3
VGA, USB = "-device VGA ", "-device VGA -device piix3-usb-uhci,id=usb -chardev null,id=null "


class Blocked(NamedTuple):
    """A device, and what QEMU 7.2 does that is told to save it all the same."""

    device: str
    devices: str
    saves: bool  # else it dies of it
    loads: bool = False  # what it has saved
    also: str = ""  # another device of which it says so
    saved_since: int = 99  # the QEMU that saves it

    def machine(self, directory: Path, program: str | None = None) -> Machine:
        """With that device."""
        (directory / "fat").mkdir(exist_ok=True)
        devices = (self.devices + self.also).replace("DIRECTORY", str(directory))
        if program:
            return Machine(f"{self.device}, xen binary", devices, "ide-hd", program, "qtest")
        return Machine(self.device, devices)


NVME = Blocked("nvme", f"{VGA}-drive file=null-co://,if=none,id=n,format=raw "
               "-device nvme,drive=n,serial=x", saves=False, saved_since=11)
IVSHMEM = Blocked("ivshmem", f"{VGA}-object memory-backend-ram,id=m,size=1M,share=on "
                  "-device ivshmem-plain,memdev=m,master=off", saves=True)
CRYPTO = Blocked("virtio-crypto", f"{VGA}-object cryptodev-backend-builtin,id=c "
                 "-device virtio-crypto-pci,cryptodev=c", saves=True)
ALL = (
    NVME, IVSHMEM, CRYPTO,
    Blocked("vvfat", f"{VGA}-drive file=fat:rw:DIRECTORY/fat,if=none,id=f,format=raw "
            "-device ide-hd,drive=f,bus=ide.1", saves=True, loads=True),
    Blocked("usb-audio", f"{USB}-audiodev none,id=a -device usb-audio,audiodev=a", saves=False),
    Blocked("usb-serial", f"{USB}-device usb-serial,chardev=null", saves=False),
    Blocked("usb-net", f"{USB}-device usb-net,netdev=net", saves=False),
    IVSHMEM._replace(device="ivshmem and nvme", saves=False, saved_since=11, also=NVME.devices.removeprefix(VGA)
                     .join((" ", ""))),
)  # fmt: skip


def joined(reasons: list[str]) -> str:
    """As stubsave joins them."""
    return "; ".join(reasons)


async def reasons(guest: Guest) -> list[str]:
    """What QEMU itself says."""
    found: list[str] = (await guest.monitor.execute("query-migrate")).get("blocked-reasons", [])
    expect(found != [], "QEMU says nothing")
    return found


class Blockers:
    """Cases for one device."""

    def __init__(self, lab: Lab, this: Blocked, score: Score) -> None:
        self._lab, self._this, self._score, self._ram = lab, this, score, lab.new_ram()

    async def run(self) -> None:
        """All that there are."""
        name = self._this.device
        async with self._lab.guest(self._this.machine(self._lab.directory), self._ram) as guest:
            version = (await guest.monitor.execute("query-version"))["qemu"]["major"]
            if version >= self._this.saved_since:
                if self._this is NVME:
                    await self._score.case(f"not blocked: {name}", self.not_blocked(guest))
                return
            await self._score.case(f"blocked: {name}: refused", self.refused(guest))
            await self._score.case(f"blocked: {name}: not asked", self.unasked(guest))
        if self._this is NVME:
            await self._score.case(f"blocked: {name}: xen binary", self.xen_binary())

    async def refused(self, guest: Guest) -> str:
        """With QEMU's own words; the guest goes on, and stands still if it stood."""
        await guest.console.more(LETTERS_FIRST)
        wanted = f"{joined(await reasons(guest))}; --ignore-blockers"
        for options in (("--pause",), ("--pause", "--keep-paused"), ("--pause", "--format", "raw")):
            message = await self._refused_once(guest, wanted, *options)
            await guest.goes_on()
        await guest.monitor.execute("stop")
        await self._refused_once(guest, wanted)
        await guest.monitor.expect_status("paused")
        await guest.monitor.execute("cont")
        await guest.goes_on()
        return message

    async def _refused_once(self, guest: Guest, wanted: str, *options: str) -> str:
        path = Path(self._lab.path("refused"))
        outcome = await self._lab.refused(13, "dump", "--qmp", guest.qmp, "-o", str(path), *options)
        expect(wanted in outcome.message, f"{outcome}; wanted: {wanted}")
        expect(not path.exists(), f"{outcome}; a file is there")
        await guest.monitor.expect_no_fdsets()
        return outcome.message

    async def not_blocked(self, guest: Guest) -> str:
        """A QEMU that saves it is not refused, and takes back what it has saved."""
        found = (await guest.monitor.execute("query-migrate")).get("blocked-reasons", [])
        expect(found == [], joined(found))
        path = self._lab.path("state")
        await self._lab.good("dump", "--qmp", guest.qmp, "-o", path, "--pause")
        await guest.goes_on()
        async with self._lab.guest(self._this.machine(self._lab.directory), self._ram, "-S", *INCOMING,
                                   keep_ram=True) as other:
            await self._lab.good("restore", "--qmp", other.qmp, "-i", path, "--require-trailer")
            other.expect_quiet()
        return "saved and loaded"

    async def unasked(self, guest: Guest) -> str:
        """As it was before: QEMU dies, or writes something."""
        path = Path(self._lab.path("all-the-same"))
        command = ("dump", "--qmp", guest.qmp, "-o", str(path), "--pause", "--ignore-blockers")
        if not self._this.saves:
            outcome = await self._lab.stubsave(*command)
            expect(outcome.code != 0 and not path.exists(), f"{outcome}; of a QEMU that was to die")
            code = await guest.process.wait()
            expect(code < 0, f"QEMU ended with {code}")
            return f"QEMU dies of signal {-code}; {outcome.message}"
        await self._lab.good(*command)
        await guest.goes_on()
        state_in(path.read_bytes())
        async with self._lab.guest(self._this.machine(self._lab.directory), self._ram, "-S", *INCOMING,
                                   keep_ram=True) as other:
            outcome = await self._lab.stubsave("restore", "--qmp", other.qmp, "-i", str(path))
        expect((outcome.code == 0) == self._this.loads, f"{outcome}")
        return f"a state of {path.stat().st_size} bytes; restore: {outcome.message or 'good'}"

    async def xen_binary(self) -> str:
        """The QEMU that stubdomains have."""
        async with self._lab.guest(self._this.machine(self._lab.directory, XEN_QEMU), self._lab.new_ram()) as guest:
            wanted = f"{joined(await reasons(guest))}; --ignore-blockers"
            message = await self._refused_once(guest, wanted, "--pause")
            await guest.monitor.expect_status("running")
        return message
