"""A stubdomain's client of xenstore, with its permissions, that does what a test likes."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

DIRECTORY, READ, WATCH, WRITE, MKDIR, RM, SET_PERMS, EVENT, ERROR = 1, 2, 4, 11, 12, 13, 14, 15, 16
VIRQ_PORT = 1  # Tests/Xenstored/shim.c
OFFER, ANSWER = "stubsave/offer", "stubsave/answer"
DEADLINE_SECONDS = 20


class Refused(Exception):
    """xenstored's error, by name."""


class Client:
    """A connection, by the name of its socket: a domid, or dom0."""

    def __init__(self, name: object) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(DEADLINE_SECONDS)
        self._socket.connect(str(xenstored() / str(name)))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, kind: int, *words: str, value: bytes = b"") -> bytes:
        """The reply's payload."""
        payload = b"".join(word.encode() + b"\0" for word in words) + value
        self._socket.sendall(struct.pack("<4I", kind, 1, 0, len(payload)) + payload)
        while True:
            found, reply = self._message()
            if found == ERROR:
                raise Refused(reply.rstrip(b"\0").decode())
            if found != EVENT:
                return reply

    def offered(self) -> str:
        """Wait until dom0 offers something; its id."""
        self.request(WATCH, OFFER, "0")
        while True:
            try:
                words = self.request(READ, OFFER).split(b" ")
                if len(words) > 2:
                    return words[1].decode()
            except Refused:
                pass  # not there yet
            while self._message()[0] != EVENT:
                pass

    def _message(self) -> tuple[int, bytes]:
        kind, _, _, count = struct.unpack("<4I", self._exactly(16))
        return kind, self._exactly(count)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("xenstored has closed the connection")
            data += piece
        return data


def xenstored() -> Path:
    """Its directory."""
    return Path(os.environ["STUBSAVE_XENSTORED"])


def kill_domain(domid: int) -> None:
    """Let a domain die, for ever."""
    (xenstored() / f"dead.{domid}").touch()
    with (xenstored() / "to-xenstored").open("r+b", buffering=0) as ports:
        ports.write(struct.pack("<I", VIRQ_PORT))


def nodes(domid: int) -> list[str]:
    """What there is in a domain's directory."""
    with Client("dom0") as dom0:
        return dom0.request(DIRECTORY, f"/local/domain/{domid}").decode().split("\0")[:-1]
