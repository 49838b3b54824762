#!/usr/bin/python3
"""How a state gets into QEMU: through a pipe, whatever QEMU does with it (rendezvous.md, section 3.4).

A QEMU that is there (`stubsave restore`, and the agent by itself), of 7.2, 10 and 11:
  it gets all of a state that is larger than the pipe, and of one that has exactly --max-state; no byte
  of one that is larger, or damaged; what lies behind the end that QEMU sees hangs nobody;
  it reads no further, closes the pipe, ends, refuses, or cannot load: an exit code in time, with QEMU's
  own words; it is told to end, or sees the pipe end before the state does, so that it never runs;
  the agent is killed or told to end in the middle: the same.
A QEMU that is not there yet (`load`):
  the program finds the state to its last byte, whole before it begins if the pipe holds it; what feeds
  it the rest has nothing open that it does not need, and ends with the state, the pipe, the program.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fakeqmp import NO_FILE, PIECE_BYTES, STATES, Fake, Running, Turn, event, prepare
from inject import Score, agent_beside

STATE = (STATES / "x01-pc-min-reset.dev").read_bytes()
MIB = 1 << 20
SMALL, PIPED = len(STATE), MIB  # a pipe that anybody may make
LARGE, LARGEST = 3 * MIB + 12_345, 64 * MIB  # the last is --max-state by default
FED = 5 * MIB  # more than a pipe can be made to hold here
RELEASES = (7, 2), (10, 0), (11, 1)
MOST_SECONDS = 8
MOST_PEAK_KIB = 4096  # of what feeds: the state is in memory of its own
WORDS = "error while loading state for instance 0x0 of device 'e1000'"


@cache
def state(size: int) -> bytes:
    """A state of that size, as far as stubsave looks at one; no two pieces are the same."""
    return STATE + random.Random(size).randbytes(size - SMALL)


class Restore(NamedTuple):
    """What QEMU does, and how that has to end."""

    name: str
    hook: Callable[[Turn], object] | None
    codes: frozenset[int]
    says: str
    at: str = "MIGRATION"
    releases: tuple[tuple[int, int], ...] = RELEASES
    options: tuple[str, ...] = ("--timeout", "5")
    ends: bool = True  # QEMU is told to end, or has ended


def read_some(turn: Turn) -> None:
    """Take a little of the state, as QEMU does."""
    assert turn.fake.incoming is not None
    left = MIB
    while left > 0:
        left -= len(os.read(turn.fake.incoming, PIECE_BYTES))


def stops(turn: Turn) -> None:
    """Read no further; QMP goes on."""
    read_some(turn)
    turn.fake.send(event("MIGRATION", status="active"))


def dies(turn: Turn) -> None:
    """End in the middle."""
    read_some(turn)
    turn.fake.hang_up()


def closes(turn: Turn) -> None:
    """Let go of the pipe in the middle, and say nothing more."""
    read_some(turn)
    close_incoming(turn.fake)


def close_incoming(fake: Fake) -> None:
    """As QEMU does when it has read enough."""
    assert fake.incoming is not None
    os.close(fake.incoming)
    fake.incoming = None


def cannot(turn: Turn) -> None:
    """Find in the middle that the state is not for this machine."""
    read_some(turn)
    close_incoming(turn.fake)
    turn.fake.fail(WORDS)


def slowly(turn: Turn) -> None:
    """Take the state in other pieces than it comes."""
    assert turn.fake.incoming is not None
    data = bytearray()
    while piece := os.read(turn.fake.incoming, 4093):
        data += piece
    close_incoming(turn.fake)
    turn.fake.take(bytes(data))


def refuses(turn: Turn) -> None:
    """Take no state at all."""
    turn.fake.refuse(turn.id, NO_FILE)


RESTORES = [
    Restore("reads all", None, frozenset({0}), "", ends=False),
    Restore("reads slowly", slowly, frozenset({0}), "", ends=False),
    Restore("stops reading", stops, frozenset({10}), "QEMU has not read its state in time: at most ",
            options=("--timeout", "1")),
    Restore("ends", dies, frozenset({13}), "waited for the end of the load"),
    Restore("closes the pipe", closes, frozenset({10}), "QEMU has not read its state in time: at most ",
            options=("--timeout", "1")),
    Restore("cannot load it", cannot, frozenset({13}), WORDS, releases=RELEASES[1:]),
    Restore("cannot load it", cannot, frozenset({13}), "see its own messages", releases=RELEASES[:1]),
    Restore("refuses", refuses, frozenset({13}), NO_FILE, at="migrate-incoming", ends=False),
    Restore("refuses the pipe", refuses, frozenset({13}), NO_FILE, at="getfd", ends=False),
]


class Trials(Score):
    """Restores, and agents that become QEMU."""

    def __init__(self, stubsave: str, directory: Path) -> None:
        super().__init__()
        self._stubsave, self._agent, self._directory = stubsave, agent_beside(stubsave), directory
        self._disks = dict[int, Path]()
        for size in SMALL, PIPED, LARGE, FED, LARGEST:
            source = directory / f"state-{size}"
            source.write_bytes(state(size))
            disk = self._disks[size] = directory / f"disk-{size}"
            self.do("allocate", disk, "--size", f"{size // MIB * 9 // 8 + 2}MiB", "--direction", "restore")
            self.do("write", "--max-state", f"{LARGEST}", disk, source=source.read_bytes())
        with Fake(directory, state(LARGE), "inmigrate") as fake:
            self._restore(LARGE, fake).end()
        self._points = fake.points  # of a restore; the last connection is the agent's
        self._reads = list(reversed(self._points[::-1][:self._points[::-1].index("greeting") + 1])).index("MIGRATION")
        self._public = directory / "agent"  # that everybody can run
        shutil.copy(self._agent, self._public)

    def do(self, *words: object, source: bytes = b"") -> bytes:
        """A command that succeeds; its output."""
        return subprocess.run([self._stubsave, *map(str, words)], input=source, check=True,
                              stdout=subprocess.PIPE).stdout

    def _restore(self, size: int, fake: Fake, *options: str) -> Running:
        return Running(self._stubsave, "restore", "-i", self._directory / f"state-{size}", "--qmp",
                       fake.path, "--accept-unverified", *options)

    # A QEMU that is there.

    def restore(self, this: Restore, release: tuple[int, int]) -> None:
        """One restore of a state that a pipe does not hold."""
        label = f"QEMU {release[0]}.{release[1]} {this.name}"
        if this.at == "getfd":
            label += " (getfd)"
        hooks = {} if this.hook is None else {self._points.index(this.at): this.hook}
        with tempfile.TemporaryDirectory(dir=self._directory) as name, Fake(
                Path(name), state(LARGE), "inmigrate", hooks, release) as fake:
            ended = self._restore(LARGE, fake, *this.options).end(MOST_SECONDS)
        self.check(f"{label}: exit {ended.code}, {ended.messages}", ended.code in this.codes)
        self.check(f"{label}: after {ended.seconds:.1f} s", ended.seconds < MOST_SECONDS)
        self.check(f"{label}: {ended.messages!r}", this.says in ended.messages and not ended.messages_fault)
        self.check(f"{label}: loaded", (fake.loaded == state(LARGE)) == (ended.code == 0))
        # Of what was sent QEMU cannot make a guest that runs.
        self.check(f"{label}: {fake.left} bytes were left to be read",
                   fake.left < LARGE - MIB)
        self.check(f"{label}: {fake.commands}", fake.hung_up == this.ends)
        self.check(f"{label}: QEMU keeps {fake.kept}", not fake.kept)

    def largest(self, release: tuple[int, int]) -> None:
        """A state of exactly --max-state, and one byte more."""
        for limit, code in (LARGEST, 0), (LARGEST - 1, 7):
            with tempfile.TemporaryDirectory(dir=self._directory) as name, Fake(
                    Path(name), state(LARGEST), "inmigrate", {}, release) as fake:
                ended = self._restore(LARGEST, fake, "--max-state", f"{limit}").end(30)
            self.check(f"--max-state {limit}: exit {ended.code}, {ended.messages}", ended.code == code)
            self.check(f"--max-state {limit}: loaded", (fake.loaded == state(LARGEST)) == (code == 0))
            self.check(f"--max-state {limit}: {fake.commands}",
                       code == 0 or "getfd" not in fake.commands)

    def tail(self) -> None:
        """QEMU sees the end of the state long before the pipe ends."""
        with self._serving(state(SMALL), FED) as (fake, answer, _):
            words = answer()
        self.check(f"behind the end: {words}", words[:1] == ["loaded"])
        self.check("behind the end: another state", fake.loaded == state(SMALL))

    def signalled(self, number: signal.Signals) -> None:
        """The agent gets a signal while QEMU reads."""
        with self._serving(state(FED), FED, waits=True) as (fake, answer, agent):
            fake.reached.wait(MOST_SECONDS)
            os.kill(agent, number)
            words = answer()
        self.check(f"{number.name}: {words}", words[:1] != ["loaded"])
        self.check(f"{number.name}: {fake.left} bytes were left to be read", fake.left < FED - MIB)
        self.check(f"{number.name}: QEMU was told {fake.commands[-1]}",
                   number == signal.SIGKILL or fake.commands[-1] == "quit")

    def damaged(self) -> None:
        """Of a disk with an error at its end QEMU gets no byte."""
        disk = self._directory / "damaged"
        content = bytearray(self._disks[FED].read_bytes())
        at = len(bytes(content).rstrip(b"\0")) - 40
        content[at] ^= 1
        disk.write_bytes(content)
        with self._serving(state(FED), FED, disk=disk) as (fake, answer, _):
            words = answer()
        self.check(f"damaged: {words}", words[0] == "failed" and words[1] in ("2", "3"))
        self.check(f"damaged: {fake.commands}", "getfd" not in fake.commands)

    @contextmanager
    def _serving(self, wanted: bytes, size: int, waits: bool = False, disk: Path | None = None
                 ) -> Iterator[tuple[Fake, Callable[[], list[str]], int]]:
        """An agent that is offered the disk with a state of that size, beside a QEMU for which
        `wanted` is a whole one; how it answers, and its process."""
        def hold(turn: Turn) -> None:
            read_some(turn)
            turn.fake.reached.set()

        hooks = {self._reads: hold} if waits else {}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with (tempfile.TemporaryDirectory(dir=self._directory) as name,
              Fake(Path(name), wanted, "inmigrate", hooks) as fake,
              (disk or self._disks[size]).open("r+b") as file):
            running = Running(self._agent, "serve", fake.path, f"fd:{theirs.fileno()}", f"{LARGEST}",
                              pass_fds=(theirs.fileno(), file.fileno()))
            theirs.close()
            offer(ours, self._id(size), file.fileno())
            yield fake, lambda: final(ours), running.process.pid
            ours.close()
            ended = running.end(MOST_SECONDS)
            self.check(f"the agent's end: {ended.code}, {ended.messages}", ended.seconds < MOST_SECONDS)

    # A QEMU that is not there yet.

    def becomes(self, name: str, size: int, program: str, *before: str,
                look: Callable[[subprocess.Popen[bytes]], None] | None = None) -> bytes:
        """What the program writes that the agent becomes, with the state as its file 9."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with self._disks[size].open("rb") as file, subprocess.Popen(
                [*before, self._public, "load", "9", f"fd:{theirs.fileno()}", f"{LARGEST}", self._place(name),
                 sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                pass_fds=(theirs.fileno(), file.fileno())) as process:
            theirs.close()
            offer(ours, self._id(size), file.fileno())
            words = final(ours)
            self.check(f"{name}: {words}", words == ["loaded", f"{size}"])
            ours.close()
            if look is not None:
                look(process)
            output, _ = process.communicate(timeout=MOST_SECONDS)
            self.check(f"{name}: exit {process.returncode}", process.returncode == 0)
        self.gone(name)
        return output

    def _place(self, name: str) -> str:
        """An argument by which the processes of a case are found."""
        return str(self._directory / name.replace(" ", "-"))

    def feeders(self, name: str) -> list[int]:
        """The processes that feed, of that case."""
        place, found = os.fsencode(self._place(name)) + b"\0", list[int]()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if place in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def gone(self, name: str) -> None:
        """See that none is left."""
        for process in self.feeders(name):
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(process)
                is_gone = select.select([handle], [], [], MOST_SECONDS)[0]
                os.close(handle)
                self.check(f"{name}: process {process} feeds for ever", is_gone)

    def loads(self) -> None:
        """The program gets all of the state, and then the end."""
        copy = "import os, sys\nwhile piece := os.read(9, 1 << 16): sys.stdout.buffer.write(piece)"
        nobody = ("setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
        for name, size, before in (("small", SMALL, ()), ("large", LARGE, ()), ("fed", FED, ()),
                                   ("largest", LARGEST, ()), ("as nobody", LARGE, nobody)):
            output = self.becomes(name, size, copy, *before)
            self.check(f"{name}: the program got {len(output)} bytes", output == state(size))

    def whole_before(self) -> None:
        """What the pipe holds is there before the program begins, and nobody feeds."""
        program = ("import os, sys, fcntl, termios, array\nsize = array.array('i', [0])\n"
                   "fcntl.ioctl(9, termios.FIONREAD, size)\nprint(size[0])")

        def look(_: subprocess.Popen[bytes]) -> None:
            self.check("whole: somebody feeds", self.running_feeders("whole") == [])
        for size in SMALL, PIPED:
            found = int(self.becomes("whole", size, program, look=look))
            self.check(f"whole: {found} of {size} bytes were in the pipe", found == size)

    def running_feeders(self, name: str) -> list[int]:
        """Those that are nobody's child here."""
        found = list[int]()
        for process in self.feeders(name):
            with suppress(OSError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) != os.getpid():
                    found.append(process)
        return found

    def feeds(self) -> None:
        """What feeds the rest has only what it needs, and ends with who reads."""
        begins = "import os, sys\nsys.stdout.buffer.write(os.read(9, 8)); sys.stdout.flush()\n"
        waits = "sys.stdin.buffer.read(1)\n"

        def look(process: subprocess.Popen[bytes]) -> None:
            assert process.stdin is not None and process.stdout is not None
            process.stdout.read(8)
            (feeder,) = self.running_feeders(name)
            files = {link.name: os.readlink(link) for link in Path(f"/proc/{feeder}/fd").iterdir()}
            kinds = sorted(target.split(":")[0] for number, target in files.items() if number != "2")
            self.check(f"{name}: it has {files}", kinds == ["/memfd", "pipe"] and len(files) <= 3)
            status = dict(line.split(":\t") for line in
                          Path(f"/proc/{feeder}/status").read_text().splitlines())
            # Pages of the file that has been read are the file's.
            self.check(f"{name}: {status['VmHWM']}", int(status["VmHWM"].split()[0]) < MOST_PEAK_KIB)
            self.check(f"{name}: a child of the program", int(status["PPid"]) != process.pid)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            self.check(f"{name}: the program has the children {children}", children == "")
            handle = os.pidfd_open(feeder)
            act(process, feeder)
            is_gone = select.select([handle], [], [], MOST_SECONDS)[0]
            os.close(handle)
            self.check(f"{name}: it does not end", is_gone)
            process.stdin.write(b"x")
            process.stdin.flush()

        def nothing(process: subprocess.Popen[bytes], _: int) -> None:
            assert process.stdin is not None
            process.stdin.write(b"x")
            process.stdin.flush()

        def kill(_: subprocess.Popen[bytes], feeder: int) -> None:
            os.kill(feeder, signal.SIGKILL)

        name, act = "closes", nothing
        self.becomes(name, FED, begins + waits + "os.close(9)\n" + waits, look=look)
        name = "ends"
        self.becomes(name, FED, begins + waits + "os.execv('/bin/true', ['true'])", look=self.ending(look))
        name, act = "feeder killed", kill
        output = self.becomes(
            name, FED, begins + waits + "n = 8\nwhile piece := os.read(9, 1 << 16): n += len(piece)\n"
            "print(n)\n", look=look)
        self.check(f"{name}: the program got {output!r}", int(output) < FED)

    @staticmethod
    def ending(look: Callable[[subprocess.Popen[bytes]], None]) -> Callable[[subprocess.Popen[bytes]], None]:
        """The same of a program that ends: nobody reads the last word any more."""
        def wrapped(process: subprocess.Popen[bytes]) -> None:
            with suppress(BrokenPipeError):
                look(process)
        return wrapped

    def _id(self, size: int) -> str:
        with self._disks[size].open("rb") as file:
            return file.read(48)[32:].hex()


def offer(dom0: socket.socket, id: str, disk: int) -> None:
    """Offer a disk with a state, in version 2."""
    dom0.settimeout(MOST_SECONDS)
    dom0.send(f"2 {id} load fd:{disk} {id} {LARGEST} 5000".encode())


def final(dom0: socket.socket) -> list[str]:
    """The last answer, from its verb on; empty if the agent has ended."""
    with suppress(ConnectionError):
        while packet := dom0.recv(512):
            words = packet.decode().split()
            if words[2] not in ("accepted", "progress"):
                return words[2:]
    return []


def main() -> int:
    """Read the command line, see that all is there, and load."""
    built = Path(__file__).parents[2] / ".build/release/stubsave"
    parser = argparse.ArgumentParser(description="Give states to QEMUs that take them badly.")
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    options = parser.parse_args()
    prepare((options.stubsave, "make build"), (agent_beside(options.stubsave), "make build"),
            ("setpriv", "apt package util-linux"))
    with tempfile.TemporaryDirectory(prefix="stubsave-inject-") as directory:
        os.chmod(directory, 0o755)
        trials = Trials(options.stubsave, Path(directory))
        trials.each(trials.restore, [(this, release) for this in RESTORES for release in this.releases], 4)
        trials.each(trials.largest, [(release,) for release in RELEASES[::2]], 1)
        trials.each(trials.signalled, [(signal.SIGKILL,), (signal.SIGTERM,)], 2)
        for case in trials.tail, trials.damaged, trials.loads, trials.whole_before, trials.feeds:
            case()
        return trials.finish()


if __name__ == "__main__":
    sys.exit(main())
