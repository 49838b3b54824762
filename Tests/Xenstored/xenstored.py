#!/usr/bin/python3
"""Run a command beside a real xenstored, without Xen.

Debian's xenstored runs as a plain process under shim.c. Its own socket is dom0's; for each domain
that is wanted there is another socket, behind which a bridge speaks through a ring page, so that
xenstored takes whoever connects there for that domain, permissions and quotas in force.

  $STUBSAVE_XENSTORED/dom0           dom0's socket
  $STUBSAVE_XENSTORED/DOMID          a domain's, for one client at a time
  $STUBSAVE_XENSTORED/dead.DOMID     a domain that has died, once VIRQ_PORT comes by to-xenstored
  $STUBSAVE_XENSTORED/pid            xenstored's
"""

from __future__ import annotations

import argparse
import asyncio
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from client import INTRODUCE, MKDIR, SET_PERMS, WRITE, Client

HERE = Path(__file__).resolve().parent
# Debian has a folder for each version of Xen; there is one, or the newest is taken.
XENSTOREDS = sorted(Path("/usr/lib").glob("xen-[0-9]*/bin/xenstored"))
XENSTORED = str(XENSTOREDS[-1]) if XENSTOREDS else "/usr/lib/xen/bin/xenstored"
FIRST_PORT, VIRQ_PORT = 1000, 1  # shim.c
RING = 1024  # bytes each way; the indices follow the two rings (xs_wire.h)
REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD = 2048, 2052, 2056, 2060
RESET_WATCHES = 21
DEADLINE_SECONDS = 10
GUESTS = 100  # domids of guests begin here


class Domain:
    """A domain's ring, and the socket that stands for its /dev/xen/xenbus."""

    def __init__(self, domid: int, directory: Path) -> None:
        self.domid, self._path = domid, directory / str(domid)
        ring = directory / f"ring.{domid}"
        ring.write_bytes(bytes(4096))
        with ring.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 4096)
        # In one piece: struct writes "<I" byte by byte, and xenstored ignores a domain for ever once
        # it has seen an index that was half written.
        self._words = memoryview(self._page).cast("I")
        os.mkfifo(directory / f"to-{domid}")
        self._notified = os.open(directory / f"to-{domid}", os.O_RDWR | os.O_NONBLOCK)
        self._notify = os.open(directory / "to-xenstored", os.O_RDWR | os.O_NONBLOCK)
        self._changed, self._inbox = asyncio.Event(), b""

    def _index(self, offset: int) -> int:
        return self._words[offset // 4]

    def _set(self, offset: int, value: int) -> None:
        self._words[offset // 4] = value & 0xFFFFFFFF
        with suppress(BlockingIOError):  # so many are pending that it will look here anyway
            os.write(self._notify, struct.pack("<I", FIRST_PORT + self.domid))

    def _take(self) -> bytes:
        """What xenstored has put into the ring of replies."""
        start, end = self._index(RSP_CONS), self._index(RSP_PROD)
        data = bytes(self._page[RING + index % RING] for index in range(start, start + (
            (end - start) & 0xFFFFFFFF)))
        if data:
            self._set(RSP_CONS, end)
        return data

    def _put(self, data: bytes) -> int:
        """How much of it fits into the ring of requests now."""
        start, taken = self._index(REQ_PROD), self._index(REQ_CONS)
        count = min(RING - ((start - taken) & 0xFFFFFFFF), len(data))
        for offset in range(count):
            self._page[(start + offset) % RING] = data[offset]
        if count:
            self._set(REQ_PROD, start + count)
        return count

    def _on_notification(self) -> None:
        try:
            os.read(self._notified, 4096)
        except BlockingIOError:
            pass
        self._changed.set()

    async def serve(self) -> None:
        """One client after the other, as a domain has one connection."""
        asyncio.get_running_loop().add_reader(self._notified, self._on_notification)
        turn = asyncio.Lock()

        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with turn:
                back = asyncio.create_task(self._forward(writer))
                try:
                    while data := await reader.read(4096):
                        await self._send(data)
                except ConnectionError:
                    pass
                finally:
                    back.cancel()
                    writer.close()
                    await self._forget()

        await asyncio.start_unix_server(client, str(self._path))

    async def _send(self, data: bytes) -> None:
        """Put all of it into the ring."""
        while data:
            self._changed.clear()
            count = self._put(data)
            data = data[count:]
            if data and not count:
                await self._changed.wait()

    async def _message(self) -> bytes:
        """The next whole message of xenstored's."""
        while True:
            self._changed.clear()
            self._inbox += self._take()
            if len(self._inbox) >= 16:
                end = 16 + int(struct.unpack_from("<I", self._inbox, 12)[0])
                if len(self._inbox) >= end:
                    message, self._inbox = self._inbox[:end], self._inbox[end:]
                    return message
            await self._changed.wait()

    async def _forward(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(await self._message())

    async def _forget(self) -> None:
        """What a guest's kernel does when /dev/xen/xenbus is closed: its watches go."""
        await self._send(struct.pack("<4I", RESET_WATCHES, 0xFFFFFFFF, 0, 1) + b"\0")
        while struct.unpack_from("<2I", await self._message())[1] != 0xFFFFFFFF:
            pass


async def started(path: Path, process: asyncio.subprocess.Process) -> None:
    """Wait until xenstored listens. It does not say so: -N does not fork. Its socket has its name before."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if process.returncode is not None:
                raise RuntimeError("xenstored has ended")
            with suppress(FileNotFoundError, ConnectionRefusedError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
                return
            await asyncio.sleep(0.01)


async def run(domids: list[int], command: list[str], directory: Path) -> int:
    """The command's exit code."""
    shim = directory / "shim.so"
    subprocess.run([os.environ.get("CC", "clang"), "-shared", "-fPIC", "-O1", "-o", str(shim),
                    str(HERE / "shim.c")], check=True)
    for name in ("run", "lib"):
        (directory / name).mkdir()
    os.mkfifo(directory / "to-xenstored")
    domains = [Domain(domid, directory) for domid in domids]
    environment = {**os.environ, "STUBSAVE_XEN": str(directory), "LD_PRELOAD": str(shim),
                   "XENSTORED_ROOTDIR": str(directory / "lib"),
                   "XENSTORED_RUNDIR": str(directory / "run")}
    daemon = await asyncio.create_subprocess_exec(
        XENSTORED, "-N", "-F", str(directory / "pid"), env=environment)
    try:
        await started(directory / "run/socket", daemon)
        (directory / "dom0").symlink_to(directory / "run/socket")
        dom0 = Client(directory / "dom0")
        for domain in domains:
            await domain.serve()
            path = f"/local/domain/{domain.domid}"
            # As libxl makes them: the domain's own directory, in which it may make nothing.
            dom0.request(MKDIR, path)
            dom0.request(SET_PERMS, path, "n0", f"r{domain.domid}")
            # That makes it a stubdomain; the guest is nowhere.
            dom0.request(WRITE, f"{path}/target", value=b"%d" % (GUESTS + domain.domid))
            await asyncio.to_thread(dom0.request, INTRODUCE, str(domain.domid), "1", "1")
        child = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, "STUBSAVE_XENSTORED": str(directory)})
        return await child.wait()
    finally:
        if daemon.returncode is None:
            daemon.kill()
        await daemon.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--domain", type=int, action="append", default=[], metavar="DOMID")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if not os.access(XENSTORED, os.X_OK):
        print(f"needs {XENSTORED} (Debian: a package xen-utils-VERSION; `make test-deps`)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="stubsave-xenstored-") as directory:
        return asyncio.run(run(options.domain, options.command, Path(directory)))


if __name__ == "__main__":
    sys.exit(main())
