"""The ways that bytes leave a stubdomain today: PV consoles, to xenconsoled or to a QEMU in dom0."""

from __future__ import annotations

import os
import time
from pathlib import Path

from guests import LOCAL, Guest

WAIT_SECONDS = 600
RECEIVED = LOCAL / "console.out"
EMULATOR = LOCAL / "qemu-to-file"
# A second console, whose other end is a QEMU in dom0. libxl gives a stubdomain's save console a file
# there; to an ordinary guest's channel it gives a pty, which this puts right.
CHANNEL = f"""channel=["connection=pty,name=save"]
device_model_override="{EMULATOR}"
"""
SCRIPT = f"""#!/bin/bash
words=()
for word in "$@"; do
  case $word in pty,id=libxl-channel0) word=file,id=libxl-channel0,path={RECEIVED} ;; esac
  words+=("$word")
done
exec /usr/libexec/xen-qemu-system-i386 "${{words[@]}}"
"""


def install_emulator() -> None:
    """What CHANNEL names."""
    EMULATOR.write_text(SCRIPT)
    EMULATOR.chmod(0o755)


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
