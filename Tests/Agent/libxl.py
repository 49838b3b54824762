"""Stands in for libxl: what it says to QEMU when a domain is saved, and in which order (4.17).

It connects anew for each operation, and its ids begin with the same number each time. Whatever it
is given back is looked at closely: libxl must never see what is not an answer to its own command.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "QEMU")]
from machine import SAVE, Failure, expect  # noqa: E402

FIRST_ID = 0x786C7100  # libxl_qmp.c
LOG_DIRTY = "xen-set-global-dirty-log"
MEMFD = "/dev/fdset/1"
MOST_LINE_BYTES = 4 << 20


class Refusal(Failure):
    """An error in QEMU's place, or its own."""


class Conversation:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._id = reader, writer, FIRST_ID
        self.events = 0

    async def receive(self) -> Any:
        """The next message."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the proxy has ended the connection")
        return json.loads(line)

    async def greet(self) -> None:
        """As far as the first command that is about something."""
        greeting = await self.receive()
        if "error" in greeting:
            raise ConnectionError(greeting["error"]["desc"])
        expect(list(greeting) == ["QMP"] and "version" in greeting["QMP"], f"greeted: {greeting}")
        await self.execute("qmp_capabilities")

    def close(self) -> None:
        """As the process that has it ends."""
        self._writer.close()

    def send(self, command: str, **arguments: Any) -> None:
        """Without waiting for its reply."""
        message: dict[str, Any] = {"execute": command, "id": self._id}
        if arguments:
            message["arguments"] = arguments
        self._writer.write(json.dumps(message).encode() + b"\r\n")

    async def reply(self) -> Any:
        """The next that is no event."""
        while "event" in (reply := await self.receive()):
            expect(set(reply) <= {"event", "data", "timestamp"}, f"an event: {reply}")
            self.events += 1
        return reply

    async def execute(self, command: str, **arguments: Any) -> Any:
        """What it gives back."""
        self.send(command, **arguments)
        reply = await self.reply()
        expect(reply.get("id") == self._id, f"{command}, id {self._id}: {reply}")
        self._id += 1
        if set(reply) == {"error", "id"}:
            error = reply["error"]
            expect(set(error) == {"class", "desc"} and error["desc"].isascii()
                   and error["desc"].isprintable(), f"{command}: {reply}")
            raise Refusal(error["desc"])
        expect(set(reply) == {"return", "id"}, f"{command}: {reply}")
        return reply["return"]


class Libxl:
    """Where the proxy listens."""

    def __init__(self, path: str) -> None:
        self._path = path

    @asynccontextmanager
    async def conversation(self) -> AsyncIterator[Conversation]:
        """A new one."""
        reader, writer = await asyncio.open_unix_connection(self._path, limit=MOST_LINE_BYTES)
        try:
            talk = Conversation(reader, writer)
            await talk.greet()
            yield talk
        finally:
            writer.close()

    async def execute(self, command: str, **arguments: Any) -> Any:
        """One command, over a connection of its own."""
        async with self.conversation() as talk:
            return await talk.execute(command, **arguments)

    async def log_dirty(self, enable: bool) -> None:
        """Begin, or end, to save or to migrate."""
        await self.execute(LOG_DIRTY, enable=enable)

    async def order(self, file: str = MEMFD, live: bool = False,
                    last: Callable[[], Awaitable[None]] | None = None) -> None:
        """Have the state saved. No other reply follows; after a refusal that is looked at once
        `last` has been waited for."""
        async with self.conversation() as talk:
            refusal = None
            try:
                await talk.execute(SAVE, filename=file, live=live)
            except Refusal as error:
                if last is None:
                    raise
                await last()
                refusal = error
            expect("status" in await talk.execute("query-status"), "another command's reply")
            if refusal:
                raise refusal

    async def begin(self) -> None:
        """A save, up to where the guest stands."""
        await self.execute("query-cpus-fast")
        await self.log_dirty(True)
        await self.execute("stop")
