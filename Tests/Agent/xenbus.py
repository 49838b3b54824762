"""A disk's two kernels, dom0's blkback and a stubdomain's blkfront, as xenstore shows them.

`Kernels` makes a save disk that has been attached by its nodes appear in a directory of devices,
takes it away again when it is asked to, and holds it open meanwhile, as blkback does.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "Xenstored")]
from client import (DIRECTORY, ERROR, EVENT, INTRODUCE, MKDIR, READ, RM, SET_PERMS,  # noqa: E402
                    WATCH, WRITE, Refused)
from stubdomain import xenstored  # noqa: E402

TRANSACTION_START, TRANSACTION_END = 6, 7
BACKENDS = "/local/domain/0/backend/vbd"
INITIALISING, INIT_WAIT, CONNECTED, CLOSING, CLOSED = "1", "2", "4", "5", "6"  # io/xenbus.h


class Xenstore:
    """dom0's connection to xenstored, for a test that waits for other things too."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._replies, self._turn = asyncio.Queue[tuple[int, bytes]](), asyncio.Lock()
        self.changed = asyncio.Event()  # a watch has fired
        self._task = asyncio.create_task(self._receive())

    @classmethod
    async def connect(cls) -> Xenstore:
        """A new one."""
        return cls(*await asyncio.open_unix_connection(str(xenstored() / "dom0")))

    def close(self) -> None:
        """Let it go, and its watches with it."""
        self._task.cancel()
        self._writer.close()

    async def _receive(self) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, _, _, count = struct.unpack("<4I", await self._reader.readexactly(16))
                payload = await self._reader.readexactly(count)
                if kind == EVENT:
                    self.changed.set()
                else:
                    self._replies.put_nowait((kind, payload))
        self._replies.put_nowait((ERROR, b"xenstored has gone\0"))

    async def request(self, kind: int, *words: str, value: bytes = b"",
                      transaction: int = 0) -> bytes:
        """The reply's payload."""
        payload = b"".join(word.encode() + b"\0" for word in words) + value
        async with self._turn:
            self._writer.write(struct.pack("<4I", kind, 1, transaction, len(payload)) + payload)
            found, reply = await self._replies.get()
        if found == ERROR:
            raise Refused(reply.rstrip(b"\0").decode())
        return reply

    async def read(self, path: str) -> str | None:
        """A node's value; None if there is no such node."""
        try:
            return (await self.request(READ, path)).decode()
        except Refused as error:
            if str(error) != "ENOENT":
                raise
            return None

    async def write(self, path: str, value: object) -> None:
        """Make a node."""
        await self.request(WRITE, path, value=str(value).encode())

    async def remove(self, path: str) -> None:
        """A node and what is below it, if it is there."""
        with suppress(Refused):
            await self.request(RM, path)

    async def children(self, path: str) -> list[str]:
        """The names below a node; none if it is not there."""
        try:
            return [name for name in (await self.request(DIRECTORY, path)).decode().split("\0")
                    if name]
        except Refused:
            return []

    async def watch(self, path: str) -> None:
        """Have `changed` set whenever something there changes."""
        await self.request(WATCH, path, "0")

    async def directory(self, path: str, *permissions: str) -> None:
        """Make a directory."""
        await self.request(MKDIR, path)
        await self.request(SET_PERMS, path, *permissions)

    async def switch(self, directory: str, state: str) -> None:
        """A device's state as Linux writes it, in a transaction: never of one that is gone."""
        while True:
            start = await self.request(TRANSACTION_START, value=b"\0")
            transaction = int(start.rstrip(b"\0"))
            end = b"T\0"
            try:
                await self.request(READ, f"{directory}/state", transaction=transaction)
                await self.request(WRITE, f"{directory}/state", value=state.encode(),
                                   transaction=transaction)
            except Refused:
                end = b"F\0"
            try:
                await self.request(TRANSACTION_END, value=end, transaction=transaction)
                return
            except Refused as error:
                if str(error) != "EAGAIN":
                    raise


class Kernels:
    """What a test may make them do, and see."""

    def __init__(self, store: Xenstore, domid: int, devices: Path) -> None:
        self._store, self.devices = store, devices
        self._backends, self._frontends = f"{BACKENDS}/{domid}", f"/local/domain/{domid}/device/vbd"
        self.connects = True
        self.lets_go = True
        self.seen = list[str]()  # names of all devices that have appeared, the last one last
        self.modes = list[str]()  # theirs: "r", "w"
        self.held = dict[str, int]()  # device numbers, and the descriptors that are held open
        self._news = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def running(cls, domid: int, devices: Path) -> AsyncIterator[Kernels]:
        """They run as long as the block does."""
        store = await Xenstore.connect()
        self = cls(store, domid, devices)
        await store.watch(BACKENDS)
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, Refused):
                await task
            for number in list(self.held):
                self._drop(number)
            store.close()

    def heed(self) -> None:
        """Look again, after what they are to do was changed."""
        self._store.changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of what is to be seen."""
        async with self._news:
            await self._news.wait_for(holds)

    async def _run(self) -> None:
        while True:
            await self._store.changed.wait()
            self._store.changed.clear()
            present = await self._store.children(self._backends)
            for number in set(self.held) - set(present):
                self._drop(number)
            for number in present:
                await self._heed(number)
            async with self._news:
                self._news.notify_all()

    async def _heed(self, number: str) -> None:
        backend, frontend = f"{self._backends}/{number}", f"{self._frontends}/{number}"
        state = await self._store.read(f"{backend}/state")
        if state == INITIALISING:
            await self._store.switch(backend, INIT_WAIT)
        if state in (INITIALISING, INIT_WAIT) and self.connects and number not in self.held:
            if await self._open(number):
                await self._store.switch(frontend, CONNECTED)
                await self._store.switch(backend, CONNECTED)
        if state == CLOSING and self.lets_go:
            self._drop(number)
            await self._store.switch(frontend, CLOSED)
            await self._store.switch(backend, CLOSED)

    async def _open(self, number: str) -> bool:
        device = await self._store.read(f"{self._backends}/{number}/physical-device")
        mode = await self._store.read(f"{self._backends}/{number}/mode")
        if device is None or mode is None:
            return False  # taken away again meanwhile
        major, minor = (int(word, 16) for word in device.split(":"))
        path = Path("/dev") / Path(f"/sys/dev/block/{major}:{minor}").resolve().name
        self.held[number] = os.open(path, os.O_RDONLY if mode == "r" else os.O_RDWR)
        self._link(number).symlink_to(path)
        self.seen.append(self._link(number).name)
        self.modes.append(mode)
        return True

    def _drop(self, number: str) -> None:
        if (held := self.held.pop(number, None)) is not None:
            self._link(number).unlink()
            os.close(held)

    def _link(self, number: str) -> Path:
        """In the directory of devices: 1 << 28 | disk << 8 (xen-vbd-interface(7))."""
        return self.devices / f"xvd{chr(ord('a') + (int(number) >> 8 & 0xFFFFF))}"


async def introduce(store: Xenstore, domid: int, target: int) -> None:
    """As libxl makes a stubdomain's nodes; also of one that has died in this xenstored."""
    path = f"/local/domain/{domid}"
    dead = xenstored() / f"dead.{domid}"
    if dead.exists():
        dead.unlink()
        await store.directory(path, "n0", f"r{domid}")
        await store.write(f"{path}/target", target)
        await store.request(INTRODUCE, str(domid), "1", "1")
    for name in "data", f"device-model/{target}":
        await store.directory(f"{path}/{name}", f"n{domid}", "r0")
