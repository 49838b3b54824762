"""Event channels and grants without Xen, for processes whose libraries are fakexen.c.

As Xen and Linux do it: a port whose peer has gone is unbound again and waits for another; an event on
a port that is masked is kept, once; who unmaps a page, or is killed, clears a byte and notifies as
it has asked for.
"""

from __future__ import annotations

import asyncio
import errno
import json
import mmap
import os
import socket
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
(HELLO, UNBOUND, INTERDOMAIN, UNBIND, NOTIFY, UNMASK, SHARE, UNSHARE, MAP, UNMAP, EVENT,
 REPLY) = range(12)
MESSAGE = struct.Struct("<5I")
PAGE_BYTES = 4096
# Of the Xen whose vchan-socket-proxy is run.
XENCTRL = next((path.name for path in sorted(Path("/usr/lib").glob("*/libxenctrl.so.4.*"), reverse=True)
                if path.name.count(".") == 3), "libxenctrl.so.4.17")
LIBRARIES = ("libxengnttab.so.1", "libxenevtchn.so.1", XENCTRL)
VERSIONS = ("VERS_1.0 { global: xeng*; xenevtchn_*; local: *; };\n"
            f"VERS_{XENCTRL.removeprefix('libxenctrl.so.')}.0 {{ global: xc_*; }};\n")


class Handle:
    """A process's connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket, self.domid = connection, -1

    def send(self, kind: int, *words: int, passing: int | None = None) -> None:
        """A message, and a descriptor with it."""
        data = MESSAGE.pack(kind, *words, *(0,) * (4 - len(words)))
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self.socket, [data], [] if passing is None else [passing])


@dataclass
class Port:
    """An event channel."""

    number: int
    owner: Handle
    remote: int
    peer: Port | None = None
    is_masked: bool = False
    is_pending: bool = False
    is_closed: bool = False  # by its owner; a page that is to notify by it holds it (evtchn_get)


@dataclass(eq=False)
class Page:
    """One that is shared, or a mapping of it by another domain."""

    number: int
    owner: Handle
    file: int
    remote: int
    offset: int  # of the byte that is cleared in the end
    port: int
    page: mmap.mmap = field(repr=False)


class Xen:
    """What all of them reach."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "fakexen"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._listener.setblocking(False)
        self.handles = set[Handle]()
        self.ports = dict[int, Port]()
        self.grants, self.maps = dict[int, Page](), dict[int, Page]()
        self._next = 1
        self.unmasked = 0  # how often a port was unmasked
        self.on_map: Callable[[Page], None] | None = None
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Take it away."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._listener.close()
        for handle in list(self.handles):
            self._lose(handle)

    def environment(self, domid: int, xenstore: Path) -> dict[str, str]:
        """Of a process in that domain."""
        return {**os.environ, "FAKEXEN": str(self.path), "FAKEXEN_DOMID": str(domid),
                "XENSTORED_PATH": str(xenstore), "LD_LIBRARY_PATH": str(self.path.parent / "fakexen.so")}

    def raise_event(self, port: Port) -> None:
        """As Xen does for whoever is told by that port; of one that is closed, and held by a page only, nobody is."""
        if port.is_closed:
            return
        if port.is_masked:
            port.is_pending = True
        else:
            port.is_masked = True
            port.owner.send(EVENT, port.number)

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                handle = Handle(self._listener.accept()[0])
                self.handles.add(handle)
                asyncio.get_running_loop().add_reader(handle.socket, self._heed, handle)

    def _heed(self, handle: Handle) -> None:
        try:
            data = handle.socket.recv(MESSAGE.size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            return self._lose(handle)
        kind, *words = MESSAGE.unpack(data)
        if kind == HELLO:
            handle.domid = words[0]
        elif kind == UNBOUND:
            handle.send(REPLY, 0, self._port(handle, words[0]).number)
        elif kind == INTERDOMAIN:
            self._connect(handle, *words[:2])
        elif kind == UNBIND:
            self._close_port(self.ports[words[0]])
        elif kind == NOTIFY:
            self._notify(words[0])
        elif kind == UNMASK:
            self._unmask(self.ports[words[0]])
        elif kind == SHARE:
            file = os.memfd_create("page")
            os.ftruncate(file, PAGE_BYTES)
            self._give(handle, self.grants, file, *words[:3])
        elif kind == MAP:
            domid, ref, offset, port = words
            grant = self.grants.get(ref)
            if grant is None or (grant.owner.domid, grant.remote) != (domid, handle.domid):
                handle.send(REPLY, errno.EINVAL)
            else:
                self._give(handle, self.maps, os.dup(grant.file), domid, offset, port)
        elif kind in (UNSHARE, UNMAP):
            table = self.grants if kind == UNSHARE else self.maps
            self._drop(table, table[words[0]])
            handle.send(REPLY, 0, 0)

    def _port(self, owner: Handle, remote: int) -> Port:
        self._next += 1
        port = self.ports[self._next] = Port(self._next, owner, remote)
        return port

    def _connect(self, handle: Handle, domid: int, number: int) -> None:
        there = self.ports.get(number)
        if there is None or there.peer or (there.owner.domid, there.remote) != (domid, handle.domid):
            return handle.send(REPLY, errno.EINVAL)
        here = self._port(handle, domid)
        here.peer, there.peer = there, here
        handle.send(REPLY, 0, here.number)
        self.raise_event(here)  # what it may have missed (xen/common/event_channel.c)

    def _notify(self, number: int) -> None:
        port = self.ports.get(number)
        if port and port.peer:
            self.raise_event(port.peer)

    def _unmask(self, port: Port) -> None:
        self.unmasked += 1
        port.is_masked = False
        if port.is_pending:
            port.is_pending = False
            self.raise_event(port)

    def _close_port(self, port: Port) -> None:
        port.is_closed = True
        pages = *self.grants.values(), *self.maps.values()
        if any(page.port == port.number for page in pages):
            return
        del self.ports[port.number]
        if port.peer:
            port.peer.peer = None

    def _give(self, handle: Handle, table: dict[int, Page], file: int, remote: int, offset: int,
              port: int) -> None:
        self._next += 1
        page = table[self._next] = Page(self._next, handle, file, remote, offset, port,
                                        mmap.mmap(file, PAGE_BYTES))
        if table is self.maps and self.on_map:
            self.on_map(page)
        handle.send(REPLY, 0, self._next, passing=file)

    def _drop(self, table: dict[int, Page], page: Page) -> None:
        page.page[page.offset] = 0
        self._notify(page.port)
        page.page.close()
        os.close(page.file)
        del table[page.number]
        if (port := self.ports.get(page.port)) and port.is_closed:
            self._close_port(port)

    def _lose(self, handle: Handle) -> None:
        asyncio.get_running_loop().remove_reader(handle.socket)
        for table in self.grants, self.maps:
            for page in [page for page in table.values() if page.owner is handle]:
                self._drop(table, page)
        for port in [port for port in self.ports.values() if port.owner is handle]:
            self._close_port(port)
        handle.socket.close()
        self.handles.discard(handle)


def build(directory: Path) -> None:
    """The libraries, as shared ones and as archives."""
    shared, archives = directory / "fakexen.so", directory / "fakexen.a"
    shared.mkdir()
    archives.mkdir()
    compiler = os.environ.get("CC", "clang")
    (directory / "fakexen.map").write_text(VERSIONS)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(shared / LIBRARIES[0]),
                    f"-Wl,--version-script={directory}/fakexen.map", str(HERE / "fakexen.c")], check=True)
    for name in LIBRARIES[1:]:
        (shared / name).symlink_to(LIBRARIES[0])
    subprocess.run([compiler, "-c", "-fPIC", "-O1", "-o", str(archives / "fakexen.o"),
                    str(HERE / "fakexen.c")], check=True)
    for name in "libxengnttab.a", "libxenevtchn.a":
        subprocess.run(["ar", "rcs", str(archives / name), str(archives / "fakexen.o")], check=True)


def link(directory: Path, build_directory: Path, product: str) -> str:
    """A program that has been built, linked once more, with these libraries in place of Xen's."""
    commands = [json.loads(line.partition(":")[2]) for line in
                (build_directory / "release.yaml").read_text().splitlines()
                if line.lstrip().startswith("args:") and f"/{product}.product/" in line]
    command = next(words for words in commands if "-emit-executable" in words)
    output = directory / product
    command[command.index("-o") + 1] = str(output)
    linked = subprocess.run([command[0], f"-L{directory}/fakexen.a", *command[1:]], check=False, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if linked.returncode:  # else clang has a warning for each static program
        raise RuntimeError(f"{product} cannot be linked:\n{linked.stdout[-4000:]}")
    return str(output)
