#!/usr/bin/python3
"""The line that joins two machines: a virtio port in each. As a program its end for `xl migrate`, instead of ssh.

On it are frames: a length, or END for the end of a stream."""

from __future__ import annotations

import os
import struct
import sys
import threading

PORT = "/dev/virtio-ports/peer"
END, MOST = 0xFFFFFFFF, 1 << 16


class Line:
    """Its end here."""

    def __init__(self) -> None:
        self._number = os.open(PORT, os.O_RDWR)

    def send(self, data: bytes | None) -> None:
        """A frame; None: the end of a stream."""
        frame = struct.pack("<I", END) if data is None else struct.pack("<I", len(data)) + data
        while frame:
            frame = frame[os.write(self._number, frame):]

    def receive(self) -> bytes | None:
        """The next one."""
        (length,) = struct.unpack("<I", self._exactly(4))
        return None if length == END else self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = os.read(self._number, count - len(data))
            if not piece:
                raise OSError("the other machine has ended")
            data += piece
        return data

    def close(self) -> None:
        """So that another program may have it."""
        os.close(self._number)

    def carry(self, source: int, target: int) -> None:
        """Both directions, each to its end."""
        def out() -> None:
            while data := os.read(source, MOST):
                self.send(data)
            self.send(None)
        thread = threading.Thread(target=out, daemon=True)
        thread.start()
        while data := self.receive():
            os.write(target, data)
        os.close(target)
        thread.join()


def main() -> int:
    """Between `xl migrate` and the line; the exit code is that of the other end."""
    line = Line()
    line.carry(0, 1)
    return int(line.receive() or b"1")


if __name__ == "__main__":
    sys.exit(main())
