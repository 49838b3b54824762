"""A QEMU that is killed, crashes or falls silent while it is dumped; a stubsave or agent that is killed.

Used by roundtrip.py, on one machine. A relay between the two stops or kills one of them at a
command, so that it is in the middle for certain. Each time the exit code must be right, no file may
appear, and no loop device of a stubsave may stay.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from machine import (SAVE, Failure, Guest, Lab, Machine, Score, counted, expect, expect_count,
                     state_in)
from refusals import expect_no_file, refused_dump

CONNECTION = "connection"  # what a relay calls the moment before the first command
LOOP_SECONDS = 3  # whoever looks at new devices may hold one for a moment
RESUME_SECONDS = 5  # for which stubsave tries to let a guest go on that it has stopped


def loop_devices(directory: Path) -> set[str]:
    """The loop devices with something of a stubsave's behind them, unless they are others'.

    They are if a process has them open that was not started with something in the directory.
    """
    others, found = set[str](), set[str]()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            if os.fsencode(directory) not in (process / "cmdline").read_bytes():
                for link in (process / "fd").iterdir():
                    with suppress(OSError):  # closed while we looked
                        others.add(link.readlink().name)
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            if file.parts[3] not in others and "stubsave" in (backing := file.read_text()):
                found.add(f"{file.parts[3]} on {backing.strip()}")
    return found


@asynccontextmanager
async def relay(lab: Lab, qmp: str, before: Callable[[str, int], None]) -> AsyncIterator[str]:
    """The path of a socket that passes connections on to QEMU's, one at a time, descriptors too.

    `before` gets the name of each command just before it is passed on, first that of the
    connection, and the process id of the other end.
    """
    loop, path = asyncio.get_running_loop(), lab.path("relay")

    async def forward(source: socket.socket, target: socket.socket, pid: int) -> None:
        while True:
            readable = asyncio.Event()
            loop.add_reader(source, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(source)
            data, descriptors, _, _ = socket.recv_fds(source, 1 << 16, 16)
            try:
                for name in re.findall(rb'"execute" *: *"([^"]*)"', data) if pid else ():
                    before(name.decode(), pid)
                if not data:
                    raise EOFError
                socket.send_fds(target, [data], descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    async def serve(listener: socket.socket) -> None:
        while True:
            client, _ = await loop.sock_accept(listener)
            await converse(client)

    async def converse(client: socket.socket) -> None:
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, _, _ = struct.unpack("3i", credentials)
        with client, socket.socket(socket.AF_UNIX) as server:
            try:
                server.connect(qmp)
                before(CONNECTION, pid)
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(forward(client, server, pid))
                    ways.create_task(forward(server, client, 0))
            except* (EOFError, OSError):
                pass  # one end has gone: let go of the other

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.setblocking(False)
        task = asyncio.create_task(serve(listener))
        try:
            yield path
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def signalling(number: int, to_agent: bool) -> Callable[[str, int], None]:
    """For a relay: the agent, which is the other end, or the stubsave that has started it, gets
    that signal when QEMU is told to save."""
    def before(command: str, pid: int) -> None:
        if command == SAVE:
            os.kill(pid if to_agent else parent(pid), number)

    return before


def parent(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Deaths:
    """Cases on one machine."""

    def __init__(self, lab: Lab, machine: Machine, score: Score) -> None:
        self._lab, self._machine, self._score = lab, machine, score
        self._ram, self._loops = lab.new_ram(), loop_devices(lab.directory)
        self._commands = list[str]()  # of a good dump, in order

    async def run(self) -> None:
        """All cases; QEMU can be killed at each command once these are known."""
        case = self._score.case
        async with self._lab.guest(self._machine, self._ram) as guest:
            if await case("relay: a good dump", self.good(guest)):
                for number in signal.SIGTERM, signal.SIGKILL:
                    for to_agent in False, True:
                        whom = "the agent" if to_agent else "stubsave"
                        await case(f"{whom} gets {number.name}",
                                   self.signalled(guest, number, to_agent))
                await case("QEMU does not greet: --timeout", self.silent(guest, CONNECTION, 0))
                await case("QEMU falls silent: --timeout", self.silent(guest, SAVE, RESUME_SECONDS))
                await case("same guest: nothing was lost", self.nothing_lost(guest))
        for number, command in enumerate(self._commands):
            await case(f"QEMU killed at {command}", self.killed(number))
        await case("QEMU crashes by itself", self.crashes())
        await case("loop devices left", self.no_loops())

    async def good(self, guest: Guest) -> str:
        """Learn which commands a dump gives, of a guest that runs and goes on."""
        commands, loops, path = list[str](), set[str](), self._lab.path("state")

        def before(command: str, _: int) -> None:
            commands.append(command)
            loops.update(loop_devices(self._lab.directory) - self._loops)

        async with relay(self._lab, guest.qmp, before) as qmp:
            await self._lab.good("dump", "--qmp", qmp, "--pause", "-o", path)
        state_in(Path(path).read_bytes())
        await guest.goes_on()
        expect(commands.count(SAVE) == 1, f"commands: {commands}")
        expect(len(loops) > 0, "no loop device of a stubsave was seen meanwhile")
        self._commands = commands
        return f"{' '.join(commands)}; {' '.join(loops)}"

    async def signalled(self, guest: Guest, number: signal.Signals, to_agent: bool) -> str:
        """One of the two ends by a signal when QEMU has been told to save: the guest goes on."""
        path = Path(self._lab.path("never"))
        async with relay(self._lab, guest.qmp, signalling(number, to_agent)) as qmp:
            outcome = await self._lab.stubsave("dump", "--qmp", qmp, "--pause", "-o", str(path))
            expect(outcome.code == (9 if to_agent else -number), str(outcome))
            expect_no_file(path, outcome)
            # An agent whose stubsave was killed is alone, and nobody waits for it.
            await guest.goes_on(at_once=to_agent or number != signal.SIGKILL)
        await self.no_loops()
        await self._lab.good("dump", "--qmp", guest.qmp, "--pause", "-o", self._lab.path("state"))
        return f"exit {outcome.code}, no file, the guest goes on, the next dump is good"

    async def silent(self, guest: Guest, moment: str, more_seconds: int) -> str:
        """QEMU gets SIGSTOP, later SIGCONT: then the guest can go on, and be dumped."""
        def before(command: str, _: int) -> None:
            if command == moment:
                guest.process.send_signal(signal.SIGSTOP)

        begin = asyncio.get_running_loop().time()
        try:
            async with relay(self._lab, guest.qmp, before) as qmp:
                outcome = await refused_dump(self._lab, 10, qmp, "--pause", "--timeout", "1")
        finally:
            guest.process.send_signal(signal.SIGCONT)
        took = asyncio.get_running_loop().time() - begin
        expect(0.9 < took < 3 + more_seconds, f"{outcome}; after {took:.1f} s")
        status = await guest.monitor.expect_status("running", "paused")
        await guest.monitor.execute("cont")  # while it was silent nobody could tell it
        await guest.goes_on()
        await self.no_loops()
        await self._lab.good("dump", "--qmp", guest.qmp, "--pause", "-o", self._lab.path("state"))
        await guest.goes_on()
        return f"{outcome.message} (after {took:.1f} s); then QEMU was {status}, the next dump good"

    async def nothing_lost(self, guest: Guest) -> str:
        """Every letter came once, and the count goes with them."""
        await guest.monitor.execute("stop")
        await guest.end()
        number = counted(self._ram)
        expect_count(guest.console.text, number, "the guest")
        return f"{number} letters in order"

    async def killed(self, number: int) -> str:
        """QEMU is killed, while stopped by SIGSTOP, when it is sent the command of that number."""
        numbers, after_save = iter(range(1000)), number > self._commands.index(SAVE)
        async with self._lab.guest(self._machine, self._ram) as guest:

            def before(_: str, __: int) -> None:
                if next(numbers) == number:
                    guest.process.send_signal(signal.SIGKILL)

            if self._commands[number] == CONNECTION:
                guest.process.send_signal(signal.SIGSTOP)
            async with relay(self._lab, guest.qmp, before) as qmp:
                return await self._expect_death(guest, qmp, after_save)

    async def crashes(self) -> str:
        """A usb-audio, of which no QEMU up to 11 can save the state: it crashes while it writes."""
        machine = self._machine._replace(devices=f"{self._machine.devices} -device piix3-usb-uhci,id=usb "
                                         "-audiodev none,id=a -device usb-audio,audiodev=a")
        async with self._lab.guest(machine, self._ram) as guest:
            return await self._expect_death(guest, guest.qmp, False, "--ignore-blockers")

    async def _expect_death(
        self, guest: Guest, qmp: str, after_save: bool, *options: str
    ) -> str:
        """See that a dump fails because QEMU has gone; after the save it may have been good."""
        path = Path(self._lab.path("good"))
        arguments = ("dump", "--qmp", qmp, "--pause", "-o", str(path), *options)
        outcome = await self._lab.stubsave(*arguments)
        if outcome.code == 0 and after_save:
            state_in(path.read_bytes())
        else:
            expect(outcome.code == 13 and outcome.message != "", f"{outcome}; wanted: exit 13")
            expect_no_file(path, outcome)
        ended = await guest.process.wait()
        await self.no_loops()
        return f"QEMU ended with {ended}, stubsave with {outcome.code}: {outcome.message}"

    async def no_loops(self) -> str:
        """See that no loop device is left that was not there before."""
        end = asyncio.get_running_loop().time() + LOOP_SECONDS
        left = loop_devices(self._lab.directory) - self._loops
        while left:
            if asyncio.get_running_loop().time() > end:
                self._loops |= left  # to be told once
                raise Failure(f"loop devices left: {sorted(left)}")
            await asyncio.sleep(0.02)  # sysfs tells no events
            left &= loop_devices(self._lab.directory)
        return "none"
