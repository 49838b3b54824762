#!/usr/bin/python3
"""Long streams when things go wrong: what several threads do then, in the shipped program.

strace makes calls fail, in whichever thread they are made. Each time the program ends, all threads
with it, with the documented exit code and a message, or by the signal; an output is there only if
it is exactly right, and nothing else is left.
  1. every kind of call fails at its Nth use, N spread over a clean run;
  2. a disk that lies: it takes a write and does not store it, which reading finds;
  3. a disk that takes less than it is given, and then nothing more (a limit on the file's size);
  4. no thread can be started, or only the one that writes: the disk holds the same;
  5. SIGINT, SIGTERM and SIGKILL at moments all over the run.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

MIB = 1 << 20
STATE_BYTES = 24 * MIB
SECONDS = 120  # for one run; it takes a tenth of one
POINTS = 6  # of a call's uses that fail, in turn
WRITE_CALLS = "read", "pwrite64", "fsync", "linkat", "openat", "mmap"
READ_CALLS = "pread64", "write", "fsync", "linkat", "openat"
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
# What an error may end with; 1 only if memory is refused, 9 if the decoder ends of it.
CODES = {1, 2, 3, 5, 7, 8, 9, 11, 12, 14}


class Ended(NamedTuple):
    code: int
    message: str


class Long:
    """The program, a state, a good disk, and a folder that must stay as it is."""

    def __init__(self, stubsave: str, folder: Path) -> None:
        self.stubsave, self.folder = os.path.abspath(stubsave), folder
        self.passed = self.failed = 0
        random.seed(1)
        text = b"a page of a guest's memory; " * 40_000
        self.state = folder / "state"
        with self.state.open("wb") as file:
            while file.tell() < STATE_BYTES:
                file.write(random.randbytes(300_000) + text[:700_000] + bytes(500_000))
        self.good = folder / "good"
        assert self.run(["write", "--codec", "lz4", str(self.good)]).code == 0
        self.before = set(os.listdir(folder))

    def run(self, words: list[str], strace: list[str] | None = None, **options: object) -> Ended:
        command = [*(["strace", "-f", "-qq", "-o", "/dev/null", *strace] if strace else []),
                   self.stubsave, words[0], "--max-state=1GiB", *words[1:]]
        with self.state.open("rb") as state:
            done = subprocess.run(command, stdin=state, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, timeout=SECONDS, cwd=self.folder,
                                  **options)  # type: ignore[call-overload]
        return Ended(done.returncode, done.stderr.decode("ascii", "replace"))

    def calls(self, words: list[str], call: str) -> int:
        """How often a clean run makes a call."""
        log = self.folder / "log"
        with self.state.open("rb") as state:
            subprocess.run(["strace", "-f", "-qq", "-e", f"trace={call}", "-o", log, self.stubsave,
                            words[0], "--max-state=1GiB", *words[1:]], stdin=state, check=True,
                           cwd=self.folder)
        count = len(re.findall(rf"\b{call}\(", log.read_text()))
        log.unlink()
        self.clean()
        return count

    def clean(self) -> None:
        (self.folder / "out").unlink(missing_ok=True)

    def judge(self, what: str, ended: Ended, is_writing: bool, *, may_fail: bool = True) -> None:
        """What must hold after each run; cleans up."""
        out, complaints = self.folder / "out", []
        if ended.code == 0 or out.exists():
            if not self.is_right(out, is_writing):
                complaints.append("an output that is not right")
        if ended.code == 0 and not out.exists():
            complaints.append("success without an output")
        if ended.code != 0 and not may_fail:
            complaints.append("must not fail")
        if ended.code > 0 and (ended.code not in CODES or "stubsave:" not in ended.message):
            complaints.append("the exit code is not documented, or nothing is said")
        self.clean()
        left = set(os.listdir(self.folder)) - self.before
        if left:
            complaints.append(f"left behind: {left}")
        self.say(what, ended, complaints)

    def say(self, what: str, ended: Ended, complaints: list[str]) -> None:
        self.passed += not complaints
        self.failed += bool(complaints)
        if complaints:
            print(f"FAILED {what}: exit {ended.code}, {ended.message.strip()!r}: "
                  + "; ".join(complaints), flush=True)

    def is_right(self, out: Path, is_writing: bool) -> bool:
        if not out.exists():
            return False
        if not is_writing:
            return out.read_bytes() == self.state.read_bytes()
        return self.read_back(out) == self.state.read_bytes()

    def read_back(self, disk: Path) -> bytes | None:
        done = subprocess.run([self.stubsave, "read", "--max-state=1GiB", disk],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self.folder)
        return done.stdout if done.returncode == 0 else None

    def failing_calls(self) -> None:
        for is_writing, words, calls in ((True, ["write", "out"], WRITE_CALLS),
                                         (False, ["read", "good", "-o", "out"], READ_CALLS)):
            for call in calls:
                count = self.calls(words, call)
                if count == 0:
                    continue
                for number in sorted({1 + (count - 1) * i // (POINTS - 1) for i in range(POINTS)}):
                    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={number}"]
                    self.judge(f"{words[0]}, {call} {number} of {count}",
                               self.run(words, inject), is_writing)

    def lying_disk(self) -> None:
        """The write is said to have gone well, and nothing was stored."""
        for number in 1, 3, 6, 9:
            inject = ["-e", "trace=pwrite64",
                      "-e", f"inject=pwrite64:retval={MIB}:when={number}"]
            ended = self.run(["write", "--codec", "none", "out"], inject)
            out = self.folder / "out"
            complaints = []
            if ended.code == 0:
                verdict = self.run(["verify", "out"])
                if verdict.code not in (2, 3, 4):
                    complaints.append(f"verify gave {verdict.code}")
            elif out.exists():
                complaints.append("an output after a failure")
            self.clean()
            self.say(f"write {number} is a lie", ended, complaints)

    def short_writes(self) -> None:
        """EFBIG after a write that took a part."""
        for limit in 5_000_001, 9_999_999, 16_000_000:
            ended = self.run(
                ["write", "--codec", "none", "out"],
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            complaints = [] if ended.code == 11 else ["exit 11 was to be expected"]
            self.say(f"no more than {limit} bytes", ended, complaints)
            self.judge(f"no more than {limit} bytes", ended, True)
            ended = self.run(
                ["read", "good", "-o", "out"],
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            self.judge(f"read, no more than {limit} bytes", ended, False)

    def without_threads(self) -> None:
        for when in "1+", "2+":
            inject = ["-e", "trace=clone,clone3", "-e", f"inject=clone3:error=EAGAIN:when={when}",
                      "-e", f"inject=clone:error=EAGAIN:when={when}"]
            ended = self.run(["write", "out"], inject)
            self.judge(f"write, no thread from {when}", ended, True, may_fail=False)

    def signals(self, count: int) -> None:
        for is_writing, words in (True, ["write", "out"]), (False, ["read", "good", "-o", "out"]):
            begin = time.monotonic()
            self.judge("a clean run", self.run(words), is_writing, may_fail=False)
            whole = time.monotonic() - begin
            for index in range(count):
                number = SIGNALS[index % len(SIGNALS)]
                with self.state.open("rb") as state:
                    process = subprocess.Popen(
                        [self.stubsave, words[0], "--max-state=1GiB", *words[1:]], stdin=state,
                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.folder)
                    time.sleep(whole * 1.1 * index / count)
                    process.send_signal(number)
                    message = process.communicate(timeout=SECONDS)[1].decode("ascii", "replace")
                ended = Ended(process.returncode, message)
                complaints = [] if ended.code in (0, -number) else ["neither 0 nor the signal"]
                self.say(f"{words[0]}, {number.name}", ended, complaints)
                self.judge(f"{words[0]}, {number.name}", ended, is_writing)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stubsave", required=True)
    parser.add_argument("--signals", type=int, default=30)
    options = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="stubsave-long-", dir=memory) as scratch:
        long = Long(options.stubsave, Path(scratch))
        long.without_threads()
        long.short_writes()
        long.lying_disk()
        long.signals(options.signals)
        long.failing_calls()
        print(f"long streams: {long.passed} passed, {long.failed} failed")
        return 1 if long.failed else 0


if __name__ == "__main__":
    sys.exit(main())
