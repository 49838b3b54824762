"""A Linux guest of real size, made from Debian's packages: a cloud kernel and busybox.

It fills its memory with what memory holds (programs, text, noise, zeros), and counts: each line on
its serial port carries the next number. When it is told to, it sums up a part of what it has filled.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import socket
import subprocess
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

from machine import QEMU, Failure, Monitor, expect, running

KERNEL = "linux-image-cloud-amd64"
RAM_MIB = 512
# What the guest's memory is filled with: programs of this machine, and noise; the rest stays zero.
SAMPLE_FOLDERS = Path("/usr/bin"), Path("/usr/lib/x86_64-linux-gnu")
SAMPLE_BYTES, NOISE_BYTES, FILL_MIB = 40 << 20, 10 << 20, 340

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /fill
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs -o size=100% fill /fill
/bin/busybox sh -c 'i=0; while [ $((i * {piece})) -lt {fill} ]; do cat /sample >/fill/$i; i=$((i+1)); done'
sum() {{ /bin/busybox md5sum </fill/3 | /bin/busybox cut -d" " -f1; }}
echo "FILLED $(sum)"
n=0
while :; do
  n=$((n+1)); echo "COUNT $n"
  if read -t 0 word; then read word; echo "SUM $(sum)"; fi
  /bin/busybox usleep 20000
done
"""


def run(*words: str | Path, **options: object) -> str:
    """The output of a command that must not fail."""
    return subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE,
                          **options).stdout  # type: ignore[call-overload]


def make(folder: Path) -> tuple[Path, Path]:
    """Kernel and initramfs; made if they are not there yet."""
    kernel, root = folder / "vmlinuz", folder / "initramfs"
    stamp, wanted = folder / "stamp", hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return kernel, root
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        lines = run("apt-cache", "depends", "--important", KERNEL).splitlines()
        package = next(line.split()[1] for line in lines if "Depends:" in line)
        run("apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", package, cwd=scratch)
        run("dpkg-deb", "-x", next(Path(scratch).glob("*.deb")), Path(scratch, "kernel"))
        shutil.copy(next(Path(scratch, "kernel/boot").glob("vmlinuz-*")), kernel)
        tree = Path(scratch, "root")
        (tree / "bin").mkdir(parents=True)
        shutil.copy(shutil.which("busybox") or "/bin/busybox", tree / "bin/busybox")
        for name in "cat", "sh":
            (tree / "bin" / name).symlink_to("busybox")
        sample = samples()
        (tree / "sample").write_bytes(sample)
        (tree / "init").write_text(INIT.format(piece=len(sample), fill=FILL_MIB << 20))
        (tree / "init").chmod(0o755)
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        with root.open("wb") as out:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], check=True,
                           cwd=tree, stdout=out, input=names.encode())
    stamp.write_text(wanted)
    return kernel, root


def samples() -> bytes:
    """Programs and libraries, and bytes that do not compress."""
    parts, size = [], 0
    for folder in SAMPLE_FOLDERS:
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.is_symlink() and size < SAMPLE_BYTES:
                parts.append(path.read_bytes()[: 2 << 20])
                size += len(parts[-1])
    noise = (hashlib.sha256(b"noise %d" % index).digest() for index in range(NOISE_BYTES // 32))
    return b"".join(parts)[:SAMPLE_BYTES] + b"".join(noise)


class Guest(NamedTuple):
    """A QEMU with that guest, its monitor and its serial port."""

    process: Process
    monitor: Monitor
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    text: bytearray

    async def until(self, word: str) -> str:
        """Everything up to a whole line that begins with that word; the rest of this line."""
        while True:
            self.text.extend(await self._line())
            last = self.text.decode("ascii", "replace").splitlines()[-1]
            if last.startswith(word + " "):
                return last.split()[1]

    async def _line(self) -> bytes:
        try:
            return await self.reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            self.text.extend(error.partial)
            raise Failure(f"the guest's QEMU ended; it last said {self.text[-200:]!r}") from error

    async def rest(self) -> None:
        """What the serial port still has after QEMU's end."""
        self.text.extend(await self.reader.read())

    async def migrated(self) -> None:
        """Wait until all has gone out."""
        while True:
            status = (await self.monitor.execute("query-migrate")).get("status")
            if status == "completed":
                return
            expect(status not in ("failed", "cancelled"), f"the migration has {status}")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def guest(kernel: Path, root: Path, *options: str) -> AsyncIterator[Guest]:
    """A QEMU with the guest, booting or, with `-incoming`, waiting."""
    control, control_end = socket.socketpair()
    serial, serial_end = socket.socketpair()
    command = [
        QEMU, "-machine", "pc,accel=tcg", "-m", str(RAM_MIB), "-nodefaults",
        "-no-user-config", "-display", "none", "-kernel", str(kernel), "-initrd", str(root),
        "-append", "console=ttyS0 quiet loglevel=0 panic=-1 mitigations=off",
        "-chardev", f"socket,id=com1,fd={serial_end.fileno()}", "-serial", "chardev:com1",
        "-chardev", f"socket,id=test,fd={control_end.fileno()}", "-mon", "test,mode=control",
        *options]
    ends = (control_end.fileno(), serial_end.fileno())
    control_streams = await asyncio.open_unix_connection(sock=control)
    reader, writer = await asyncio.open_unix_connection(sock=serial)
    with closing(control_streams[1]), closing(writer), control_end, serial_end:
        async with running(*command, stdin=DEVNULL, stdout=DEVNULL, pass_fds=ends) as process:
            control_end.close()  # QEMU's ends are now the only ones
            serial_end.close()
            monitor = Monitor(*control_streams)
            await monitor.receive()  # the greeting
            await monitor.execute("qmp_capabilities")
            yield Guest(process, monitor, reader, writer, bytearray())
