"""A stubdomain whose QMP goes by `stubsave qmp-proxy`: what the tests of it share.

xenstored, QEMU, the agent and the loop devices are real; both kernels are xenbus.py, libxl is
libxl.py, its own proxy is channel.py, and the channel itself wire.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

from deaths import loop_devices
from libxl import Libxl
from machine import SAVE, Failure, Guest, Lab, Machine, expect, running, state_in
from places import LIMIT, MACHINE
from stubdomain import OFFER, nodes, xenstored
from wire import Wire
from xenbus import BACKENDS, Kernels, Xenstore, introduce

CHANNEL = Path(__file__).resolve().parent / "channel.py"
OLDER_AGENT = CHANNEL.with_name("agent1.py")
DOMID, TARGET, UUID = 5, 105, "75757a59-0182-4b21-89d1-62b5127d8c8d"
ARGUMENTS = ("-machine", "pc", "-device", "e1000,netdev=net")  # libxl's, for QEMU
CHANNEL_NODE = f"/local/domain/{DOMID}/device-model/{TARGET}/qmp-vchan"
HINT = f"/local/domain/{DOMID}/data/stubsave"
RUNTIME = Path("/run/stubsave")
MARK = RUNTIME / f"proxy-{DOMID}"  # there as long as a proxy is, and if one was killed


class Proxy:
    """One that runs."""

    def __init__(self, process: Process, libxl: Libxl, socket: str, starts: Path) -> None:
        self.process, self.libxl, self.socket, self._starts = process, libxl, socket, starts
        self.log, self._news = "", asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """What it says, until libxl's own proxy has ended too: it has the same standard error."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            async with self._news:
                self.log += line.decode("ascii")
                self._news.notify_all()

    async def said(self, text: str, times: int = 1) -> None:
        """Wait until it has said that so often."""
        async with self._news:
            await self._news.wait_for(lambda: self.log.count(text) >= times)

    def channels(self) -> list[int]:
        """Process ids of libxl's own proxies that it has started so far."""
        return [int(line.split()[0]) for line in self._starts.read_text().splitlines()]

    async def ended(self) -> int:
        """Its exit code, once nothing is left of it."""
        await self.all_ended()
        code = self.process.returncode
        assert code is not None
        for name in (self.socket, f"{self.socket}.stubsave"):
            expect(not os.path.lexists(name), f"{name} is left")
        for pid in self.channels():
            expect(not Path(f"/proc/{pid}").exists(), f"libxl's own proxy, {pid}, is left")
        return code

    async def all_ended(self) -> None:
        """Wait for its end and that of libxl's own proxy."""
        await self.process.wait()
        await self._reading

    async def hang_up(self) -> int:
        """As libxl ends it."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGHUP)
        return await self.ended()


class Bench:
    """What all cases need."""

    def __init__(self, lab: Lab, agent: str, store: Xenstore) -> None:
        self.lab, self.program, self.store = lab, agent, store
        self.devices, self.states = lab.directory / "dev", lab.directory / "xen"
        self.devices.mkdir()
        self.states.mkdir()
        self.saved, self.resume = (self.states / f"qemu-{name}.{TARGET}"
                                   for name in ("save", "resume"))
        self.state_path = f"/local/domain/0/device-model/{DOMID}/qmp-proxy-state"
        self._loops = loop_devices(lab.directory)

    async def arguments(self, *words: str) -> None:
        """Those that libxl gives the guest's QEMU, in xenstore."""
        await self.store.write(f"/local/domain/{TARGET}/vm", f"/vm/{UUID}")
        await self.store.remove(f"/vm/{UUID}/image/dm-argv")
        for number, word in enumerate(words):
            await self.store.write(f"/vm/{UUID}/image/dm-argv/{number:03}", word)

    @asynccontextmanager
    async def starting(self, qmp: str, *options: str, program: Path = CHANNEL,
                       node: str = CHANNEL_NODE, ours: str = "") -> AsyncIterator[Proxy]:
        """A proxy, as libxl starts it, that may not come to run; `qmp` is QEMU's side, `ours` another
        copy of stubsave."""
        socket, starts = str(self.lab.directory / "qmp-libxl"), Path(self.lab.path("starts"))
        starts.touch()
        await self.store.remove(self.state_path)
        async with running(
                ours or self.lab.program, "qmp-proxy", "--program", str(program),
                "--states", str(self.states), "--xenstore", str(xenstored() / "dom0"), *options,
                f"--state-path={self.state_path}", str(DOMID), node, socket,
                stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE,
                env={**os.environ, "CHANNEL_QMP": qmp, "CHANNEL_STARTS": str(starts),
                     "TMPDIR": str(self.lab.directory)}) as process:
            yield Proxy(process, Libxl(socket), socket, starts)

    async def runs(self, proxy: Proxy) -> None:
        """What libxl waits for before it goes on."""
        watch = await Xenstore.connect()
        await watch.watch(self.state_path)
        ending = asyncio.create_task(proxy.process.wait())
        while await watch.read(self.state_path) != "running":
            expect(not ending.done(), f"the proxy has ended: {proxy.log}")
            changed = asyncio.create_task(watch.changed.wait())
            await asyncio.wait((changed, ending), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            watch.changed.clear()
        ending.cancel()
        watch.close()

    async def nothing_left(self) -> None:
        """See that there is nothing of a transfer any more, whether or not a proxy runs."""
        end = asyncio.get_running_loop().time() + 3
        while left := await self._left():
            if asyncio.get_running_loop().time() > end:
                raise Failure(f"left: {', '.join(left)}")
            await asyncio.sleep(0.02)  # neither sysfs nor /run tells events

    async def _left(self) -> list[str]:
        left = ["the rendezvous"] if "stubsave" in nodes(DOMID) else []
        left += [f"node {name}"
                 for name in await self.store.children(f"/local/domain/{DOMID}/device")]
        left += [f"back end {name}" for name in await self.store.children(BACKENDS)]
        left += sorted(loop_devices(self.lab.directory) - self._loops)
        if RUNTIME.exists():
            left += [f"{path}" for path in RUNTIME.iterdir() if path.name not in ("turn", MARK.name)]
        return left + [f"{path}" for path in self.states.iterdir()
                       if path not in (self.saved, self.resume)]


@asynccontextmanager
async def serving(bench: Bench, guest: Guest, program: str = "") -> AsyncIterator[Process]:
    """An agent, by default the real one, beside a QEMU, from when it says that it is there."""
    await bench.store.remove(HINT)
    watch = await Xenstore.connect()
    await watch.watch(HINT)
    async with running(program or bench.program, "serve", guest.qmp, f"xenstore:{xenstored()}/{DOMID}",
                       str(LIMIT), str(bench.devices), stdin=DEVNULL, stdout=DEVNULL,
                       stderr=DEVNULL, env={**os.environ, "AGENT_WRITER": bench.program}) as process:
        while await watch.read(HINT) is None:
            await watch.changed.wait()
            watch.changed.clear()
        watch.close()
        yield process


async def offered(verb: str) -> str:
    """Wait until dom0 offers that; the offer's id."""
    store = await Xenstore.connect()
    path = f"/local/domain/{DOMID}/{OFFER}"
    await store.watch(path)
    while f" {verb} " not in (offer := await store.read(path) or ""):
        await store.changed.wait()
        store.changed.clear()
    store.close()
    return offer.split()[1]


class Scene:
    """A guest, its stubdomain's kernel and agent."""

    def __init__(self, bench: Bench, guest: Guest, wire: Wire, path: str,
                 kernels: Kernels) -> None:
        self.bench, self.guest, self.wire, self.path, self.kernels = (
            bench, guest, wire, path, kernels)

    def agent(self) -> AbstractAsyncContextManager[Process]:
        """The real one."""
        return serving(self.bench, self.guest)

    def older_agent(self) -> AbstractAsyncContextManager[Process]:
        """One that speaks version 1 of the rendezvous only."""
        return serving(self.bench, self.guest, str(OLDER_AGENT))

    @asynccontextmanager
    async def proxy(self, *options: str) -> AsyncIterator[Proxy]:
        """One that runs; it ends with the block, if it has not before, and nothing is left then."""
        async with self.bench.starting(self.path, *options) as proxy:
            await self.bench.runs(proxy)
            yield proxy
            if proxy.process.returncode is None:
                code = await proxy.hang_up()
                expect(code in (0, -signal.SIGHUP), f"exit {code} after SIGHUP: {proxy.log}")
        await self.bench.nothing_left()

    async def state(self) -> bytes:
        """As QEMU writes it by itself, of a guest that stands."""
        alone = Path(self.bench.lab.path("alone"))
        await self.guest.monitor.execute(SAVE, filename=str(alone), live=False)
        return alone.read_bytes()

    def taken(self) -> bytes:
        """The state in the file where libxl looks for it, which libxl then removes."""
        status = os.lstat(self.bench.saved)
        expect(stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
               and status.st_uid == 0, f"{stat.filemode(status.st_mode)}, {status.st_uid}'s")
        content = self.bench.saved.read_bytes()
        self.bench.saved.unlink()
        return content

    async def saves(self, proxy: Proxy, log_dirty: bool = True) -> bytes:
        """A good save, after which the guest goes on; what libxl got."""
        if log_dirty:
            await proxy.libxl.begin()
        else:
            await proxy.libxl.execute("stop")
        await proxy.libxl.order()
        content = self.taken()
        expect(state_in(content) == await self.state(), "not the state that QEMU saves by itself")
        if log_dirty:
            await proxy.libxl.log_dirty(False)
        await proxy.libxl.execute("cont")
        await self.guest.goes_on()
        return content

    async def goes_on(self, proxy: Proxy) -> None:
        """What libxl does after a save that has failed; then all is as before."""
        expect(not os.path.lexists(self.bench.saved), "a state is there that was not to be")
        with suppress(ConnectionError):
            await proxy.libxl.log_dirty(False)
        await proxy.libxl.execute("cont")
        await self.guest.goes_on()
        await self.bench.nothing_left()


@asynccontextmanager
async def scene(bench: Bench, machine: Machine = MACHINE) -> AsyncIterator[Scene]:
    """A guest that counts."""
    await introduce(bench.store, DOMID, TARGET)
    await bench.arguments(*ARGUMENTS)
    qmp, path = bench.lab.path("qemu"), bench.lab.path("vchan")
    options = ("-chardev", f"socket,id=libxl,path={qmp},server=on,wait=off",
               "-mon", "libxl,mode=control")
    async with (bench.lab.guest(machine, bench.lab.new_ram(), *options) as guest,
                Wire.to(qmp, path) as wire, Kernels.running(DOMID, bench.devices) as kernels):
        await guest.console.more(3)
        yield Scene(bench, guest, wire, path, kernels)


def expect_starts(proxy: Proxy, count: int) -> None:
    """See how often libxl's own proxy was started."""
    expect(len(proxy.channels()) == count, f"started {len(proxy.channels())} times, not {count}")

