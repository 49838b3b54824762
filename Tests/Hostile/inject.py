#!/usr/bin/python3
"""Let each system call of stubsave dump and restore fail, one at a time, in the shipped programs:
those of stubsave, of the agent that it starts, and of the decoder that looks at the disk.

strace makes the Nth use of a call fail, for every call of a clean run, and N = 1, 2, 3 and so on
until the program ends without having made so many; then SIGTERM or SIGKILL comes there. Each time
  1. stubsave ends, with 0 and exactly the right result, or else with a message or by the signal;
  2. an output is there only if it is exactly right; nothing else is left, and no loop device;
  3. a guest that was stopped goes on, also after SIGKILL of one of the two, unless `cont` could not
     be sent; and stays so after success if that was wanted.
What fails before the program's own code begins is counted apart: there libc may end it.

`Score` serves the other test programs here, too.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from fakeqmp import STATES, Ended, Fake, Running, prepare, trailer_fault

STATE = (STATES / "x01-pc-min-reset.dev").read_bytes()
KINDS = {  # arguments, the guest's status
    "dump": (["dump", "-o", "out"], "paused"),
    "dump to stdout": (["dump", "-o", "-"], "paused"),
    "dump --pause": (["dump", "-o", "out", "--pause"], "running"),
    "dump --keep-paused": (["dump", "-o", "out", "--pause", "--keep-paused"], "running"),
    "restore": (["restore", "-i", "in"], "inmigrate"),
}
# By stubsave: the agent, and the decoder for each look at a disk or a state file.
STARTED = {"dump": 2, "dump to stdout": 2, "dump --pause": 2, "dump --keep-paused": 2, "restore": 3}
# What cannot fail; what only gives memory back or ends; brk, after which malloc takes mmap.
NEVER = {"arch_prctl", "brk", "clock_gettime", "execve", "exit", "exit_group", "futex", "getegid",
         "geteuid", "getgid", "getpid", "gettid", "getuid", "kill", "madvise", "mprotect", "munmap",
         "rseq", "rt_sigreturn", "sched_yield", "set_robust_list", "set_tid_address", "tgkill"}
SIGNALS = {"signal=TERM": -signal.SIGTERM, "signal=KILL": -signal.SIGKILL}
ERRORS = {  # None: every call of a clean run
    "error=EIO": None, **dict.fromkeys(SIGNALS),
    "error=ENOSPC": ["write", "pwrite64", "ftruncate", "fallocate", "fsync", "linkat", "renameat",
                     "renameat2", "openat"],
    "error=ENOMEM": ["mmap", "memfd_create", "socket", "connect", "sendmsg", "poll", "ppoll",
                     "read", "fsopen", "fsconfig", "fsmount", "ioctl", "fcntl", "signalfd4",
                     "openat"],
}
MOST_SECONDS = 15  # the timeout, the same again for `cont`, and a busy machine
# The first call that the program's own code makes: newfstatat of stubsave and the agent, the decoder's
# request.
BEGIN = re.compile(r'newfstatat\(0, ""|read\(3, "stubsdec')
OURS = re.compile(r"/memfd:|/#\d+ \(deleted\)|/stubsave-(disks|hostile|inject)-")
CALL = re.compile(r"^(\w+)\(", re.MULTILINE)
SIDES = "stubsave", "agent", "decoder"
# The agent or decoder under strace; one that is started after it is as it should be. The decoder
# must be the child of who started it, so strace traces from aside.
WRAPPER = '''#!/bin/sh
mkdir {mark} 2>/dev/null || exec {program} "$@"
exec {strace} {program} "$@"
'''


def attached() -> set[str]:
    """Mounts, and the loop devices of stubsave and its tests, with their sequence numbers."""
    found = {f"mount {mount}" for mount in Path("/proc/self/mountinfo").read_text().splitlines()}
    for device in Path("/sys/block").glob("loop*"):
        with suppress(OSError):
            file, use = [(device / name).read_text() for name in ("loop/backing_file", "diskseq")]
            if OURS.search(file):
                found.add(f"{device.name}, use {int(use)}, of {file.strip()}")
    return found


def is_gone(process: int) -> bool:
    """Whether it has ended, or does so at once: one whose parent has been killed is killed, too."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 1)[0])
    finally:
        os.close(handle)


def agent_beside(stubsave: str) -> str:
    """The agent that a stubsave starts if it is not told another."""
    return str(Path(stubsave).resolve().parent / "stubsave-agent")


class Score:
    """Counts what holds, from any thread; knows what was attached or mounted at first."""

    def __init__(self) -> None:
        self._count, self._lock = Counter[bool](), threading.Lock()
        self._first, self._suspects = attached(), dict[str, list[str]]()

    def check(self, what: str, holds: object) -> None:
        """Count what holds, and say what does not."""
        with self._lock:
            self._count[bool(holds)] += 1
            if not holds:
                print(f"FAILED {what.strip()}", flush=True)

    @staticmethod
    def each(work: Callable[..., object], todo: Iterable[tuple[Any, ...]], jobs: int) -> None:
        """Do it with each of those arguments, so many at a time; a fault of the test ends all."""
        with ThreadPoolExecutor(jobs) as pool:
            try:
                for done in [pool.submit(work, *one) for one in todo]:
                    done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    @contextmanager
    def watching(self, label: str) -> Iterator[None]:
        """Note what comes meanwhile: runs may overlap, but what one leaves is there at its end."""
        before = attached()
        yield
        for what in attached() - before:
            self._suspects.setdefault(what, []).append(label)

    def finish(self) -> int:
        """Look for what has been left, when nothing runs any more; the exit code."""
        left, end = attached() - self._first, time.monotonic() + 3
        while left and time.monotonic() < end:
            time.sleep(0.01)  # the kernel may take a moment; there is no event for it
            left &= attached()
        for what in left:
            self.check(f"left: {what}, by one of {self._suspects.get(what)}", False)
        print(f"{self._count[True]} passed, {self._count[False]} failed")
        return 1 if self._count[False] else 0


class Point(NamedTuple):
    """Which use of which call fails, of which program, and how."""

    side: str
    kind: str
    error: str
    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.side}: {self.kind}: {self.call} number {self.number}: {self.error}"


class Trials(Score):
    """Runs stubsave under strace, and judges what is left."""

    def __init__(self, stubsave: str, directory: Path, lists: bool) -> None:
        super().__init__()
        self._lists = lists
        self._stubsave, self._directory, self._input = Path(stubsave).resolve(), directory, STATE
        self._agent = agent_beside(stubsave)
        # A program looks for its decoder where it lies itself.
        self._copy = directory / "stubsave"
        shutil.copy(self._stubsave, self._copy)
        self._table, self._writing = dict[tuple[str, str, str], Counter[str]](), threading.Lock()
        self._input = self._run(Point("stubsave", "dump", "", "", 0))[2]
        # Of the decoder one look at a disk and one at a state file are enough.
        logs = {(side, kind): self._run(Point(side, kind, "", "", 0))[3]
                for side in SIDES for kind in KINDS
                if side != "decoder" or kind in ("dump", "restore")}
        self.calls = {which: Counter(CALL.findall(log)) for which, log in logs.items()}
        for (side, kind), calls in self.calls.items():
            started = sum(calls[call] for call in ("clone", "clone3", "fork", "vfork"))
            # The decoder's chooses its root, and ends.
            expected = {"stubsave": STARTED[kind], "agent": 0, "decoder": 1}[side]
            self.check(f"{side}: {kind}: {started} threads or processes are started",
                       started == expected)
        self._begun = {which: Counter(CALL.findall(BEGIN.split(log, 1)[0]))
                       for which, log in logs.items()}

    def _run(self, point: Point) -> tuple[Fake, Ended, bytes, str]:
        """One run: the fake, how it ended, what was put out, and strace's log."""
        arguments, status = KINDS[point.kind]
        inject = [f"--inject={point.call}:{point.error}:when={point.number}"]
        with (tempfile.TemporaryDirectory(dir=self._directory) as name,
              self.watching(str(point))):
            place, log = Path(name) / "work", Path(name) / "log"
            place.mkdir()
            (place / "in").write_bytes(self._input)
            # It says when the decoder has ended, which stubsave's own end may come before.
            quiet = "-q" if point.side == "decoder" else "-qq"
            strace = ["strace", quiet, "-s", "200", "-o", str(log), *inject * bool(point.call)]
            command = [str(self._stubsave), *arguments]
            if point.side == "stubsave":
                command = strace + command
            elif point.side == "agent":
                self._wrap(Path(name) / "agent", self._agent, strace)
                command += ["--agent", str(Path(name) / "agent")]
            else:
                (Path(name) / "stubsave").hardlink_to(self._copy)
                self._wrap(Path(name) / "stubsave-decode",
                           str(self._stubsave.parent / "stubsave-decode"), [*strace, "-DD"])
                command = [str(Path(name) / "stubsave"), *arguments, "--agent", self._agent]
            with Fake(Path(name), STATE, status) as fake:
                running = Running(*command, "--qmp", fake.path, "--timeout", "5",
                                  cwd=place, process_group=0)
                ended = running.end(MOST_SECONDS)
                if ended.seconds > MOST_SECONDS:
                    with suppress(ProcessLookupError):  # the group that was made just here
                        os.killpg(running.process.pid, 9)
                if point.side == "agent" and arguments[0] == "dump" and point.call:
                    self._again(point, fake, place)
            text = self._read(log, point)
            names = set(os.listdir(place))
            output = (place / "out").read_bytes() if "out" in names else ended.output
        self._judge(point, fake, ended, output, text, names)
        return fake, ended, output, text

    @staticmethod
    def _wrap(wrapper: Path, program: str, strace: list[str]) -> None:
        mark = wrapper.with_name("mark")
        wrapper.write_text(WRAPPER.format(mark=mark, program=program, strace=" ".join(strace)))
        wrapper.chmod(0o755)

    @staticmethod
    def _read(log: Path, point: Point) -> str:
        """strace's log; what traces from aside may end a little later."""
        end = time.monotonic() + 10 * (point.side == "decoder")
        while True:
            text = log.read_text(errors="replace") if log.exists() else ""
            if time.monotonic() >= end or "+++ " in text:
                return text
            time.sleep(0.002)

    def _again(self, point: Point, fake: Fake, place: Path) -> None:
        """Another dump, of the same guest, with an agent to which nothing happens."""
        status = fake.status
        ended = Running(self._stubsave, "dump", "--pause", "-o", place.parent / "again", "--qmp",
                        fake.path, "--timeout", "5").end(MOST_SECONDS)
        fault = (trailer_fault((place.parent / "again").read_bytes(), STATE)
                 if ended.code == 0 else f"exit {ended.code}, {ended.messages!r}")
        self.check(f"{point}: the next dump: {fault}", not fault)
        self.check(f"{point}: after the next dump the guest is {fake.status}, not {status}",
                   fake.status == status)

    def _judge(self, point: Point, fake: Fake, ended: Ended, output: bytes, log: str,
               names: set[str]) -> None:
        failed = next((text for text in log.splitlines() if "(INJECTED)" in text), "")
        is_early = failed != "" and BEGIN.search(log.partition(failed)[0] + failed) is None
        said = f"{point}: exit {ended.code}, {ended.messages.strip()!r:.200}, at {failed:.200}"
        self.check(f"{said}: left {names}", names <= {"in", "out"})
        if point.kind == "restore":
            self.check(f"{said}: QEMU has not loaded the state",
                       fake.loaded == STATE or ended.code != 0 and fake.loaded is None)
        elif output or ended.code == 0:
            # Of what goes to a pipe nothing can be taken back, once it is under way. But nothing
            # other than the writing itself can still fail then.
            is_under_way = "out" not in names and STATE.startswith(output[:len(STATE)]) and (
                ended.code < 0 or ended.code > 0 and "write(1, " in failed)
            fault = trailer_fault(output, STATE)
            self.check(f"{said}: {len(output)} bytes of output: {fault}", not fault or is_under_way)
        if not is_early:
            self.check(f"{said}: {ended.messages_fault}", not ended.messages_fault)
            self.check(f"{said}: it crashed", ended.code >= 0 or (
                point.side == "stubsave" and ended.code == SIGNALS.get(point.error)))
        if "stop" in fake.commands and '"cont' not in failed:
            is_kept = "--keep-paused" in point.kind and ended.code == 0
            # Killed at the very end, after all was said: as after success.
            may_be_kept = "--keep-paused" in point.kind and point.error in SIGNALS
            self.check(f"{said}: the guest is {fake.status}",
                       (fake.status == "running") is not is_kept or may_be_kept and "out" in names)
        self.check(f"{said}: the connection is still there",
                   fake.over.is_set() or "greeting" not in fake.points)
        if failed or point.error in SIGNALS:
            if self._lists:
                print(f"{'loader' if is_early else 'main'}: {said}")
            with self._writing:
                row = self._table.setdefault((point.side, point.kind, point.error), Counter())
                row["loader"] += is_early
                row[f"{ended.code}"] += not is_early

    def exhaust(self, side: str, kind: str, error: str, call: str) -> None:
        """Let the first use fail, then the second, until there are no more.

        With EIO also what libc does before, which makes no difference between errors."""
        first = 1 if error == "error=EIO" else self._begun[side, kind][call] + 1
        for number in itertools.count(first):
            # strace does not mark a signal; then the number of calls of a clean run counts.
            if error in SIGNALS and number > self.calls[side, kind][call]:
                return
            log = self._run(Point(side, kind, error, call, number))[3]
            if error not in SIGNALS and "(INJECTED)" not in log:
                return

    def finish(self) -> int:
        """The table, and the score."""
        print(f"{'':36}{'failures':>9}{'loader':>8}  exit codes")
        for (side, kind, error), row in sorted(self._table.items()):
            codes = {int(code): count for code, count in row.items() if code != "loader" and count}
            text = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
            name = f"{side}: {kind}, {error.partition('=')[2]}"
            print(f"{name:36}{row.total():9}{row['loader']:8}  {text}")
        return super().finish()


def main() -> int:
    """Read the command line, see that all is there, and let everything fail."""
    built = Path(__file__).parents[2] / ".build/release/stubsave"
    parser = argparse.ArgumentParser(description="Let each system call of stubsave fail.")
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (default: 2)")
    parser.add_argument("--list", action="store_true", help="every failure")
    options = parser.parse_args()
    prepare((options.stubsave, "make build"), (agent_beside(options.stubsave), "make build"),
            ("strace", "apt package strace"))
    with tempfile.TemporaryDirectory(prefix="stubsave-inject-") as directory:
        trials = Trials(options.stubsave, Path(directory), options.list)
        todo = [(side, kind, error, call) for error, some in ERRORS.items() for side in SIDES
                for kind in KINDS if (side, kind) in trials.calls
                for call in sorted(set(trials.calls[side, kind]) - NEVER)
                if some is None or call in some]
        trials.each(trials.exhaust, todo, options.jobs)
        return trials.finish()


if __name__ == "__main__":
    sys.exit(main())
