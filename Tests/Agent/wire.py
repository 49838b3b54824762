"""The way between libxl's own proxy and QEMU, on which a hostile stubdomain says what it likes.

Everything passes as it is, except that a `Mangle` may take over the next command to save.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

from libxl import MOST_LINE_BYTES
from machine import SAVE, expect


class Saving:
    """A command to save that has come, and that QEMU has not got so far."""

    def __init__(self, line: bytes, qemu: asyncio.StreamWriter,
                 libxl: asyncio.StreamWriter) -> None:
        self._line, self._qemu, self._libxl = line, qemu, libxl
        self.id = int(json.loads(line)["id"])
        self.replied = asyncio.get_running_loop().create_future()

    async def order(self) -> bytes:
        """Have QEMU save; its reply, with the line's end."""
        self._qemu.write(self._line)
        reply: bytes = await self.replied
        return reply

    async def say(self, *lines: bytes) -> None:
        """To libxl; what it does not take any more is lost."""
        for line in lines:
            with suppress(ConnectionError):
                self._libxl.write(line)
                await self._libxl.drain()


Mangle = Callable[[Saving], Coroutine[None, None, None]]


class Wire:
    """A socket before QEMU's, one connection after the other."""

    def __init__(self, qmp: str) -> None:
        self._qmp = qmp
        self.mangle: Mangle | None = None  # for the next save
        self.lost = 0  # so many of the next connections are heard by nobody
        self.cut = 0  # so many of the next connections end at once
        # What is said to a command in QEMU's place, with ID for its id; None is nothing.
        self.instead = dict[str, bytes | None]()
        self._said = asyncio.Event()
        self.commands = list[str]()  # all that have come
        self.connections = 0  # so many have come
        self._open = set[asyncio.StreamWriter]()

    @classmethod
    @asynccontextmanager
    async def to(cls, qmp: str, path: str) -> AsyncIterator[Wire]:
        """Listens at `path` as long as the block lasts."""
        self = cls(qmp)
        server = await asyncio.start_unix_server(self._serve, path, limit=MOST_LINE_BYTES)
        try:
            yield self
        finally:
            server.close()

    def drop(self) -> None:
        """End the connections that there are."""
        for writer in self._open:
            writer.close()

    async def say(self, lines: bytes) -> None:
        """As QEMU, over the connection that there is."""
        for writer in self._open:
            writer.write(lines)
            await writer.drain()

    async def mangled(self) -> None:
        """Wait until the last one has said everything."""
        await self._said.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.cut > 0:
            self.cut -= 1
            return writer.close()
        if self.lost > 0:
            self.lost -= 1
            with suppress(ConnectionError):
                expect(await reader.read() == b"", "a client spoke before it was greeted")
            return writer.close()
        try:
            from_qemu, to_qemu = await asyncio.open_unix_connection(self._qmp,
                                                                    limit=MOST_LINE_BYTES)
        except ConnectionError:
            return writer.close()
        saving: Saving | None = None
        self._open.add(writer)

        async def back() -> None:
            with suppress(ConnectionError):
                while line := await from_qemu.readline():
                    if (saving and not saving.replied.done()
                            and json.loads(line).get("id") == saving.id):
                        saving.replied.set_result(line)
                    else:
                        writer.write(line)
            writer.close()

        tasks = [asyncio.create_task(back())]
        try:
            while line := await reader.readline():
                name = json.loads(line)["execute"]
                self.commands.append(name)
                if name in self.instead:
                    if (said := self.instead[name]) is not None:
                        id = str(json.loads(line)["id"]).encode()
                        writer.write(said.replace(b"ID", id) + b"\r\n")
                elif name == SAVE and self.mangle:
                    saving, mangle = Saving(line, to_qemu, writer), self.mangle
                    self.mangle = None
                    self._said.clear()
                    tasks.append(asyncio.create_task(mangle(saving)))
                    tasks[-1].add_done_callback(lambda _: self._said.set())
                else:
                    to_qemu.write(line)
        except ConnectionError:
            pass
        finally:
            self._open.discard(writer)
            for task in tasks:
                task.cancel()
            to_qemu.close()
            writer.close()
