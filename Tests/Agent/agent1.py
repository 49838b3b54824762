#!/usr/bin/python3 -IS
"""Stands in for a stubsave-agent that speaks version 1 of the rendezvous and no other.

Its command line is that of `stubsave-agent serve`, over both carriers. It knows no words, no blockers, and
takes for nonsense what a reader of version 1 does, such as an offer of more than eight fields. The disk is
filled by the real program, $AGENT_WRITER. $AGENT_ASKED gets a line for each command that QEMU gets.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "Xenstored")]
from client import READ, WATCH, WRITE, Client, Refused  # noqa: E402

OFFER, ANSWER, HINT = "stubsave/offer", "stubsave/answer", "data/stubsave"
MOST_BYTES, MOST_FIELDS, BLOCK = 255, 8, 4096
SAVE = "xen-save-devices-state"


class Failed(Exception):
    """What `failed` says behind the word."""


class Monitor:
    """QEMU's."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")
        self._lines.readline()
        self.execute("qmp_capabilities")

    def execute(self, name: str, descriptor: int | None = None, **arguments: Any) -> Any:
        """What it gives back."""
        with open(os.environ.get("AGENT_ASKED", "/dev/null"), "a", encoding="ascii") as log:
            log.write(f"{name}\n")
        line = json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n"
        socket.send_fds(self._socket, [line], [] if descriptor is None else [descriptor])
        while True:
            reply = json.loads(self._lines.readline() or sys.exit(13))
            if "error" in reply:
                raise Failed("13 0 unknown qemu")
            if "return" in reply:
                return reply["return"]


class SocketCarrier:
    """An open socket that keeps packets apart."""

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=number)

    def offer(self) -> bytes:
        """The next."""
        return self._socket.recv(4096) or sys.exit(0)

    def say(self, answer: bytes) -> None:
        """The answer."""
        self._socket.send(answer)


class XenstoreCarrier:
    """A xenstored's socket."""

    def __init__(self, path: str) -> None:
        self._client = Client(Path(path))
        self._client.request(WATCH, OFFER, "0")
        self._last = b""
        with suppress(Refused):  # nothing depends on it
            self._client.request(WRITE, HINT, value=b"rendezvous 1")

    def offer(self) -> bytes:
        """The next that is another."""
        while True:
            try:
                found = self._client.request(READ, OFFER)
            except Refused:
                found = b""
            if found != self._last:
                self._last = found
                return found
            while True:
                try:
                    self._client.wait()
                    break
                except TimeoutError:
                    continue

    def say(self, answer: bytes) -> None:
        """The answer, if anybody wants it."""
        with suppress(Refused):
            self._client.request(WRITE, ANSWER, value=answer)


class Agent:
    """One offer after the other."""

    def __init__(self, monitor: str, carrier: SocketCarrier | XenstoreCarrier, devices: str) -> None:
        self._qemu, self._carrier, self._devices = Monitor(monitor), carrier, devices
        memory = os.memfd_create("state")
        # QEMU wants exactly O_WRONLY.
        self._sink = os.open(f"/proc/self/fd/{memory}", os.O_WRONLY)
        self._state = os.open(f"/proc/self/fd/{memory}", os.O_RDONLY)
        self._is_ready = False
        self._id = ""

    def serve(self) -> None:
        """Until the carrier ends."""
        while True:
            message = self._carrier.offer()
            fields = message.decode("latin-1").split(" ")
            if (len(message) > MOST_BYTES or len(fields) > MOST_FIELDS or len(fields) < 3
                    or not all(fields) or fields[1] == "idle"):
                continue
            version, self._id, verb = fields[:3]
            if version != "1" or verb not in ("reset", "save", "take", "cont", "keep"):
                self._say("unsupported")
                continue
            self._say("accepted")
            try:
                self._say(getattr(self, verb)(*fields[3:-1]))
            except Failed as failure:
                self._say(f"failed {failure}")

    def _say(self, words: str) -> None:
        self._carrier.say(f"1 {self._id} {words}".encode())

    def reset(self, _: str) -> str:
        """Make ready for somebody else's save."""
        self._empty()
        if not self._is_ready:
            self._qemu.execute("add-fd", self._sink, **{"fdset-id": 1})
            self._is_ready = True
        return "ready"

    def save(self, device: str, transfer: str, _: str) -> str:
        """What has been saved since."""
        return f"committed {self._write(device, transfer)} {self._guest()}"

    def take(self, device: str, transfer: str, _: str, wish: str) -> str:
        """Order it, and write it."""
        has_stopped = self._guest() == "running"
        if has_stopped:
            if wish == "paused":
                raise Failed("13 0 running runs")
            self._say("progress 0 stopped")
            self._qemu.execute("stop")
        self._empty()
        number = self._qemu.execute("add-fd", self._sink)["fdset-id"]
        self._qemu.execute(SAVE, filename=f"/dev/fdset/{number}", live=False)
        self._qemu.execute("remove-fd", **{"fdset-id": number})
        if has_stopped and wish == "pause":
            self._qemu.execute("cont")
        bytes_written = self._write(device, transfer)
        guest = "stopped" if has_stopped and wish == "keep" else self._guest()
        return f"committed {bytes_written} {guest}"

    def cont(self) -> str:
        """Let the guest run."""
        self._qemu.execute("cont")
        return "ready"

    def keep(self) -> str:
        """Leave it as it is."""
        return "ready"

    def _guest(self) -> str:
        return "running" if self._qemu.execute("query-status")["running"] else "paused"

    def _empty(self) -> None:
        os.ftruncate(self._sink, 0)
        os.lseek(self._sink, 0, os.SEEK_SET)

    def _write(self, device: str, transfer: str) -> int:
        """The disk's length."""
        if device.startswith("fd:"):
            return self._fill(int(device[3:]), transfer)
        number = os.open(f"{self._devices}/{device}", os.O_RDWR)
        try:
            return self._fill(number, transfer)
        finally:
            os.close(number)

    def _fill(self, number: int, transfer: str) -> int:
        if os.pread(number, 16, 32).hex() != transfer:
            raise Failed("12 0 unknown foreign")
        os.lseek(self._state, 0, os.SEEK_SET)
        size = os.lseek(number, 0, os.SEEK_END)
        # In a file of its own first: the real program locks what it writes to, and so does dom0 on
        # the same machine.
        own = os.memfd_create("disk")
        os.truncate(own, size)
        os.pwrite(own, os.pread(number, BLOCK, 0), 0)
        try:
            if subprocess.run([os.environ["AGENT_WRITER"], "write", f"/proc/self/fd/{own}"],
                              stdin=self._state, pass_fds=(own,), check=False).returncode:
                raise Failed("11 0 unknown device")
            data = os.pread(own, size, 0).rstrip(b"\0")
            os.pwrite(number, data, 0)
            os.fsync(number)
        finally:
            os.close(own)
        return -(-len(data) // BLOCK) * BLOCK


def main() -> None:
    """As the real one is started."""
    _, monitor, carrier, _, devices, *_ = sys.argv[1:]
    is_socket = carrier.startswith("fd:")
    Agent(monitor, SocketCarrier(int(carrier[3:])) if is_socket
          else XenstoreCarrier(carrier.removeprefix("xenstore:")), devices).serve()


if __name__ == "__main__":
    main()
