"""What the cases need in dom0: the program under test, what it must not leave behind, the score."""

from __future__ import annotations

import faulthandler
import json
import re
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple, TextIO

from guests import run

PROGRAM = "/run/lab/stubsave"
RUNTIME = Path("/run/stubsave")
CASES = Path("/mnt/cases.jsonl")
CASE_SECONDS = 300  # that a case lasts at most, unless all rounds are run; of the emulated machine's clock
AFTER_SECONDS = 60  # that it has then for what it does in any case, and each thing of that
SHOWN_BYTES = 200  # of what a command has printed
SETTLE_SECONDS = 5  # for dom0's kernel to let go of what nobody uses any more


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    output: bytes
    message: str
    seconds: float

    def __repr__(self) -> str:
        output = self.output[:SHOWN_BYTES] + (b"..." if len(self.output) > SHOWN_BYTES else b"")
        return f"exit {self.code} after {self.seconds:.1f} s: {self.message!r}, {output!r}"


def stubsave(*words: str, timeout: float = 300) -> Outcome:
    """Run the program."""
    start = time.monotonic()
    done = subprocess.run([PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr.decode().strip(),
                   time.monotonic() - start)


def good(*words: str, timeout: float = 300) -> Outcome:
    """The same, which must end well."""
    outcome = stubsave(*words, timeout=timeout)
    expect(outcome.code == 0, f"{words}: {outcome}")
    return outcome


def refused(code: int, *words: str, timeout: float = 300) -> Outcome:
    """The same, which must end with that code, and a reason."""
    outcome = stubsave(*words, timeout=timeout)
    expect(outcome.code == code, f"{words}: {outcome}; wanted: {code}")
    expect(outcome.message != "" and outcome.message.isascii(), f"{words}: {outcome}")
    return outcome


class Wrong(Exception):
    """A case has failed."""


def expect(condition: object, text: str) -> None:
    """What an assertion would do, whatever the interpreter's options."""
    if not condition:
        raise Wrong(text)


def traces() -> dict[str, str]:
    """All that a transfer has while it lasts, and must not have afterwards."""
    backends = run("xenstore-ls", "-f", "/local/domain/0/backend", must=False).splitlines()
    domains = run("xenstore-list", "/local/domain").split()[1:]
    own = [f"/local/domain/{domain}/{name}: {found.split()}" for domain in domains
           for name in ("stubsave", "device/vbd")
           if (found := run("xenstore-list", f"/local/domain/{domain}/{name}", must=False)
               ).find("could not list") < 0]
    # Of a domain that is there: a guest that was restored has another number than before.
    allowed = {"turn", *(f"proxy-{domain}" for domain in domains)}
    processes = list[str]()
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # has ended meanwhile
            processes.append(comm.read_text().strip())
    return {
        "vbd nodes": "\n".join(line for line in backends if "/vbd" in line),
        "domains' nodes": "\n".join(own),
        "loop devices": run("losetup", "-a"),
        "files in /run/stubsave": "\n".join(sorted(
            path.name for path in RUNTIME.glob("*") if path.name not in allowed)),
        "files in /var/tmp": "\n".join(sorted(map(str, Path("/var/tmp").iterdir()))),
        "processes": "\n".join(name for name in processes if name == "stubsave"),
    }


@contextmanager
def nothing_left(before: dict[str, str] | None = None,
                 look: Callable[[], dict[str, str]] = traces) -> Iterator[None]:
    """Whatever happens within, dom0 is afterwards as it was."""
    before = before or look()
    yield
    deadline = time.monotonic() + SETTLE_SECONDS
    while (after := look()) != before and time.monotonic() < deadline:
        time.sleep(0.1)  # dom0's kernel tells nobody
    for name, found in after.items():
        expect(found == before[name], f"left behind, {name}:\n{found}\nbefore:\n{before[name]}")


def too_long(_: int, frame: FrameType | None) -> None:
    """Ends whatever a case waits for, and says where that was."""
    places = [f"{Path(place.filename).stem}.{place.name}:{place.lineno}"
              for place in traceback.extract_stack(frame)]
    raise TimeoutError(f"lasts too long, in {' '.join(places[-8:])}")


class Score:
    """Cases, a line each, to the machine's port as well."""

    def __init__(self, port: TextIO, *, has_limit: bool = True) -> None:
        self.passed = self.failed = 0
        self._suite = self._only = ""
        self._seconds = CASE_SECONDS if has_limit else 0
        self._port = port

    def begin(self, suite: str, only: str) -> None:
        """Of which are run what `only` is found in."""
        self._suite, self._only = suite, only

    def say(self, text: str) -> None:
        """A line for whoever runs the lab."""
        print(text, flush=True)
        self._port.write(text + "\n")
        self._port.flush()

    def tell(self, **values: object) -> None:
        """The same for programs (results.py)."""
        with CASES.open("a", encoding="ascii") as file:
            file.write(json.dumps(values) + "\n")

    def clean(self, name: str, body: Callable[[], str | None]) -> None:
        """Run one, which must leave nothing behind."""
        def whole() -> str | None:
            with nothing_left():
                return body()
        self.case(name, whole)

    def wants(self, name: str) -> bool:
        """Whether a case of that name is to be run."""
        return re.search(self._only, name) is not None

    def case(self, name: str, body: Callable[[], str | None]) -> None:
        """Run one, if it is wanted."""
        if not self.wants(name):
            return
        start = time.monotonic()
        try:
            said, result = self._run(body) or "", "ok"
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            said, result = str(error) or type(error).__name__, "failed"
        seconds = time.monotonic() - start
        self.tell(suite=self._suite, case=name, result=result, seconds=round(seconds, 2), said=said)
        if result == "ok":
            self.passed += 1
            self.say(f"ok     {name} ({seconds:.1f} s)" + (f": {said}" if said else ""))
        else:
            self.failed += 1
            self.say(f"FAILED {name}: {said} ({seconds:.1f} s)")

    def _run(self, body: Callable[[], str | None]) -> str | None:
        """Within its time."""
        signal.signal(signal.SIGALRM, too_long)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, AFTER_SECONDS)
        if self._seconds:
            # For what no signal ends.
            faulthandler.dump_traceback_later(self._seconds + 3 * AFTER_SECONDS, file=self._port)
        try:
            return body()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
