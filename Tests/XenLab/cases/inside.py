#!/usr/bin/python3
"""What a test does inside of a guest, beside its shell. Part of the guest's root."""

from __future__ import annotations

import base64
import hashlib
import json
import mmap
import os
import select
import socket
import struct
import subprocess
import time
import tty

DEADLINE_SECONDS = 180
OFFER, ANSWER = "stubsave/offer", "stubsave/answer"
READ, WATCH, WRITE, MKDIR, EVENT, ERROR = 2, 4, 11, 12, 15, 16
BLOCK = 4096


def qmp(path: str, *commands: dict[str, object]) -> list[object]:
    """Replies of QEMU's monitor; it may still be starting."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            monitor = socket.socket(socket.AF_UNIX)
            monitor.connect(path)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    stream = monitor.makefile("rw")
    stream.readline()
    replies = list[object]()
    for command in ({"execute": "qmp_capabilities"}, *commands):
        stream.write(json.dumps(command) + "\n")
        stream.flush()
        while "return" not in (reply := json.loads(stream.readline())):
            if "error" in reply:
                raise SystemExit(f"{command}: {reply}")
        replies.append(reply["return"])
    return replies[1:]


def saved(path: str) -> None:
    """QEMU's state by itself: prints its length and digest."""
    file = "/tmp/saved"
    qmp(path, {"execute": "xen-save-devices-state", "arguments": {"filename": file, "live": False}})
    data = open(file, "rb").read()
    print(len(data), hashlib.sha256(data).hexdigest())


def save_to(path: str, console: str) -> None:
    """At each line in a pipe: QEMU's state to a console, as today's inits have it."""
    request, file = "/tmp/request", "/tmp/saved"
    if not os.path.exists(request):
        os.mkfifo(request)
    device = os.open(console, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(device)
    print("listening", flush=True)
    while True:
        with open(request) as pipe:
            pipe.read()
        qmp(path, {"execute": "xen-save-devices-state", "arguments": {"filename": file, "live": False}})
        data = open(file, "rb").read()
        while data:
            data = data[os.write(device, data):]


def status(path: str) -> None:
    """What QEMU says of its guest."""
    print(qmp(path, {"execute": "query-status"})[0]["status"])  # type: ignore[index]


class Xenstore:
    """The kernel's device."""

    def __init__(self) -> None:
        self._device = os.open("/dev/xen/xenbus", os.O_RDWR)

    def request(self, kind: int, *words: str, value: bytes = b"") -> bytes:
        """The reply's payload."""
        payload = b"".join(word.encode() + b"\0" for word in words) + value
        os.write(self._device, struct.pack("<4I", kind, 1, 0, len(payload)) + payload)
        while True:
            found, reply = self._message()
            if found == ERROR:
                raise OSError(reply.rstrip(b"\0").decode())
            if found != EVENT:
                return reply

    def close(self) -> None:
        """With all watches."""
        os.close(self._device)

    def wait(self) -> None:
        """For a watch's event."""
        while self._message()[0] != EVENT:
            pass

    def _message(self) -> tuple[int, bytes]:
        kind, _, _, count = struct.unpack("<4I", self._exactly(16))
        return kind, self._exactly(count)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += os.read(self._device, count - len(data))
        return data

    def has_changed(self) -> bool:
        """Whether a watch has fired; does not wait."""
        if not select.select([self._device], [], [], 0)[0]:
            return False
        self.wait()
        return True

    def offered(self, verb: str) -> list[str]:
        """Wait until dom0 offers that; its words."""
        self.request(WATCH, OFFER, "0")
        while True:
            try:
                words = self.request(READ, OFFER).decode().split(" ")
                if len(words) > 2 and words[2] == verb:
                    self._version = words[0]
                    return words
            except OSError:
                pass  # not there yet
            self.wait()

    def answer(self, id: str, words: str) -> None:
        """The agent's word."""
        self.request(WRITE, ANSWER, value=f"{self._version} {id} {words}".encode())


def device(name: str) -> int:
    """The disk, past the page cache, once it has come."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return os.open(f"/dev/{name}", os.O_RDWR | os.O_DIRECT)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def image(disk: int, state: bytes) -> bytes:
    """What the agent would write to this disk, from its header on; whole blocks."""
    capacity = os.lseek(disk, 0, os.SEEK_END)
    header = mmap.mmap(-1, BLOCK)
    os.preadv(disk, [header], 0)
    with open("/tmp/image", "wb") as file:
        file.write(header)
        file.truncate(capacity)
    subprocess.run(["stubsave-agent", "write", "/tmp/image"], check=True, input=state)
    with open("/tmp/image", "rb") as file:
        data = file.read().rstrip(b"\0")
    return data + bytes(-len(data) % BLOCK)


def put(disk: int, data: bytes, offset: int = 0) -> None:
    """Whole blocks, past the page cache."""
    buffer = mmap.mmap(-1, len(data))
    buffer.write(data)
    os.pwritev(disk, [buffer], offset)


def state(letter: str, size: int = 200_000) -> bytes:
    """One that can be told from others."""
    return b"QEVM" + letter.encode() * size


class Liar:
    """Stands for an agent, up to its answer."""

    def __init__(self) -> None:
        self.xenstore, self._withdrawn = Xenstore(), False
        print("listening", flush=True)
        words = self.xenstore.offered("take")
        self.id = words[1]
        self.answer("accepted")
        self.disk = device(words[3])

    def answer(self, words: str) -> None:
        """Its word."""
        self.xenstore.answer(self.id, words)

    def is_withdrawn(self) -> bool:
        """Whether dom0 wants it no more; asks only when something has changed."""
        if not self._withdrawn and self.xenstore.has_changed():
            self._withdrawn = self.id not in self.xenstore.request(READ, OFFER).decode()
        return self._withdrawn

    def commit(self, data: bytes) -> None:
        """Write all of it, and say so."""
        put(self.disk, data)
        os.fsync(self.disk)
        self.answer(f"committed {len(data)} paused")


def lie(what: str) -> None:
    """Do something to the disk that no agent does, and say committed."""
    liar = Liar()
    data = image(liar.disk, state("a"))
    if what == "header":
        liar.commit(bytes([data[0], data[1] ^ 1]) + data[2:])
    elif what == "other header":
        liar.commit(data[:64] + b"\1" + data[65:])
    elif what == "incomplete":
        liar.commit(data[:-BLOCK])
    elif what == "nothing":
        liar.commit(data[:BLOCK])
    elif what == "flipped":
        middle = len(data) // 2
        liar.commit(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:])
    elif what == "good":
        liar.commit(data)
    elif what == "wait":
        time.sleep(3600)
    elif what.startswith("signatures "):
        for piece in what.split()[1:]:
            offset, text = piece.split(":")
            place, wanted = int(offset), base64.b64decode(text)
            block = mmap.mmap(-1, BLOCK)
            os.preadv(liar.disk, [block], place - place % BLOCK)
            block[place % BLOCK:place % BLOCK + len(wanted)] = wanted
            os.pwritev(liar.disk, [block], place - place % BLOCK)
        os.fsync(liar.disk)
        os.close(liar.disk)
        print("written", flush=True)
        time.sleep(5)
        liar.answer("failed 9 0 paused system")
    else:
        raise SystemExit(f"no such lie: {what}")
    print("done")


def flip(rounds: int) -> None:
    """Commit one state, and at once begin to write another over it, with the same transfer id, to
    and fro until the offer is withdrawn. (Who writes on when the disk goes may hang his own kernel:
    Linux 6.1's del_gendisk then waits for a request that nobody answers any more.)"""
    for count in range(rounds):
        liar = Liar()
        images = [image(liar.disk, state(letter)) for letter in "ab"]
        buffers = list[mmap.mmap]()
        for data in images:
            buffers.append(mmap.mmap(-1, len(data)))
            buffers[-1].write(data)
        # A mixture has something of both: they differ in every block but the first.
        assert len(images[0]) == len(images[1]) and images[0] != images[1]
        liar.commit(images[0])
        blocks = range(BLOCK, len(images[0]), BLOCK)
        which = 1
        while not liar.is_withdrawn():
            for offset in blocks:
                os.pwritev(liar.disk, [memoryview(buffers[which])[offset:offset + BLOCK]], offset)
                if liar.is_withdrawn():
                    break
            which = 1 - which
        os.close(liar.disk)
        liar.xenstore.close()  # with its watch, of which a domain has 128
    print("done")


def fill_xenstore() -> None:
    """Nodes until xenstored takes no more."""
    xenstore, count = Xenstore(), 0
    try:
        while True:
            xenstore.request(WRITE, f"data/fill/{count}", value=b"x")
            count += 1
    except OSError as error:
        print(count, error)
