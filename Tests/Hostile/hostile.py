#!/usr/bin/python3
"""Let stubsave dump and restore talk to a QEMU that misbehaves, or end them, at every answer.

Whatever QEMU does, and whenever,
  1. stubsave ends, in time and with bounded memory, with the exit code that the fault has;
  2. a failure is explained on standard error, in printable ASCII;
  3. a file appears only if it is exactly the state with a right trailer, and nothing else is left:
     no temporary file, no loop device, no mount;
  4. a guest that stubsave has stopped is told `cont`, as long as there is a connection;
  5. SIGINT, SIGTERM and SIGKILL end it as that signal does; 3 holds, and 4 but for SIGKILL.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fakeqmp import STATES, Ended, Fake, Hook, Running, Turn, event, line, prepare, trailer_fault
from inject import Score

STATE = (STATES / "x02-pc-qubes-bios.dev").read_bytes()
PEAK_BYTES = 160 << 20  # this program's own memory counts until the child has become stubsave
LARGE_BYTES = 6 << 20  # more than a disk has at first
LINE_BYTES = 16 << 20  # a line is at most 1 MiB; sockets and what is under way come on top
MOST_SECONDS = 8  # --timeout 1, at most 5 for `cont`, and a busy machine
JOBS = 8  # most of them wait
KINDS = {"dump": "paused", "pause": "running", "restore": "inmigrate"}  # the guest's status
SHORTLY = ("--timeout", "1")
HARMLESS, REFUSED, LATE = frozenset({0}), frozenset({13}), frozenset({10})
FLOOD = event("RTC_CHANGE", offset=0, **{"qom-path": "/machine"})
MANY = FLOOD * 100_000
NESTED = "[" * 100_000 + "]" * 100_000
EVIL = "\x1b]0;x\x07\x1b[2J\r\nroot@dom0:~# \u202e\u00e9\u0085\x9b31m\x00 " + "A" * 5000
ODD = '{"status": {}, "running": "no", "fdset-id": -1.5, "fd": "0", "blocked-reasons": 5}'
TWICE = '{"status": "paused", "status": "inmigrate", "running": false, "running": true}'


def reply(turn: Turn, **content: object) -> bytes:
    """A reply to the command of this turn."""
    return line(content | ({} if turn.id is None else {"id": turn.id}))


def sending(data: bytes) -> Hook:
    """Send this instead of doing the command."""
    return lambda turn: turn.fake.send(data)


def replying(text: str, key: str = "return") -> Hook:
    """Reply with this JSON instead of doing the command."""
    return lambda turn: turn.fake.send(reply(turn, **{key: "@"}).replace(
        b'"@"', text.encode(errors="surrogateescape")))


def refusing(text: str, kind: str = "GenericError") -> Hook:
    """Reply with an error of this description."""
    return lambda turn: turn.fake.send(reply(turn, error={"class": kind, "desc": text}))


def endless(piece: bytes, start: bytes = b"") -> Hook:
    """Send this until the client has gone."""
    def hook(turn: Turn) -> None:
        turn.fake.send(start)
        while turn.fake.send(piece):
            turn.fake.line_bytes += 0 if b"\n" in piece else len(piece)
    return hook


def after(what: bytes, turn: Turn) -> None:
    """Send something before the right answer."""
    turn.fake.send(what)
    turn.fake.send(turn.perform())


def cut(turn: Turn) -> None:
    """End within the right answer."""
    turn.fake.send(turn.perform()[:-5])
    turn.fake.hang_up()


def bytewise(turn: Turn) -> None:
    """Give the right answer in packets of one byte."""
    for byte in turn.perform():
        turn.fake.send(bytes([byte]))


def reset(turn: Turn) -> None:
    """Close the connection before what the client has sent is read: it is reset."""
    turn.fake.hang_up()


reset.before_reading = True  # type: ignore[attr-defined]


def hold(turn: Turn) -> None:
    """Give the right answer only after the test's signal, and what the client then does."""
    answer = turn.perform()
    turn.fake.reached.set()
    turn.fake.go_on.wait()
    turn.fake.wait_readable(1)
    turn.fake.send(answer)


def scribble(turn: Turn) -> None:
    """Go on writing where the state has been saved to, after having said that it is done."""
    descriptor = os.dup(next(iter(turn.fake.fdsets.values()))[0])
    answer = turn.perform()

    def write() -> None:
        for number in itertools.count():
            if turn.fake.over.is_set():
                break
            os.pwrite(descriptor, os.urandom(512), number * 512 % len(STATE))
        os.close(descriptor)

    threading.Thread(target=write).start()
    turn.fake.send(answer)


class Fault(NamedTuple):
    """What QEMU does instead of answering, and what stubsave makes of it."""

    name: str
    hook: Hook
    codes: frozenset[int] = REFUSED
    options: tuple[str, ...] = ()
    may_pass_at: Iterable[str] = ()  # answers without which stubsave may do

    def codes_at(self, point: str) -> frozenset[int]:
        """The exit codes that are right."""
        codes = self.codes | (HARMLESS if point in self.may_pass_at else frozenset())
        if point == "remove-fd":  # the state is there, and QEMU drops the set with its client
            codes |= HARMLESS
        if point == "greeting":  # nothing may come before it
            codes |= REFUSED
        if point.startswith("migrate-") and self.may_pass_at == NO_CONTENT:
            codes |= LATE  # what was not done has no events
        if point == "MIGRATION":  # a reply where events are waited for is another client's
            codes |= LATE
        return codes


METADATA = ("qom-get",)
NO_CONTENT = ("qom-get", "stop", "cont")
FAULTS = (
    Fault("error", refusing("not now"), may_pass_at=METADATA),
    Fault("error with escapes", refusing(EVIL, EVIL), may_pass_at=METADATA),
    Fault("error without text", replying("{}", "error"), may_pass_at=METADATA),
    Fault("error that is text", replying('"no"', "error"), may_pass_at=METADATA),
    Fault("garbage", sending(b"\xff\x00\x1b[31m}{]\r\n")),
    Fault("array", sending(b'["return"]\r\n')),
    Fault("number", sending(b"42\r\n")),
    Fault("invalid UTF-8", replying('"\udcc3("')),
    Fault("endless line", endless(b"a" * 65536)),
    Fault("endless string", endless(b"a" * 65536, b'{"return": "')),
    Fault("endless space", endless(b" " * 65536)),
    Fault("deep nesting", replying(NESTED)),
    Fault("deep nesting alone", sending(NESTED.encode() + b"\r\n")),
    Fault("huge number", replying("9" * 5000 + "e99999999"), REFUSED, SHORTLY, NO_CONTENT),
    Fault("another type", replying('[null, {"status": 5}]'), REFUSED, SHORTLY, NO_CONTENT),
    Fault("fields of other types", replying(ODD), REFUSED, SHORTLY, NO_CONTENT),
    Fault("keys twice", replying(TWICE), REFUSED, SHORTLY, NO_CONTENT),
    Fault("return and error", replying('{}, "error": {}'), REFUSED, SHORTLY, NO_CONTENT),
    Fault("another id", sending(line({"return": {}, "id": "of another"})), LATE, SHORTLY),
    Fault("another client's reply first", lambda turn: after(
        line({"error": {"class": "GenericError", "desc": "no"}, "id": 7}), turn), HARMLESS),
    Fault("event of another type", sending(line({"event": 5})), REFUSED | LATE, SHORTLY),
    Fault("answer twice", lambda turn: after(turn.perform(), turn), HARMLESS | REFUSED),
    Fault("many events first", lambda turn: after(MANY, turn), HARMLESS),
    Fault("events without end", endless(FLOOD * 500), LATE, SHORTLY),
    Fault("silence", lambda turn: None, LATE, SHORTLY),
    Fault("end", lambda turn: turn.fake.hang_up()),
    Fault("end within a line", cut),
    Fault("reset", reset),
    Fault("single bytes", bytewise, HARMLESS),
    Fault("two lines at once", lambda turn: turn.fake.send(FLOOD + turn.perform()), HARMLESS),
)


class Conversation(NamedTuple):
    """One run of stubsave against a fake, and what is right about it."""

    label: str
    kind: str
    hooks: Mapping[int, Hook] = {}
    codes: frozenset[int] = HARMLESS
    options: Iterable[str] = ()
    state: bytes | Iterable[bytes] = STATE
    status: str | None = None  # where it is not the one of its kind
    number: int = 0  # signal to send when a hook has set `reached`
    exact: bool = True  # else only the trailer has to fit the state


class Trials(Score):
    """Has conversations, each in a directory of its own, and judges them."""

    def __init__(self, stubsave: str, directory: Path) -> None:
        super().__init__()
        self._stubsave, self._directory, self._input = stubsave, directory, STATE
        self._input = self.have(Conversation("first", "dump"))[1]
        self.points = {kind: self.have(Conversation("clean", kind))[0].points for kind in KINDS}

    def have(self, this: Conversation) -> tuple[Fake, bytes]:
        """One conversation, with all checks; the fake, and the file if there is one."""
        with (tempfile.TemporaryDirectory(dir=self._directory) as name,
              self.watching(this.label)):
            place, is_restore = Path(name), this.kind == "restore"
            file, source = place / "out", place / "in"
            source.write_bytes(self._input)
            ends = ["restore", "-i", source] if is_restore else ["dump", "-o", file]
            ends += ["--pause"] if this.kind == "pause" else []
            with Fake(place, this.state, this.status or KINDS[this.kind], this.hooks) as fake:
                running = Running(self._stubsave, *ends, "--qmp", fake.path,
                                  *(this.options or ("--timeout", "8")))
                if this.number:
                    self.check(f"{this.label}: never came there", fake.reached.wait(10))
                    running.process.send_signal(this.number)
                    fake.go_on.set()
                ended = running.end()
            content = file.read_bytes() if file.exists() else None
            left = sorted(set(os.listdir(place)) - {"in", "out"})
        self._judge(this, fake, ended)
        said = f"{this.label}: exit {ended.code}"
        if not is_restore:
            wanted = this.state if this.exact and isinstance(this.state, bytes) else None
            fault = "" if content is None else trailer_fault(content, wanted)
            self.check(f"{said}, a file: {content is not None} {fault}",
                       (ended.code == 0) == (content is not None) and not fault)
        elif ended.code == 0:
            self.check(f"{said}, but QEMU has loaded another state", fake.loaded == STATE)
        self.check(f"{said}, left: {left}", not left)
        return fake, content or b""

    def _judge(self, this: Conversation, fake: Fake, ended: Ended) -> None:
        """What holds whatever the command is."""
        said = f"{this.label}: exit {ended.code}"
        self.check(f"{said}, not {sorted(this.codes)}: {ended.messages[:300]}",
                   ended.code in this.codes)
        self.check(f"{said}: {ended.messages_fault}", not ended.messages_fault)
        self.check(f"{said} after {ended.seconds:.1f} s", ended.seconds < MOST_SECONDS)
        self.check(f"{said}, {ended.peak_bytes >> 20} MiB", ended.peak_bytes < PEAK_BYTES)
        self.check(f"{said}, {fake.line_bytes >> 20} MiB of a line taken",
                   fake.line_bytes < LINE_BYTES)
        told = [name for name in fake.commands if name in ("stop", "cont")]
        goes_on = told[:1] == ["stop"] and told[-1] == "cont"
        is_kept = "--keep-paused" in this.options and ended.code == 0
        if not (fake.hung_up or this.number == signal.SIGKILL):
            self.check(f"{said}, the guest was told {told}",
                       goes_on is not is_kept if "stop" in told else not told)


def faults(points: Mapping[str, list[str]]) -> Iterator[Conversation]:
    """Every fault at every answer, and every signal."""
    for kind, names in points.items():
        for number, point in enumerate(names):
            where = f"{kind}, {number} {point}"
            for fault in FAULTS:
                yield Conversation(f"{where}, {fault.name}", kind, {number: fault.hook},
                                   fault.codes_at(point),
                                   SHORTLY if point == "MIGRATION" else fault.options)
            for which in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                yield Conversation(f"{where}, {which.name}", kind, {number: hold},
                                   frozenset({-which}), number=which)


def others(points: Mapping[str, list[str]]) -> Iterator[Conversation]:
    """States that are none, limits, guests in another status, and lies about the end."""
    for state in b"", b"QEV", bytes(9999), b"\x7fELF" + STATE:
        yield Conversation(f"state: {state[:5]!r}, {len(state)}", "pause", {}, REFUSED, state=state)
    saved = points["pause"].index("xen-save-devices-state")
    last = len(points["restore"]) - 1
    yield Conversation("success, nothing written", "pause", {saved: replying("{}")}, REFUSED)
    yield Conversation("written on and on", "pause", {saved: scribble},
                       HARMLESS | REFUSED | {2, 7}, exact=False)
    yield Conversation("a state without end", "pause", {}, frozenset({7}), ("--max-state", "1MiB"),
                       itertools.repeat(bytes(range(256)) * 128))
    for most, codes in (len(STATE), HARMLESS), (len(STATE) - 1, frozenset({7})):
        yield Conversation(f"at most {most} bytes", "pause", {}, codes, ("--max-state", str(most)))
    large = b"QEVM" + random.Random(1).randbytes(LARGE_BYTES)
    for kind in "dump", "pause":  # the first disk is too small, a second one is offered
        yield Conversation(f"{kind}: {len(large)} bytes of noise", kind, state=large)
    yield Conversation("noise, kept paused", "pause", {}, HARMLESS, ("--keep-paused",), large)
    yield Conversation("kept paused", "pause", {}, HARMLESS, ("--keep-paused",))
    yield Conversation("kept paused, refused", "pause", {saved: refusing("no")}, REFUSED,
                       ("--keep-paused",))
    yield Conversation("dump of a running guest", "dump", {}, REFUSED, status="running")
    yield Conversation("restore of a running guest", "restore", {}, REFUSED, status="running")
    yield Conversation("QEMU does not like the state", "restore",
                       {last: sending(event("MIGRATION", status="failed"))}, REFUSED)
    early = event("MIGRATION", status="completed")
    for number in range(1, last - 1):
        yield Conversation(f"restore, {number}, completed too early", "restore", {
            number: lambda turn: turn.fake.send(early + turn.perform()), last: sending(b"")},
            LATE, SHORTLY)


def main() -> int:
    """Read the command line, see that all is there, and have all conversations."""
    built = Path(__file__).parents[2] / ".build/release/stubsave"
    parser = argparse.ArgumentParser(description="Let stubsave talk to a QEMU that misbehaves.")
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    parser.add_argument("--only", default="", metavar="TEXT", help="labels that hold it")
    options = parser.parse_args()
    prepare((options.stubsave, "make build"))
    with tempfile.TemporaryDirectory(prefix="stubsave-hostile-") as directory:
        trials = Trials(options.stubsave, Path(directory))
        todo = [*others(trials.points), *faults(trials.points)]
        trials.each(trials.have, [(this,) for this in todo if options.only in this.label], JOBS)
        return trials.finish()


if __name__ == "__main__":
    sys.exit(main())
