"""A client of xenstored's protocol (xen/include/public/io/xs_wire.h), one request at a time."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

DIRECTORY, READ, WATCH, INTRODUCE, WRITE, MKDIR, RM, SET_PERMS, EVENT, ERROR = (
    1, 2, 4, 8, 11, 12, 13, 14, 15, 16)
DEADLINE_SECONDS = 20


class Refused(Exception):
    """xenstored's error, by name."""


class Client:
    """A connection to the socket at a path; for one `with` block, or as long as it is there."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(DEADLINE_SECONDS)
        self._socket.connect(str(path))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, kind: int, *words: str, value: bytes = b"") -> bytes:
        """The reply's payload. Events that come before it are dropped."""
        payload = b"".join(word.encode() + b"\0" for word in words) + value
        self._socket.sendall(struct.pack("<4I", kind, 1, 0, len(payload)) + payload)
        while True:
            found, reply = self._message()
            if found == ERROR:
                raise Refused(reply.rstrip(b"\0").decode())
            if found != EVENT:
                return reply

    def wait(self) -> None:
        """Wait for a watch's event."""
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
