"""QEMU says that it cannot be saved: libxl hears of it from `stubsave qmp-proxy` while the guest runs.

Before it begins (xen-set-global-dirty-log) and before the guest stands (stop, with which `xl suspend`
begins); with an agent of each version, and without one. Each case has a guest of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from blockers import IVSHMEM, NVME, Blocked, joined, reasons
from libxl import LOG_DIRTY, Refusal
from machine import SAVE, Failure, expect, state_in
from places import MACHINE
from proxied import HINT, Bench, Proxy, Scene, scene

ASK = "query-migrate"
MOST_SECONDS = 60  # for a case
READY_SECONDS, SLACK_SECONDS = 7, 2.5
HOOK_OPTION = "`stubsave hooks install xl --ignore-blockers`"


async def refused(work: Awaitable[object]) -> str:
    """What is said in the error that it must be."""
    try:
        await work
    except Refusal as refusal:
        return str(refusal)
    raise Failure("a success")


def agents(here: Scene) -> dict[str, Callable[[], AbstractAsyncContextManager[object]]]:
    """Of version 2, of version 1, and none."""
    return {"this": here.agent, "older": here.older_agent, "no": nullcontext}


async def untouched(here: Scene, proxy: Proxy) -> None:
    """Of a refusal QEMU has heard nothing but the question; all else goes through."""
    heard = set(here.wire.commands) & {"stop", LOG_DIRTY, SAVE}
    expect(not heard, f"QEMU has heard of {heard}")
    expect(not here.kernels.seen, f"disks: {here.kernels.seen}")
    await here.guest.goes_on()
    await here.bench.nothing_left()
    expect((await proxy.libxl.execute("query-status"))["running"], "stopped")


async def blocked(bench: Bench, this: Blocked) -> str:
    """Refused at both places, in QEMU's own words; `stop` and `cont` in a row, as after a failure."""
    async with scene(bench, this.machine(bench.lab.directory)) as here:
        said = joined(await reasons(here.guest))
        wanted = f"{HOOK_OPTION} does not ask it, and may end it or give a state that none loads"
        for name, agent in agents(here).items():
            await bench.store.remove(HINT)
            async with agent(), here.proxy() as proxy:
                for work in (lambda: proxy.libxl.log_dirty(True), lambda: proxy.libxl.execute("stop"),
                             proxy.libxl.begin):
                    message = await refused(work())
                    expect(wanted in message and message.endswith(
                        f"; the stubdomain says: {said}"), f"{name} agent: {message}")
                    await untouched(here, proxy)
                await proxy.libxl.log_dirty(False)
                await proxy.libxl.execute("cont")
                here.wire.commands.clear()
    return message


async def nvme(bench: Bench) -> str:
    """QEMU would die of it."""
    return await blocked(bench, NVME)


async def ivshmem(bench: Bench) -> str:
    """QEMU would save it: ours is not to know."""
    return await blocked(bench, IVSHMEM)


async def ignored(bench: Bench) -> str:
    """With --ignore-blockers nobody asks, and all is saved; the agent does not ask either."""
    async with scene(bench, IVSHMEM.machine(bench.lab.directory)) as here:
        for name, agent in agents(here).items():
            if name == "no":
                continue
            async with agent(), here.proxy("--ignore-blockers") as proxy:
                for log_dirty in True, False:
                    content = await here.saves(proxy, log_dirty)
                    await here.bench.nothing_left()
        expect(ASK not in here.wire.commands, "QEMU was asked")
    return f"{len(content)} bytes"


async def plugged(bench: Bench) -> str:
    """A device that comes between the beginning and the stop, as in a long migration."""
    async with scene(bench, MACHINE) as here:
        async with here.agent(), here.proxy() as proxy:
            await here.saves(proxy)
            asked = [name for name in here.wire.commands if name in (ASK, LOG_DIRTY, "stop")]
            expect(asked == [ASK, LOG_DIRTY, ASK, "stop", LOG_DIRTY], f"order: {asked}")
            await proxy.libxl.log_dirty(True)
            await here.guest.monitor.execute(
                "blockdev-add", **{"driver": "null-co", "node-name": "late", "size": 1 << 20})
            await here.guest.monitor.execute("device_add", driver="nvme", serial="x", drive="late",
                                             id="late")
            said = await refused(proxy.libxl.execute("stop"))
            expect(said.endswith("/nvme"), said)
            await here.guest.monitor.expect_status("running")
            await here.goes_on(proxy)
    return said


async def no_answer(bench: Bench) -> str:
    """QEMU says nothing, no, or nonsense to the question: refused in time, and not stopped."""
    said = list[str]()
    async with scene(bench, MACHINE) as here, here.agent(), here.proxy() as proxy:
        for what, wanted in (
                (b'{"id":ID,"error":{"class":"GenericError","desc":"\\u001b[31mno"}}',
                 "does not say whether it can be saved; the stubdomain says: \\x1b[31mno"),
                (b'{"id":ID,"return":{"blocked-reasons":{}}}', "is no answer to it"),
                (b'{"id":ID,"return":{"blocked-reasons":["' + b"a " * 99 + b'\\r\\n"]}}',
                 "the stubdomain says: " + "a " * 58 + "a..."),
                (None, "did not say in time")):
            here.wire.instead[ASK] = what
            start = time.monotonic()
            for work in (lambda: proxy.libxl.log_dirty(True), lambda: proxy.libxl.execute("stop")):
                said.append(await refused(work()))
                expect(wanted in said[-1], said[-1])
            took = time.monotonic() - start
            expect(took < 2 * (READY_SECONDS + SLACK_SECONDS) and (what is None) == (took > 13),
                   f"after {took:.1f} s")
            await untouched(here, proxy)
        # A client that goes while QEMU is asked takes nothing with it.
        going = asyncio.create_task(proxy.libxl.execute("stop"))
        while here.wire.commands.count(ASK) < 9:
            await asyncio.sleep(0.01)
        going.cancel()
        await asyncio.wait((going,))
        here.wire.instead.clear()
        # And what comes after it, at once, comes after it.
        async with proxy.libxl.conversation() as talk:
            for name in "stop", "query-status", "cont":
                talk.send(name)
            replies = [await talk.reply() for _ in range(3)]
        expect(replies[1]["return"]["running"] is False, f"{replies}")
        await here.saves(proxy)
    return "; ".join(said)


CASES = nvme, ivshmem, ignored, plugged, no_answer
