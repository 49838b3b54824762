"""Somebody ends a save over `stubsave qmp-proxy`, at each of its steps.

libxl hears of it and never of a success; nothing is left; and all anew, with the same guest, is a
good save.
"""

from __future__ import annotations

import asyncio
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from libxl import Refusal
from machine import Failure, expect, state_in
from proxied import DOMID, TARGET, Proxy, Scene, offered
from stubdomain import kill_domain, xenstored
from wire import Saving
from xenbus import introduce

MOST_SECONDS = 2.5  # until all have ended


class Step:
    """Where a save stands: `reach` leads there, and gives what libxl waits for then."""

    def __init__(self, here: Scene, proxy: Proxy, agent: Process) -> None:
        self.here, self.proxy, self.agent = here, proxy, agent

    async def idle(self) -> None:
        """Nothing is wanted."""

    async def connecting(self) -> asyncio.Task[None]:
        """The disk's nodes are there, and its kernel does not connect."""
        self.here.kernels.connects = False
        begun = asyncio.create_task(self.proxy.libxl.log_dirty(True))
        while not await self.here.bench.store.children(f"/local/domain/{DOMID}/device/vbd"):
            await asyncio.sleep(0.005)
        return begun

    async def resetting(self) -> asyncio.Task[None]:
        """The agent does not answer."""
        self.agent.send_signal(signal.SIGSTOP)
        begun = asyncio.create_task(self.proxy.libxl.log_dirty(True))
        await offered("reset")
        return begun

    async def attached(self) -> None:
        """The disk is there, libxl has stopped the guest."""
        await self.proxy.libxl.begin()

    async def saving(self) -> asyncio.Task[None]:
        """QEMU does not answer."""
        await self.attached()
        reached = asyncio.Event()

        async def hold(saving: Saving) -> None:
            await saving.order()
            reached.set()

        self.here.wire.mangle = hold
        order = asyncio.create_task(self.proxy.libxl.order())
        await reached.wait()
        return order

    async def carrying(self) -> asyncio.Task[None]:
        """The agent does not write."""
        await self.attached()
        self.agent.send_signal(signal.SIGSTOP)
        order = asyncio.create_task(self.proxy.libxl.order())
        await offered("save")
        return order

    async def saved(self) -> None:
        """The state is in the file; the disk is on its way back."""
        await self.attached()
        await self.proxy.libxl.order()
        state_in(self.here.taken())


    async def closing(self) -> None:
        """libxl has finished; the stubdomain's kernel keeps the disk."""
        await self.saved()
        self.here.kernels.lets_go = False
        # Else it may have let go already.
        await self.proxy.libxl.begin()
        await self.proxy.libxl.log_dirty(False)


async def ended(here: Scene, step: str, end: Callable[[Proxy], object]) -> str:
    """Somebody ends it all there: the proxy ends by itself, soon."""
    dead = xenstored() / f"dead.{DOMID}"
    async with here.agent() as agent, here.proxy() as proxy:
        try:
            waits = await getattr(Step(here, proxy, agent), step)()
            start = time.monotonic()
            end(proxy)
            code = await proxy.ended()
            took = time.monotonic() - start
        finally:
            here.kernels.connects = here.kernels.lets_go = True
            if dead.exists():  # before its connection ends: else nobody hears of that
                await introduce(here.bench.store, DOMID, TARGET)
        expect(took < MOST_SECONDS, f"after {took:.1f} s")
        if waits:
            try:
                await waits
                raise Failure("libxl was told of a success")
            except (ConnectionError, Refusal):
                pass
    await here.bench.nothing_left()
    return f"exit {code} after {took:.1f} s: {proxy.log.strip() or 'nothing said'}"


async def hung_up(here: Scene, step: str) -> str:
    """By SIGHUP; the guest goes on, and the next proxy saves it."""
    said = await ended(here, step, lambda proxy: proxy.process.send_signal(signal.SIGHUP))
    await again(here)
    return said


async def domain_dies(here: Scene, step: str) -> str:
    """By the stubdomain's end."""
    said = await ended(here, step, lambda _: kill_domain(DOMID))
    await again(here)
    return said


async def again(here: Scene) -> None:
    """All anew, with the same guest: a good save."""
    await here.guest.monitor.execute("cont")
    async with here.agent(), here.proxy() as proxy:
        await here.saves(proxy)


async def killed(here: Scene, step: str) -> str:
    """By SIGKILL: libxl's own proxy ends too, and `gc` leaves nothing."""
    async with here.agent() as agent, here.bench.starting(here.path) as proxy:
        try:
            await here.bench.runs(proxy)
            waits = await getattr(Step(here, proxy, agent), step)()
            proxy.process.kill()
            await proxy.all_ended()
        finally:
            here.kernels.connects = here.kernels.lets_go = True
            here.kernels.heed()
        if waits:
            with suppress(ConnectionError, Refusal):
                await waits
                raise Failure("libxl was told of a success")
    for name in proxy.socket, f"{proxy.socket}.stubsave":
        expect(Path(name).is_socket(), f"{name} is gone")  # not in the way of the next
    said = await here.bench.lab.good("gc", "--xenstore", str(xenstored() / "dom0"))
    await here.bench.nothing_left()
    await again(here)
    return " / ".join(said.decode().splitlines()) or "gc has nothing to do"


async def libxl_lost(here: Scene, step: str) -> str:
    """libxl goes: whatever is still said of its command, its next one gets its own reply."""
    async with here.agent() as agent, here.proxy() as proxy:
        waits = await getattr(Step(here, proxy, agent), step)()
        if waits:
            waits.cancel()
            with suppress(asyncio.CancelledError):
                await waits
        here.kernels.connects = True
        here.kernels.heed()
        agent.send_signal(signal.SIGCONT)
        await proxy.libxl.execute("cont")
        here.bench.saved.unlink(missing_ok=True)  # it may have been carried on with
        await here.saves(proxy)
        await here.bench.nothing_left()
    return proxy.log.strip() or "nothing said"


_FIRST = (Step.idle, Step.connecting, Step.resetting, Step.attached, Step.saving, Step.carrying,
          Step.saved)
# After SIGHUP a kernel that keeps the disk is waited for; libxl does not wait.
STEPS = {libxl_lost: _FIRST, hung_up: _FIRST, killed: (*_FIRST, Step.closing),
         domain_dies: (*_FIRST, Step.closing)}
