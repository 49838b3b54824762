"""What stubsave must refuse, and that QEMU, guest and files are then as they were.

Used by roundtrip.py, on one machine: a guest that runs and must not lose a letter, and a QEMU that
waits for a state and must go on waiting until a good one comes.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

FIXTURES = Path(__file__).parents[2] / "fixtures"
sys.path.append(str(FIXTURES))

from savefiles import trailer  # noqa: E402

from machine import (INCOMING, Failure, Guest, Lab, Machine, Outcome, Score, counted, expect,
                     expect_count, state_in)

LETTERS_FIRST = 10
DUMPS = 5
SMALL = "64KiB"  # less than any state of that machine
FOOTER_FIELDS = (0, 16, 20, 24, 32, 40, 56, 63)  # where they begin, and the last byte


class Files(NamedTuple):
    """The same state in the three formats."""

    state: bytes
    raw: bytes
    archive: bytes


def flipped(content: bytes, offset: int, bit: int = 3) -> bytes:
    """The content with one bit changed."""
    data = bytearray(content)
    data[offset] ^= 1 << bit
    return bytes(data)


def kept_bytes(guest: Guest) -> dict[str, int]:
    """The regular files that QEMU has open, by number and name, and their lengths in bytes."""
    found = dict[str, int]()
    for link in Path(f"/proc/{guest.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed while we looked
            status = link.stat()
            if S_ISREG(status.st_mode):
                found[f"{link.name} {link.readlink()}"] = status.st_size
    return found


async def refused_dump(lab: Lab, code: int, qmp: str, *options: str) -> Outcome:
    """A dump that must fail with that exit code, and without a file."""
    path = Path(lab.path("refused"))
    outcome = await lab.refused(code, "dump", "--qmp", qmp, "-o", str(path), *options)
    expect_no_file(path, outcome)
    return outcome


def expect_no_file(path: Path, outcome: Outcome) -> None:
    """See that neither that file nor a temporary one for it is there."""
    left = [file.name for file in path.parent.glob(f"*{path.name}*")]
    expect(not left, f"{outcome}; it left {left}")


class Refusals:
    """Cases on one machine."""

    def __init__(self, lab: Lab, machine: Machine, score: Score) -> None:
        self._lab, self._machine, self._score = lab, machine, score
        self._ram, self._files = lab.new_ram(), Files(b"", b"", b"")

    async def run(self) -> None:
        """All cases; those of a restore need the files of those of a dump."""
        case = self._score.case
        async with self._lab.guest(self._machine, self._ram) as guest:
            await case("running: boots", self.boots(guest))
            await case("running: refused without --pause", self.refused_running(guest))
            await case("running: goes on after dump --pause", self.pauses(guest))
            await case("running: the file exists", self.exists(guest))
            await case("running: restore refused", self.restore_running(guest))
            await case("stopped: dumps in a row", self.in_a_row(guest))
            await case("stopped: nothing stays in QEMU", self.nothing_kept(guest))
            await case("running: --max-state too small", self.over_limit(guest))
            await case("running: nothing was lost", self.nothing_lost(guest))
        if not self._files.archive:
            return
        async with self._lab.guest(self._machine, self._ram, "-S", *INCOMING) as guest:
            await case("restore: a flipped bit", self.flips(guest))
            await case("restore: cut, no trailer", self.cuts(guest))
            await case("restore: --max-state too small", self.restore_over_limit(guest))
            await case("restore: another machine, no device state", self.machines(guest))
            await case("restore: good after all that", self.good_after(guest))
        await case("restore: no trailer, accepted", self.cut_trailer())
        await case("restore: QEMU refuses the state", self.cut_state())
        await case("restore: no configuration section, QEMU wants one",
                   self.unlike_qemu(is_configured=False))
        await case("restore: a configuration section, QEMU wants none",
                   self.unlike_qemu(is_configured=True))

    async def boots(self, guest: Guest) -> str:
        """Wait for the guest."""
        await guest.console.more(LETTERS_FIRST)
        return guest.console.text

    async def refused_running(self, guest: Guest) -> str:
        """A running guest, and no --pause."""
        outcome = await refused_dump(self._lab, 13, guest.qmp)
        await guest.goes_on()
        return outcome.message

    async def pauses(self, guest: Guest) -> str:
        """Dumps of a running guest that let it go on."""
        for form in ("state", "raw", "archive"):
            path = self._lab.path(form)
            await self._lab.good("dump", "--qmp", guest.qmp, "-o", path, "--pause",
                                 "--format", form)
            await guest.goes_on()
            expect(Path(path).stat().st_size > 0, f"an empty {form}")
            await guest.monitor.expect_no_fdsets()
        return "three times"

    async def over_limit(self, guest: Guest) -> str:
        """A state larger than what is allowed."""
        outcome = await refused_dump(self._lab, 7, guest.qmp, "--pause", "--max-state", SMALL)
        await guest.goes_on()
        await guest.monitor.expect_no_fdsets()
        return outcome.message

    async def exists(self, guest: Guest) -> str:
        """A file that is there is replaced only with --force."""
        path = self._lab.path("exists")
        Path(path).write_bytes(b"old")
        arguments = ("dump", "--qmp", guest.qmp, "--pause", "-o", path)
        outcome = await self._lab.refused(12, *arguments)
        expect(Path(path).read_bytes() == b"old", "the file was changed")
        await guest.goes_on()
        await self._lab.good(*arguments, "--force")
        state_in(Path(path).read_bytes())
        await guest.goes_on()
        return outcome.message

    async def restore_running(self, guest: Guest) -> str:
        """A QEMU that does not wait for a state."""
        path = self._lab.path("state")
        await self._lab.good("dump", "--qmp", guest.qmp, "--pause", "-o", path)
        outcome = await self._lab.refused(13, "restore", "--qmp", guest.qmp, "-i", path)
        await guest.goes_on()
        await guest.monitor.expect_no_fdsets()
        return outcome.message

    async def in_a_row(self, guest: Guest) -> str:
        """Dumps of a stopped guest are equal, and leave it stopped, with --pause and without."""
        await guest.monitor.execute("stop")
        count, files = counted(self._ram), list[bytes]()
        for number, form in enumerate(["state"] * DUMPS + ["raw", "archive"]):
            path, pause = self._lab.path(form), ("--pause",) if number % 2 else ()
            await self._lab.good("dump", "--qmp", guest.qmp, "-o", path, "--format", form, *pause)
            await guest.monitor.expect_status("paused")
            files.append(Path(path).read_bytes())
        raw, archive = files[DUMPS:]
        for number, file in enumerate(files[:DUMPS]):
            expect(state_in(file) == raw, f"dump {number} has another state than the raw one")
        expect(counted(self._ram) == count, "the guest went on")
        self._files = Files(files[0], raw, archive)
        await guest.monitor.execute("cont")
        await guest.goes_on()
        return f"{DUMPS + 1} times the same {len(raw)} bytes"

    async def nothing_kept(self, guest: Guest) -> str:
        """A QEMU before 9.1 keeps what remove-fd takes away as long as its guest is stopped: it may
        keep the descriptor then, but no state in it; and later not even that."""
        await guest.monitor.execute("stop")
        held = kept_bytes(guest)
        await self._lab.good("dump", "--qmp", guest.qmp, "-o", self._lab.path("state"))
        kept = {name: size for name, size in kept_bytes(guest).items()
                if size and name not in held}
        await guest.monitor.execute("cont")
        await self._lab.good("dump", "--qmp", guest.qmp, "-o", self._lab.path("state"), "--pause")
        await guest.monitor.expect_no_fdsets()
        await guest.goes_on()
        expect(not kept, f"while the guest is stopped QEMU keeps, in bytes: {kept}")
        return "no bytes while stopped, no descriptor afterwards"

    async def nothing_lost(self, guest: Guest) -> str:
        """Every letter came once, and the count goes with them."""
        await guest.monitor.execute("stop")
        await guest.end()
        number = counted(self._ram)
        expect_count(guest.console.text, number, "the guest")
        return f"{number} letters in order"

    async def flips(self, guest: Guest) -> str:
        """One bit of the state, of its trailer, of an archive."""
        state, size = self._files.state, len(self._files.raw)
        offsets = [0, size // 2, size - 1, *(len(state) - 64 + at for at in FOOTER_FIELDS)]
        if size < len(state) - 64:
            offsets.append((size + len(state) - 64) // 2)  # within the metadata
        for offset in offsets:
            await self._refused(guest, 2, flipped(state, offset), f"byte {offset} flipped")
        await self._refused(guest, 2, flipped(self._files.archive, 5000), "archive flipped")
        return f"{len(offsets)} in the state and its trailer, 1 in an archive"

    async def cuts(self, guest: Guest) -> str:
        """Less than all of it, where a trailer is wanted; and of an archive."""
        state, raw, archive = self._files
        for size in (64, len(raw) // 2, len(raw), len(state) - 64, len(state) - 1):
            await self._refused(guest, 3, state[:size], f"cut to {size}")
        await self._refused(guest, 3, state[:-1], "cut by one byte", "--accept-unverified")
        await self._refused(guest, 3, raw, "raw")
        await self._refused(guest, 3, raw, "raw", "--require-trailer")
        await self._refused(guest, 64, raw, "raw", "--require-trailer", "--accept-unverified")
        await self._refused(guest, 2, flipped(state, len(raw) // 2) + bytes(4096), "flipped, padded",
                            "--accept-unverified")
        await self._refused(guest, 2, raw[:-2000] + bytes(70000), "a zero tail", "--accept-unverified")
        for size in (len(archive) - 4096, 4096):
            await self._refused(guest, 3, archive[:size], f"archive cut to {size}")
        await self._refused(guest, 4, b"", "nothing")
        return "state, raw, archive, nothing"

    async def restore_over_limit(self, guest: Guest) -> str:
        """A state larger than what is allowed, in each format."""
        for form, content in self._files._asdict().items():
            outcome = await self._refused(guest, 7, content, form, "--max-state", SMALL)
        return outcome.message

    async def machines(self, guest: Guest) -> str:
        """A state of another machine, by its configuration section or by what dom0 has recorded; a
        whole migration; and what has no section: QEMU gets nothing of any, and would have ended."""
        raw = self._files.raw
        for name in (b"pc-i440fx-2.0", b"none"):
            section = b"\7" + len(name).to_bytes(4, "big") + name
            other = raw[:8] + section + raw[8:]
            outcome = await self._refused(guest, 12, other + trailer(other), f"machine {name!r}")
            expect(f"its configuration section says {name.decode()}, this QEMU has pc-i440fx-"
                   in outcome.message, outcome.message)
        lines = "dom0 devices 00\ndom0 device -machine pc-i440fx-0.9,accel=xen\nqemu 1.0\n"
        outcome = await self._refused(guest, 12, raw + trailer(raw, lines), "an unknown machine")
        expect("pc-i440fx-0.9, which this QEMU does not know" in outcome.message, outcome.message)
        migration = (FIXTURES / "states/migrate-none.qemu").read_bytes()
        for content in (migration, migration + trailer(migration)):
            outcome = await self._refused(guest, 4, content, "a migration")
            expect("a whole migration stream" in outcome.message, outcome.message)
        for content, code in ((b"QEVM" + bytes(5000), 2), (raw[:8] + bytes(5000), 2),
                              (raw[:4] + b"\0\0\0\2" + raw[8:], 6)):
            await self._refused(guest, code, content + trailer(content), f"{content[:9]!r}")
        return "2 machines, an unknown one, a migration, 3 that are none"

    async def good_after(self, guest: Guest) -> str:
        """The same QEMU still takes the undamaged state."""
        path = self._file(self._files.state)
        await self._lab.good("restore", "--qmp", guest.qmp, "-i", path, "--require-trailer")
        await guest.monitor.expect_status("paused")
        again = await self._lab.good("dump", "--qmp", guest.qmp, "--format", "raw", "-o", "-")
        differ = sum(one != other for one, other in zip(again, self._files.raw))
        expect(len(again) == len(self._files.raw) and differ <= 1, f"{differ} bytes differ")
        return f"dumped again, {differ} bytes differ"

    async def cut_trailer(self) -> str:
        """A state that is whole, and no trailer: a warning only."""
        path = self._file(self._files.raw)
        async with self._lab.guest(self._machine, self._ram, "-S", *INCOMING,
                                   keep_ram=True) as guest:
            outcome = await self._lab.stubsave("restore", "--qmp", guest.qmp, "-i", path,
                                                "--accept-unverified")
            expect(outcome.code == 0 and "unverified" in outcome.message and outcome.message != "", f"{outcome}; wanted: a warning")
            await guest.monitor.expect_status("paused")
        return outcome.message

    async def cut_state(self) -> str:
        """Half a state, which QEMU refuses and ends."""
        path = self._file(self._files.raw[:len(self._files.raw) // 2])
        async with self._lab.guest(self._machine, self._ram, "-S", *INCOMING,
                                   keep_ram=True) as guest:
            outcome = await self._lab.refused(13, "restore", "--qmp", guest.qmp, "-i", path,
                                              "--accept-unverified")
        return outcome.message

    async def unlike_qemu(self, is_configured: bool) -> str:
        """A good state that QEMU ends itself over, as its setting is the other: the message
        names that. What it says to do is what every other case here has."""
        setting = ("-global", f"migration.send-configuration={'off' if is_configured else 'on'}")
        async with self._lab.guest(self._machine, self._ram, "-S", *INCOMING, *setting,
                                   keep_ram=True) as guest:
            state = self._files.raw
            if is_configured:
                kind = await guest.monitor.execute("qom-get", path="/machine", property="type")
                name = kind.removesuffix("-machine").encode()
                state = state[:8] + b"\7" + len(name).to_bytes(4, "big") + name + state[8:]
            path = self._file(state + trailer(state))
            outcome = await self._lab.refused(13, "restore", "--qmp", guest.qmp, "-i", path)
            await guest.process.wait()
        words = ("the state has a configuration section" if is_configured else
                 "the state has no configuration section: a QEMU without Xen loads it only with "
                 "-global migration.send-configuration=off ")
        expect(words in outcome.message, outcome.message)
        return outcome.message

    def _file(self, content: bytes) -> str:
        """The path of a new file of that content."""
        path = self._lab.path("input")
        Path(path).write_bytes(content)
        return path

    async def _refused(self, guest: Guest, code: int, content: bytes, what: str,
                       *options: str) -> Outcome:
        """A restore that must fail with that exit code, and leave QEMU waiting."""
        path = self._file(content)
        try:
            outcome = await self._lab.refused(code, "restore", "--qmp", guest.qmp, "-i", path,
                                              *options)
            await guest.monitor.expect_status("inmigrate")
        except Failure as failure:
            raise Failure(f"{what}: {failure}") from None
        return outcome
