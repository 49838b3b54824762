#!/usr/bin/python3
"""stubsave dump and restore over a real xenstored, to another domain, permissions in force.

First with the real agent beside a real QEMU, and a real loop device; then with clients in the
stubdomain that lie, flood, fall silent or die. Run by Tests/Xenstored/xenstored.py.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import tty
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "QEMU"),
                str(Path(__file__).resolve().parents[2] / "fixtures")]
from blockers import IVSHMEM, NVME, joined, reasons  # noqa: E402
from deaths import relay  # noqa: E402
import forged  # noqa: E402
from machine import (  # noqa: E402
    INCOMING, SAVE, Guest, Lab, Outcome, Score, expect, running, state_in)
from places import LARGE, LIMIT, MACHINE, detach, loop_device, parsed, parser  # noqa: E402
from savedisk import Header  # noqa: E402
from stubdomain import ANSWER, OFFER, StubdomainClient, kill_domain, nodes, xenstored  # noqa: E402
from client import MKDIR, READ, RM, SET_PERMS, WRITE, Client, Refused  # noqa: E402

HONEST, LYING = 5, 7  # domids
OLDER_AGENT = Path(__file__).resolve().parent / "agent1.py"
UUID = "75757a59-0182-4b21-89d1-62b5127d8c8d"  # of the liar's guest
MOST_BUSY = 0.05  # of one processor
START_SECONDS = 0.05  # of processor time, for the program's start and the disk


class Stubdomains:
    """What all cases need."""

    def __init__(self, lab: Lab, agent: str) -> None:
        self.lab, self.agent, self.devices = lab, agent, lab.directory / "dev"
        self.devices.mkdir()

    @asynccontextmanager
    async def disk(self, size: int = 1 << 20, direction: str = "save",
                   name: str = "xvdz") -> AsyncIterator[str]:
        """A loop device, allocated, that stubdomains have under that name."""
        device = await loop_device(self.lab, size, direction)
        try:
            (self.devices / name).symlink_to(device)
            yield device
        finally:
            (self.devices / name).unlink(missing_ok=True)
            detach(device)

    def serving(self, qmp: str, program: str = ""):  # type: ignore[no-untyped-def]
        """The real agent in the honest domain, or another."""
        return running(program or self.agent, "serve", qmp, f"xenstore:{xenstored()}/{HONEST}",
                       str(LIMIT), str(self.devices), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL,
                       env={**os.environ, "AGENT_WRITER": self.agent})

    def over(self, domid: int, device: str) -> tuple[str, ...]:
        """Options of dump and restore."""
        return (str(domid), "--disk", device, "--attached", "xvdz",
                "--xenstore", str(xenstored() / "dom0"))

    async def dump(self, guest: Guest, *options: str) -> bytes:
        """A good dump over a disk of its own; the state."""
        file = self.lab.path("state")
        async with self.disk() as device:
            await self.lab.good("dump", *self.over(HONEST, device), "-o", file, *options)
        expect("stubsave" not in nodes(HONEST), "nodes are left")
        return state_in(Path(file).read_bytes())


async def whole(stubs: Stubdomains) -> str:
    """Dumps of a guest that runs; the last state goes into a fresh QEMU, and is saved again."""
    lab = stubs.lab
    async with lab.guest(MACHINE, lab.new_ram()) as guest, stubs.serving(guest.qmp):
        await guest.console.more(3)
        for _ in range(2):
            await stubs.dump(guest, "--pause")
            await guest.goes_on()
        state = await stubs.dump(guest, "--pause", "--keep-paused")
        await guest.monitor.expect_status("paused")
        expect(await stubs.dump(guest) == state, "a guest that stands has another state")
    file = Path(lab.path("raw"))
    file.write_bytes(state)
    async with (lab.guest(MACHINE, lab.new_ram(), "-S", *INCOMING) as guest,
                stubs.serving(guest.qmp), stubs.disk(direction="restore") as device):
        await lab.refused(3, "restore", *stubs.over(HONEST, device), "-i", str(file))
        await guest.monitor.expect_status("inmigrate")
        await lab.good("restore", *stubs.over(HONEST, device), "-i", str(file), "--accept-unverified")
        await guest.monitor.expect_status("prelaunch", "paused")
        again = lab.path("again")
        await guest.monitor.execute(SAVE, filename=again, live=False)
        differing = sum(a != b for a, b in zip(state, Path(again).read_bytes()))
    expect(differing <= 1, f"{differing} bytes differ when saved again")
    expect("stubsave" not in nodes(HONEST), "nodes are left")
    return f"{len(state)} bytes; {differing} differ when saved again"


async def older_agent(stubs: Stubdomains) -> str:
    """One of version 1: all as with this one, and it is said that nobody has asked QEMU."""
    lab, said = stubs.lab, "nobody has asked QEMU"
    async with (lab.guest(MACHINE, lab.new_ram()) as guest,
                stubs.serving(guest.qmp, str(OLDER_AGENT))):
        await guest.console.more(3)
        for options, is_told in ((), True), (("--ignore-blockers",), False):
            async with stubs.disk() as device:
                outcome = await lab.stubsave("dump", *stubs.over(HONEST, device), "-o", lab.path("s"),
                                             "--pause", *options)
            expect(outcome.code == 0 and (said in outcome.message) == is_told, f"{outcome}")
            await guest.goes_on()
        async with stubs.disk() as device:
            outcome = await lab.refused(13, "dump", *stubs.over(HONEST, device), "-o", lab.path("s"))
        expect("the stubdomain says" not in outcome.message, f"{outcome}")
        state = await stubs.dump(guest, "--pause", "--keep-paused")
        await guest.monitor.expect_status("paused")
        expect(await stubs.dump(guest) == state, "a guest that stands has another state")
    return f"{len(state)} bytes; {outcome.message}"


async def blocked(stubs: Stubdomains) -> str:
    """What QEMU says before a save crosses, and is shown as the stubdomain's."""
    lab = stubs.lab
    async with (lab.guest(NVME.machine(lab.directory), lab.new_ram()) as guest,
                stubs.serving(guest.qmp), stubs.disk() as device):
        await guest.console.more(3)
        dump = ("dump", *stubs.over(HONEST, device), "-o", lab.path("none"), "--pause")
        wanted = f"; the stubdomain says: {joined(await reasons(guest))}"
        for options in (), ("--keep-paused",):
            outcome = await lab.refused(13, *dump, *options)
            expect(outcome.message.endswith(wanted) and "--ignore-blockers" in outcome.message,
                   f"{outcome}; wanted: {wanted}")
            await guest.goes_on()
    async with (lab.guest(IVSHMEM.machine(lab.directory), lab.new_ram()) as guest,
                stubs.serving(guest.qmp)):
        await guest.console.more(3)
        await stubs.dump(guest, "--pause", "--ignore-blockers")
        await guest.goes_on()
    return outcome.message


async def too_small(stubs: Stubdomains) -> str:
    """A disk that the user has made too small: how large it must be, and that is enough."""
    lab = stubs.lab
    async with lab.guest(LARGE, lab.new_ram()) as guest, stubs.serving(guest.qmp):
        await guest.console.more(3)
        async with stubs.disk(8192) as device:
            outcome = await lab.refused(7, "dump", *stubs.over(HONEST, device), "--pause", "-o",
                                        lab.path("none"))
        await guest.goes_on()
        size = outcome.message.partition("--size ")[2].split("`")[0]
        async with stubs.disk(int(size)) as device:
            await lab.good("dump", *stubs.over(HONEST, device), "--pause", "-o", lab.path("s"))
        await guest.goes_on()
    return outcome.message


async def agent_killed(stubs: Stubdomains) -> str:
    """The agent is killed when it tells QEMU to save; one that is started anew does it all."""
    lab, killed = stubs.lab, asyncio.Event()

    def before(command: str, pid: int) -> None:
        if command == SAVE and not killed.is_set():
            os.kill(pid, signal.SIGKILL)
            killed.set()

    async with lab.guest(MACHINE, lab.new_ram()) as guest:
        await guest.console.more(3)
        async with relay(lab, guest.qmp, before) as qmp, stubs.serving(qmp):
            dump = asyncio.create_task(stubs.dump(guest, "--pause"))
            await killed.wait()
            async with stubs.serving(guest.qmp):
                await dump
                await guest.goes_on()
    return "the second agent finds the guest stopped, and it goes on"


async def permissions(stubs: Stubdomains) -> str:
    """What the stubdomain may do with each of the nodes, while an offer stands."""
    allowed = {(WRITE, ANSWER), (MKDIR, f"{ANSWER}/x"), (RM, ANSWER)}
    refused = 0
    with StubdomainClient(LYING) as stub:
        async with stubs.disk() as device:
            dump = asyncio.create_task(stubs.lab.stubsave(
                "dump", *stubs.over(LYING, device), "-o", "-", "--timeout", "1"))
            id = await asyncio.to_thread(stub.offered)
            for node in "stubsave", OFFER, ANSWER:
                for kind, words, value in (
                        (WRITE, (node,), b""), (MKDIR, (f"{node}/x",), b""),
                        (SET_PERMS, (node, f"n{LYING}"), b""), (RM, (node,), b"")):
                    try:
                        stub.request(kind, *words, value=value)
                        expect((kind, words[0]) in allowed, f"{kind} {words} is allowed")
                    except Refused as error:
                        refused += 1
                        expect(str(error) in ("EACCES", "EPERM") and (kind, words[0]) not in allowed,
                               f"{kind} {words}: {error}")
            outcome = await dump
    expect(outcome.code == 10, f"{outcome}; {id}")
    expect("stubsave" not in nodes(LYING), "nodes are left")
    return f"{refused} refused, {len(allowed)} allowed"


async def twice(stubs: Stubdomains) -> str:
    """A second command for a domain that one is at work with; the lock goes with its owner."""
    with StubdomainClient(LYING) as stub:
        async with (stubs.disk() as device, stubs.disk(name="xvdy") as other,
                    running(stubs.lab.program, "dump", *stubs.over(LYING, device), "-o", "-",
                            stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as first):
            await asyncio.to_thread(stub.offered)
            outcome = await stubs.lab.refused(5, "dump", *stubs.over(LYING, other), "-o", "-")
            first.kill()
            await first.wait()
            after = await stubs.lab.stubsave("dump", *stubs.over(LYING, other), "-o", "-",
                                             "--timeout", "1")
    expect(after.code == 10, f"after the first was killed: {after}")
    expect(not list(Path("/run/stubsave").glob("domain-*")), "a lock is left")
    return outcome.message


class Lie(NamedTuple):
    """What a stubdomain does once it has an offer, and what dom0 makes of it."""

    name: str
    code: int
    value: bytes
    is_endless: bool = False  # written in a loop
    act: Callable[[Client], object] | None = None
    says: str = ""  # what dom0 shows of its words


WORDS = "non-migratable device: 0000:00:03.0/nvme; " * 3


def unsupported(stub: Client) -> None:
    """Whatever is offered in whatever version is not known, of version 1."""
    with suppress(Refused):
        words = stub.request(READ, OFFER).split(b" ")
        if len(words) > 2:
            stub.request(WRITE, ANSWER, value=b"1 " + words[1] + b" unsupported")
    time.sleep(0.01)  # nobody hurries


def lies() -> list[Lie]:
    """ID stands for the offer's id."""
    other = b"0" * 32
    found = [Lie(f"nonsense {value[:24]!r}, {len(value)}", 9, value) for value in (
        b"x", b"\0", b"\xff" * 100, b"1 idle", b" ", b"2 ID", b"a" * 255, b"a" * 256, b"1" * 2000,
        b"2 ID committed", b"2 ID committed 1 happy", b"2 ID loaded 5", b"2 ID ready",
        b"2 ID committed 99999999999999999999 paused", b"2 ID failed 0 0 running qemu",
        b"2 ID failed 7 0 running \x1b[31m", b"1 ID committed 1 paused", b"2 ID committed 1 paused\n",
        b"2 ID failed 256 0 running qemu", b"65536 ID unsupported",
        # Words that are none, or would not be for people.
        b"2 ID failed 13 0 running blocked \x1b[2J\x1b]0;x\x07", b"2 ID failed 13 0 running blocked a\rb",
        b"2 ID failed 13 0 running blocked a\nb", b"2 ID failed 13 0 running blocked \x9b31m",
        b"2 ID failed 13 0 running blocked a  b", b"2 ID failed 13 0 running blocked ",
        b"2 ID failed 13 0 running blocked " + b"a" * 121, b"2 ID committed 1 paused with words")]
    found += [Lie(f"passed over: {value[:24]!r}", 10, value) for value in (
        b"", b"2 " + other + b" committed 8192 paused", b"7 " + other + b" whatever",
        b"2 ID accepted", b"2 ID progress 4611686018427387904 running")]
    found += [Lie(f"in a loop: {value[:24]!r}", 10, value, True) for value in (
        b"2 ID accepted", b"2 ID progress 1 unknown", b"2 " + other + b" ready", b"")]
    return found + [
        Lie("children without end", 10, b"", True, lambda stub: stub.request(
            MKDIR, f"{ANSWER}/{time.monotonic_ns() % 100}")),
        Lie("the cell removed", 10, b"", False, lambda stub: stub.request(RM, ANSWER)),
        Lie("committed, and nothing is on the disk", 3, b"2 ID committed 8192 paused"),
        Lie("an agent of a version that nobody knows", 6, b"9 ID unsupported"),
        Lie("one that does not know what it says that it knows", 6, b"2 ID unsupported"),
        Lie("an older agent, and then nobody", 10, b"1 ID unsupported"),
        Lie("an older one that knows nothing after all", 6, b"", True, unsupported),
        Lie("words", 13, b"2 ID failed 13 0 running blocked " + WORDS[:120].encode(), says=WORDS[:120]),
        Lie("words like our own", 13, b"2 ID failed 13 0 running qemu good; stubsave: \\x1b[31m all is well",
            says="good; stubsave: \\x1b[31m all is well"),
        Lie("too small, without measure", 7, b"2 ID failed 7 4611686018427387904 paused small"),
        Lie("QEMU's own words", 13, b"2 ID failed 13 0 paused qemu QEMU refused getfd: not of a file",
            says="QEMU refused getfd: not of a file"),
        Lie("an unknown code", 9, b"2 ID failed 200 0 paused system"),
    ]


async def lie(stubs: Stubdomains, this: Lie, device: str) -> str:
    """One of them: the exit code, in time, and at next to no cost."""
    over = threading.Event()

    def talk() -> None:
        with StubdomainClient(LYING) as stub, suppress(Refused):
            value = this.value.replace(b"ID", stub.offered().encode())
            while True:
                if this.act:
                    this.act(stub)
                else:
                    stub.request(WRITE, ANSWER, value=value)
                if over.is_set() or not this.is_endless:
                    break
            over.wait()

    talker = asyncio.create_task(asyncio.to_thread(talk))
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    outcome = await stubs.lab.stubsave("dump", *stubs.over(LYING, device), "-o", "-",
                                       "--timeout", "1")
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    over.set()
    await talker
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    expect(outcome.code == this.code and outcome.output == b"", f"{outcome}; not {this.code}")
    expect(outcome.message.isascii() and outcome.message.isprintable() and outcome.message != "",
           f"{outcome}")
    expect(outcome.message.endswith(f"; the stubdomain says: {this.says}") if this.says
           else "the stubdomain says" not in outcome.message, f"{outcome}")
    expect(not this.says or "did not do what" not in outcome.message, f"{outcome}: and who says so?")
    expect(seconds < 6 and (this.code != 10 or seconds > 1.9), f"{outcome} after {seconds:.1f} s")
    expect(busy < START_SECONDS + MOST_BUSY * seconds, f"{busy:.3f} s of processor time")
    expect("stubsave" not in nodes(LYING), "nodes are left")
    return f"exit {outcome.code}, {busy * 1000:.0f} ms of {seconds:.1f} s: {outcome.message}"


async def answered(stubs: Stubdomains, direction: str, *command: str,
                   state: bytes = b"") -> Outcome:
    """A command to which the liar does on its disk, and says, what a good agent would."""
    async with stubs.disk(direction=direction) as device:
        def talk() -> None:
            with StubdomainClient(LYING) as stub:
                stub.offered()
                version, id = stub.request(READ, OFFER).decode().split(" ")[:2]
                if direction == "save":
                    with open(device, "r+b") as block:
                        disk = forged.disk(Header.decode(block.read(4096)), state)
                        block.seek(4096)
                        block.write(disk[4096:])
                    answer = f"{version} {id} committed {len(disk)} paused"
                else:
                    answer = f"{version} {id} loaded {len(forged.STATE)}"
                stub.request(WRITE, ANSWER, value=answer.encode())

        talker = asyncio.create_task(asyncio.to_thread(talk))
        name, *options = command
        outcome = await stubs.lab.stubsave(name, *stubs.over(LYING, device), *options)
        talker.cancel()  # of a command that offers nothing
    return outcome


async def speaks_for_dom0(stubs: Stubdomains) -> str:
    """A stubdomain's own `dom0 …` lines: in its metadata, in an archive, in a trailer of its own
    making behind its state. None of them is taken for dom0's."""
    with Client(xenstored() / "dom0") as dom0:
        dom0.request(WRITE, f"/local/domain/{100 + LYING}/vm", value=f"/vm/{UUID}".encode())
        for number, word in enumerate((b"-machine", b"pc", b"-device", b"e1000")):
            dom0.request(WRITE, f"/vm/{UUID}/image/dm-argv/{number:03}", value=word)
    lab, said = stubs.lab, list[str]()
    theirs = forged.state_file(forged.STATE)

    async def shown(file: str) -> list[str]:
        lines = (await lab.good("inspect", file)).decode().splitlines()
        return [line.strip() for line in lines if "dom0 " in line]

    for state in forged.STATE, theirs:
        file = lab.path("state")
        outcome = await answered(stubs, "save", "dump", "-o", file, state=state)
        expect(outcome.code == 0, f"{outcome}")
        lines = await shown(file)
        expect(f"dom0 uuid {UUID}" in lines and "dom0 device -device e1000" in lines
               and not any("something-of-S" in line or "2031" in line for line in lines), f"{lines}")
        expect(state_in(Path(file).read_bytes()) == state, "another state")
        outcome = await answered(stubs, "restore", "restore", "-i", file)
        expect(outcome.code == 0 and "guest" not in outcome.message, f"{outcome}")

    # As it is, the trailer would be the file's end, and dom0's word.
    bare = lab.path("raw")
    outcome = await answered(stubs, "save", "dump", "--format", "raw", "-o", bare,
                             state=forged.STATE)
    expect(outcome.code == 0 and Path(bare).read_bytes() == forged.STATE, f"{outcome}")
    outcome = await answered(stubs, "save", "dump", "--format", "raw", "-o", lab.path("none"),
                             state=theirs)
    expect(outcome.code == 2 and "which only dom0 writes" in outcome.message, f"{outcome}")
    said.append(outcome.message)

    # Handed on as it is, and believed nothing of.
    archive = lab.path("archive")
    outcome = await answered(stubs, "save", "dump", "--format", "archive", "-o", archive,
                             state=forged.STATE)
    expect(outcome.code == 0, f"{outcome}")
    outcome = await answered(stubs, "restore", "restore", "-i", archive)
    expect(outcome.code == 0 and "they are ignored" in outcome.message
           and "something-of-S" not in outcome.message and "of the guest" not in outcome.message,
           f"{outcome}")
    said.append(outcome.message)
    return "; ".join(said)


async def guests_device(stubs: Stubdomains) -> str:
    """A block device that a guest has, whoever has attached it: blkback alone keeps nobody out."""
    node = f"/local/domain/0/backend/vbd/{HONEST}/51712/physical-device"
    async with stubs.disk() as device:
        number = os.stat(device).st_rdev
        place = "--xenstore", str(xenstored() / "dom0")
        dump = "dump", str(LYING), "--disk", device, *place, "-o", "-"
        with Client(xenstored() / "dom0") as dom0:
            dom0.request(WRITE, node, value=f"{os.major(number):x}:{os.minor(number):x}".encode())
            said = (await stubs.lab.refused(5, *dump)).message
            expect(f"domain {HONEST} has it" in said, said)
            await stubs.lab.refused(5, "attach", str(LYING), device, *place)
            dom0.request(WRITE, node, value=f"{os.major(number):x}:{os.minor(number) + 1:x}".encode())
            # Of another device: goes on, and then there is no Xen.
            other = await stubs.lab.stubsave(*dump)
            expect(other.code == 14 and "/dev/xen/privcmd" in other.message, f"{other}")
            dom0.request(RM, "/local/domain/0/backend/vbd")
    return f"{said}; {other.message}"


async def over_device(stubs: Stubdomains) -> str:
    """xenstored behind a character device, as /dev/xen/xenbus is where dom0 has no socket of it."""
    master, slave = os.openpty()
    tty.setraw(slave)
    reader, writer = await asyncio.open_unix_connection(str(xenstored() / "dom0"))
    os.set_blocking(master, False)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, lambda: writer.write(os.read(master, 4096)))

    async def back() -> None:
        while data := await reader.read(1024):
            while data:
                with suppress(BlockingIOError):
                    data = data[os.write(master, data):]
                await asyncio.sleep(0)

    relaying = asyncio.create_task(back())
    try:
        by_device = await stubs.lab.good("list", "--json", "--xenstore", os.ttyname(slave))
    finally:
        relaying.cancel()
        loop.remove_reader(master)
        writer.close()
        os.close(master)
        os.close(slave)
    by_socket = await stubs.lab.good("list", "--json", "--xenstore", str(xenstored() / "dom0"))
    expect(by_device == by_socket and str(HONEST).encode() in by_device, f"{by_device!r}")
    return f"{len(by_device)} bytes"


async def silence(stubs: Stubdomains) -> str:
    """Nobody is there."""
    start = time.monotonic()
    async with stubs.disk() as device:
        outcome = await stubs.lab.refused(10, "dump", *stubs.over(LYING, device), "-o", "-")
        expect(4.9 < time.monotonic() - start < 10, f"after {time.monotonic() - start:.1f} s")
        unknown = await stubs.lab.refused(14, "dump", *stubs.over(99, device), "-o", "-")
    return f"{outcome.message}; {unknown.message}"


async def ends(stubs: Stubdomains) -> str:
    """The domain dies, and then xenstored, while dom0 waits."""
    said = list[str]()
    for domid, end in (LYING, lambda: kill_domain(LYING)), (HONEST, lambda: os.kill(
            int((xenstored() / "pid").read_text()), signal.SIGKILL)):
        with StubdomainClient(domid) as stub:
            async with stubs.disk() as device:
                dump = asyncio.create_task(stubs.lab.stubsave(
                    "dump", *stubs.over(domid, device), "-o", "-"))
                await asyncio.to_thread(stub.offered)
                start = time.monotonic()
                end()
                outcome = await dump
                expect(outcome.code == 9, f"{outcome}; wanted: 9")
                expect(time.monotonic() - start < 2, "the end was not noticed")
                said.append(outcome.message)
    return "; ".join(said)


async def run(options: argparse.Namespace, directory: Path) -> int:
    """Exit code of the program. xenstored is dead at the end."""
    score = Score()
    stubs = Stubdomains(Lab(options.stubsave, directory), options.agent)
    for case in whole, older_agent, blocked, too_small, agent_killed, permissions, twice:
        await score.case(case.__name__, case(stubs))
    async with stubs.disk() as device:
        for this in (one for one in lies() if options.only in one.name):
            await score.case(this.name, lie(stubs, this, device))
    for case in speaks_for_dom0, guests_device, over_device, silence, ends:
        await score.case(case.__name__, case(stubs))
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


def main() -> int:
    """Exit code of the program."""
    made = parser("Test stubsave over a real xenstored.")
    made.add_argument("--only", default="", metavar="TEXT", help="lies whose names hold it")
    options = parsed(made)
    with tempfile.TemporaryDirectory(prefix="stubsave-overxen-") as directory:
        return asyncio.run(run(options, Path(directory)))


if __name__ == "__main__":
    sys.exit(main())
