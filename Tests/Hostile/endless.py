#!/usr/bin/python3
"""Let stubsave's decoder come to no end, at every command that runs it.

  busy     a bug in it (planted.py) keeps the processor busy, behind all walls;
  asleep   the bug has it wait for a signal that does not come, without the system call filter;
  mute     a program in its place says nothing, and ignores the signals that may be ignored.

Each time --timeout ends the command with 10, SIGTERM and SIGINT end it at once, as a process that they
end (128+N in a shell). The decoder's process is gone then; there is no output, no temporary file, no
loop device; a guest that was stopped for `dump` runs again, and QEMU has been given nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from fakeqmp import STATES, TRAILER, Fake, Running, prepare
from inject import Score, agent_beside, is_gone
from planted import MARK, call, payload

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "fixtures")]
import savedisk  # noqa: E402
import xxhash  # noqa: E402
from recipes.save_files import libxl  # noqa: E402
from savedisk import DiskBuilder, Header  # noqa: E402

STATE = (STATES / "x01-pc-min-reset.dev").read_bytes()
PAUSE = 34  # pause(2)
BUSY = MARK + struct.pack("<Q", (1 << 64) - 1)
TICKS = 3  # of processor time, 30 ms: an honest look at so little takes less than one
TIMEOUT = 1.0
# Where others have the processor, it may take longer until the bug strikes.
MOST_TIMEOUT = 8.0
# Beyond the timeout, or after the signal; on a machine that does something else as well.
SLACK_SECONDS = 4.0
MUTE = "#!/bin/sh\ntrap '' HUP INT TERM\nexec sleep 1000\n"
# The decoder's own file, and the one that the first of these has become.
NAMES = "stubsave-decode", "sleep"
# At a time: those that want a processor each, and those that sleep.
JOBS = {True: 2, False: 6}


class Way(NamedTuple):
    """How it comes to no end."""

    name: str
    chunk: bytes  # that makes it so
    ends: tuple[int | None, ...]  # None is --timeout


# Only a decoder binds itself to its parent's end: of another program only --timeout, and signals that
# are held back, tell something.
WAYS = (
    Way("busy", BUSY, (None, signal.SIGTERM, signal.SIGINT)),
    Way("asleep", payload([call(PAUSE)]), (None, signal.SIGTERM)),
    Way("mute", payload([]), (None,)),
)


class Case(NamedTuple):
    """One run."""

    way: Way
    words: list[str]  # {} is the folder of inputs
    end: int | None
    kind: str = ""  # of the monitor that it talks to: dump, restore

    def __str__(self) -> str:
        how = "--timeout" if self.end is None else signal.Signals(self.end).name
        return f"{self.way.name}: {' '.join(self.words)}: {how}"


def inputs(chunk: bytes, place: Path) -> None:
    """A disk, a state file, and a save file that holds that, each with the chunk in it."""
    chunk = chunk.ljust(65536, b"A")
    place.mkdir()
    whole = DiskBuilder(Header(transfer_id=savedisk.transfer_id("endless")))
    whole.stream("qemu", STATE.ljust(1 << 18, b"A") + chunk)
    whole.commit()
    (place / "disk").write_bytes(whole.finish())
    builder = DiskBuilder(Header(transfer_id=savedisk.transfer_id("endless")))
    builder.stream("metadata", chunk)
    builder.commit()
    metadata = builder.finish()
    middle = struct.pack("<QQ", len(STATE), len(metadata)) + xxhash.xxh3_128_digest(STATE)
    hashed = TRAILER[16:] + middle
    state = STATE + metadata + TRAILER + middle + xxhash.xxh3_64_digest(metadata + hashed)
    (place / "state").write_bytes(state)
    (place / "container").write_bytes(bytes(libxl(state).data))


def cases() -> Iterator[Case]:
    """Every command, with every way and end."""
    for way in WAYS:
        for end in way.ends:
            for line in ("verify {}/disk", "verify {}/state", "verify {}/container",
                         "verify --progress always {}/disk", "inspect {}/disk", "inspect {}/state",
                         "read {}/disk -o out", "read {}/disk", "extract {}/container -o out",
                         "wrap {}/state -o out"):
                yield Case(way, line.split(), end)
            for line in "restore -i {}/disk", "restore -i {}/state":
                yield Case(way, line.split(), end, "restore")
        for end in (None, signal.SIGTERM, signal.SIGINT):
            for line in "dump --pause -o out", "dump --pause --format raw -o out":
                yield Case(way, line.split(), end, "dump")


def children(process: int) -> list[int]:
    """Those that it has started, and that have not been reaped."""
    with suppress(OSError):
        return [int(one) for one in
                Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def has_struck(process: int, way: Way) -> bool:
    """Whether it is a decoder that does what it is to do."""
    with suppress(OSError, IndexError):
        name, _, rest = Path(f"/proc/{process}/stat").read_text().partition("(")[2].rpartition(") ")
        fields = rest.split()
        if way.name == "busy":
            return name == NAMES[0] and int(fields[11]) + int(fields[12]) >= TICKS
        if way.name == "asleep":
            return name == NAMES[0] and (
                Path(f"/proc/{process}/syscall").read_text().startswith(f"{PAUSE} "))
        return name == NAMES[1]
    return False


class Trials(Score):
    """Runs the programs, each way in a folder of its own."""

    def __init__(self, stubsave: Path, planted: Path, place: Path) -> None:
        super().__init__()
        self._place = place
        # The planted decoder looks for this name.
        self._programs = {"busy": place / "programs", "asleep": place / "without-filter",
                          "mute": place / "mute"}
        for way in WAYS:
            directory = self._programs[way.name]
            directory.mkdir()
            for program in stubsave, Path(agent_beside(str(stubsave))):
                shutil.copy(program, directory / program.name)
            if way.name == "mute":
                (directory / "stubsave-decode").write_text(MUTE)
                (directory / "stubsave-decode").chmod(0o755)
            else:
                shutil.copy(planted, directory / "stubsave-decode")
            inputs(way.chunk, place / f"inputs-{way.name}")

    def run(self, case: Case, timeout: float = TIMEOUT) -> None:
        """One case; again with more time if that was over before the decoder came to its bug."""
        if self._run(case, timeout) and timeout < MOST_TIMEOUT:
            self.run(case, 2 * timeout)

    def _run(self, case: Case, timeout: float) -> bool:
        """Whether it was too early to tell anything."""
        with ExitStack() as stack:
            stack.enter_context(self.watching(str(case)))
            name = stack.enter_context(TemporaryDirectory(dir=self._place))
            place, spool = Path(name) / "work", Path(name) / "tmp"
            place.mkdir()
            spool.mkdir()
            # Not from /var/tmp: where a temporary file would be seen.
            environment = {**os.environ, "TMPDIR": str(spool)}
            words = [word.format(self._place / f"inputs-{case.way.name}") for word in case.words]
            if case.way.name == "asleep":
                words.append("--allow-weak-sandbox")
            words += ["--timeout", str(timeout if case.end is None else 60)]
            fake = None
            if case.kind:
                state = STATE.ljust(1 << 18, b"A") + case.way.chunk.ljust(65536, b"A")
                status = "running" if case.kind == "dump" else "inmigrate"
                fake = stack.enter_context(Fake(Path(name), state, status))
                words += ["--qmp", str(fake.path)]
            began = time.monotonic()
            running = Running(self._programs[case.way.name] / "stubsave", *words, cwd=place,
                              env=environment, stdout=subprocess.PIPE)
            decoder, others = self._await(running.process, case.way)
            if case.end is not None:
                began = time.monotonic()
                os.kill(running.process.pid, case.end)  # not reaped yet
            ended = running.end(20)
            took = time.monotonic() - began
            assert running.process.stdout
            with running.process.stdout as output:
                said = output.read()
            is_early = decoder is None and ended.code == 10
            self.check(f"{case}: it never came to that: exit {ended.code}, {ended.messages!r}",
                       decoder is not None or is_early and timeout < MOST_TIMEOUT)
            wanted = 10 if case.end is None else -case.end
            self.check(f"{case}: exit {ended.code}, {ended.messages!r}", ended.code == wanted)
            if case.end is None and not is_early:
                self.check(f"{case}: {ended.messages!r}",
                           "took too long; --timeout" in ended.messages)
            most = SLACK_SECONDS + (timeout if case.end is None else 0)
            if case.kind == "dump" and case.end is None:
                most += timeout  # the agent's own
            self.check(f"{case}: took {took:.1f} s", took < most)
            left = [one for one in others if not is_gone(one)]
            self.check(f"{case}: processes are left: {left}", not left)
            names = [*os.listdir(place), *os.listdir(spool)]
            self.check(f"{case}: left {names}, said {said!r:.100}",
                       not names and (not said or case.words[0] in ("verify", "inspect")))
            if fake is not None:
                self.check(f"{case}: the guest is {fake.status}, QEMU got {fake.loaded!r:.20}",
                           fake.status == ("running" if case.kind == "dump" else "inmigrate")
                           and fake.loaded is None)
            return is_early

    @staticmethod
    def _await(process: subprocess.Popen[bytes], way: Way) -> tuple[int | None, list[int]]:
        """The decoder, once it does what it is to do, and all that the process has started."""
        end = time.monotonic() + 20
        started = list[int]()
        while time.monotonic() < end:
            started = children(process.pid) or started
            for one in started:
                if has_struck(one, way):
                    return one, started
            with suppress(OSError):  # there is no event for what another process does
                if Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] in "ZX":
                    break
            time.sleep(0.005)
        return None, started


def main() -> int:
    """Read the command line, and try everything."""
    root = Path(__file__).parents[2]
    parser = argparse.ArgumentParser(description="Let the decoder come to no end.")
    parser.add_argument("--stubsave", default=str(root / ".build/release/stubsave"))
    parser.add_argument("--planted", default=str(root / ".build/planted/stubsave-decode"))
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose names hold it")
    options = parser.parse_args()
    prepare((options.stubsave, "make build"), (options.planted, "make planted"))
    with TemporaryDirectory(prefix="stubsave-hostile-") as name:
        trials = Trials(Path(options.stubsave).resolve(), Path(options.planted), Path(name))
        todo = [case for case in cases() if options.only in str(case)]
        for wants_processor, jobs in JOBS.items():
            some = [(case,) for case in todo if (case.way.name == "busy") is wants_processor]
            trials.each(trials.run, some, jobs)
        return trials.finish()


if __name__ == "__main__":
    sys.exit(main())
