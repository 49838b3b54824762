"""Saves over `stubsave qmp-proxy` in which everybody does what is expected of him.

Each time libxl has the state in its file before it hears of a success, of mode 0600, byte for byte
what QEMU itself saves; the guest goes on; and once libxl has said that it has finished, nothing is
left of the disk.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
from pathlib import Path

from libxl import MEMFD, Refusal
from machine import SAVE, Failure, expect, running, state_in
from proxied import CHANNEL_NODE, DOMID, RUNTIME, UUID, Scene, expect_starts
from wire import Saving

CONSOLE_BYTES, LEAST_CONSOLE_BYTES = 123 << 20, 2 << 20
MORE_BYTES = 6 << 20  # than the first disk has


async def once(here: Scene) -> str:
    """From the first command to the last."""
    async with here.agent(), here.proxy() as proxy:
        content = await here.saves(proxy)
        await here.bench.nothing_left()
        expect(here.kernels.modes == ["w"], f"disks: {here.kernels.modes}")
        expect_starts(proxy, 1)
        expect(f"dom0 uuid {UUID}\n".encode() in content and b"dom0 device -device e1000,"
               in content, "the trailer does not say whose state it is")
    return f"{len(content)} bytes; {proxy.log.strip()}"


async def older_agent(here: Scene) -> str:
    """With one that speaks version 1 only; and one of this version after it, over the same proxy."""
    async with here.proxy() as proxy:
        for agent in here.older_agent, here.older_agent, here.agent:
            async with agent():
                for log_dirty in True, False:
                    content = await here.saves(proxy, log_dirty)
                    await here.bench.nothing_left()
        expect("nobody has asked" not in proxy.log, proxy.log)
    return f"{len(content)} bytes"


async def thrice(here: Scene) -> str:
    """One after the other, as `xl save -c` does, each over a disk of another name."""
    seen = len(here.kernels.seen)
    async with here.agent(), here.proxy() as proxy:
        for _ in range(3):
            await here.saves(proxy)
        names = here.kernels.seen[seen:]
        expect(len(set(names)) == 3, f"names: {names}")
    return " ".join(names)


async def soft_reset(here: Scene) -> str:
    """Without a word about dirty pages before: the disk is attached at the save itself, and taken
    away though nobody says that all is over."""
    async with here.agent(), here.proxy() as proxy:
        await here.saves(proxy, log_dirty=False)
        await here.bench.nothing_left()
        await here.saves(proxy)
    return "attached at the save"


async def given_up(here: Scene) -> str:
    """libxl begins and ends without a save; or goes away in between, and comes back."""
    async with here.agent(), here.proxy() as proxy:
        await proxy.libxl.log_dirty(True)
        expect(len(here.kernels.held) == 1, "no disk is attached")
        await proxy.libxl.log_dirty(False)
        await proxy.libxl.execute("query-status")
        await here.bench.nothing_left()
        seen = len(here.kernels.seen)
        await proxy.libxl.log_dirty(True)  # by a libxl that ends then
        expect(len(here.kernels.held) == 1, "no disk is attached")
        await here.saves(proxy)
        expect(len(here.kernels.seen) == seen + 1, "the disk of the one before is not used")
        await here.bench.nothing_left()
    return "the disk is kept for the next connection"


async def large(here: Scene) -> str:
    """A state that the first disk has no room for: over a second one, and only one more."""
    async with here.agent() as agent, here.proxy() as proxy:
        # Where QEMU writes to, in a tmpfs of the agent's own.
        state = next(path for path in Path(f"/proc/{agent.pid}/fd").iterdir()
                     if os.readlink(path) == "/state")
        more = os.urandom(MORE_BYTES)

        async def grown(saving: Saving) -> None:
            reply = await saving.order()
            with state.open("r+b") as file:
                file.seek(0, os.SEEK_END)
                file.write(more)
            await saving.say(reply)

        here.wire.mangle = grown
        seen = len(here.kernels.seen)
        await proxy.libxl.begin()
        await proxy.libxl.order()
        expect(state_in(here.taken()) == await here.state() + more, "another state")
        expect(len(here.kernels.seen) == seen + 2, f"disks: {here.kernels.seen[seen:]}")
        await here.goes_on(proxy)
        await here.saves(proxy)
    return f"{MORE_BYTES} bytes more than QEMU's own"


async def over_limit(here: Scene) -> str:
    """More than --max-state: an error, by which libxl lets the guest go on."""
    async with here.agent(), here.proxy("--max-state", "4KiB") as proxy:
        await proxy.libxl.begin()
        try:
            await proxy.libxl.order()
        except Refusal as refusal:
            said = str(refusal)
        else:
            said = ""
        expect("--max-state" in said, f"said: {said!r}")
        await here.goes_on(proxy)
    async with here.agent(), here.proxy() as proxy:
        await here.saves(proxy)
    return said


async def live(here: Scene) -> str:
    """What libxl says of `live` comes to QEMU as it is, and nothing else is ordered twice."""
    async with here.agent(), here.proxy() as proxy:
        await proxy.libxl.begin()
        before = len(here.wire.commands)
        await proxy.libxl.order(MEMFD, live=True)
        state_in(here.taken())
        commands = here.wire.commands[before:]
        expect(commands.count(SAVE) == 1, f"commands: {commands}")
        await here.goes_on(proxy)
    return " ".join(commands)


async def consoles(here: Scene) -> str:
    """The process that writes the consoles' files in dom0 gets a limit for each file."""
    node = f"/local/domain/{DOMID}/image/device-model-pid"
    async def limited(pid: int, wanted: tuple[int, int]) -> None:
        while resource.prlimit(pid, resource.RLIMIT_FSIZE) != wanted:
            await asyncio.sleep(0.01)  # a limit tells no events

    async with running("sleep", "60") as early, running("sleep", "60") as late:
        for console in early, late:
            before = resource.prlimit(console.pid, resource.RLIMIT_FSIZE)
            expect(before != (CONSOLE_BYTES, CONSOLE_BYTES), f"before: {before}")
        await here.bench.store.write(node, early.pid)
        async with here.proxy("--max-console", str(CONSOLE_BYTES)) as proxy:
            await limited(early.pid, (CONSOLE_BYTES, CONSOLE_BYTES))
            await here.bench.store.write(node, late.pid)
            await limited(late.pid, (CONSOLE_BYTES, CONSOLE_BYTES))
            expect(proxy.log == "", proxy.log)
            await here.bench.store.write(node, "none")  # nonsense, and a process that is not there
            await here.bench.store.write(node, 1 << 31)
            late.kill()
            await late.wait()
            await here.bench.store.write(node, late.pid)
            await proxy.said(f"process {late.pid}")
        await here.bench.store.remove(node)
        async with here.proxy("--max-console", "0") as other, running("sleep", "60") as console:
            await here.bench.store.write(node, console.pid)
            for _ in range(2):  # of which the second comes after it has heard of the node
                await other.libxl.execute("query-status")
            found = resource.prlimit(console.pid, resource.RLIMIT_FSIZE)
            expect(found == before, f"without a limit: {found}")
        await here.bench.store.remove(node)
        # Of a hook from before there was a least one: the QEMU would not start.
        async with here.proxy("--max-console", "262144") as less, running("sleep", "60") as console:
            await here.bench.store.write(node, console.pid)
            await limited(console.pid, (LEAST_CONSOLE_BYTES, LEAST_CONSOLE_BYTES))
            expect("--max-console is less than 2097152" in less.log, less.log)
        await here.bench.store.remove(node)
    return f"{CONSOLE_BYTES} bytes; {proxy.log.strip()}; {less.log.strip()}"


async def busy(here: Scene) -> str:
    """Another command is at work with the stubdomain: an error while the guest still runs."""
    RUNTIME.mkdir(exist_ok=True)
    path = RUNTIME / f"domain-{DOMID}"
    async with here.agent(), here.proxy() as proxy:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                await proxy.libxl.log_dirty(True)
            except Refusal as refusal:
                said = str(refusal)
            else:
                raise Failure("a success")
            expect("another stubsave" in said, said)
            path.unlink()
        await here.saves(proxy)
    return said


async def another_channel(here: Scene) -> str:
    """What is no QMP, VNC, is left to libxl's own: the proxy becomes it."""
    bench = here.bench
    for options, node in (((), f"/local/domain/{DOMID}/data/vnc-vchan"),
                          (("--mode", "0600", "--verbose"), CHANNEL_NODE)):
        async with bench.starting(here.path, *options, node=node) as proxy:
            await bench.runs(proxy)
            expect(proxy.channels() == [proxy.process.pid], f"{proxy.channels()} run")
            await proxy.libxl.execute("query-status")
        Path(proxy.socket).unlink()
    return f"{node}"


async def no_program(here: Scene) -> str:
    """libxl's own proxy is not there, or no program: libxl is told."""
    said = list[str]()
    for program in Path(here.bench.lab.path("none")), here.bench.saved.parent:
        async with here.bench.starting(here.path, program=program) as proxy:
            code = await proxy.ended()
        reason = await here.bench.store.read(here.bench.state_path) or ""
        expect(code != 0 and reason.startswith("stubsave: "), f"exit {code}: {reason!r}")
        said.append(f"exit {code}: {reason}")
    return "; ".join(said)


CASES = (once, older_agent, thrice, soft_reset, given_up, large, over_limit, live, consoles, busy,
         another_channel, no_program)
