"""xenstored's socket in dom0, for who waits for changes (xen/io/xs_wire.h)."""

from __future__ import annotations

import select
import socket
import struct
import time

SOCKET = "/run/xenstored/socket"
READ, WATCH, WRITE, EVENT, ERROR = 2, 4, 11, 15, 16


class Xenstore:
    """A connection, with its own watches."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(SOCKET)
        self._events = list[str]()

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """And with it the watches."""
        self._socket.close()

    def read(self, path: str) -> str | None:
        """A node's value."""
        try:
            return self._request(READ, path.encode() + b"\0").decode(errors="replace")
        except OSError:
            return None

    def write(self, path: str, value: str) -> None:
        """A node's value; makes it and those above it."""
        self._request(WRITE, path.encode() + b"\0" + value.encode())

    def watch(self, path: str) -> None:
        """Have events for it and all below it. The first comes at once."""
        self._request(WATCH, path.encode() + b"\0w\0")

    def event(self, seconds: float) -> str | None:
        """The path of the next one; None if there is none in time."""
        deadline = time.monotonic() + seconds
        while not self._events:
            left = deadline - time.monotonic()
            if not select.select([self._socket], [], [], max(left, 0))[0]:
                return None
            self._take()
        return self._events.pop(0)

    def _request(self, kind: int, payload: bytes) -> bytes:
        self._socket.sendall(struct.pack("<4I", kind, 0, 0, len(payload)) + payload)
        while (reply := self._take()) is None:
            pass
        found, answer = reply
        if found == ERROR:
            raise OSError(answer.rstrip(b"\0").decode())
        return answer

    def _take(self) -> tuple[int, bytes] | None:
        """A reply; None for an event, which is kept."""
        kind, _, _, count = struct.unpack("<4I", self._exactly(16))
        payload = self._exactly(count)
        if kind != EVENT:
            return kind, payload
        self._events.append(payload.split(b"\0")[0].decode())
        return None

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise OSError("xenstored has closed the connection")
            data += piece
        return data
