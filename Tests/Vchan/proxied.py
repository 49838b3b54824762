#!/usr/bin/python3
"""`stubsave qmp-proxy` as a client of the agent's channel, on real libxenvchan code, without Xen: as channel.py.

Where the agent says that its channel is persistent libxl's own program has nothing to do: here another one is in
its place, which serves nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import fakexen
from channel import (DOM0, DOMID, GUEST, HOME, HERE, LEFT_CONS, LEFT_ORDER, LEFT_PROD, NODE, RELATIVE, RIGHT_CONS,
                     RIGHT_PROD, SRV_LIVE, XEN_PROXY, Client, Place, case_seconds, each, prepared, start)
from fakexen import Page
from machine import Failure, Score, expect, running
from stubdomain import xenstored
from xenbus import Xenstore

USELESS = HERE.parent / "Agent" / "channel.py"
STATE = f"/local/domain/0/device-model/{DOMID}/qmp-proxy-state"


class Dom0:
    """A place, and qmp-proxy as libxl starts it there."""

    def __init__(self, place: Place, program: str) -> None:
        self.place, self._program, self.log = place, program, ""
        self.proxy: Process

    @asynccontextmanager
    async def proxying(self, program: str = "") -> AsyncIterator[None]:
        """It runs until the end of the block; `program` is libxl's own, by default one that serves nobody."""
        place = self.place
        states = place.directory / "states"
        states.mkdir(exist_ok=True)
        (place.directory / "starts").touch()
        await place.store.remove(STATE)
        async with running(
                self._program, "qmp-proxy", "--program", program or str(USELESS), "--states", str(states),
                "--xenstore", str(xenstored() / "dom0"), f"--state-path={STATE}", str(DOMID), f"{HOME}/{RELATIVE}",
                place.socket, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE,
                env=place.xen.environment(DOM0, xenstored() / "dom0") | {
                    "CHANNEL_QMP": "/nonexistent", "CHANNEL_STARTS": str(place.directory / "starts")}) as self.proxy:
            reading = asyncio.create_task(self._read())
            while await place.store.read(STATE) != "running":
                expect(self.proxy.returncode is None, f"the proxy has ended: {self.log}")
                await asyncio.sleep(0.01)
            try:
                yield
            finally:
                with suppress(ProcessLookupError):
                    self.proxy.terminate()
                await self.proxy.wait()
                reading.cancel()

    async def _read(self) -> None:
        assert self.proxy.stderr is not None
        while line := await self.proxy.stderr.readline():
            self.log += line.decode("ascii", "replace")

    async def serves(self, count: int = 1) -> None:
        """Clients one after the other."""
        for number in range(count):
            client = await Client.connect(self.place.socket)
            await client.greeted()
            await client.execute("qmp_capabilities", f"caps-{number}")
            version = await client.execute("query-version", f"version-{number}")
            expect(isinstance(version, dict) and "qemu" in version, f"client {number}: {version}")
            await client.close()

    def processor_seconds(self) -> float:
        """That the proxy has used."""
        words = Path(f"/proc/{self.proxy.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    async def mapped(self) -> Page:
        """The proxy's mapping of the page, once it has one."""
        while not self.place.xen.maps:
            await asyncio.sleep(0.01)
        return next(iter(self.place.xen.maps.values()))


async def clients(dom0: Dom0, count: int) -> str:
    """Of libxl's, without a pause between them."""
    made = list[int]()
    dom0.place.xen.on_map = lambda page: made.append(page.number)
    async with dom0.place.serving(), dom0.proxying():
        await dom0.serves(count)
    expect(not dom0.place.xen.maps, f"{dom0.place.xen.maps} left")
    return f"{count} clients, none lost, over {len(made)} connections"


async def otherwise(dom0: Dom0, count: int) -> str:
    """Where nobody says persistent, or the vchan cannot be used, libxl's own program is."""
    place = dom0.place
    await place.store.remove(NODE)
    async with place.serving(XEN_PROXY), dom0.proxying(XEN_PROXY):
        await dom0.serves()
    async with place.serving(), dom0.proxying(XEN_PROXY):
        await place.store.write(NODE, "persistent 2")
        await dom0.serves()
    return "served"


async def lies(dom0: Dom0, count: int) -> str:
    """Of the page, under its client: each ends the connection, and nothing else; the next one is served."""
    place = dom0.place
    async with place.serving():
        for offset, by in ((RIGHT_PROD, 5000), (RIGHT_PROD, -1), (RIGHT_CONS, 5000), (LEFT_CONS, 5000),
                           (LEFT_PROD, 5000), (SRV_LIVE, 0)):
            # A proxy for each: while the agent makes another vchan it takes libxl's own program, which sees no lie.
            async with dom0.proxying(XEN_PROXY):
                await lie(dom0, offset, by)
    return "6 lies"


async def lie(dom0: Dom0, offset: int, by: int) -> None:
    """One of them."""
    place = dom0.place
    client = await Client.connect(place.socket)
    await client.greeted()
    await client.execute("qmp_capabilities", "caps")
    mapping = await dom0.mapped()
    if offset == SRV_LIVE:
        mapping.page[SRV_LIVE] = 0
    else:
        words = memoryview(mapping.page).cast("I")
        words[offset // 4] = (words[offset // 4] + by) & 0xFFFFFFFF
        words.release()
    client.send("query-version", "version")
    place.xen.raise_event(place.xen.ports[mapping.port])
    with suppress(Failure, ConnectionError):
        while (await client.line()).get("id") != "version":
            pass
    await client.close()
    if offset == SRV_LIVE:
        page = await place.page()
        page.page[SRV_LIVE] = 1
    # Whatever has become of that one, libxl comes again.
    for attempt in range(20):
        with suppress(Failure, ConnectionError):
            await dom0.serves()
            break
        await asyncio.sleep(0.1)
    else:
        raise Failure(f"not served after {offset} {by}: {dom0.log}")
    expect(dom0.proxy.returncode is None, f"it has ended: {dom0.log}")


async def storm(dom0: Dom0, count: int) -> str:
    """Notifications without end, while a client is there."""
    place = dom0.place
    async with place.serving(), dom0.proxying():
        client = await Client.connect(place.socket)
        await client.greeted()
        await client.execute("qmp_capabilities", "caps")
        port = place.xen.ports[(await dom0.mapped()).port]
        used, woken = dom0.processor_seconds(), place.xen.unmasked
        end = asyncio.get_running_loop().time() + 2
        while asyncio.get_running_loop().time() < end:
            place.xen.raise_event(port)
            await asyncio.sleep(0)
        woken, used = place.xen.unmasked - woken, dom0.processor_seconds() - used
        expect(woken <= 100 + 2 * 100 + 50, f"woken {woken} times in 2 s")
        expect(used < 0.6, f"{used} s of processor time in 2 s")
        await client.execute("query-version", "version")
        await client.close()
    return f"woken {woken} times in 2 s, {used:.2f} s of processor time"


async def sizes(dom0: Dom0, count: int) -> str:
    """What the page says of its rings is wrong before a client comes, and while it is there."""
    place = dom0.place
    async with place.serving(), dom0.proxying(XEN_PROXY):
        page = await place.page()
        right = struct.unpack_from("<2H", page.page, LEFT_ORDER)
        for wrong in (31, 31), (9, 10), (21, 12), (12, 65535):
            struct.pack_into("<2H", page.page, LEFT_ORDER, *wrong)
            client = await Client.connect(place.socket)
            await asyncio.sleep(0.2)
            await client.close()
            expect(not place.xen.maps, f"{wrong} are taken")
        struct.pack_into("<2H", page.page, LEFT_ORDER, *right)
    async with place.serving(), dom0.proxying():
        client = await Client.connect(place.socket)
        await client.greeted()
        await client.execute("qmp_capabilities", "caps")
        struct.pack_into("<2H", (await dom0.mapped()).page, LEFT_ORDER, 31, 31)
        await client.execute("query-qmp-schema", "schema")
        await client.close()
    return "not taken; not looked at again"


async def again(dom0: Dom0, count: int) -> str:
    """The agent's channel is killed, and another one serves."""
    place = dom0.place
    async with dom0.proxying():
        for _ in range(3):
            async with place.serving():
                await dom0.serves()
                place.server.kill()
                await place.server.wait()
    return "3 times"


async def run(options: argparse.Namespace, directory: Path) -> int:
    """Exit code of the program."""
    score = Score()
    fakexen.build(directory)
    agent = fakexen.link(directory, Path(options.build), "stubsave-agent")
    program = fakexen.link(directory, Path(options.program), "stubsave")
    store = await Xenstore.connect()
    await prepared(store)
    await store.write(f"/local/domain/{GUEST}/vm", "/vm/75757a59-0182-4b21-89d1-62b5127d8c8d")
    cases = clients, otherwise, lies, storm, sizes, again
    async for case, place in each(cases, options, directory, store, agent):
        dom0 = Dom0(place, program)
        if not await score.case(case.__name__, case(dom0, options.clients), seconds=case_seconds(options)):
            print(dom0.log)
    store.close()
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


if __name__ == "__main__":
    sys.exit(start(__doc__, 500, run))
