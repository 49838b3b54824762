#!/usr/bin/python3
"""Give stubsave disks, outputs and inputs that it cannot or must not use, with real loop devices.

It checks that
  1. a disk that holds something, is in use, cannot be written or is too small is refused with the
     exit code and the reason that README.md promises, and is unchanged byte for byte;
  2. a disk that can be used carries the state, again and again, also a disk as small as a message
     says that it must be;
  3. an output appears whole or not at all, and never in place of another without --force;
  4. nothing is left: no temporary file, no loop device, no mount.

Every message is printed, for a reader to judge whether it says what, where and what to do.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from fakeqmp import STATES, Ended, Fake, Running, prepare, trailer_fault
from inject import Score

STATE = (STATES / "x06-pc-linux-2vcpu.dev").read_bytes()  # 216 KB, 10 KB on a disk
BULKY = b"QEVM\0\0\0\3" + os.urandom(5_000_000)  # nothing shrinks it
MIB = 1 << 20
DISK_BYTES = 4 * MIB  # what stubsave makes of an unused device, if it need not be more
PACKAGES = {"losetup": "mount", "mount": "mount", "mkswap": "util-linux", "sfdisk": "fdisk",
            "mkfs.ext4": "e2fsprogs", "pvcreate": "lvm2"}


def tool(*command: object, **options: Any) -> str:
    """Run a program of the system; its output."""
    words = [str(word) for word in command]
    done = subprocess.run(words, check=True, capture_output=True, text=True, **options)
    return str(done.stdout).strip()


class Bench(ExitStack):
    """Makes disks, and runs stubsave in one directory."""

    def __init__(self, stubsave: str, check: Callable[[str, object], None]) -> None:
        super().__init__()
        self._stubsave, self.check, self._files = stubsave, check, 0
        prefix = "stubsave-disks-"
        self.directory = Path(self.enter_context(TemporaryDirectory(prefix=prefix)))

    def file(self, content: bytes | int = MIB) -> Path:
        """A new file: these bytes, or so many zeros."""
        self._files += 1
        path = self.directory / f"file{self._files}"
        path.write_bytes(bytes(content) if isinstance(content, int) else content)
        return path

    def device(self, content: bytes | int = DISK_BYTES, *options: str) -> Path:
        """A loop device over a new file; taken away at the end."""
        path = Path(tool("losetup", "--find", "--show", *options, self.file(content)))
        self.callback(tool, "losetup", "--detach", path)
        return path

    def mounted(self, *what: object) -> Path:
        """A directory on which something is mounted until the end."""
        place = Path(mkdtemp(dir=self.directory))
        tool("mount", *what, place)
        self.callback(tool, "umount", "--lazy", place)
        return place

    def allocated(self, size: int = DISK_BYTES) -> Path:
        """A plain file with a header and no log."""
        path = self.file()
        path.unlink()
        self.run("allocate", 0, [path, "--size", size])
        return path

    def run(self, label: str, codes: int | set[int], words: list[object], *says: str,
            **options: Any) -> Ended:
        """Run stubsave; its code, and what its messages must say."""
        command = [*label.split(" ")[:1], *words]
        ended = Running(self._stubsave, *command, **options).end(10)
        codes = codes if isinstance(codes, set) else {codes}
        text = ended.messages.replace(str(self.directory), "TMP").strip()
        print(f"{label}\n    {ended.code}: {text or '(no message)'}")
        self.check(f"{label}: exit {ended.code}, not {codes}", ended.code in codes)
        self.check(f"{label}: {ended.messages_fault}", not ended.messages_fault)
        for word in says:
            self.check(f"{label}: does not say {word!r}", word.lower() in ended.messages.lower())
        return ended

    def dump(self, label: str, codes: int | set[int], *options: object, says: tuple[str, ...] = (),
             output: Path | str | None = None, state: bytes = STATE, **more: Any) -> Ended:
        """Dump a paused guest; a new output is there, whole, exactly after success."""
        with TemporaryDirectory(dir=self.directory) as name, Fake(Path(name), state) as fake:
            out = output or Path(name) / "out"
            ended = self.run(f"dump {label}", codes, [
                "--qmp", fake.path, "-o", out, "--timeout", "5", *options], *says, **more)
            if output is None:
                content = Path(out).read_bytes() if Path(out).exists() else b""
                fault = trailer_fault(content, state) if ended.code == 0 else content
                self.check(f"{label}: the output: {fault!r:.200}", not fault)
            left = sorted(set(os.listdir(name)) - {"out", "qmp"})
            self.check(f"{label}: left: {left}", not left)
        return ended

    def restore(self, label: str, codes: int | set[int], source: Path | str, *options: object,
                says: tuple[str, ...] = (), **more: Any) -> None:
        """Restore; QEMU gets exactly the state, or nothing."""
        with TemporaryDirectory(dir=self.directory) as name, \
                Fake(Path(name), status="inmigrate") as fake:
            ended = self.run(f"restore {label}", codes, [
                "--qmp", fake.path, "-i", source, "--timeout", "5", *options], *says, **more)
        self.check(f"{label}: loaded {fake.loaded!r:.80}",
                   fake.loaded == (STATE if ended.code == 0 else None))

    def refused(self, label: str, codes: int | set[int], disk: Path, *options: object,
                says: tuple[str, ...] = ()) -> None:
        """Dump and restore do not take this disk, and leave it as it is."""
        before = disk.read_bytes()
        self.dump(f"to {label}", codes, "--disk", disk, *options, says=(str(disk), *says))
        if "--force" not in options:
            self.restore(f"over {label}", codes, self.directory / "state", "--disk", disk,
                         says=(str(disk), *says))
        self.check(f"{label}: the disk has changed", disk.read_bytes() == before)


def occupied(bench: Bench) -> None:
    """Disks that hold something, or are in use."""
    ext4, random = bench.device(), os.urandom(DISK_BYTES)
    for path, says, command in ((ext4, "ext4", "mkfs.ext4"), (bench.device(), "swap", "mkswap"),
                                (bench.device(), "gpt", "sfdisk"),
                                (bench.device(), "LVM", "pvcreate")):
        tool(command, path, input="label: gpt")
        bench.refused(f"a device with {says}", 12, path, says=(says, "--force"))
    bench.refused("a device of random bytes", 12, bench.device(random), says=("--force",))
    bench.refused("a file of random bytes", {4, 12}, bench.file(random))
    place = str(bench.mounted(ext4))
    bench.refused("a mounted device", {5, 12}, ext4, says=("mounted", place))
    bench.refused("a mounted device, forced", {5, 12}, ext4, "--force", says=("mounted", place))
    bench.run("allocate a mounted device, forced", 5, [ext4, "--force"], "mounted", place)
    exclusive = bench.device()
    with open(exclusive, "rb", opener=lambda path, flags: os.open(path, flags | os.O_EXCL)):
        bench.refused("a device opened exclusively", 5, exclusive)
        bench.run("allocate such a device, forced", 5, [exclusive, "--force"], str(exclusive))
    # struct flock with l_pid 0: one of the bytes that QEMU locks for reading.
    lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0)
    calls: dict[str, Callable[[Any], object]] = {
        "that somebody has open for writing": lambda file: None,
        "locked by flock": lambda file: fcntl.flock(file, fcntl.LOCK_EX),
        "locked as QEMU does": lambda file: fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)}
    for what, call in calls.items():
        disk = bench.allocated()
        with open(disk, "rb+" if "open" in what else "rb") as file:
            call(file)
            bench.refused(f"a file {what}", 5, disk)
    disk = bench.allocated()
    loop = tool("losetup", "--find", "--show", disk)
    bench.refused("a file behind a loop device", 5, disk)
    tool("losetup", "--detach", loop)
    bench.refused("a read-only device", 8, bench.device(DISK_BYTES, "--read-only"))
    bench.dump("to no disk", 14, "--disk", bench.directory / "none", says=("none",))
    bench.dump("to a directory as disk", {6, 11, 12}, "--disk", bench.directory)


def usable(bench: Bench) -> None:
    """Disks that can be used, also several times, and too small ones."""
    device, random = bench.device(), bench.device(os.urandom(DISK_BYTES))
    for _ in range(3):
        bench.dump("to a zeroed device", 0, "--disk", device)
        bench.restore("over a zeroed device", 0, bench.directory / "state", "--disk", device)
        bench.check("a state stays on a device", not any(device.read_bytes()))
    bench.run("allocate a device of random bytes", 12, [random], str(random), "--force")
    bench.run("allocate it, forced", 0, [random, "--force"])
    for disk in random, bench.allocated():
        bench.dump("to an allocated disk", 0, "--disk", disk)
        bench.dump("to a used disk", 12, "--disk", disk, says=(str(disk), "allocate"))
    for make in bench.device, bench.allocated:
        small = make()
        ended = bench.dump(f"to too small a disk, {make.__name__}", 7, "--disk", small,
                           state=BULKY, says=(str(small),))
        bench.check("a state stays on a device that was too small",
                    make == bench.allocated or not any(small.read_bytes()))
        enough = max(map(int, re.findall(r"\d+", ended.messages)), default=0)
        bench.check(f"no size in {ended.messages}", DISK_BYTES < enough < 2 * DISK_BYTES)
        enough = max(enough, DISK_BYTES)
        bench.dump(f"to a disk of {enough}", 0, "--disk", make(enough), state=BULKY)
        bench.dump("to a disk of one block less", 7, "--disk", make(enough - 4096), state=BULKY)


def outputs(bench: Bench) -> None:
    """What -o may name."""
    old = bench.file(b"precious")
    bench.dump("over a file", 12, output=old, says=(str(old), "--force"))
    bench.check("the old output is not there", old.read_bytes() == b"precious")
    bench.dump("over a file, forced", 0, "--force", output=old)
    bench.check("forced: not the state", not trailer_fault(old.read_bytes(), STATE))
    bench.dump("into no directory", 14, output=bench.directory / "none/out")
    bench.dump("over a directory", {11, 12}, output=bench.directory)
    small, locked = (bench.mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs")
                     for size in ("64k", "1m"))
    bench.dump("where there is no room", 11, output=small / "out")
    tool("mount", "-o", "remount,ro", locked)
    bench.dump("where nothing can be written", {8, 11}, output=locked / "out")
    bench.check("something is left where there is no room", not os.listdir(small))
    fifo = bench.directory / "fifo"
    os.mkfifo(fifo)
    for label, limit, codes in ("a FIFO", MIB, {0}), ("a FIFO, reader gone", 9, {11, -13}):
        with ThreadPoolExecutor(1) as pool:
            reader = pool.submit(read_some, fifo, limit)
            bench.dump(f"to {label}", codes, output=fifo)
            with suppress(OSError):  # a reader that has not been served
                os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
            fault = trailer_fault(reader.result(), STATE)
        bench.check(f"{label}: {fault}", limit < MIB or not fault)
    bench.dump("to /dev/null", 0, output="/dev/null")
    bench.dump("to /dev/full", 11, output="/dev/full")
    with open("/dev/full", "wb") as full:
        bench.dump("to standard output, full", 11, output="-", stdout=full)


def read_some(path: Path, limit: int) -> bytes:
    """A reader of a FIFO; it goes after so many bytes, or at the end."""
    with open(path, "rb", buffering=0 if limit < MIB else -1) as file:
        return file.read(limit)


def inputs(bench: Bench) -> None:
    """What -i and --qmp may name."""
    whole = (bench.directory / "state").read_bytes()
    middle = len(STATE) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:]
    bench.restore("of no file", 14, bench.directory / "none", says=("none",))
    bench.restore("of a directory", {4, 11}, bench.directory)
    bench.restore("of an empty file", {2, 3, 4}, bench.file(b""))
    bench.restore("of a file that is no state", {2, 3, 4}, bench.file(b"\x7fELF" + STATE))
    bench.restore("of a file with a flipped bit", 2, bench.file(flipped))
    bench.restore("of a file with a flipped bit in the trailer", 2,
                  bench.file(whole[:-9] + b"\xff" + whole[-8:]))
    bench.restore("of a cut file, trailer required", 3, bench.file(whole[:middle]),
                  "--require-trailer")
    bench.restore("of a bare state", 3, bench.file(STATE), says=("--accept-unverified",))
    bench.restore("of a bare state, accepted", 0, bench.file(STATE), "--accept-unverified",
                  says=("unverified", "trailer"))
    bench.restore("of a file with zeros behind it", 0, bench.file(whole + bytes(3 << 20)),
                  says=(f"{3 << 20} zero bytes follow",))
    bench.restore("of a file with a flipped bit and zeros behind it", 2,
                  bench.file(flipped + bytes(4096)), "--accept-unverified")
    bench.restore("of a cut file with zeros behind it", {2, 3},
                  bench.file(whole[:-50] + bytes(4096)), "--accept-unverified")
    bench.restore("of a zero tail", 2, bench.file(STATE + bytes(70000)), "--accept-unverified")
    bench.restore("of too large a file", 7, bench.file(whole), "--max-state", len(STATE) - 1)
    fifo = bench.directory / "input"
    os.mkfifo(fifo)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fifo.write_bytes, whole)
        bench.restore("of a FIFO", 0, fifo)
        os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))  # a writer who has not been heard
    with open(bench.directory / "state", "rb") as file:
        bench.restore("of standard input", 0, "-", stdin=file)
    silent = bench.directory / "silent"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(silent))
        long = bench.directory / ("d" * 200) / "qmp"
        for label, codes, path in (
                ("no socket", {14}, bench.directory / "none"), ("a file", {13}, bench.file(b"")),
                ("a socket where nobody listens", {13}, silent), ("a long path", {14, 64}, long)):
            out = bench.directory / "out"
            for words in (["dump", "-o", out], ["restore", "-i", bench.directory / "state"]):
                bench.run(f"{words[0]} by {label}", codes, [*words[1:], "--qmp", path], str(path))
                bench.check(f"{label}: an output", not out.exists())


def main() -> int:
    """Read the command line, see that all is there, and run everything."""
    built = Path(__file__).parents[2] / ".build/release/stubsave"
    parser = argparse.ArgumentParser(description="Give stubsave disks and files of all kinds.")
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    options = parser.parse_args()
    packages = [(name, f"apt package {package}") for name, package in PACKAGES.items()]
    prepare((options.stubsave, "make build"), *packages)
    score = Score()
    with Bench(options.stubsave, score.check) as bench:
        bench.dump("for the trailer", 0, output=bench.directory / "state")
        for part in (occupied, usable, outputs, inputs):
            part(bench)
    return score.finish()


if __name__ == "__main__":
    sys.exit(main())
