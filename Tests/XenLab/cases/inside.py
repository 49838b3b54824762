#!/usr/bin/python3
"""What a test does inside of a guest, beside its shell. Part of the guest's root."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import sys
import time

DEADLINE_SECONDS = 60
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

    def offered(self, verb: str) -> list[str]:
        """Wait until dom0 offers that; its words."""
        self.request(WATCH, OFFER, "0")
        while True:
            try:
                words = self.request(READ, OFFER).decode().split(" ")
                if len(words) > 2 and words[2] == verb:
                    return words
            except OSError:
                pass  # not there yet
            self.wait()

    def answer(self, id: str, words: str) -> None:
        """The agent's word."""
        self.request(WRITE, ANSWER, value=f"1 {id} {words}".encode())


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
