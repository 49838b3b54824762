"""The ways that bytes leave a stubdomain today: PV consoles, to xenconsoled or to a QEMU in dom0."""

from __future__ import annotations

import os
import time
from pathlib import Path

from guests import COMMAND_SECONDS, LOCAL, Guest, node, run

WAIT_SECONDS = 600
RECEIVED = LOCAL / "console.out"
# Something that dom0's QEMU is needed for, so that libxl starts one for an ordinary guest, too.
CHANNEL = 'channel=["connection=pty,name=other"]\n'


def add_console(guest: Guest) -> None:
    """/dev/hvc1, whose other end is a QEMU in dom0 that writes it to a file: as libxl lays out the save
    console of a stubdomain, which it does for nobody else."""
    front = f"/local/domain/{guest.domid}/device/console/1"
    back = f"/local/domain/0/backend/console/{guest.domid}/1"
    nodes = {
        f"{back}/frontend": front, f"{back}/frontend-id": guest.domid, f"{back}/online": 1,
        f"{back}/protocol": "vt100", f"{front}/backend": back, f"{front}/backend-id": 0,
        f"{front}/limit": 1 << 20, f"{front}/type": "ioemu", f"{front}/output": f"file:{RECEIVED}",
        f"{front}/tty": ""}
    run("xenstore-write", *(str(word) for pair in nodes.items() for word in pair))
    run("xenstore-chmod", "-r", back, "n0", f"r{guest.domid}")
    run("xenstore-chmod", "-r", front, f"n{guest.domid}", "r0")
    run("xenstore-write", f"{front}/state", "1", f"{back}/state", "1")
    deadline = time.monotonic() + COMMAND_SECONDS
    while node(f"{front}/state") != "4":
        if time.monotonic() > deadline:
            raise TimeoutError(run("xenstore-ls", "-f", f"/local/domain/{guest.domid}/device", must=False))
        time.sleep(0.1)


def memory_kib(pid: int) -> int:
    """What a process has in memory, KiB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


class Console:
    """One of them."""

    inside: str

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def receive(self, line: str, count: int) -> float:
        """How long it takes from a line to the guest's shell until so many bytes are in a file."""
        raise NotImplementedError

    def received(self) -> bytes:
        """Those bytes."""
        raise NotImplementedError


class ThroughXenconsoled(Console):
    """The first console, which ends in a pty in dom0."""

    inside = "/dev/hvc0"

    def receive(self, line: str, count: int) -> float:
        start = time.monotonic()
        data = self._guest.read_raw(line, count, WAIT_SECONDS)
        RECEIVED.with_suffix(".pty").write_bytes(data)
        return time.monotonic() - start

    def received(self) -> bytes:
        return RECEIVED.with_suffix(".pty").read_bytes()


class ThroughQEMU(Console):
    """The second console: a QEMU in dom0 writes it to a file, which has no end mark."""

    inside = "/dev/hvc1"

    def receive(self, line: str, count: int) -> float:
        self._before, self._count = RECEIVED.stat().st_size, count
        start = time.monotonic()
        self._guest.start(line)
        while (size := RECEIVED.stat().st_size) < self._before + count:
            if time.monotonic() > start + WAIT_SECONDS:
                raise TimeoutError(f"{size - self._before} of {count} bytes")
            time.sleep(0.005)
        return time.monotonic() - start

    def received(self) -> bytes:
        with RECEIVED.open("rb") as file:
            return os.pread(file.fileno(), self._count, self._before)
