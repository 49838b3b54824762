"""A dump that is under way, and what stands in the agent's place meanwhile."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dom0 import PROGRAM, Outcome, Wrong, expect
from guests import node, run
from stubs import Stub

STATE = Path("/tmp/state")
DEADLINE_SECONDS = 180


class Dump:
    """One that is under way."""

    def __init__(self, *words: str, before: tuple[str, ...] = ()) -> None:
        self._start = time.monotonic()
        self.process = subprocess.Popen(
            [*before, PROGRAM, "dump", *words, "--force", "-o", str(STATE)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, *codes: int) -> Outcome:
        """Its end, which must be one of these."""
        output, message = self.process.communicate(timeout=DEADLINE_SECONDS)
        outcome = Outcome(self.process.returncode, output, message.decode().strip(),
                          time.monotonic() - self._start)
        expect(outcome.code in codes, f"{outcome}; wanted: {codes}")
        return outcome


def until(dump: Dump, what: str, found: Callable[[], object]) -> None:
    """Wait until a function gives something, while a dump is under way."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not found():
        if dump.process.poll() is not None:
            raise Wrong(f"no {what}, but {dump.end(*range(256))}")
        expect(time.monotonic() < deadline, f"no {what} in time")
        time.sleep(0.02)


def attached(stub: Stub) -> bool:
    """Whether its kernel has connected to a disk."""
    listed = run("xenstore-ls", "-f", f"/local/domain/0/backend/vbd/{stub.domid}", must=False)
    return '/state = "4"' in listed


def answered(stub: Stub, word: str) -> bool:
    """Whether it has said so."""
    return word in (node(f"/local/domain/{stub.domid}/stubsave/answer") or "")


@contextmanager
def lying(stub: Stub, what: str) -> Iterator[None]:
    """No agent, but something that lies; afterwards the agent again."""
    stub.sh("killall -9 stubsave-agent", must=False)
    stub.start_inside(what)
    try:
        yield
    finally:
        stub.sh("killall -9 python3", must=False)
        stub.start_agent()
