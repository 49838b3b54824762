"""PV guests that stand for stubdomains: made by xl, driven over their consoles."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from pathlib import Path

CARRIED, LOCAL = Path("/lab"), Path("/run/lab")
BOOT_SECONDS, COMMAND_SECONDS = 120, 60  # of the emulated machine's clock, as all here
# A guest that was paused for long takes its clock's jump for a processor that stalls: it would dump stacks on its
# console, which is the shell.
CONFIG = """name="{name}"
type="pv"
kernel="/run/lab/guest-vmlinux"
ramdisk="/run/lab/{ramdisk}"
extra="console=hvc0 quiet cryptomgr.notests rcupdate.rcu_cpu_stall_suppress=1"
memory={memory}
vcpus=1
on_crash="destroy"
on_poweroff="destroy"
"""


def run(*words: str, timeout: float = COMMAND_SECONDS, must: bool = True) -> str:
    """A program's output in dom0."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, check=False)
    if must and done.returncode:
        raise RuntimeError(f"{words}: exit {done.returncode}: {done.stdout}")
    return done.stdout


def node(path: str) -> str | None:
    """A node's value."""
    done = subprocess.run(["xenstore-read", path], stdout=subprocess.PIPE, text=True, check=False,
                          stderr=subprocess.DEVNULL)
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def create(name: str, ramdisk: str, memory: int, lines: str = "") -> int:
    """A PV guest, with more lines in its configuration; its domid."""
    config = LOCAL / f"{name}.cfg"
    config.write_text(CONFIG.format(name=name, memory=memory, ramdisk=ramdisk) + lines)
    run("xl", "create", str(config))
    return int(run("xl", "domid", name))


class Target:
    """What stands for the HVM guest: a small one that only has to be there."""

    def __init__(self, name: str) -> None:
        self.name, self.domid = name, create(name, "small-ramdisk", 96)

    def is_paused(self) -> bool:
        """As Xen says."""
        return "p" in run("xl", "list", self.name).splitlines()[1].split()[4]

    def destroy(self) -> None:
        """As xl does."""
        run("xl", "destroy", self.name)


class Guest:
    """One, whose console is a shell without prompt and echo."""

    def __init__(self, name: str, target: Target | None = None, memory: int = 320,
                 lines: str = "") -> None:
        self.name, self._count, self._text = name, 0, b""
        self.domid = create(name, "guest-ramdisk", memory, lines)
        self._open_console()
        if target:
            # What libxl writes for a stubdomain.
            run("xenstore-write", f"/local/domain/{self.domid}/target", str(target.domid))

    def _open_console(self) -> None:
        path = node(f"/local/domain/{self.domid}/console/tty")
        assert path, "no console"
        run("stty", "-F", path, "raw", "-echo")
        self._console = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def wait_until_up(self) -> Guest:
        """Once its shell listens."""
        self._until(rb"GUEST-UP [0-9.]+\r?\n", BOOT_SECONDS)
        return self

    def _until(self, pattern: bytes, seconds: float) -> re.Match[bytes]:
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self._text)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._console], [], [], left)[0]:
                raise TimeoutError(f"{self.name} does not say {pattern!r}: {self._text[-2000:]!r}")
            self._text += os.read(self._console, 65536)
        return match

    def start(self, line: str) -> None:
        """A line to its shell."""
        os.write(self._console, line.encode() + b"\n")

    def sh(self, line: str, timeout: float = COMMAND_SECONDS, must: bool = True) -> str:
        """What a line prints."""
        self._count += 1
        mark = f"END{self._count}"
        self._text = b""
        # In two pieces: the mark itself is not to be in what a shell might repeat.
        joint = "" if line.endswith("&") else ";"
        self.start(f"{line}{joint} echo {mark[:3]}''{mark[3:]}:$?")
        match = self._until(mark.encode() + rb":(\d+)\r?\n", timeout)
        output = self._text[:match.start()].decode(errors="replace").replace("\r\n", "\n")
        if must and match[1] != b"0":
            raise RuntimeError(f"{self.name}: {line}: exit {match[1].decode()}: {output}")
        return output

    def until_said(self, text: bytes) -> None:
        """Wait for what a line that was started prints."""
        self._until(re.escape(text), COMMAND_SECONDS)
        self._text = b""

    def read_raw(self, line: str, count: int, timeout: float = 300) -> bytes:
        """Bytes that a line prints, as they are; so many."""
        self._text, deadline = b"", time.monotonic() + timeout
        pieces, got = list[bytes](), 0
        self.start(line)
        while got < count:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._console], [], [], left)[0]:
                raise TimeoutError(f"{self.name}: {got} of {count} bytes")
            pieces.append(os.read(self._console, 65536))
            got += len(pieces[-1])
        return b"".join(pieces)[:count]

    def destroy(self) -> None:
        """As xl does."""
        os.close(self._console)
        run("xl", "destroy", self.name)
