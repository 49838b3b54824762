#!/usr/bin/python3
"""The agent's channel on real libxenvchan code, without Xen: event channels and grants are fakexen.py's,
xenstored and QEMU are real, and so is libxl's client, vchan-socket-proxy.

Run by Tests/Xenstored/xenstored.py, as domain 5.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import struct
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "QEMU"), str(HERE.parent / "Agent"),
                str(HERE.parent / "Xenstored")]
import fakexen  # noqa: E402
from fakexen import Page, Xen  # noqa: E402
from machine import QEMU, Failure, Score, expect, running  # noqa: E402
from client import SET_PERMS  # noqa: E402
from stubdomain import xenstored  # noqa: E402
from xenbus import Xenstore  # noqa: E402

DOMID, GUEST, DOM0 = 5, 105, 0
HOME = f"/local/domain/{DOMID}"
RELATIVE = f"device-model/{GUEST}/qmp-vchan"
NODE = f"{HOME}/data/stubsave-channel"
# Where Debian has it: a folder for each version, of which the newest is taken. `.distrib`: under hooks.
XEN_PROXY = next((str(path) for name in ("vchan-socket-proxy.distrib", "vchan-socket-proxy")
                  for path in sorted(Path("/usr/lib").glob(f"xen-4.*/bin/{name}"), reverse=True)),
                 "vchan-socket-proxy")
GREETING_SECONDS = 10
Case = Callable[..., Coroutine[Any, Any, str]]
# vchan_interface (xen/include/public/io/libxenvchan.h)
LEFT_CONS, LEFT_PROD, RIGHT_CONS, RIGHT_PROD = 0, 4, 8, 12
LEFT_ORDER, CLI_LIVE, SRV_LIVE, CLI_NOTIFY, SRV_NOTIFY = 16, 20, 21, 22, 23


class Client:
    """One connection of libxl's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.others = 0  # lines that were for somebody else
        self.rests = 0  # such before the greeting

    @classmethod
    async def connect(cls, path: str, proxy: Process | None = None) -> Client:
        """To whoever listens there, or is about to, unless that process has ended."""
        while proxy is None or proxy.returncode is None:
            try:
                return cls(*await asyncio.open_unix_connection(path, limit=1 << 24))
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.005)  # nothing tells
        raise ConnectionError("nobody listens")

    async def line(self) -> Any:
        """The next one."""
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise Failure(f"the connection has ended after {line!r}")
        return json.loads(line)

    async def greeted(self, may_have_rests: bool = False) -> None:
        """Wait for the greeting, the first line; or for the first that is one."""
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                while not (line := await self.reader.readline()).startswith(b'{"QMP":'):
                    expect(may_have_rests and line.endswith(b"\n"), f"{line!r} instead of a greeting")
                    self.rests += line != b"\n"
        except TimeoutError:
            raise Failure(f"no greeting in {GREETING_SECONDS} s") from None

    def send(self, command: str, id: str) -> None:
        """A command."""
        self.writer.write(json.dumps({"execute": command, "id": id}).encode() + b"\n")

    async def execute(self, command: str, id: str) -> Any:
        """A command and its reply; a reply that is somebody else's is counted."""
        self.send(command, id)
        while (reply := await self.line()).get("id") != id:
            self.others += "event" not in reply
        return reply.get("return")

    async def close(self) -> None:
        """Let go."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class Place:
    """A QEMU, whoever serves its QMP over a vchan, and libxl's client of that."""

    def __init__(self, directory: Path, xen: Xen, store: Xenstore, agent: str) -> None:
        self.directory, self.xen, self.store, self._agent = directory, xen, store, agent
        self.qmp, self.socket = str(directory / "qmp"), str(directory / "libxl")
        self.server: Process

    async def page(self) -> Page:
        """The page that is shared now."""
        while True:
            ref = await self.store.read(f"{HOME}/{RELATIVE}/ring-ref")
            if ref is not None and (page := self.xen.grants.get(int(ref))):
                return page
            await asyncio.sleep(0.005)

    @asynccontextmanager
    async def serving(self, program: str = "") -> AsyncIterator[None]:
        """Serve until the end of the block: the agent, or Xen's own program."""
        command = ([program, "--mode=server", str(DOM0), RELATIVE, self.qmp] if program else
                   [self._agent, "channel", self.qmp, str(GUEST),
                    f"xenstore:{xenstored() / str(DOMID)}"])
        async with running(*command, stdin=DEVNULL, stdout=DEVNULL,
                           env=self.xen.environment(DOMID, xenstored() / str(DOMID))) as server:
            self.server = server
            await self.page()
            yield

    @asynccontextmanager
    async def proxy(self) -> AsyncIterator[Process]:
        """libxl's own client, until the end of the block."""
        Path(self.socket).unlink(missing_ok=True)
        async with running(XEN_PROXY, "--mode=client", str(DOMID), f"{HOME}/{RELATIVE}", self.socket,
                           stdin=DEVNULL, stdout=DEVNULL,
                           env=self.xen.environment(DOM0, xenstored() / "dom0")) as proxy:
            yield proxy

    def resources(self) -> tuple[int, int, int, int]:
        """What the server holds: descriptors, mappings, and of Xen's: pages, ports."""
        process = Path(f"/proc/{self.server.pid}")
        return (len(list((process / "fd").iterdir())), len((process / "maps").read_text().splitlines()),
                len(self.xen.grants), len(self.xen.ports))

    def processor_seconds(self) -> float:
        """That the server has used."""
        words = Path(f"/proc/{self.server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    async def alone(self) -> None:
        """Wait until no client is there, as the server sees it."""
        last = list[tuple[int, ...]]()
        while self.xen.maps or len(self.xen.grants) != 1 or last.count(self.resources()) < 6:
            last = [*last[-5:], self.resources()]
            await asyncio.sleep(0.03)

    async def serves(self) -> None:
        """An honest client is served."""
        async with self.proxy():
            client = await Client.connect(self.socket)
            await client.greeted()
            await client.execute("qmp_capabilities", "caps")
            await client.close()


async def followed(place: Place, count: int) -> str:
    """Clients without a pause between them, every tenth gone in the middle of a command."""
    killed = ended = rests = others = number = 0
    before: tuple[int, ...] = ()
    async with place.serving():
        while number < count:
            async with place.proxy() as proxy:
                while number < count:
                    try:
                        client = await Client.connect(place.socket, proxy)
                        # Of a client that has gone in mid-command, libxl's own program may keep some, too.
                        await client.greeted(may_have_rests=number % 10 == 0)
                    except (ConnectionError, Failure):
                        # libxl's own program ends, by 1 or SIGPIPE, if a client goes with something unread.
                        async with asyncio.timeout(1):
                            code = await proxy.wait()
                        ended += 1
                        expect(code in (1, -signal.SIGPIPE) and ended <= killed,
                               f"client {number}: libxl's program ended with {code}")
                        break
                    await client.execute("qmp_capabilities", f"caps-{number}")
                    if number % 10 == 9:
                        client.send("query-commands", f"never-{number}")  # 9 KB, of which a ring holds 2
                        client.writer.transport.abort()
                        killed += 1
                    else:
                        version = await client.execute("query-version", f"version-{number}")
                        expect("qemu" in version, f"{version}")
                        await client.close()
                    others, rests = others + client.others, rests + bool(client.rests)
                    number += 1
                    if number == 1:
                        await place.alone()
                        before = place.resources()
        await place.alone()
        after = place.resources()
    expect(after == before, f"held {before} after one client, {after} after {count}")
    return (f"{count} clients, {killed} gone in mid-command (of which libxl's program died {ended} times), none lost; "
            f"{others} replies to others, {rests} times rests")


async def unseen(place: Place) -> str:
    """A client goes and another comes before the server has looked: on purpose, each time."""
    async def swapped(client: Client, proxy: Process) -> Client | None:
        """The next client; None if libxl's own program has ended, as it may if one goes with something unread."""
        place.server.send_signal(signal.SIGSTOP)
        try:
            maps = set(place.xen.maps)
            await client.close()
            with suppress(ConnectionError):
                client = await Client.connect(place.socket, proxy)
                while proxy.returncode is None:
                    if place.xen.maps and not maps & set(place.xen.maps):
                        await asyncio.sleep(0.02)  # the new one says that it is there
                        return client
                    await asyncio.sleep(0.005)
            return None
        finally:
            place.server.send_signal(signal.SIGCONT)

    async def rounds(count: int, *, in_mid_command: bool = False) -> None:
        done = starts = 0
        while done < count:
            starts += 1
            expect(starts <= count, "libxl's own program ends each time")
            async with place.proxy() as proxy:
                client: Client | None = await Client.connect(place.socket, proxy)
                while client and done < count:
                    # Of the client of a program that has ended there may be rests, too.
                    await client.greeted(may_have_rests=in_mid_command and done + starts > 1)
                    if in_mid_command:
                        await client.execute("qmp_capabilities", "caps")
                        client.send("query-qmp-schema", "never")
                        await client.reader.readexactly(10_000)
                    if client := await swapped(client, proxy):
                        done += 1
                if client:
                    await client.greeted(may_have_rests=in_mid_command)
                    await client.close()

    async with place.serving():
        await rounds(20)
        await rounds(20, in_mid_command=True)
    # Xen's own server takes the second client for the first; else this shows nothing.
    global GREETING_SECONDS
    GREETING_SECONDS, seconds = 2, GREETING_SECONDS
    try:
        async with place.serving(XEN_PROXY):
            await rounds(1)
    except Failure as failure:
        expect("no greeting" in str(failure), f"{failure}")
    else:
        raise Failure("Xen's own server was to lose the second client")
    finally:
        GREETING_SECONDS = seconds
    return "40 of 40 greeted; with Xen's own server the first is not"


async def killed(place: Place) -> str:
    """libxl's client is killed in the middle of a command, or of nothing, and started again."""
    async with place.serving():
        await place.serves()
        await place.alone()
        before = place.resources()
        for number in range(20):
            async with place.proxy():
                client = await Client.connect(place.socket)
                await client.greeted()
                await client.execute("qmp_capabilities", "caps")
                if number % 2:
                    client.send("query-commands", "never")
            await client.close()
        await place.serves()
        await place.alone()
        expect(place.resources() == before, f"{before}, then {place.resources()}")
    return "20 times"


async def large(place: Place) -> str:
    """Replies and commands of many times a ring, both ways."""
    async with place.serving(), place.proxy():
        client = await Client.connect(place.socket)
        await client.greeted()
        await client.execute("qmp_capabilities", "caps")
        commands = len(await client.execute("query-commands", "commands"))
        schema = len(json.dumps(await client.execute("query-qmp-schema", "x" * 100_000)))
        await client.close()
    expect(commands > 100 and schema > 100_000, f"{commands} commands, {schema} bytes")
    return f"{schema} bytes to here, 100,000 to there"


async def jumps(place: Place) -> str:
    """Indices that cannot be, in each ring and direction: another vchan, and no harm."""
    async with place.serving():
        for offset, by in ((LEFT_PROD, 5000), (LEFT_CONS, 5000), (LEFT_PROD, -1), (RIGHT_CONS, 5000),
                           (RIGHT_PROD, 5000), (RIGHT_CONS, -5000)):
            async with place.proxy():
                client = await Client.connect(place.socket)
                await client.greeted()
                await client.execute("qmp_capabilities", "caps")
                page = await place.page()
                words = memoryview(page.page).cast("I")
                words[offset // 4] = (words[offset // 4] + by) & 0xFFFFFFFF
                words.release()
                client.send("query-version", "version")
                await client.close()
            # Whatever has become of that one.
            await place.alone()
            await place.serves()
        expect(len(place.xen.grants) == 1, f"{place.xen.grants}")
    return "6 jumps"


async def storms(place: Place) -> str:
    """Notifications without end, flags that are toggled, and what it costs."""
    async with place.serving():
        page = await place.page()
        port = place.xen.ports[page.port]
        found = []
        for what in "nothing", "live", "a new client":
            used, woken = place.processor_seconds(), place.xen.unmasked
            end = asyncio.get_running_loop().time() + 2
            turn = 0
            while asyncio.get_running_loop().time() < end:
                turn += 1
                if what == "live":
                    page.page[CLI_LIVE] = turn % 4
                elif what == "a new client":
                    page.page[CLI_LIVE] = 1
                    page.page[SRV_NOTIFY] = 1
                place.xen.raise_event(port)
                await asyncio.sleep(0)
            page.page[CLI_LIVE] = 0
            place.xen.raise_event(port)
            woken = place.xen.unmasked - woken
            used = place.processor_seconds() - used
            most = 3 * 200 + 20 if what == "a new client" else 100 + 2 * 100 + 20
            expect(woken <= most, f"{what}: woken {woken} times in 2 s")
            expect(used < 0.5, f"{what}: {used} s of processor time in 2 s")
            found.append(f"{what}: woken {woken} times")
            await place.serves()
    return "in 2 s: " + ", ".join(found)


async def silent(place: Place) -> str:
    """What the page says it is made for is changed; bytes come without a notification."""
    async with place.serving():
        page = await place.page()
        orders = struct.unpack_from("<2H", page.page, LEFT_ORDER)
        async with place.proxy():
            client = await Client.connect(place.socket)
            await client.greeted()
            for wrong in (31, 0), (0, 31), (12, 12), (65535, 65535):
                struct.pack_into("<2H", page.page, LEFT_ORDER, *wrong)
                await client.execute("qmp_capabilities", "caps")
                await client.execute("query-qmp-schema", "schema")
            await client.close()
        struct.pack_into("<2H", page.page, LEFT_ORDER, *orders)
        await place.alone()
        page.page[1024:2048] = b"\xff" * 1024
        words = memoryview(page.page).cast("I")
        words[LEFT_PROD // 4] = (words[LEFT_CONS // 4] + 700) & 0xFFFFFFFF
        words.release()
        page.page[CLI_LIVE] = 1
        await asyncio.sleep(0.2)
        # What nobody has seen may be the next client's, who gets an error for it: QMP goes on.
        async with place.proxy():
            client = await Client.connect(place.socket)
            await client.greeted()
            reply = await client.line()
            expect("error" in reply, f"{reply}")
            await client.execute("qmp_capabilities", "caps")
            await client.close()
        await place.serves()
    return "served"


async def ends(place: Place) -> str:
    """Its own ends: a signal takes its nodes away; after SIGKILL another one serves; without QEMU it says so."""
    async with place.serving():
        expect(await place.store.read(NODE) == "persistent 1", "its node")
        place.server.send_signal(signal.SIGTERM)
        expect(await place.server.wait() == -signal.SIGTERM, "its end by SIGTERM")
        left = await place.store.read(NODE), await place.store.children(f"{HOME}/{RELATIVE}")
        expect(left == (None, []), f"{left} left")
    async with place.proxy():
        async with place.serving():
            client = await Client.connect(place.socket)
            await client.greeted()
            place.server.kill()
            await place.server.wait()
            expect(await client.reader.read() == b"", "libxl's client sees the end")
            await client.close()
        async with place.serving():
            client = await Client.connect(place.socket)
            await client.greeted()
            await client.close()
    while place.xen.handles:
        await asyncio.sleep(0.01)
    expect(not place.xen.grants and not place.xen.ports and not place.xen.maps, "left in Xen")
    return "nothing left"


async def without_qemu(place: Place) -> str:
    """QEMU ends: the client sees it; the next one's is the end, and said."""
    command = [place._agent, "channel", place.qmp, str(GUEST), f"xenstore:{xenstored() / str(DOMID)}"]
    async with running(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE,
                       env=place.xen.environment(DOMID, xenstored() / str(DOMID))) as server:
        place.server = server
        await place.page()
        async with place.proxy():
            client = await Client.connect(place.socket)
            await client.greeted()
            await client.execute("qmp_capabilities", "caps")
            client.send("quit", "quit")
            with suppress(Failure):
                while True:
                    await client.line()
            await client.close()
            client = await Client.connect(place.socket)
            _, message = await server.communicate()
            await client.close()
    expect(server.returncode == 13 and b"/qmp: " in message, f"{server.returncode}, {message!r}")
    return message.decode().strip().replace(str(place.directory), "")


async def prepared(store: Xenstore) -> None:
    """A stubdomain's nodes, as libxl makes them."""
    await store.write(f"{HOME}/domid", DOMID)
    await store.request(SET_PERMS, f"{HOME}/domid", "n0", f"r{DOMID}")
    for name in "data", f"device-model/{GUEST}":
        await store.directory(f"{HOME}/{name}", f"n{DOMID}", "r0")


async def each(cases: Iterable[Case], options: argparse.Namespace, directory: Path, store: Xenstore,
               agent: str) -> AsyncIterator[tuple[Case, Place]]:
    """Those that are asked for, each with a QEMU and a place of its own."""
    for case in cases:
        if options.only and options.only not in case.__name__:
            continue
        place = directory / case.__name__
        place.mkdir()
        xen = Xen(directory)
        async with running(QEMU, "-M", "none", "-nodefaults", "-display", "none", "-qmp",
                           f"unix:{place}/qmp,server=on,wait=off", stdin=DEVNULL):
            yield case, Place(place, xen, store, agent)
        xen.close()
        xen.path.unlink()


def case_seconds(options: argparse.Namespace) -> float:
    """For one of them, on a busy machine."""
    return 30 + options.clients / 20


async def run(options: argparse.Namespace, directory: Path) -> int:
    """Exit code of the program."""
    score = Score()
    fakexen.build(directory)
    agent = fakexen.link(directory, Path(options.build), "stubsave-agent")
    store = await Xenstore.connect()
    await prepared(store)
    cases = (followed, unseen, killed, large, jumps, storms, silent, ends, without_qemu)
    async for case, place in each(cases, options, directory, store, agent):
        words = (options.clients,) if case is followed else ()
        await score.case(case.__name__, case(place, *words), seconds=case_seconds(options))
    store.close()
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


def start(description: str | None, clients: int,
          run: Callable[[argparse.Namespace, Path], Coroutine[Any, Any, int]]) -> int:
    """Read the command line and run all; exit code of the program."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--build", default=".build/embedded", help="where the agent was built")
    parser.add_argument("--program", default=".build", help="where stubsave was")
    parser.add_argument("--clients", type=int, default=clients)
    parser.add_argument("--only", help="cases with this in their names")
    options = parser.parse_args()
    if "STUBSAVE_XENSTORED" not in os.environ:
        parser.error("run by Tests/Xenstored/xenstored.py --domain 5")
    with tempfile.TemporaryDirectory(prefix="stubsave-vchan-") as directory:
        return asyncio.run(run(options, Path(directory)))


if __name__ == "__main__":
    sys.exit(start(__doc__, 1000, run))
