#!/usr/bin/python3
"""Give stubsave descriptors that others have used or set, and names of descriptors instead of files.

  1. Input is read from where it stands: a regular file, a block device and a pipe with the same bytes
     left give the same; with O_NONBLOCK or O_APPEND set too, from sockets, and slowly.
  2. Output goes to where it stands, whole, also where the reader is slow and O_NONBLOCK is set: into
     files, pipes, sockets and terminals. No flag of a descriptor that is shared is changed.
  3. /dev/stdout, /dev/fd/N, /proc/self/fd/N, /proc/PID/fd/N, /proc/thread-self/fd/N, and links to
     them, are the open files; --force replaces a regular file and nothing else, and no link in /dev.
  4. The state shares its descriptor neither with --json nor with the progress: usage (64), and nothing
     has been written. A descriptor that is not open, or not for writing, is no place for progress.
  5. What is closed, a directory, or the wrong way open is an error with a message.
  6. The largest sizes, in options and of sparse files, are answers and no crashes.
  7. A look at an input that stalls ends with 10 after --timeout, or by SIGTERM; nothing is left.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from fakeqmp import STATES, Ended, Fake, Running, prepare, trailer_fault
from inject import Score, is_gone

STATE = (STATES / "x06-pc-linux-2vcpu.dev").read_bytes()  # several times what a pipe holds
BLOCK = 4096
LARGEST = (1 << 64) - 1
# What comes before: whole sectors, whole blocks, neither.
SKIPS = 0, 512, BLOCK, 1 << 20, 12345


class Command(NamedTuple):
    """A command that reads one input, and what its output must be."""

    words: list[str]  # the input is {}
    output: bytes | None  # None: a report that is only compared
    codes: tuple[int, ...] = (0,)


class Bench(ExitStack):
    """Files in one directory, and runs of stubsave there."""

    def __init__(self, stubsave: str, score: Score) -> None:
        super().__init__()
        self.score, self.stubsave = score, os.path.abspath(stubsave)
        self.place = Path(self.enter_context(TemporaryDirectory(prefix="stubsave-streams-")))
        (self.place / "state").write_bytes(STATE)
        self.made("write disk", stdin=self.open("state"))
        self.disk = (self.place / "disk").read_bytes()
        with Fake(self.place, STATE) as fake:
            self.made(f"dump --qmp {fake.path} -o dumped")
        self.dumped = (self.place / "dumped").read_bytes()
        self.made("wrap dumped -o record")
        self.record = (self.place / "record").read_bytes()
        self.container = save_file(self.record)
        (self.place / "container").write_bytes(self.container)
        self.names = set(os.listdir(self.place))

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor that is closed at the end."""
        number = os.open(self.place / name, flags)
        self.callback(os.close, number)
        return number

    def made(self, words: str, **options: Any) -> Ended:
        """A run that has to be good."""
        done = self.run(words.split(), **options)
        assert done.code == 0, (words, done)
        return done

    def run(self, words: list[Any], seconds: float = 20, **options: Any) -> Ended:
        """One run, and what it says."""
        return Running(self.stubsave, *words, cwd=self.place, **options).end(seconds)

    def check(self, what: str, done: Ended, *codes: int) -> bool:
        """Ended as it should, with a message if not well."""
        good = done.code in codes and not done.messages_fault
        self.score.check(f"{what}: exit {done.code}, {done.messages!r:.300}", good)
        return good

    def nothing_left(self, what: str, *names: str) -> None:
        """Only what was there before, and those."""
        left = set(os.listdir(self.place)) - self.names - set(names)
        self.score.check(f"{what}: left {left}", not left)
        for name in names:
            (self.place / name).unlink(missing_ok=True)


def save_file(record: bytes) -> bytes:
    """A libxl stream of a guest whose state is that record, before the stream's END."""
    whole = (STATES.parent / "good/libxl-pv.libxl").read_bytes()
    return whole[:-8] + record + whole[-8:]


@contextmanager
def fed(data: bytes, target: int, pause: float = 0) -> Iterator[None]:
    """Somebody writes that, perhaps in pieces, and closes."""
    def go() -> None:
        with suppress(BrokenPipeError, ConnectionError), os.fdopen(target, "wb", 0) as file:
            step = 50_000 if pause else len(data)
            for start in range(0, len(data), step):
                # Until the reader has nothing left and must have found nothing once.
                time.sleep(pause)
                file.write(data[start:start + step])
    thread = threading.Thread(target=go)
    thread.start()
    yield
    thread.join()


def set_flags(number: int, flags: int) -> None:
    """As somebody who shares the open file would."""
    fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | flags)


def commands(bench: Bench) -> list[tuple[bytes, Command]]:
    """What reads an input, with one that is good."""
    return [
        (bench.disk, Command(["read", "{}"], STATE)),
        (bench.disk, Command(["read", "{}", "-o", "out"], STATE)),
        (bench.disk, Command(["verify", "{}"], None)),
        (bench.disk, Command(["inspect", "{}"], None)),
        (bench.container, Command(["extract", "{}"], bench.dumped)),
        (bench.container, Command(["verify", "{}"], None)),
        (bench.dumped, Command(["wrap", "{}", "-o", "out"], bench.record)),
        (STATE, Command(["write", "out"], bench.disk)),
    ]


def inputs(bench: Bench) -> None:
    """Every kind of input, at every kind of place, with every flag."""
    for data, command in commands(bench):
        plain = bench.run([word.format("-") for word in command.words], stdin=subprocess.PIPE,
                          preexec_fn=feeding(data))
        (bench.place / "out").unlink(missing_ok=True)
        for label, number, spelled, feed in sources(bench, data):
            words = [word.format(spelled) for word in command.words]
            if command.words[0] == "write" and spelled != "-":
                continue
            what = f"{words} of {label}"
            flags = fcntl.fcntl(number, fcntl.F_GETFL)
            with feed():
                done = bench.run(words, stdin=number)
            if bench.check(what, done, *command.codes):
                found = done.output
                if "out" in command.words:
                    found = (bench.place / "out").read_bytes()
                if command.output is None:
                    found, wanted = reported(done), reported(plain)
                    bench.score.check(f"{what}: {found!r} is not {wanted!r}", found == wanted)
                elif command.words[0] == "write":
                    found, wanted = streams_of(bench, "out"), streams_of(bench, "disk")
                    bench.score.check(f"{what}: another state", found == wanted)
                else:
                    bench.score.check(f"{what}: {len(found)} bytes", found == command.output)
            bench.score.check(f"{what}: flags", fcntl.fcntl(number, fcntl.F_GETFL) == flags)
            bench.nothing_left(what, "out")


def feeding(data: bytes) -> Callable[[], None]:
    """In the child: standard input is a pipe with those bytes, written by a process of its own."""
    def go() -> None:
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.close(reader)
            with suppress(BrokenPipeError):
                rest = data
                while rest:
                    rest = rest[os.write(writer, rest):]
            os._exit(0)
        os.close(writer)
        os.dup2(reader, 0)
        os.close(reader)
    return go


def streams_of(bench: Bench, name: str) -> str:
    """What a disk holds: of two transfers all else differs."""
    return bench.run(["verify", name]).output.decode().split(";")[1]


def reported(done: Ended) -> list[str]:
    """A report, but for the names of what it is of."""
    return [line.split(":", 1)[-1] if line.count(":") > 1 else line
            for line in done.output.decode().splitlines()[1 if b"\n" in done.output[:-1] else 0:]]


def sources(
    bench: Bench, data: bytes
) -> Iterator[tuple[str, int, str, Callable[[], Any]]]:
    """The same bytes as every kind of standard input; its label, number, name, and who feeds it."""
    def quiet() -> Any:
        return ExitStack()
    names = "-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "/proc/thread-self/fd/0", "link"
    link = bench.place / "link"
    link.symlink_to("/dev/fd/0")
    bench.names |= {"link", "padded"}
    for skip in SKIPS:
        (bench.place / "padded").write_bytes(os.urandom(skip) + data)
        for flags in 0, os.O_NONBLOCK, os.O_APPEND, os.O_NONBLOCK | os.O_APPEND:
            number = os.open(bench.place / "padded", os.O_RDONLY if not flags else os.O_RDWR)
            set_flags(number, flags)
            for spelled in names if skip == BLOCK and not flags else names[:1]:
                os.lseek(number, skip, os.SEEK_SET)
                yield f"a file at {skip}, flags {flags:#o}", number, spelled, quiet
            os.close(number)
    (bench.place / "padded").unlink()
    link.unlink()
    bench.names -= {"link", "padded"}
    for flags in 0, os.O_NONBLOCK:
        for make in os.pipe, sockets:
            for pause in 0, 0.01:
                reader, writer = make()
                set_flags(reader, flags)
                yield (f"{make.__name__}, flags {flags:#o}, pause {pause}", reader, "-",
                       lambda writer=writer, pause=pause: fed(data, writer, pause))
                os.close(reader)


def sockets() -> tuple[int, int]:
    """Two that are connected."""
    left, right = socket.socketpair()
    return left.detach(), right.detach()


def devices(bench: Bench) -> None:
    """A block device that stands at a disk, behind another one."""
    other = bench.place / "other"
    bench.made(f"allocate {other} --size 1MiB")
    bench.made(f"write {other}", stdin=bench.open("container"))
    mine = bench.place / "mine"
    bench.made(f"allocate {mine} --size 1MiB")
    bench.made(f"write {mine}", stdin=bench.open("state"))
    whole = bench.place / "whole"
    whole.write_bytes(other.read_bytes() + mine.read_bytes())
    device = subprocess.run(["losetup", "--find", "--show", whole], check=True, text=True,
                            capture_output=True).stdout.strip()
    try:
        for flags in os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_NONBLOCK, os.O_RDONLY | os.O_DIRECT:
            for start, wanted in (0, bench.container), (1 << 20, STATE):
                number = os.open(device, flags)
                os.lseek(number, start, os.SEEK_SET)
                done = bench.run(["read", "-"], stdin=number)
                os.close(number)
                what = f"a device at {start}, flags {flags:#o}"
                bench.check(what, done, 0)
                bench.score.check(f"{what}: other bytes", done.output == wanted)
        # In one that was opened by whoever calls, a state is written where it stands.
        number = os.open(device, os.O_RDWR)
        os.lseek(number, BLOCK, os.SEEK_SET)
        bench.check("to a device", bench.run(["read", "disk"], stdout=number), 0)
        os.fsync(number)
        os.close(number)
        bench.score.check("to a device: other bytes",
                          Path(device).read_bytes()[BLOCK:BLOCK + len(STATE)] == STATE)
        number = os.open(device, os.O_RDWR)
        bench.check("from and to one device",
                    bench.run(["read", "-"], stdin=number, stdout=number), 12)
        os.close(number)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    for name in other, mine, whole:
        name.unlink()


def outputs(bench: Bench) -> None:
    """Every kind of output, by every name that it has."""
    made = [(["read", "disk"], STATE), (["extract", "container"], bench.dumped),
            (["wrap", "dumped"], bench.record)]
    for words, wanted in made:
        for name in (None, "-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link",
                     "/proc/thread-self/fd/1", "../../../../../../dev/stdout"):
            for force in [], ["--force"]:
                whole = words + (["-o", name] if name else []) + force
                (bench.place / "link").symlink_to("/proc/self/fd/1")
                for label, found in sinks(bench, whole, wanted):
                    bench.score.check(f"{whole} to {label}: {len(found)} bytes", found == wanted)
                bench.score.check(f"{whole}: the link",
                                  os.readlink(bench.place / "link") == "/proc/self/fd/1")
                bench.nothing_left(f"{whole}", "link")
    # Other numbers, also the message's.
    for number in 2, 3, 9:
        target = os.open(bench.place / "out", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        done = bench.run(["read", "disk", "-o", f"/dev/fd/{number}", "--force"],
                         preexec_fn=lambda: os.dup2(target, number), close_fds=False)
        os.close(target)
        if number != 2:
            bench.check(f"to the open file {number}", done, 0)
        bench.score.check(f"to the open file {number}: other bytes",
                          done.code == 0 and (bench.place / "out").read_bytes() == STATE)
        bench.nothing_left("another number", "out")
    # Its own number, which no option can know.
    shell = bench.place / "out"
    done = subprocess.run(["sh", "-c", 'exec "$0" read disk --force -o /proc/$$/fd/1 >out',
                           bench.stubsave], cwd=bench.place, check=False, capture_output=True)
    bench.score.check(f"/proc/PID: {done}", done.returncode == 0 and shell.read_bytes() == STATE)
    bench.nothing_left("/proc/PID", "out")
    with Fake(bench.place, STATE) as fake:
        done = bench.run(["dump", "--qmp", fake.path, "--force", "-o", "/dev/stdout"])
        bench.check("dump to /dev/stdout", done, 0)
        bench.score.check("dump to /dev/stdout: other bytes", not trailer_fault(done.output, STATE))


def sinks(bench: Bench, words: list[Any], wanted: bytes) -> Iterator[tuple[str, bytes]]:
    """What comes out at every kind of standard output."""
    for flags in 0, os.O_APPEND, os.O_NONBLOCK, os.O_APPEND | os.O_NONBLOCK:
        target = os.open(bench.place / "out", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.write(target, b"before")
        set_flags(target, flags)
        label = f"a file, flags {flags:#o}"
        bench.check(f"{words} to {label}", bench.run(words, stdout=target), 0)
        bench.score.check(f"{words} to {label}: flags",
                          fcntl.fcntl(target, fcntl.F_GETFL) & (os.O_APPEND | os.O_NONBLOCK)
                          == flags)
        os.close(target)
        content = (bench.place / "out").read_bytes()
        bench.score.check(f"{words} to {label}: what was there", content[:6] == b"before")
        yield label, content[6:]
        (bench.place / "out").unlink()
    for flags in 0, os.O_NONBLOCK:
        for make in os.pipe, sockets, terminal:
            reader, writer = make()
            set_flags(writer, flags)
            label = f"{make.__name__}, flags {flags:#o}"
            if make is terminal and "-o" not in words:
                words = [*words, "-o", "-"]
            running = Running(bench.stubsave, *words, cwd=bench.place, stdout=writer)
            found = b""
            # A slow reader: only when it is full for sure.
            while len(found) < len(wanted):
                piece = os.read(reader, 30_000)
                if not piece:
                    break
                found += piece
            if not bench.check(f"{words} to {label}", running.end(), 0):
                found = b""
            bench.score.check(f"{words} to {label}: flags",
                              fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK == flags)
            os.close(writer)
            os.close(reader)
            yield label, found


def terminal() -> tuple[int, int]:
    """Both ends of a terminal that changes nothing."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    return master, slave


def devfs(bench: Bench) -> None:
    """--force in a /dev of its own: nothing there is replaced."""
    script = r'''
set -e
mkdir dev && mount -t tmpfs dev dev
for n in null zero full; do cp -a /dev/$n dev/; done
ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr; ln -s /proc/version dev/core; mkfifo dev/fifo
mount --bind dev /dev
list() { find /dev/ -printf '%p %y %D:%i %l\n' | sort; }
list >before
for c in "read disk" "extract container" "wrap dumped"; do
  for t in stdout fd/1 null zero full core fd fifo; do
    { "$0" $c --force -o /dev/$t >o 2>e || echo "$t $?" >>codes; } &
    [ $t != fifo ] || cat /dev/fifo >/dev/null
    wait
  done
done
for c in write "allocate --size 8KiB"; do
  for t in stdout fd/1 null zero full core fd fifo; do
    "$0" $c --force /dev/$t <state >o 2>e && echo "$c $t 0" >>codes || echo "$c $t $?" >>codes
  done
done
list >after
'''
    done = subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-c", script,
                           bench.stubsave], cwd=bench.place, capture_output=True, check=False)
    bench.score.check(f"a /dev of its own: {done}", done.returncode == 0)
    before, after, codes = (
        (bench.place / name).read_text() for name in ("before", "after", "codes"))
    bench.score.check(f"/dev has changed: {before} {after}", before == after and "stdout l" in after)
    wanted = ["full 11", "core 12", "fd 12"] * 3
    wanted += [f"write {t} {c}" for t, c in
               [("stdout", 64), ("fd/1", 64), ("null", 6), ("zero", 6), ("full", 6), ("core", 12),
                ("fd", 6), ("fifo", 6)]]
    wanted += [f"allocate --size 8KiB {t} {c}" for t, c in
               [("stdout", 64), ("fd/1", 64), ("null", 6), ("zero", 6), ("full", 6), ("core", 12),
                ("fd", 6), ("fifo", 6)]]
    bench.score.check(f"codes: {codes}", codes.splitlines() == wanted)
    (bench.place / "dev").rmdir()
    bench.nothing_left("/dev", "before", "after", "codes", "o", "e")


def shared(bench: Bench) -> None:
    """Two things for one descriptor."""
    def run(script: str, code: int, *says: str) -> None:
        done = subprocess.run(["sh", "-c", script.replace("stubsave", '"$0"'), bench.stubsave],
                              cwd=bench.place, capture_output=True, check=False)
        said = done.stderr.decode()
        bench.score.check(f"{script}: exit {done.returncode}, {said!r}", done.returncode == code
                          and all(word in said for word in says))
        content = (bench.place / "out").read_bytes() if (bench.place / "out").exists() else b""
        if code == 64:
            bench.score.check(f"{script}: {content[:80]!r}", content[:1] in (b"", b"{")
                              and STATE[:64] not in content)
        bench.nothing_left(script, "out", "copy", "fifo")
    for name in "-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/../dev/stdout":
        for command in "read disk", "extract container", "wrap dumped":
            run(f"stubsave {command} --json -o {name} >out", 64, "-o FILE")
            run(f"stubsave {command} --json -o {name} | cat >out", 0)  # cat's code; the message counts
    run("stubsave read disk --json -o /dev/fd/3 3>&1 >out", 0)
    run("stubsave read disk --json -o /dev/fd/3 >out 3>&1", 64, "-o FILE")
    run("stubsave read disk --json --force -o out >out", 64, "-o FILE")
    run("mkfifo fifo; cat fifo >out & stubsave read disk --json -o fifo >fifo", 64, "-o FILE")
    run("stubsave read disk --json -o /dev/null >/dev/null", 0)
    run("stubsave read disk -o copy --json >out", 0)
    run("stubsave read disk --progress-fd 1 >out", 64, "progress", "--progress-fd")
    run("stubsave read disk --progress json -o /dev/stderr 2>copy; c=$?; cat copy >&2; exit $c",
        64, "progress never")
    run("stubsave read disk --progress-fd 3 -o /dev/fd/4 3>out 4>&3", 64, "--progress-fd")
    run("stubsave read disk --progress-fd 3 3>&1 >out", 0)
    run("cp disk copy; stubsave verify copy --progress-fd 3 3>>copy", 64, "--progress-fd")
    run("cp disk copy; stubsave write copy --force --progress-fd 3 3>>copy <state", 64,
        "--progress-fd")
    for command in "read disk -o out", "verify disk", "write out <state":
        run(f"stubsave {command} --progress-fd 3 3>&-", 64, "not open", "3>FILE")
        run(f"stubsave {command} --progress-fd 3 3<disk", 64, "not open for writing")
        run(f"stubsave {command} --progress-fd 2147483647", 64, "not open")
    # A warning would be bytes of the record.
    (bench.place / "bare").write_bytes(STATE)
    bench.names.add("bare")
    for script in "wrap bare >out 2>&1", "wrap bare -o /dev/stderr 2>out":
        done = subprocess.run(["sh", "-c", f'"$0" {script}', bench.stubsave], cwd=bench.place,
                              capture_output=True, check=False)
        whole = (bench.place / "out").read_bytes()
        bench.score.check(f"{script}: {done}, {len(whole)} bytes", done.returncode == 0
                          and whole[16:16 + len(STATE)] == STATE
                          and len(whole) == (16 + len(STATE) + 7) // 8 * 8)
        bench.nothing_left(script, "out")


def wrong(bench: Bench) -> None:
    """Closed, a directory, or open the other way."""
    def run(script: str, code: int) -> None:
        done = subprocess.run(["sh", "-c", script.replace("stubsave", '"$0"'), bench.stubsave],
                              cwd=bench.place, capture_output=True, check=False)
        bench.score.check(f"{script}: exit {done.returncode}, {done.stderr!r}",
                          done.returncode == code and done.stderr.strip())
        bench.nothing_left(script, "out")
    for command in "read -", "verify -", "inspect -", "extract -", "wrap - -o out":
        run(f"stubsave {command} <&-", 11)
        run(f"stubsave {command} <.", 11)
        run(f"stubsave {command} 0>>disk", 11)
        run(f"stubsave {command.replace('-', '/dev/fd/7', 1)} 7<&-", 14)
        # The number that the program's own next file will have.
        run(f"stubsave {command.replace('-', '/dev/fd/3', 1)} 3<&-", 14)
    run("stubsave write out <&-", 11)
    run("stubsave write out <.", 11)
    run("stubsave read disk >&-", 11)
    run("stubsave read disk -o /dev/fd/3 3>&-", 14)
    run("stubsave read disk -o /dev/fd/3 3<disk", 12)
    run("stubsave read disk -o /dev/fd/3 3<state", 11)
    run("stubsave read disk 1<>disk", 12)
    run("stubsave read - <disk 1<>disk", 12)


def sizes(bench: Bench) -> None:
    """The largest of everything."""
    for words in (["read", "disk"], ["verify", "disk"], ["inspect", "disk"], ["write", "out"],
                  ["extract", "container"], ["wrap", "dumped", "-o", "out"]):
        for limit in 0, 1, (1 << 61) + 1, (1 << 63) - 1, 1 << 63, LARGEST:
            done = bench.run([*words, "--max-state", limit, *(["--progress", "json"] if words[0] in (
                "read", "verify", "write") else [])], stdin=bench.open("state"))
            bench.check(f"{words}, --max-state {limit}", done, *((0, 7) if limit < 2 else (0,)))
            bench.nothing_left(f"{words}", "out")
    for size in (1 << 62), (1 << 62) + BLOCK, (1 << 63) - BLOCK, 1 << 63, LARGEST - 4095, LARGEST:
        bench.check(f"allocate --size {size}", bench.run(["allocate", "out", "--size", size]), 11, 64)
        bench.nothing_left("allocate")
    with Fake(bench.place, STATE) as fake:
        for words in (["--max-state", 1 << 61], ["--max-disks", LARGEST], ["--timeout", "3600"]):
            done = bench.run(["dump", "--qmp", fake.path, "-o", "out", *words])
            bench.check(f"dump {words}", done, 0)
            (bench.place / "out").unlink(missing_ok=True)
    for words in (["--max-state", LARGEST], ["--timeout", "1e400"], ["--timeout", "3600.001"],
                  ["--timeout", "." * 9]):
        bench.check(f"dump {words}", bench.run(["dump", "--qmp", "none", "-o", "out", *words]), 64)
    sparse(bench)


def sparse(bench: Bench) -> None:
    """Files of up to 8 EiB: a tmpfs can have them."""
    place = bench.place / "large"
    place.mkdir()
    bench.names.add("large")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200M", "tmpfs", place], check=True)
    try:
        for size in 80 << 50, 1 << 60, (1 << 63) - BLOCK, (1 << 63) - 1:
            for head in bench.disk, bench.container, bench.dumped, os.urandom(1 << 20):
                big = place / "big"
                big.write_bytes(head)
                os.truncate(big, size)
                for words in (["verify"], ["read", "-o", "out"], ["inspect"], ["extract"],
                              ["wrap", "-o", "out"]):
                    for start in 0, size:
                        with open(big, "rb") as file:
                            file.seek(start)
                            done = bench.run([*words, "-", "--timeout", "0.3"], stdin=file)
                        what = f"{words} of {size} bytes from {start}, {head[:8]!r}"
                        # At such an offset the kernel itself refuses to read (EINVAL).
                        codes = (2, 3, 4, 7, 11) if words[0] == "wrap" else (2, 3, 4, 7)
                        # Zeros behind a stream's END are no part of it.
                        codes += (0,) if head == bench.container else ()
                        # Zeros are passed over, however many; that may take too long.
                        codes += (10,) if start == 0 else ()
                        bench.check(what, done, *codes)
                        bench.nothing_left(what)
                for form in "json", "always":
                    words = ["write", "out", "--progress", form, "--max-state", "1MiB"]
                    with open(big, "rb") as file:
                        bench.check(f"{words} of {size}", bench.run(words, stdin=file), 7)
                big.unlink()
    finally:
        subprocess.run(["umount", place], check=True)
        bench.names.discard("large")
        place.rmdir()


def stalling(bench: Bench) -> None:
    """Nobody writes any more, or never has."""
    fifo = bench.place / "fifo"
    commands = (["verify", "{}"], ["read", "{}", "-o", "out"], ["inspect", "{}"], ["extract", "{}"],
                ["wrap", "{}", "-o", "out"])
    for words in commands:
        for kind in "pipe", "socket", "fifo", "fifo without writer":
            for signal_number in None, signal.SIGTERM, signal.SIGINT:
                with ExitStack() as stack:
                    name, number, rest = "-", subprocess.DEVNULL, (
                        bench.container if words[0] == "extract" else bench.disk)[:5000]
                    if kind.startswith("fifo"):
                        os.mkfifo(fifo)
                        stack.callback(fifo.unlink)
                        name = "fifo"
                        if kind == "fifo":
                            writer = os.open(fifo, os.O_RDWR)
                            stack.callback(os.close, writer)
                            os.write(writer, rest)
                    else:
                        number, writer = os.pipe() if kind == "pipe" else sockets()
                        stack.callback(os.close, number)
                        stack.callback(os.close, writer)
                        os.write(writer, rest)
                    given = [word.format(name) for word in words]
                    limit = ["--timeout", "0.2"] if signal_number is None else []
                    started, children = time.monotonic(), list[int]()
                    running = Running(bench.stubsave, *given, *limit, cwd=bench.place,
                                      stdin=number)
                    if signal_number is not None:
                        await_waiting(running.process.pid)
                        children = descendants(running.process.pid)
                        os.kill(running.process.pid, signal_number)
                    done = running.end(10)
                    what = f"{given} of a {kind} that stalls, signal {signal_number}"
                    bench.check(what, done, 10 if signal_number is None else -signal_number)
                    seconds = time.monotonic() - started
                    bench.score.check(f"{what}: took {seconds:.1f} s", seconds < 5)
                    left = [one for one in children if not is_gone(one)]
                    bench.score.check(f"{what}: processes are left: {left}", not left)
                bench.nothing_left(what)
    restoring(bench)


def restoring(bench: Bench) -> None:
    """restore takes its state from where it comes slowly."""
    for limit, number in (["--timeout", "0.2"], None), ([], signal.SIGTERM):
        reader, writer = os.pipe()
        os.write(writer, bench.dumped[:5000])
        with Fake(bench.place, status="inmigrate") as fake:
            running = Running(bench.stubsave, "restore", "--qmp", fake.path, "-i", "-", *limit,
                              cwd=bench.place, stdin=reader)
            if number is not None:
                await_waiting(running.process.pid)
                os.kill(running.process.pid, number)
            done = running.end(10)
            bench.check(f"restore of a pipe that stalls, {limit}", done,
                        10 if number is None else -number)
            bench.score.check("restore of a pipe that stalls: QEMU got it", fake.loaded is None)
        os.close(reader)
        os.close(writer)


def descendants(process: int) -> list[int]:
    """Those that it has started."""
    with suppress(OSError):
        return [int(one) for one in
                Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def await_waiting(process: int) -> None:
    """Until it, or a process that it has started, waits for the input: in a call that reads, opens or
    polls, and has been in the same for some looks."""
    looks, last = 0, ""
    for _ in range(1000):
        places = []
        for one in [process, *descendants(process)]:
            with suppress(OSError):
                places.append(Path(f"/proc/{one}/wchan").read_text()
                              + Path(f"/proc/{one}/stat").read_text().split(") ")[1][:1])
        now = " ".join(places)
        looks = looks + 1 if now == last and "S" in now else 0
        if looks == 10:
            return
        last = now
        time.sleep(0.005)


def protect_devices() -> None:
    """Begin anew where nothing in /dev can be replaced, whatever the program does."""
    if os.environ.get("STUBSAVE_OWN_DEV"):
        for words in ["--rbind", "/dev", "/dev"], ["-o", "remount,bind,ro", "/dev"]:
            subprocess.run(["mount", *words], check=True)
        return
    os.environ["STUBSAVE_OWN_DEV"] = "1"
    os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])


PARTS = inputs, devices, outputs, devfs, shared, wrong, sizes, stalling


def main() -> int:
    """Read the command line, see that all is there, and run everything."""
    built = Path(__file__).parents[2] / ".build/release/stubsave"
    parser = argparse.ArgumentParser(description="Give stubsave descriptors of all kinds.")
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    parser.add_argument("--only", metavar="PART", choices=[part.__name__ for part in PARTS])
    options = parser.parse_args()
    protect_devices()
    prepare((options.stubsave, "make build"), ("losetup", "apt package mount"),
            ("unshare", "apt package util-linux"))
    score = Score()
    with Bench(options.stubsave, score) as bench:
        for part in PARTS:
            if options.only in (None, part.__name__):
                started = time.monotonic()
                part(bench)
                print(f"{part.__name__}: {time.monotonic() - started:.1f} s", flush=True)
    return score.finish()


if __name__ == "__main__":
    sys.exit(main())
