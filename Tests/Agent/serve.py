#!/usr/bin/python3
"""The agent beside a real QEMU, over both carriers, with real loop devices; dom0 is dom0.py.

Run by Tests/Xenstored/xenstored.py it goes over a real xenstored, as another domain with that
domain's permissions; otherwise over socket pairs only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import stat
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "QEMU")]
from blockers import IVSHMEM, NVME, joined, reasons  # noqa: E402
from dom0 import Offers, SocketOffers, XenstoreOffers  # noqa: E402
from machine import (INCOMING, QEMU, SAVE, Failure, Guest, Lab, Machine, Score,  # noqa: E402
                     expect, running)
from places import (LARGE, LIMIT, MACHINE, detach, loop_device, parsed, parser,  # noqa: E402
                    transfer_id)

DOMID = 5
MOST_PROGRAM_BYTES = 1_300_000
MOST_PEAK_KIB = 1536


class Stubdomain:
    """A guest, the agent beside its QEMU, a directory of devices, and dom0's offers."""

    def __init__(self, lab: Lab, guest: Guest, offers: Offers, agent: Process) -> None:
        self.lab, self.guest, self.offers, self.agent = lab, guest, offers, agent
        self.devices = lab.directory / "dev"

    async def disk(self, size: int = 1 << 20, direction: str = "save") -> tuple[str, str]:
        """A loop device, allocated; its path and transfer id."""
        device = await loop_device(self.lab, size, direction)
        return device, transfer_id(device)

    def attach(self, device: str) -> None:
        """Let the device appear to the agent as xvdz."""
        link = self.devices / "new"
        link.symlink_to(device)
        link.rename(self.devices / "xvdz")

    def detach(self, device: str) -> None:
        """Take it away again."""
        (self.devices / "xvdz").unlink(missing_ok=True)
        detach(device)

    async def save(self, *words: object, size: int = 1 << 20) -> tuple[list[str], bytes]:
        """Offer `save` or `take` with a fresh disk; the answer, and the state that dom0 reads."""
        device, id = await self.disk(size)
        self.attach(device)
        try:
            verb, *rest = words
            answer = await self.offers.ask(verb, "xvdz", LIMIT, *rest, id=id)
            await self.offers.idle()
            state = b""
            if answer[0] == "committed":
                state = await self.lab.good("read", device, "-o", "-")
                verdict = await self.lab.good("verify", device)
                expect(f"good: {answer[1]} bytes".encode() in verdict,
                       f"{answer} is not the disk's length: {verdict!r}")
            return answer, state
        finally:
            self.detach(device)

    async def libxl_saves(self) -> bytes:
        """What libxl does: the state as QEMU writes it by itself is what has to arrive."""
        expect((await self.offers.ask("reset", LIMIT))[0] == "ready", "not ready")
        await self.guest.monitor.execute("stop")
        await self.guest.monitor.execute(SAVE, filename="/dev/fdset/1", live=False)
        alone = self.lab.path("alone")
        await self.guest.monitor.execute(SAVE, filename=alone, live=False)
        return Path(alone).read_bytes()


@asynccontextmanager
async def stubdomain(lab: Lab, agent: str, kind: str, limit: int = LIMIT,
                     machine: Machine = MACHINE, version: int = 2) -> AsyncIterator[Stubdomain]:
    """A guest that counts, its agent, and a dom0 of that version of the rendezvous."""
    (lab.directory / "dev").mkdir(exist_ok=True)
    async with lab.guest(machine, lab.new_ram()) as guest:
        await guest.console.more(3)
        offers: SocketOffers | XenstoreOffers
        if kind == "socket":
            offers = SocketOffers()
        else:
            offers = XenstoreOffers(DOMID)
            await offers.open()
        async with running(agent, "serve", guest.qmp, offers.argument, str(limit),
                           str(lab.directory / "dev"), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE,
                           pass_fds=offers.inherited) as process:
            if isinstance(offers, SocketOffers):
                offers.started()
            offers.version = version
            yield Stubdomain(lab, guest, offers, process)
        if isinstance(offers, XenstoreOffers):
            await offers.close()
        else:
            offers.close()


async def saves(lab: Lab, agent: str, kind: str) -> str:
    """libxl orders the saves; twice, because of the offset that a save leaves behind."""
    async with stubdomain(lab, agent, kind) as stub:
        for _ in range(2):
            state = await stub.libxl_saves()
            answer, arrived = await stub.save("save")
            expect(answer[0] == "committed" and answer[2] == "paused", f"{answer}")
            expect(arrived == state, f"{len(arrived)} bytes arrived, {len(state)} were saved")
            await stub.guest.monitor.execute("cont")
            await stub.guest.goes_on()
        return f"{len(state)} bytes, twice; then the guest goes on"


async def takes(lab: Lab, agent: str, kind: str) -> str:
    """The agent orders the save itself."""
    async with stubdomain(lab, agent, kind) as stub:
        answer, state = await stub.save("take", "pause")
        expect(answer[0] == "committed" and answer[2] == "running", f"{answer}")
        expect(state.startswith(b"QEVM"), "no state")
        await stub.guest.goes_on()
        answer, _ = await stub.save("take", "paused")
        expect(answer == ["failed", "13", "0", "running", "runs"], f"must be paused: {answer}")
        answer, state = await stub.save("take", "keep")
        expect(answer[0] == "committed" and answer[2] == "stopped", f"{answer}")
        await stub.guest.monitor.expect_status("paused")
        expect(await stub.offers.ask("keep") == ["ready"], "keep")
        answer, again = await stub.save("take", "paused")
        expect(answer[0] == "committed" and again == state, f"paused already: {answer}")
        expect(answer[2] == "paused", f"stood before: {answer}")
        expect(await stub.offers.ask("cont") == ["ready"], "cont")
        await stub.guest.goes_on()
        answer, _ = await stub.save("take", "keep")
        expect(answer[0] == "committed" and answer[2] == "stopped", f"{answer}")
        stub.agent.terminate()
        expect(await stub.agent.wait() == -signal.SIGTERM, "the agent's end by a signal")
        await stub.guest.goes_on()
        return "pause, paused, keep, cont; an agent that is told to end lets the guest go on"


async def older(lab: Lab, agent: str, kind: str) -> str:
    """dom0 speaks version 1 only: all as it was, without words; but QEMU is asked."""
    async with stubdomain(lab, agent, kind, version=1) as stub:
        state = await stub.libxl_saves()
        answer, arrived = await stub.save("save")
        expect(answer[0] == "committed" and arrived == state, f"{answer}")
        await stub.guest.monitor.execute("cont")
        answer, _ = await stub.save("take", "paused")
        expect(answer == ["failed", "13", "0", "running", "runs"], f"must be paused: {answer}")
        answer, _ = await stub.save("take", "keep")
        expect(answer[0] == "committed" and answer[2] == "stopped", f"{answer}")
        expect(await stub.offers.ask("cont") == ["ready"], "cont")
        await stub.guest.goes_on()
        # Either version, one after the other: an answer is in its offer's.
        for version in 2, 1, 2:
            stub.offers.version = version
            expect(await stub.offers.ask("reset", LIMIT) == ["ready"], f"reset in {version}")
            answer = await stub.offers.ask("reset", LIMIT + 1)
            expect(answer[4] == "large" and bool(stub.offers.words) == (version == 2),
                   f"{answer} {stub.offers.words!r}")
    async with stubdomain(lab, agent, kind, machine=NVME.machine(lab.directory), version=1) as stub:
        for offer in ("reset", LIMIT), ("take", "xvdz", LIMIT, "pause"):
            answer = await stub.offers.ask(*offer)
            expect((answer[:3], answer[4]) == (["failed", "13", "0"], "qemu"), f"{answer}")
        await stub.guest.goes_on()
    return f"the same; {answer}"


async def blocked(lab: Lab, agent: str, kind: str) -> str:
    """QEMU says that it cannot be saved: before a disk is opened or the guest stopped."""
    async with stubdomain(lab, agent, kind, machine=NVME.machine(lab.directory)) as stub:
        said = joined(await reasons(stub.guest))
        for guest, *offer in (("unknown", "reset", LIMIT),
                              *(("running", "take", "xvdz", LIMIT, wish) for wish in ("pause", "keep"))):
            answer = await stub.offers.ask(*offer)
            expect(answer == ["failed", "13", "0", guest, "blocked"], f"{offer[0]}: {answer}")
            expect(stub.offers.words == said, f"{stub.offers.words!r}; QEMU: {said!r}")
            await stub.guest.goes_on()
        # What can be refused for another reason is refused for that one.
        answer = await stub.offers.ask("take", "xvdz", LIMIT, "paused")
        expect(answer[4] == "runs", f"{answer}")
        expect(await stub.offers.ask("reset,ignore-blockers", LIMIT) == ["ready"], "not ignored")
    async with stubdomain(lab, agent, kind, machine=IVSHMEM.machine(lab.directory)) as stub:
        expect((await stub.offers.ask("reset", LIMIT))[4] == "blocked", "not asked")
        answer, state = await stub.save("take,ignore-blockers", "pause")
        expect(answer[0] == "committed" and state.startswith(b"QEVM"), f"{answer}")
        await stub.guest.goes_on()
    return said


async def too_small(lab: Lab, agent: str, kind: str) -> str:
    """A disk that is too small, the one that was asked for, and a state over the limit."""
    async with stubdomain(lab, agent, kind, machine=LARGE) as stub:
        state = await stub.libxl_saves()
        answer, _ = await stub.save("save", size=8192)
        expect(answer[:2] == ["failed", "7"] and answer[3:] == ["paused", "small"], f"{answer}")
        second, arrived = await stub.save("save", size=int(answer[2]))
        expect(second[0] == "committed" and arrived == state, f"{second}")
        await stub.guest.monitor.execute("cont")
    async with stubdomain(lab, agent, kind, limit=65536) as stub:
        over, _ = await stub.save("take", "pause")
        expect(over == ["failed", "7", "0", "running", "large"], f"over the limit: {over}")
        await stub.guest.goes_on()
        expect((await stub.offers.ask("reset", 65537))[:2] == ["failed", "7"], "reset over it")
        # libxl's own save: QEMU itself is refused what is more, and the guest goes on.
        expect((await stub.offers.ask("reset", 65536)) == ["ready"], "reset within it")
        try:
            await stub.guest.monitor.execute(SAVE, filename="/dev/fdset/1", live=False)
            raise Failure("QEMU has written more than the limit")
        except ConnectionError:
            pass  # what execute makes of a refusal
        await stub.guest.goes_on()
        return f"needed {answer[2]}; over the limit {over}"


async def forgotten(lab: Lab, agent: str, kind: str) -> str:
    """A guest that is to be kept stopped, and dom0 says nothing, or too late."""
    async with stubdomain(lab, agent, kind) as stub:
        device, id = await stub.disk()
        stub.attach(device)
        await stub.offers.offer("take", "xvdz", LIMIT, "keep", id=id, milliseconds=2000)
        answer = await stub.offers.answer(id)
        expect(answer[0] == "committed" and answer[2] == "stopped", f"{answer}")
        await stub.guest.monitor.expect_status("paused")
        await stub.guest.goes_on(at_once=False)  # after two seconds, by itself
        answer = await stub.offers.ask("keep")
        expect(answer == ["failed", "13", "0", "running", "runs"], f"kept too late: {answer}")
        stub.detach(device)
        answer, _ = await stub.save("take", "keep")
        expect(answer[2] == "stopped", f"{answer}")
        # Somebody else lets it run, and stops it: it is not the agent's to let go on any more.
        for command in "cont", "stop":
            await stub.guest.monitor.execute(command)
        answer, _ = await stub.save("take", "pause")
        expect(answer[0] == "committed", f"{answer}")
        await stub.guest.monitor.expect_status("paused")
        return "it goes on by itself; what somebody else has stopped stays so"


async def bare(lab: Lab, agent: str, kind: str) -> str:
    """In a root with nothing but itself, QEMU's socket and the disk: no /proc, no library."""
    program = str(shutil.copy(agent, lab.directory / "agent"))
    size = os.stat(program).st_size
    expect(size <= MOST_PROGRAM_BYTES, f"the program has {size} bytes")
    (lab.directory / "dev").mkdir()
    async with lab.guest(MACHINE, lab.new_ram()) as guest:
        await guest.console.more(3)
        offers = SocketOffers()
        async with running("chroot", str(lab.directory), "/agent", "serve",
                           f"/{Path(guest.qmp).name}", offers.argument, str(LIMIT), "/dev",
                           stdin=DEVNULL, stdout=DEVNULL, pass_fds=offers.inherited) as process:
            offers.started()
            stub = Stubdomain(lab, guest, offers, process)
            device, id = await stub.disk()
            os.mknod(stub.devices / "xvdz", 0o600 | stat.S_IFBLK, os.stat(device).st_rdev)
            answer = await offers.ask("take", "xvdz", LIMIT, "pause", id=id)
            expect(answer[0] == "committed", f"{answer}")
            state = await lab.good("read", device, "-o", "-")
            expect(state.startswith(b"QEVM"), "no state")
            status = dict(line.split(":\t") for line in
                          Path(f"/proc/{process.pid}/status").read_text().splitlines())
            peak = int(status["VmHWM"].split()[0])
            expect(status["Threads"] == "1" and peak <= MOST_PEAK_KIB, f"{status}")
            mapped = {line.split()[5] for line in
                      Path(f"/proc/{process.pid}/maps").read_text().splitlines()
                      if len(line.split()) > 5 and line.split()[5].startswith("/")}
            expect(mapped == {program}, f"{mapped} are mapped")
            await guest.goes_on()
            offers.close()
            expect(await process.wait() == 0, "its end")
            detach(device)
    return f"{size} bytes, at most {peak} KiB in memory, one thread"


async def wrong_disks(lab: Lab, agent: str, kind: str) -> str:
    """Disks that are not the one of the offer; none is written to."""
    async with stubdomain(lab, agent, kind) as stub:
        await stub.libxl_saves()
        for what, direction, is_mine, prepare in (
                ("another id", "save", False, b""), ("the other direction", "restore", True, b""),
                ("a used disk", "save", True, b"x"), ("no disk", "save", True, None)):
            device, id = await stub.disk(direction=direction)
            with open(device, "r+b") as block:
                block.seek(0 if prepare is None else 4096)
                block.write(bytes(4096) if prepare is None else prepare)
            before = Path(device).read_bytes()
            stub.attach(device)
            answer = await stub.offers.ask("save", "xvdz", LIMIT, id=id if is_mine else None)
            await stub.offers.idle()
            expect(answer[0] == "failed" and answer[1] in ("12", "4"), f"{what}: {answer}")
            expect(Path(device).read_bytes() == before, f"{what}: written to")
            stub.detach(device)
        # Nothing to write: after a reset QEMU has saved nothing.
        await stub.offers.ask("reset", LIMIT)
        answer, _ = await stub.save("save")
        expect(answer[:2] == ["failed", "13"], f"nothing saved: {answer}")
        return "another id, direction, used, no disk, no state"


async def talk(lab: Lab, agent: str, kind: str) -> str:
    """Nonsense, other versions, repetitions, withdrawals, a device that comes late."""
    async with stubdomain(lab, agent, kind) as stub:
        offers = stub.offers
        for nonsense in (b"x", b"1  idle", b"\0" * 300, b"1 " + b"a" * 32 + b" reset\n", b"3 idle"):
            await offers.say(nonsense)
        expect((await offers.ask("explode"))[0] == "unsupported", "an unknown verb")
        id = "ab" * 16
        await offers.say(f"9 {id} anything at all".encode())
        expect(await offers.answer(id) == ["unsupported", "2"], "an unknown version")
        for number, words in enumerate((
                f"1 ID reset,ignore-blockers {LIMIT} 30000", f"2 ID reset,heed {LIMIT} 30000",
                f"2 ID reset {LIMIT} ask 30000")):
            id = f"{number:02}" * 16
            await offers.say(words.replace("ID", id).encode())
            expect(await offers.answer(id) == ["unsupported", "2"], words)
        id = await offers.offer("reset", LIMIT)
        await offers.answer(id)
        await offers.offer("reset", LIMIT, id=id)  # has been answered: nothing happens
        await stub.libxl_saves()
        device, id = await stub.disk()
        await offers.offer("save", "xvdz", LIMIT, id=id)
        await offers.answer(id, "accepted")
        await offers.idle()  # while the agent waits for the device
        expect((await offers.ask("reset", LIMIT))[0] == "ready", "not ready after a withdrawal")
        await stub.guest.monitor.execute(SAVE, filename="/dev/fdset/1", live=False)
        await offers.offer("save", "xvdz", LIMIT, id=id)
        await offers.answer(id, "accepted")
        for words in (b"x", b"1  idle", f"{offers.version} {id} save xvdz {id} {LIMIT} 30000".encode()):
            await offers.put(words)  # nonsense, and the same again: nothing changes
        stub.attach(device)
        answer = await offers.answer(id)
        expect(answer[0] == "committed", f"a device that comes late: {answer}")
        stub.detach(device)
        # Withdrawn before QEMU is told anything: the guest is not touched.
        await stub.guest.monitor.execute("cont")
        device, id = await stub.disk()
        await offers.offer("take", "xvdz", LIMIT, "keep", id=id)
        await offers.answer(id, "accepted")
        await offers.idle()
        expect((await offers.ask("reset", LIMIT))[0] == "ready", "not ready")
        await stub.guest.goes_on()
        stub.detach(device)
        return "nonsense, versions, repetition, withdrawal, a late device"


async def deaths(lab: Lab, agent: str, kind: str) -> str:
    """dom0's side, the agent and QEMU go."""
    async with stubdomain(lab, agent, kind) as stub:
        if isinstance(stub.offers, SocketOffers):
            device, id = await stub.disk()
            await stub.offers.offer("take", "xvdz", LIMIT, "keep", id=id)
            await stub.offers.answer(id, "accepted")
            stub.offers.close()
            expect(await stub.agent.wait() == 0, "the agent's end when dom0 is gone")
            await stub.guest.goes_on()
            stub.detach(device)
    async with stubdomain(lab, agent, kind) as stub:
        expect((await stub.offers.ask("reset", LIMIT))[0] == "ready", "not ready")
        os.kill(stub.guest.process.pid, signal.SIGKILL)
        assert stub.agent.stderr is not None
        message = (await stub.agent.stderr.read()).decode()
        code = await stub.agent.wait()
        expect(code == 13 and message.strip() != "", f"QEMU killed: {code}, {message!r}")
    async with lab.guest(MACHINE, lab.new_ram(), *INCOMING) as guest:
        offers = SocketOffers()
        async with running(agent, "serve", guest.qmp, offers.argument, stdin=DEVNULL,
                           stderr=DEVNULL, pass_fds=offers.inherited) as process:
            offers.started()
            answer = await offers.ask("take", "xvdz", LIMIT, "paused")
            expect(answer[:2] == ["failed", "13"], f"a QEMU that waits for a state: {answer}")
            offers.close()
            await process.wait()
    return f"QEMU killed: exit 13, {message.strip()}"


async def restore_disk(lab: Lab, state: bytes) -> tuple[str, str]:
    """A loop device with a state on it for a restore, and its transfer id."""
    device = await loop_device(lab, direction="restore")
    await lab.good("write", device, source=state)
    return device, transfer_id(device)


async def loads(lab: Lab, agent: str, kind: str) -> str:
    """A state into a QEMU that waits for one, and by `load` into one that is not there yet."""
    async with stubdomain(lab, agent, kind) as stub:
        _, state = await stub.save("take", "keep")
    (lab.directory / "dev").mkdir(exist_ok=True)
    device, id = await restore_disk(lab, state)
    (lab.directory / "dev/xvdz").symlink_to(device)
    offers = SocketOffers() if kind == "socket" else XenstoreOffers(DOMID)
    if isinstance(offers, XenstoreOffers):
        await offers.open()
    async with lab.guest(MACHINE, lab.new_ram(), "-S", *INCOMING) as guest:
        async with running(agent, "serve", guest.qmp, offers.argument, str(LIMIT),
                           str(lab.directory / "dev"), stdin=DEVNULL, stderr=PIPE,
                           pass_fds=offers.inherited):
            answer = await offers.ask("load", "xvdz", LIMIT)
            expect(answer[:2] == ["failed", "12"], f"another transfer's disk: {answer}")
            await guest.monitor.expect_status("inmigrate")
            answer = await offers.ask("load", "xvdz", LIMIT, id=id)
            expect(answer == ["loaded", str(len(state))], f"{answer}")
            await guest.monitor.expect_status("prelaunch", "paused")
            again = lab.path("again")
            await guest.monitor.execute(SAVE, filename=again, live=False)
            differing = sum(a != b for a, b in zip(state, Path(again).read_bytes()))
            expect(differing <= 1, f"{differing} bytes differ when saved again")
    if isinstance(offers, XenstoreOffers):
        await offers.say(f"{offers.version} {id} load xvdz {id} {LIMIT} 30000".encode())  # before there is an agent
        later = Machine("later", MACHINE.devices, program=(
            f"{agent} load 9 {offers.argument} {LIMIT} {lab.directory}/dev {shutil.which(QEMU)}"))
        async with lab.guest(later, lab.new_ram(), "-S", "-incoming", "fd:9") as guest:
            while (await guest.monitor.execute("query-status"))["status"] == "inmigrate":
                await guest.monitor.receive()
            await guest.monitor.execute(SAVE, filename=again, live=False)
            expect(sum(a != b for a, b in zip(state, Path(again).read_bytes())) <= 1, "differs")
        await offers.close()
    text = await load_by(lab, agent, device, id, state)
    detach(device)
    return f"{len(state)} bytes, {differing} differ when saved again; {text}"


async def load_by(lab: Lab, agent: str, device: str, id: str, state: bytes) -> str:
    """`load` starts a program with exactly the state, or does not start it."""
    async def attempt(*words: object, id: str) -> tuple[list[str], int, bytes]:
        offers = SocketOffers()
        async with running(agent, "load", "9", offers.argument, str(LIMIT),
                           str(lab.directory / "dev"), "/bin/sh", "-c", "cat <&9", stdin=DEVNULL,
                           stdout=PIPE, stderr=PIPE, pass_fds=offers.inherited) as process:
            offers.started()
            answer = await offers.ask(*words, id=id)
            output, message = await process.communicate()
            expect((process.returncode == 0) == (message == b""), f"{message!r}")
            offers.close()
            assert process.returncode is not None
            return answer, process.returncode, output

    answer, code, output = await attempt("load", "xvdz", LIMIT, id=id)
    expect((answer[0], code, output == state) == ("loaded", 0, True), f"{answer}, exit {code}")
    with open(device, "r+b") as block:
        block.seek(4096 + 200)
        byte = block.read(1)
        block.seek(4096 + 200)
        block.write(bytes((byte[0] ^ 1,)))
    answer, code, output = await attempt("load", "xvdz", LIMIT, id=id)
    expect((answer[:2], code, output) == (["failed", "2"], 2, b""), f"{answer}, exit {code}")
    answer, code, output = await attempt("save", "xvdz", LIMIT, id=id)
    expect((answer[:2], code, output) == (["failed", "6"], 6, b""), f"{answer}, exit {code}")
    return "a flipped bit: nothing is started"


async def run(options: argparse.Namespace, directory: Path) -> int:
    """Exit code of the program."""
    score = Score()
    kinds = ["socket"] + ["xenstore"] * ("STUBSAVE_XENSTORED" in os.environ)
    for kind in kinds:
        for case in saves, takes, blocked, older, forgotten, bare, too_small, wrong_disks, talk, deaths, loads:
            if case is bare and kind != "socket":
                continue  # xenstored's socket is elsewhere
            place = directory / f"{kind}-{case.__name__}"
            place.mkdir()
            lab = Lab(options.stubsave, place)
            await score.case(f"{kind}: {case.__name__}", case(lab, options.agent, kind))
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


def main() -> int:
    """Exit code of the program."""
    options = parsed(parser("Test the agent beside a real QEMU."))
    with tempfile.TemporaryDirectory(prefix="stubsave-serve-") as directory:
        return asyncio.run(run(options, Path(directory)))


if __name__ == "__main__":
    sys.exit(main())
