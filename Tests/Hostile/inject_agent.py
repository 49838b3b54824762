#!/usr/bin/python3
"""Let each system call of stubsave-agent fail, one at a time, where libxl orders the save (`reset`
and `save`) and where the agent starts QEMU (`load`; `feed` of a state that no pipe holds); dom0 is
this program. `take` and a load into a QEMU that waits are inject.py's.

Each time the agent answers or ends, in time; `committed` is said only of a disk that holds exactly
the state; a failure is explained on standard error; the program that `load` starts finds exactly the
state, or is not started; nothing feeds a program that was not started, or has ended.
"""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fakeqmp import STATES, Ended, Fake, Refused, Running, prepare
from inject import BEGIN, CALL, NEVER, SIGNALS, Score, agent_beside, is_gone

STATE = (STATES / "x01-pc-min-reset.dev").read_bytes()
FED = STATE + bytes(5 << 20)  # more than a pipe can be made to hold here
LIMIT = 64 << 20
WAIT_SECONDS = 10
FINAL = {"ready", "committed", "loaded", "failed", "unsupported"}
ERRORS = ("error=EIO", "error=ENOMEM", *SIGNALS)


class Point(NamedTuple):
    """Which use of which call fails, and how."""

    kind: str
    error: str
    call: str
    number: int


def processes_with(word: str) -> list[int]:
    """Those that have it in their command line."""
    found = list[int]()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(word) in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


class Trials(Score):
    """Runs the agent under strace, and judges what it says and does."""

    def __init__(self, stubsave: str, directory: Path) -> None:
        super().__init__()
        self._stubsave, self._directory = stubsave, directory
        self._agent = agent_beside(stubsave)
        self._disks, self._codes = dict[str, bytes](), Counter[tuple[str, object]]()
        for kind, state in ("save", b""), ("load", STATE), ("feed", FED):
            disk = directory / kind
            self._do("allocate", disk, "--size", "256KiB", "--direction",
                     "restore" if state else "save")
            if state:
                self._do("write", disk, source=state)
            self._disks[kind] = disk.read_bytes()
        self.calls, self.begun = dict[str, Counter[str]](), dict[str, Counter[str]]()
        for kind in "save", "load", "feed":
            log = self.run(Point(kind, "", "", 0))
            self.calls[kind] = Counter(CALL.findall(log))
            self.begun[kind] = Counter(CALL.findall(BEGIN.split(log, 1)[0]))

    def _do(self, *words: object, source: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([self._stubsave, *map(str, words)], input=source, check=True,
                              capture_output=True)

    def run(self, point: Point) -> str:
        """One run, judged; strace's log."""
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            place = Path(name)
            (place / "disk").write_bytes(self._disks[point.kind])
            with Fake(place, STATE, "paused") as fake, (place / "disk").open("r+b") as disk:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                ours.settimeout(WAIT_SECONDS)
                inject = [f"--inject={point.call}:{point.error}:when={point.number}"]
                command = ["strace", "-qq", "-s", "200", "-b", "execve", "-o", str(place / "log"),
                           *inject * bool(point.call), self._agent]
                carrier = f"fd:{theirs.fileno()}"
                command += (["serve", str(fake.path), carrier, str(LIMIT)] if point.kind == "save"
                            else ["load", "9", carrier, str(LIMIT), name, "/bin/sh", "-c",
                                  "cat <&9"])
                running = Running(*command, pass_fds=(theirs.fileno(), disk.fileno()))
                theirs.close()
                answer = ["silence"]
                with suppress(TimeoutError):
                    answer = self._talk(point.kind, ours, fake, disk.fileno())
                ours.close()
                ended = running.end(WAIT_SECONDS)
            for process in processes_with(name):
                self.check(f"{point}: something feeds on", is_gone(process))
            log = (place / "log").read_text(errors="replace")
            self._judge(point, answer, place / "disk", ended, log)
        return log

    def _talk(self, kind: str, ours: socket.socket, fake: Fake, disk: int) -> list[str]:
        """The last answer; empty if the agent has ended before. As a dom0 of version 1 asks."""
        id = self._disks[kind][32:48].hex()
        if kind != "save":
            return self._ask(ours, f"1 {id} load fd:{disk} {id} {LIMIT} 5000", id)
        reset = secrets.token_hex(16)
        answer = self._ask(ours, f"1 {reset} reset {LIMIT} 5000", reset)
        if answer[:1] == ["ready"]:
            try:
                fake.save("/dev/fdset/1")  # as libxl orders it, over a monitor of its own
            except Refused:
                return []  # QEMU has lost the agent, and its file
            answer = self._ask(ours, f"1 {id} save fd:{disk} {id} {LIMIT} 5000", id)
        return answer

    @staticmethod
    def _ask(ours: socket.socket, offer: str, id: str) -> list[str]:
        """The final answer; empty if the agent has ended."""
        try:
            ours.send(offer.encode())
            while packet := ours.recv(512):
                words = packet.decode().split()
                if words[1] == id and words[2] in FINAL:
                    return words[2:]
        except ConnectionError:
            pass
        return []

    def _judge(self, point: Point, answer: list[str], disk: Path, ended: Ended,
               log: str) -> None:
        failed = next((text for text in log.splitlines() if "(INJECTED)" in text), "")
        is_early = failed != "" and BEGIN.search(log.partition(failed)[0] + failed) is None
        said = f"{point}: {answer}, exit {ended.code}, {ended.messages!r:.200}, at {failed:.200}"
        self.check(f"{said}: silence", answer != ["silence"])
        self.check(f"{said}: after {ended.seconds:.1f} s", ended.seconds < WAIT_SECONDS)
        self.check(f"{said}: it crashed", is_early or ended.code >= 0 or (
            ended.code == SIGNALS.get(point.error)))
        word = answer[0] if answer else "none"
        if point.kind == "save":
            is_held = False
            if word == "committed":
                with suppress(subprocess.CalledProcessError):
                    is_held = self._do("read", disk, "-o", "-").stdout == STATE
            self.check(f"{said}: committed, but not so", is_held or word != "committed")
        else:
            self.check(f"{said}: {len(ended.output)} bytes for the program",
                       ended.output == ({"load": STATE, "feed": FED}[point.kind] if ended.code == 0
                                        else b""))
        self.check(f"{said}: without a message", is_early or ended.code < 0 or ended.messages or (
            ended.code == 0 and word in ("committed", "loaded", "none")))
        if failed or point.error in SIGNALS:
            self._codes[point.kind, "loader" if is_early else word] += 1

    def exhaust(self, kind: str, error: str, call: str) -> None:
        """Let the first use fail, then the second, until there are no more."""
        for number in itertools.count(self.begun[kind][call] + 1):
            if error in SIGNALS and number > self.calls[kind][call]:
                return
            if "(INJECTED)" not in self.run(Point(kind, error, call, number)) and (
                    error not in SIGNALS):
                return

    def finish(self) -> int:
        """How it ended how often, and the score."""
        for (kind, word), count in sorted(self._codes.items(), key=str):
            print(f"{kind}: {word}: {count}")
        return super().finish()


def main() -> int:
    """Read the command line, see that all is there, and let everything fail."""
    built = Path(__file__).parents[2] / ".build/release/stubsave"
    parser = argparse.ArgumentParser(description="Let each system call of the agent fail.")
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    options = parser.parse_args()
    prepare((options.stubsave, "make build"), (agent_beside(options.stubsave), "make build"),
            ("strace", "apt package strace"))
    with tempfile.TemporaryDirectory(prefix="stubsave-inject-") as directory:
        trials = Trials(options.stubsave, Path(directory))
        todo = [(kind, error, call) for error in ERRORS for kind in trials.calls
                for call in sorted(set(trials.calls[kind]) - NEVER)]
        trials.each(trials.exhaust, todo, os.cpu_count() or 2)
        return trials.finish()


if __name__ == "__main__":
    sys.exit(main())
