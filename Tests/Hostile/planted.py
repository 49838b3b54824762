#!/usr/bin/python3
"""Give stubsave disks that make a bug in its decoder strike, with system calls of an attacker's choice.

The bug is planted, in a build of stubsave-decode for this test alone; a chunk says which calls it
makes. It checks, as root and as an ordinary user, that
  1. whatever the decoder tries is a failed decode: exit 9 and a message, no output;
  2. no file is opened or made, no socket, no process, nobody is signalled or looked into, no program
     is run, no memory becomes executable, nothing but the output and the answer is written to; every
     system call but reading, writing, memory and the end is the decoder's own end;
  3. without the system call filter the other walls keep all of that away all the same;
  4. without any wall the same attacks do what they are to do: else this would prove nothing;
  5. an answer that lies is no answer;
  6. a disk that does nothing of the kind is read as ever; and the decoder that is handed on has no
     such bug.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from fakeqmp import Fake, prepare
from inject import Score

MARK = b"PLANTED BUG".ljust(16, b"\0")
CALLS_MOST = 470  # beyond the last of Linux 6.18 on x86-64
ALLOWED = {0: "read", 1: "write", 9: "mmap", 11: "munmap", 12: "brk", 17: "pread64", 25: "mremap",
           60: "exit", 231: "exit_group"}
# Linux shows no filter these two (kernel/seccomp.c); without a probe of root's they do nothing.
UNFILTERED = {335: "uretprobe", 336: "uprobe"}
# With the arguments 0: from or to nowhere, which is allowed and fails.
READ, WRITE, OPEN, MMAP, MPROTECT, SOCKET, CONNECT, FORK, EXECVE, EXIT, KILL, PTRACE, NAP = (
    0, 1, 2, 9, 10, 41, 42, 57, 59, 231, 62, 101, 35)
PWRITE = 18
AT_MAKE = os.O_CREAT | os.O_WRONLY | os.O_APPEND
NOBODY = 65534


class Last:
    """The result of the call before."""


class Call(NamedTuple):
    """A system call; bytes are put into the chunk, and their address is handed over."""

    number: int
    arguments: tuple[int | bytes | Last, ...]


def call(number: int, *arguments: int | bytes | Last) -> Call:
    """A system call."""
    return Call(number, arguments)


def payload(calls: list[Call]) -> bytes:
    """A state whose only chunk makes the bug strike."""
    head, data = b"", b""
    start = 24 + 64 * len(calls)
    for number, arguments in calls:
        kinds, words = 0, []
        for index, argument in enumerate((*arguments, 0, 0, 0, 0, 0, 0)[:6]):
            if isinstance(argument, bytes):
                kinds |= 1 << index
                words.append(start + len(data))
                data += argument + b"\0" * (8 - len(argument) % 8)
            elif isinstance(argument, Last):
                kinds |= 1 << (8 + index)
                words.append(0)
            else:
                words.append(argument & (1 << 64) - 1)
        head += struct.pack("<8Q", number, kinds, *words)
    return MARK + struct.pack("<Q", len(calls)) + head + data


class Canary:
    """What an attack is after, and whether it has got it."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._names = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._hidden = socket.socket(socket.AF_UNIX)
        self._name = f"stubsave-planted-{os.getpid()}"
        self._hidden.bind("\0" + self._name)
        self._hidden.listen()
        self._hidden.setblocking(False)

    def file(self) -> Path:
        """A name that an attack is to make a file of, where everybody may."""
        return self._place / f"canary{next(self._names)}"

    def _connected(self, server: socket.socket) -> bool:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def attacks(self, victim: int) -> Iterator[tuple[str, list[Call], Callable[[], bool], bool]]:
        """What it is called, what is done, whether it has been, and whether a wall beside the
        filter stands before it where the decoder belongs to the victim's user."""
        made = self.file()
        path = str(made).encode()
        yield "a file is made", [call(OPEN, path, AT_MAKE, 0o666)], made.exists, True
        port = self._listener.getsockname()[1]
        inet = struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + bytes([127, 0, 0, 1])
        yield ("a port is connected to",
               [call(SOCKET, socket.AF_INET, socket.SOCK_STREAM, 0),
                call(CONNECT, Last(), inet + bytes(8), 16)],
               lambda: self._connected(self._listener), True)
        name = struct.pack("<H", socket.AF_UNIX) + b"\0" + self._name.encode()
        yield ("an abstract socket is connected to",
               [call(SOCKET, socket.AF_UNIX, socket.SOCK_STREAM, 0),
                call(CONNECT, Last(), name, len(name))],
               lambda: self._connected(self._hidden), True)
        forked = self.file()
        path = str(forked).encode()
        # Parent and child both add a byte.
        yield ("a process is started",
               [call(FORK), call(OPEN, path, AT_MAKE, 0o666), call(WRITE, Last(), b"x", 1),
                call(NAP, struct.pack("<QQ", 0, 50_000_000), 0)],
               lambda: forked.exists() and forked.stat().st_size == 2, True)
        run, script = self.file(), self._place / f"script{next(self._names)}"
        script.write_text(f"#!/bin/sh\n: > {run}\n")
        script.chmod(0o755)
        yield ("a program is run", [call(EXECVE, str(script).encode(), 0, 0)], run.exists, True)
        # Where both are an ordinary user's, only the filter stands between them.
        yield ("somebody is signalled", [call(KILL, victim, signal.SIGUSR1)],
               lambda: marked(victim), False)


def marked(process: int) -> bool:
    """Whether the victim has been signalled."""
    for text in Path(f"/proc/{process}/status").read_text().splitlines():
        if text.startswith("ShdPnd:"):
            return int(text.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1 == 1
    return False


@contextmanager
def victim(user: int) -> Iterator[int]:
    """A process of the user's, which keeps what signals it gets."""
    code = ("import os,signal,sys\nsignal.pthread_sigmask(signal.SIG_BLOCK,[signal.SIGUSR1])\n"
            "print(flush=True)\nsys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, user=user, cwd="/") as process:
        assert process.stdout and process.stdin
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


class Trials(Score):
    """Runs stubsave with the planted decoder, as one user."""

    def __init__(self, stubsave: Path, planted: Path, place: Path, user: int) -> None:
        super().__init__()
        self._place, self._user = place, user
        self._who = "root" if user == 0 else "an ordinary user"
        for name in "all-walls", "without-filter", "without-walls":
            directory = place / name
            directory.mkdir(exist_ok=True)
            for program in (stubsave, planted, stubsave.parent / "stubsave-agent"):
                if not (directory / program.name).exists():
                    shutil.copy(program, directory / program.name)
        self._disk = place / f"disk{user}"

    def put(self, calls: list[Call], codec: str) -> None:
        """The disk on which the calls lie."""
        self._disk.unlink(missing_ok=True)
        # Padded with what compresses, so that there is something to decompress.
        state = payload(calls).ljust(65536, b"A")
        subprocess.run([self._place / "all-walls/stubsave", "write", "--codec", codec, self._disk],
                       input=state, check=True)
        self._disk.chmod(0o644)

    def stubsave(self, where: str, *words: object, **options: Any) -> subprocess.CompletedProcess:
        """One run."""
        return subprocess.run([self._place / where / "stubsave", *map(str, words)],
                              capture_output=True, user=self._user, cwd=self._place,
                              timeout=60, env={"TMPDIR": str(self._place)}, **options)

    def _failed(self, label: str, done: subprocess.CompletedProcess, why: str) -> None:
        said = f"{self._who}: {label}: exit {done.returncode}, {done.stderr!r}"
        self.check(said, done.returncode == 9 and why.encode() in done.stderr)

    def attack(self) -> None:
        """Everything that is worth something, behind all walls, one less, and none."""
        canary = Canary(self._place)
        for where in "all-walls", "without-filter", "without-walls":
            for codec in "lz4", "none":
                with victim(self._user) as process:
                    for what, calls, is_done, has_other in canary.attacks(process):
                        self._attack(where, codec, what, calls, is_done, has_other)

    def _attack(self, where: str, codec: str, what: str, calls: list[Call],
                is_done: Callable[[], bool], has_other: bool) -> None:
        self.put(calls, codec)
        label = f"{where}, {codec}: {what}"
        done = self.stubsave(where, "verify", self._disk.name)
        for _ in range(20 if where == "without-walls" else 1):
            if happened := is_done():
                break
            time.sleep(0.02)
        if where == "without-walls":
            self.check(f"{self._who}: {label}: it was not done", happened)
        elif where == "all-walls":
            self._failed(label, done, "signal 31")
            self.check(f"{self._who}: {label}: it was done", not happened)
        elif has_other or self._user == 0:
            self.check(f"{self._who}: {label}: it was done", not happened)
            self.check(f"{self._who}: {label}: exit {done.returncode}, {done.stderr!r}",
                       done.returncode in (0, 9))

    def sweep(self) -> None:
        """Every system call by itself, with all arguments zero; a forbidden one is the end."""
        for number in range(CALLS_MOST):
            self.put([call(number)], "none")
            done = self.stubsave("all-walls", "verify", self._disk.name)
            if number in (60, 231):
                self._failed(f"call {number}", done, "ended in the middle, with code 0")
            elif number in UNFILTERED:
                self.check(f"{self._who}: call {number} ended with {done.returncode}: "
                           f"{done.stderr!r}", done.returncode in (0, 9))
            elif number in ALLOWED:
                self.check(f"{self._who}: call {number} ended with {done.returncode}: "
                           f"{done.stderr!r}", done.returncode in (0, 9))
            else:
                self._failed(f"call {number}", done, "signal 31")

    def arguments(self) -> None:
        """What is allowed is so only for the files and the memory that it is meant for."""
        for what, one in {
            "the input is written to": call(WRITE, 0, b"x", 1),
            "a closed file is written to": call(WRITE, 3, b"x", 1),
            "another file is written to": call(WRITE, 7, b"x", 1),
            "the answer is read": call(READ, 4, bytes(8), 8),
            "the input is written to at an offset": call(PWRITE, 0, b"x", 1, 0),
            "executable memory": call(MMAP, 0, 4096, 7, 0x22, -1, 0),
            "memory of a file": call(MMAP, 0, 4096, 1, 2, 0, 0),
            "memory made executable": call(MPROTECT, 0, 4096, 5),
            "somebody is looked into": call(PTRACE, 16, 1, 0, 0),
            "a 32-bit call number of x32": call(0x40000000 | 2, b"/", 0, 0),
        }.items():
            self.put([one], "lz4")
            before = self._disk.read_bytes()
            with open(self._disk, "rb+") as disk:  # as nobody should hand it over
                done = self.stubsave("all-walls", "read", "-", "-o", "out", stdin=disk)
            self._failed(what, done, "signal 31")
            self.check(f"{what}: there is an output", not (self._place / "out").exists())
            self.check(f"{what}: the disk has changed", self._disk.read_bytes() == before)

    def lies(self) -> None:
        """Answers of an attacker's own, right in size and wrong in all else, or in one thing."""
        honest = bytearray(5512)
        for what, answer in {
            "nothing": b"", "one byte": b"x", "zeros": bytes(5512), "ones": b"\xff" * 5512,
            "random": os.urandom(5512), "too much": bytes(9000), "no header": bytes(honest),
        }.items():
            self.put([call(WRITE, 4, answer, len(answer)), call(EXIT, 0)], "none")
            for words in (["verify", self._disk.name], ["read", self._disk.name, "-o", "out"],
                          ["inspect", self._disk.name]):
                done = self.stubsave("all-walls", *words)
                self._failed(f"answer: {what}: {words[0]}", done, "decoder")
                self.check(f"answer: {what}: there is an output",
                           not (self._place / "out").exists())
        # More output than it says, with an honest answer afterwards.
        self.put([call(WRITE, 1, b"more", 4)], "none")
        done = self.stubsave("all-walls", "read", self._disk.name, "-o", "out")
        self._failed("output that the answer does not tell of", done, "makes no sense")
        self.check("the output is there", not (self._place / "out").exists())

    def commands(self) -> None:
        """dump and restore of a state in whose second chunk the bug strikes."""
        made = self._place / "canary-of-commands"
        attack = payload([call(OPEN, str(made).encode(), AT_MAKE, 0o666)])
        state = b"QEVM\0\0\0\3".ljust(262144, b"A") + attack.ljust(65536, b"A")
        agent = ["--agent", str(self._place / "all-walls/stubsave-agent")]
        archive, out = self._place / "archive", self._place / "out"
        with Fake(self._place, state, "running") as fake:
            words = ["--qmp", fake.path, *agent, "--pause"]
            for form in "state", "raw":
                done = self.stubsave("all-walls", "dump", "--format", form, "-o", out, *words)
                self._failed(f"dump --format {form}", done, "signal 31")
                self.check(f"dump --format {form}: output, or the guest is {fake.status}",
                           not out.exists() and fake.status == "running")
            # Nothing is decoded, so nothing strikes.
            done = self.stubsave("all-walls", "dump", "--format", "archive", "-o", archive, *words)
            self.check(f"dump --format archive: exit {done.returncode}, {done.stderr!r}",
                       done.returncode == 0 and done.stderr == b"")
        for words, code in ((["verify", archive], 9), (["verify", "--no-decode", archive], 0),
                            (["verify", "--codecs", "none", archive], 6),
                            (["inspect", "--codecs", "none", archive], 6),
                            (["read", "--codecs", "none", "-o", out, archive], 6)):
            done = self.stubsave("all-walls", *words)
            self.check(f"{words}: exit {done.returncode}, {done.stderr!r}", done.returncode == code)
        for words, code in (([], 9), (["--codecs", "none"], 6)):
            with Fake(self._place, b"", "inmigrate") as fake:
                done = self.stubsave("all-walls", "restore", "-i", archive, "--qmp", fake.path,
                                     *agent, *words)
                self.check(f"restore {words}: exit {done.returncode}, {done.stderr!r}, "
                           f"{fake.loaded}", done.returncode == code and fake.loaded is None)
        self.check("commands: a file is made", not made.exists() and not out.exists())

    def alone(self) -> None:
        """Where the decoder is missing, or a wall cannot be built."""
        directory = self._place / "alone"
        directory.mkdir(exist_ok=True)
        shutil.copy(self._place / "all-walls/stubsave", directory)
        self.put([], "lz4")
        name = self._disk.name
        is_root = self._user == 0
        usual, weak, strict = [], ["--allow-weak-sandbox"], ["--require-sandbox"]
        for options, is_allowed in (usual, not is_root), (weak, True), (strict, False):
            done = self.stubsave("alone", "verify", *options, name, name)
            self.check(f"{self._who}: no decoder, {options}: exit {done.returncode}, "
                       f"{done.stderr!r}", done.returncode == (0 if is_allowed else 8)
                       and done.stderr.count(b"\n") == (1 if is_allowed else 2)
                       and (b"warning: sandbox" if is_allowed else weak[0].encode())
                       in done.stderr)
            done = self.stubsave("alone", "read", *options, name)
            self.check(f"{self._who}: no decoder, {options}: exit {done.returncode}, "
                       f"{done.stderr!r}", done.returncode == (0 if is_allowed else 8)
                       and (done.stdout != b"") == is_allowed)
        done = self.stubsave("alone", "verify", *weak, *strict, name)
        self.check(f"both: exit {done.returncode}, {done.stderr!r}", done.returncode == 64)
        if is_root:
            self._without_one(name)

    def _without_one(self, name: str) -> None:
        """Every layer of the sandbox missing in turn: a refusal to root, unless that is wanted."""
        # As if the kernel had no such thing.
        for inject, word in {"chroot:error=EPERM": b"missing an empty file system\n",
                             "seccomp:error=ENOSYS": b"missing a system call filter\n",
                             "setresuid:error=EINVAL": b"missing a user of its own\n",
                             "unshare:error=EPERM:when=1": b"missing an own IPC namespace\n",
                             "unshare:error=EPERM:when=2": b"missing an own network namespace\n",
                             "unshare:error=EPERM": b"IPC namespace, an own network namespace\n",
                             "capset:error=EPERM": b"missing a process without privileges\n",
                             "prctl:error=EINVAL:when=1": b"missing a process without privileges\n",
                             "prctl:error=EINVAL:when=2": b"missing memory that cannot be looked into\n",
                             "prlimit64:error=EPERM": b"missing resource limits\n"}.items():
            for words, code in ((["verify", name], 8), (["verify", "--require-sandbox", name], 8),
                                (["verify", "--allow-weak-sandbox", name], 0),
                                (["inspect", name], 8), (["read", name, "-o", "out"], 8)):
                done = subprocess.run(
                    ["strace", "-f", "-o", "/dev/null", f"--inject={inject}",
                     str(self._place / "all-walls/stubsave"), *words], capture_output=True,
                    cwd=self._place)
                self.check(f"{inject}, {words}: exit {done.returncode}, {done.stderr!r}",
                           done.returncode == code and done.stderr.count(b"\n") == 1
                           and word.strip() in done.stderr
                           and (code == 0 or b"--allow-weak-sandbox" in done.stderr))
                self.check(f"{inject}, {words}: there is an output",
                           not (self._place / "out").exists())
        # Without these two nothing is looked at at all.
        for inject in "prctl:error=EINVAL:when=3", "close_range:error=ENOSYS:when=2":
            done = subprocess.run(
                ["strace", "-f", "-o", "/dev/null", f"--inject={inject}",
                 str(self._place / "all-walls/stubsave"), "verify", name], capture_output=True,
                cwd=self._place)
            self._failed(f"{inject}", done, "ended in the middle")

    def harmless(self) -> None:
        """The same decoder, and nothing that makes it strike."""
        self.put([], "lz4")
        done = self.stubsave("all-walls", "read", "--require-sandbox", self._disk.name)
        self.check(f"{self._who}: harmless: exit {done.returncode}, {done.stderr!r}",
                   done.returncode == 0 and done.stdout == payload([]).ljust(65536, b"A"))


def main() -> int:
    """Read the command line, and try everything."""
    root = Path(__file__).parents[2]
    parser = argparse.ArgumentParser(description="Let a bug in the decoder strike.")
    parser.add_argument("--stubsave", default=str(root / ".build/release/stubsave"))
    parser.add_argument("--planted", default=str(root / ".build/planted/stubsave-decode"))
    options = parser.parse_args()
    prepare((options.stubsave, "make build"), (options.planted, "make planted"),
            ("strace", "apt package strace"))
    if platform.machine() != "x86_64":
        print("the numbers of system calls in here are x86-64's", file=sys.stderr)
        return 1
    product = (Path(options.stubsave).parent / "stubsave-decode").read_bytes()
    with TemporaryDirectory(prefix="stubsave-planted-") as name:
        Path(name).chmod(0o777)
        code = 0
        for user in 0, NOBODY:
            trials = Trials(Path(options.stubsave), Path(options.planted), Path(name), user)
            if user == 0:
                trials.check("the program that is handed on has the bug", b"PLANTED" not in product)
            trials.harmless()
            trials.attack()
            trials.arguments()
            trials.lies()
            if user == 0:
                trials.commands()
            trials.alone()
            if user == 0:
                trials.sweep()
            code = trials.finish() or code
    return code


if __name__ == "__main__":
    sys.exit(main())
