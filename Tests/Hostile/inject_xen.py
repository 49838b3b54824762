#!/usr/bin/python3
"""Let each system call of `gc`, and of dump and restore over xenstore, fail, one at a time.

strace makes the Nth use of a call fail, for every call of a clean run, and N = 1, 2, 3 and so on until
the program ends without having made so many. A real xenstored, real loop devices; the stubdomain is a
client that does what an agent does. Each time
  1. stubsave ends in time, with 0 and all done, or else with a code of README.md's and a message;
  2. dump: the output is the state, or is not there; restore: the stubdomain has said that it has it;
  3. gc: what a living command is at work with, and what a user has attached, stays as it is;
  4. whatever is left is gone after one `gc` to which nothing happens.
Run by Tests/Xenstored/xenstored.py.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import os
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from fakeqmp import STATES, Ended, Running, prepare, trailer_fault
from inject import BEGIN, CALL, NEVER, Score, agent_beside

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "Agent")]
from stubdomain import ANSWER, OFFER, xenstored  # noqa: E402
from client import DIRECTORY, READ, RM, WATCH, WRITE, Client, Refused  # noqa: E402

STATE = (STATES / "x01-pc-min-reset.dev").read_bytes()
STUB, BUSY = 7, 5  # domids: of the stubdomain, and of one that somebody else is at work with
GONE = 4242  # a domain that has ended
XVDZ, XVDY = 1 << 28 | 25 << 8, 1 << 28 | 24 << 8  # numbers of virtual devices (xen-vbd-interface(7))
BLOCK, DISK_BYTES = 4096, 1 << 20
BACKENDS, RUN = "/local/domain/0/backend/vbd", Path("/run/stubsave")
CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}
MOST_SECONDS = 40  # several deadlines one after the other, and a busy machine
ERRORS = {  # None: every call of a clean run
    "error=EIO": None,
    "error=EINTR": ["read", "write", "pread64", "pwrite64", "openat", "connect", "poll", "ppoll",
                    "sendmsg", "recvfrom", "fsync", "flock", "fcntl", "wait4"],
    "error=ENOSPC": ["write", "pwrite64", "ftruncate", "fallocate", "fsync", "linkat", "renameat",
                     "renameat2", "openat", "mkdirat", "mkdir"],
    "error=ENOMEM": ["mmap", "memfd_create", "socket", "connect", "sendmsg", "poll", "ppoll",
                     "read", "ioctl", "fcntl", "signalfd4", "openat", "getdents64"],
}


class Stubdomain:
    """An agent, in a thread: writes a state, or takes one, and says so."""

    def __init__(self, device: str, image: Callable[[], bytes]) -> None:
        self._client, self._device, self._image = Client(xenstored() / str(STUB)), device, image
        self._client.request(WATCH, OFFER, "0")
        self.loaded, self._last = False, b""
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            with suppress(Refused):
                words = self._client.request(READ, OFFER).split(b" ")
                if len(words) > 2 and words[1] != self._last:
                    self._last = words[1]
                    self._answer(words[2])
                    continue
            with suppress(TimeoutError):
                self._client.wait()

    def _answer(self, verb: bytes) -> None:
        if verb == b"take":
            data = self._image()
            with open(self._device, "r+b") as disk:
                disk.write(data)
                disk.flush()
                os.fsync(disk.fileno())
            said = f"committed {len(data)} paused"
        else:
            self.loaded = True
            said = "loaded 1"
        with suppress(Refused):
            self._client.request(WRITE, ANSWER, value=b"2 " + self._last + b" " + said.encode())


class Trials(Score):
    """Runs stubsave under strace, and judges what is left."""

    def __init__(self, stubsave: str, place: Path, device: str, lists: bool) -> None:
        super().__init__()
        self._stubsave, self._place, self._device = stubsave, place, device
        self._lists = lists
        self._dom0 = Client(xenstored() / "dom0")
        self._headers = {way: self._allocated(way) for way in ("save", "restore")}
        self._image = self._written()
        self._stub = Stubdomain(device, lambda: self._image)
        self._table = dict[tuple[str, str], Counter[str]]()
        self._input = place / "in"
        self._input.write_bytes(self._dumped())
        self._held = self._busy()
        self.calls = {kind: Counter(CALL.findall(self._run(kind, "", "", 0)))
                      for kind in ("gc", "dump", "restore")}

    def _allocated(self, direction: str) -> bytes:
        subprocess.run([self._stubsave, "allocate", "--force", "--direction", direction,
                        self._device], check=True, stdout=subprocess.DEVNULL)
        with open(self._device, "rb") as disk:
            return disk.read(BLOCK)

    def _written(self) -> bytes:
        """What an agent writes to the disk."""
        file = self._place / "image"
        file.write_bytes(self._headers["save"] + bytes(DISK_BYTES - BLOCK))
        subprocess.run([agent_beside(self._stubsave), "write", str(file)], input=STATE, check=True)
        data = file.read_bytes().rstrip(b"\0")
        return data + bytes(-len(data) % BLOCK)

    def _words(self, kind: str) -> list[str]:
        over = [str(STUB), "--disk", self._device, "--attached", "xvdz", "--timeout", "5"]
        out, given = str(self._place / "out"), str(self._place / "in")
        words = {"gc": [], "dump": [*over, "-o", out], "restore": [*over, "-i", given]}[kind]
        return [self._stubsave, kind, "--xenstore", str(xenstored() / "dom0"), *words]

    def _dumped(self) -> bytes:
        self._prepare("dump")
        subprocess.run(self._words("dump"), check=True, stdout=subprocess.DEVNULL)
        return (self._place / "out").read_bytes()

    def _busy(self) -> int:
        """A lock as a living command has it, in whose domain an offer stands."""
        self._dom0.request(WRITE, f"/local/domain/{BUSY}/{OFFER}", value=b"1 idle")
        lock = os.open(RUN / f"domain-{BUSY}", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # By flock's alone it would be another gc's, which is waited for.
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        self._attach(STUB, XVDY, "attached")
        (RUN / "disk-254:253").write_bytes(b"1048576 2")
        return lock

    def _attach(self, domid: int, number: int, owner: str) -> None:
        """Nodes of a disk that is let go of already."""
        theirs = number == XVDY
        for name, value in (("stubsave", owner), ("state", "6"),
                            ("stubsave-claim", "2" if theirs else "1"),
                            ("physical-device", "fe:fd" if theirs else "fe:fe")):
            self._dom0.request(WRITE, f"{BACKENDS}/{domid}/{number}/{name}", value=value.encode())

    def _prepare(self, kind: str) -> None:
        (self._place / "out").unlink(missing_ok=True)
        self._stub.loaded = False
        if kind == "gc":
            self._attach(STUB, XVDZ, "transfer")
            self._attach(GONE, XVDZ, "transfer")
            self._dom0.request(WRITE, f"/local/domain/{STUB}/{OFFER}", value=b"1 idle")
            (RUN / f"domain-{STUB}").touch(0o600)
            (RUN / "disk-254:254").write_bytes(b"1048576 1")
            return
        header = self._headers["save" if kind == "dump" else "restore"]
        with open(self._device, "r+b") as disk:
            disk.write(header + bytes(len(self._image)))
            disk.flush()
            os.fsync(disk.fileno())

    def _names(self, path: str) -> list[str]:
        try:
            return [name for name in self._dom0.request(DIRECTORY, path).decode().split("\0") if name]
        except Refused:
            return []

    def _left(self) -> list[str]:
        """What is there that no living command has."""
        found = [f"offer of {STUB}"] * ("stubsave" in self._names(f"/local/domain/{STUB}"))
        found += [f"disk {number} of {domid}" for domid in (STUB, GONE)
                  for number in self._names(f"{BACKENDS}/{domid}") if number != str(XVDY)]
        return found + [name for name in os.listdir(RUN)
                        if name.startswith(("disk-254:254", f"domain-{STUB}", f"domain-{GONE}"))]

    def _run(self, kind: str, error: str, call: str, number: int) -> str:
        """One run, and its judgement; strace's log."""
        point = f"{kind}: {call} number {number}: {error}"
        log = self._place / "log"
        inject = [f"--inject={call}:{error}:when={number}"] * bool(call)
        with self.watching(point):
            self._prepare(kind)
            ended = Running("strace", "-qq", "-s", "200", "-o", str(log), *inject,
                            *self._words(kind), cwd=self._place).end(MOST_SECONDS)
            text = log.read_text(errors="replace")
            self._judge(point, kind, error, ended, text)
        return text

    def _judge(self, point: str, kind: str, error: str, ended: Ended, log: str) -> None:
        failed = next((line for line in log.splitlines() if "(INJECTED)" in line), "")
        is_early = failed != "" and BEGIN.search(log.partition(failed)[0] + failed) is None
        said = f"{point}: exit {ended.code}, {ended.messages.strip()!r:.200}, at {failed:.200}"
        left = self._left()
        if not is_early:
            self.check(f"{said}: it crashed, or there is no such code", ended.code in CODES)
            self.check(f"{said}: {ended.messages_fault}", not ended.messages_fault)
        if not failed:
            self.check(f"{said}: a clean run fails", ended.code == 0)
        if ended.code == 0:
            # A mark of a domain is an empty file, whose lock has gone; that it could not be removed is
            # of no consequence. What has been injected into dump's and restore's own putting away is
            # gc's, which says what it could not do.
            marks = not failed or kind == "gc"
            self.check(f"{said}: left {left}", not marks or not [
                what for what in left if not failed or not what.startswith("domain-")])
        output = self._place / "out"
        if kind == "dump" and (ended.code == 0 or output.exists()):
            fault = trailer_fault(output.read_bytes(), STATE) if output.exists() else "no output"
            self.check(f"{said}: {fault}", not fault)
        if kind == "restore" and ended.code == 0:
            self.check(f"{said}: the stubdomain has not got it", self._stub.loaded)
        self.check(f"{said}: {os.listdir(self._place)}",
                   set(os.listdir(self._place)) <= {"in", "out", "log", "image", "disk"})
        self._collect(said)
        if failed:
            if self._lists:
                print(f"{said}; left {left}")
            row = self._table.setdefault((kind, error), Counter())
            row["loader" if is_early else f"{ended.code}"] += 1
            row["left"] += bool(left)

    def _collect(self, said: str) -> None:
        """What is left is gone after one `gc`, and what others have is not."""
        if self._left():
            done = subprocess.run(self._words("gc"), capture_output=True, check=False)
            self.check(f"{said}: gc: exit {done.returncode}, {done.stderr!r}; left {self._left()}",
                       done.returncode == 0 and not self._left())
        theirs = self._names(f"/local/domain/{BUSY}/stubsave")
        self.check(f"{said}: somebody else's offer is gone", theirs == ["offer"])
        self.check(f"{said}: a user's disk is gone",
                   str(XVDY) in self._names(f"{BACKENDS}/{STUB}"))
        self.check(f"{said}: the claim on a user's disk is gone",
                   "disk-254:253" in os.listdir(RUN))

    def exhaust(self, kind: str, error: str, call: str) -> None:
        """Let the first use fail, then the second, until there are no more."""
        for number in itertools.count(1):
            if "(INJECTED)" not in self._run(kind, error, call, number):
                return

    def finish(self) -> int:
        """The table, and the score."""
        print(f"{'':24}{'failures':>9}{'loader':>8}{'left to gc':>12}  exit codes")
        for (kind, error), row in sorted(self._table.items()):
            codes = {int(code): count for code, count in row.items() if code.isdigit()}
            text = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
            failures = sum(codes.values()) + row["loader"]
            print(f"{kind + ', ' + error.partition('=')[2]:24}{failures:9}{row['loader']:8}"
                  f"{row['left']:12}  {text}")
        for path in (f"/local/domain/{BUSY}/stubsave", f"{BACKENDS}/{STUB}"):
            self._dom0.request(RM, path)
        os.close(self._held)
        for name in f"domain-{BUSY}", "disk-254:253":
            (RUN / name).unlink(missing_ok=True)
        return super().finish()


def main() -> int:
    """Exit code of the program."""
    root = Path(__file__).resolve().parents[2]
    made = argparse.ArgumentParser(description="Let each system call of stubsave fail, over xenstore.")
    made.add_argument("--stubsave", default=str(root / ".build/release/stubsave"))
    made.add_argument("--only", default="", metavar="TEXT", help="points whose names hold it")
    made.add_argument("--list", action="store_true", help="every failure")
    options = made.parse_args()
    stubsave = str(Path(options.stubsave).resolve())
    prepare((stubsave, "make build"), (agent_beside(stubsave), "make build"),
            ("strace", "apt package strace"), ("losetup", "apt package mount"))
    with TemporaryDirectory(prefix="stubsave-inject-") as name:
        place = Path(name)
        (place / "disk").write_bytes(bytes(DISK_BYTES))
        device = subprocess.run(["losetup", "-f", "--show", str(place / "disk")], check=True,
                                capture_output=True, text=True).stdout.strip()
        try:
            trials = Trials(stubsave, place, device, options.list)
            for error, some in ERRORS.items():
                for kind, calls in trials.calls.items():
                    for call in sorted(set(calls) - NEVER):
                        if (some is None or call in some) and options.only in f"{kind}: {call} {error}":
                            trials.exhaust(kind, error, call)
        finally:
            subprocess.run(["losetup", "-d", device], check=True)
        return trials.finish()


if __name__ == "__main__":
    sys.exit(main())
