"""A QMP server that behaves like QEMU where stubsave looks, and misbehaves where a test says so.

Like QEMU it negotiates first, mixes events with replies, echoes ids, keeps descriptors until its
client has gone, truncates the one it saves to and writes pieces of 32768 bytes. A `Hook` takes the
place of one answer. The lower part is what the test programs share.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import xxhash

PIECE_BYTES = 32768  # what QEMU writes at once
NO_FILE = "fd: migration to a file is not supported. Use file: instead."  # since 11.0
MOST_BYTES = 256 << 20  # that the fake writes where nothing stops it
STATES = Path(__file__).parents[2] / "fixtures/states"
TRAILER = b"\x89STUBTRLR\r\n\x1a\n\0\0\0" + struct.pack("<II", 1, 0)  # magic, version, features
DEADLINE_SECONDS = 30  # for one stubsave; an ordinary run takes less than 0.1 s


class Turn(NamedTuple):
    """The moment of one answer; a hook may perform the command or not, and send what it likes."""

    fake: Fake
    id: Any  # the command's
    perform: Callable[[], bytes]  # do what QEMU does; its answer, events included


Hook = Callable[[Turn], object]


class Refused(Exception):
    """What QEMU answers with an error."""


def line(message: object) -> bytes:
    """One QMP message."""
    return json.dumps(message).encode() + b"\r\n"


def event(name: str, **data: object) -> bytes:
    """One QMP event."""
    stamp = {"seconds": time.time_ns() // 10**9, "microseconds": 0}
    return line({"timestamp": stamp, "event": name, "data": data})


def greeting(major: int, minor: int) -> bytes:
    """What a QEMU says first."""
    return line({"QMP": {"version": {"qemu": {"micro": 22, "minor": minor, "major": major},
                                     "package": f"Debian 1:{major}.{minor}+dfsg-7+deb12u13"},
                         "capabilities": ["oob"]}})


class Fake:
    """A QEMU as far as QMP shows it, at the socket `qmp` in a directory; for one `with` block.

    Its answers are numbered from the greeting, 0, on; the events after a load count as one. The state
    is what it saves, and, if it waits for one, what it takes for a whole one."""

    def __init__(self, directory: Path, state: bytes | Iterable[bytes] = b"",
                 status: str = "paused", hooks: Mapping[int, Hook] | None = None,
                 release: tuple[int, int] = (7, 2)) -> None:
        self.path, self.state, self.status = directory / "qmp", state, status
        self.hooks, self.points, self.commands = hooks or {}, list[str](), list[str]()
        self.blocked = list[str]()  # why it says that it cannot be saved
        self.fdsets, self.names = dict[int, list[int]](), dict[str, int]()
        self.loaded: bytes | None = None  # what came by migrate-incoming, if it is a whole state
        self.incoming: int | None = None  # the descriptor that it comes by
        self.ended = b""  # what was said of the last load's end
        self.why = "load of migration failed: Invalid argument"  # if it is none
        self.left, self.kept = 0, list[str]()  # of a state, and descriptors, when the client went
        self._release, self._ends_by_itself, self._has_failed = release, True, False
        self.hung_up, self.line_bytes = False, 0  # what hooks did: the end, a line without end
        self.reached, self.go_on = threading.Event(), threading.Event()  # for hooks that wait
        self.over = threading.Event()  # a client has gone
        self._files = threading.Lock()  # held while a save writes, or all are closed
        self._negotiated = self._tells_migration = False
        self._rights, self._text = list[int](), ""
        self._peer, self._listener = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Fake:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End; of a client that has gone, after all that it has sent has been read."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(0 if kind else 5)
        self.hang_up(self.hung_up)
        self.go_on.set()
        self._thread.join()
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def hang_up(self, is_told: bool = True) -> None:
        """End the connection, as a QEMU that ends."""
        self.hung_up = is_told
        with suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)

    def send(self, data: bytes) -> bool:
        """Whether all of it could be sent; if not, the client has gone."""
        with suppress(OSError):
            self._peer.sendall(data)
            return True
        return False

    def wait_readable(self, seconds: float | None = None) -> bool:
        """Whether the client sends something, or goes, in that time."""
        return bool(select.select([self._peer], [], [], seconds)[0])

    def _serve(self) -> None:
        with suppress(OSError):  # the listener's end
            while True:
                self._peer = self._listener.accept()[0]
                self._text, self._negotiated = "", False
                with self._peer:
                    self._converse()
                with self._files:
                    self.kept = list(self.names)
                    sets = [*self.fdsets.values(), self.names.values(), self._rights]
                    for descriptor in [one for group in sets for one in group]:
                        os.close(descriptor)
                    self.fdsets, self.names, self._rights = {}, {}, []
                if self.incoming is not None:
                    with open(self.incoming, "rb", buffering=0) as pipe:
                        while piece := pipe.read(PIECE_BYTES):
                            self.left += len(piece)
                    self.incoming = None
                self.over.set()

    def _converse(self) -> None:
        self._answer(lambda: greeting(*self._release), "greeting")
        while not getattr(self.hooks.get(len(self.points)), "before_reading", False):
            if (message := self._receive()) is None:
                return
            name = str(message.get("execute"))
            self.commands.append(name)
            self._answer(lambda: self._execute(name, message), name, message.get("id"))
            if name == "migrate-incoming" and self.incoming is not None:
                self._answer(self.load, "MIGRATION")
        self.wait_readable()  # a UNIX connection that is closed with data unread is reset
        self.hung_up = True

    def _answer(self, perform: Callable[[], bytes], point: str, identity: Any = None) -> None:
        hook = self.hooks.get(len(self.points))
        self.points.append(point)
        if hook is not None:
            hook(Turn(self, identity, perform))
        else:
            self.send(perform())

    def _receive(self) -> dict[str, Any] | None:
        """The next command; None if the client has gone. Like QEMU's parser it needs no newline."""
        while True:
            self._text = self._text.lstrip()
            with suppress(ValueError):
                message, end = json.JSONDecoder().raw_decode(self._text)
                self._text = self._text[end:]
                return dict(message)
            data, rights = b"", list[int]()
            with suppress(OSError):
                data, rights, _, _ = socket.recv_fds(self._peer, 65536, 8)
            self._rights += rights
            if not data:
                return None
            self._text += data.decode()

    def _execute(self, name: str, message: dict[str, Any]) -> bytes:
        """Do a command; the events that QEMU sends before the reply, and the reply."""
        before, answer = self.status, {"id": message["id"]} if "id" in message else {}
        try:
            if not self._negotiated and name != "qmp_capabilities":
                raise Refused("Expecting capabilities negotiation")
            answer["return"] = self._do(name, message.get("arguments", {}))
        except Refused as error:
            answer["error"] = {"class": "GenericError", "desc": str(error)}
        told = {"paused": event("STOP"), "running": event("RESUME")}
        return (told[self.status] if self.status != before else b"") + line(answer)

    def _do(self, name: str, given: dict[str, Any]) -> object:
        match name:
            case "qmp_capabilities":
                self._negotiated = True
            case "query-status":
                return {"status": self.status, "singlestep": False,
                        "running": self.status == "running"}
            case "query-migrate":
                failed = {"status": "failed", "error-desc": self.why} if self._has_failed else {}
                return failed | ({"blocked-reasons": self.blocked} if self.blocked else {})
            case "quit":
                self.hang_up()
            case "closefd" if given["fdname"] in self.names:
                os.close(self.names.pop(given["fdname"]))
            case "qom-get" if given == {"path": "/machine", "property": "type"}:
                return "pc-i440fx-7.2-machine"
            case "stop" | "cont":
                self.status = "paused" if name == "stop" else "running"
            case "add-fd":
                number = given.get("fdset-id", max(self.fdsets, default=0) + 1)
                self.fdsets.setdefault(number, []).append(self._right())
                return {"fdset-id": number, "fd": self.fdsets[number][-1]}
            case "remove-fd":
                for descriptor in self.fdsets.pop(given["fdset-id"], []):
                    os.close(descriptor)
            case "xen-save-devices-state":
                self.save(given["filename"])
            case "getfd":
                self.names[given["fdname"]] = self._right()
            case "migrate-set-capabilities":
                self._tells_migration |= {"capability": "events", "state": True} in (
                    given["capabilities"])
            case "migrate-incoming":
                if set(given) - {"uri"} and self._release < (9, 1):
                    raise Refused("Parameter 'exit-on-error' is unexpected")
                self._ends_by_itself = given.get("exit-on-error", True)
                name = given["uri"].removeprefix("fd:")
                if (self.status, self.loaded) != ("inmigrate", None) or name not in self.names:
                    raise Refused("no descriptor of that name, or nothing is to come in")
                if S_ISREG(os.fstat(self.names[name]).st_mode) and self._release >= (11, 0):
                    raise Refused(NO_FILE)
                self.incoming = self.names.pop(name)
            case _:
                raise Refused(f"The command {name} has not been found")
        return {}

    def _right(self) -> int:
        if not self._rights:
            raise Refused("No file descriptor supplied via SCM_RIGHTS")
        return self._rights.pop(0)

    def save(self, filename: str) -> None:
        """Write the state as QEMU does; after a failure it keeps the descriptor."""
        with self._files:
            self._save(filename)

    def _save(self, filename: str) -> None:
        fits = [fd for number, fdset in self.fdsets.items() for fd in fdset
                if filename == f"/dev/fdset/{number}"
                and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY]
        pieces: Iterable[bytes] = self.state if not isinstance(self.state, bytes) else (
            self.state[at:at + PIECE_BYTES] for at in range(0, len(self.state), PIECE_BYTES))
        written = 0
        try:
            descriptor = fcntl.fcntl(fits[0], fcntl.F_DUPFD_CLOEXEC, 3)
            self.names["used for a save"] = descriptor
            os.ftruncate(descriptor, 0)
            for piece in pieces:
                written += os.write(descriptor, piece)
                if written > MOST_BYTES:
                    raise OSError("nothing limits what is written")
        except (IndexError, OSError) as error:
            raise Refused(f"{filename}: {error}") from error
        os.close(self.names.pop("used for a save"))

    def load(self) -> bytes:
        """Read the state, no further than QEMU does; the events of that. A QEMU that has not been told
        otherwise ends if it is none."""
        if self.incoming is None:  # a hook that performs it twice: the same events again
            return self.ended
        data, wanted = bytearray(), len(self.state) if isinstance(self.state, bytes) else 0
        with open(self.incoming, "rb", buffering=0) as pipe:
            self.incoming = None
            while (not wanted or len(data) < wanted) and (piece := pipe.read(PIECE_BYTES)):
                data += piece
        content = bytes(data[:wanted or None])
        self.ended = self._end_load(content, content == self.state if wanted else data.startswith(b"QEVM"))
        return self.ended

    def take(self, data: bytes) -> None:
        """End a load with what a hook has read; it is a state or not."""
        self.send(self._end_load(data, data == self.state))

    def fail(self, why: str) -> None:
        """End a load that a hook has begun."""
        self.why = why
        self.send(self._end_load(b"", False))

    def refuse(self, identity: Any, why: str) -> None:
        """Answer a command with an error."""
        answer = {"error": {"class": "GenericError", "desc": why}}
        self.send(line(answer | ({} if identity is None else {"id": identity})))

    def _end_load(self, data: bytes, good: bool) -> bytes:
        self.loaded, self._has_failed = data if good else None, not good
        self.status = "paused" if good else "inmigrate"
        ends = "setup", "active", "completed" if good else "failed"
        events = b"".join(event("MIGRATION", status=status) for status in ends)
        if not good and self._ends_by_itself:
            self.send(events)
            self.hang_up()
            return b""
        return events if self._tells_migration else b""


class Ended(NamedTuple):
    """How a program ended: its exit code or -signal, what it said, and what it cost."""

    code: int
    output: bytes
    messages: str
    seconds: float
    peak_bytes: int

    @property
    def messages_fault(self) -> str:
        """What is wrong with its messages; empty if nothing is."""
        if any(not (" " <= one <= "~" or one == "\n") for one in self.messages):
            return f"not printable: {self.messages!r:.300}"
        return "" if self.code <= 0 or self.messages.strip() else "without a message"


class Running:
    """A program in the background, with its output in files."""

    def __init__(self, *command: object, **options: Any) -> None:
        self._files, self._start = (TemporaryFile(), TemporaryFile()), time.monotonic()
        given: Any = {"stdin": subprocess.DEVNULL, "stdout": self._files[0]} | options
        self.process = subprocess.Popen([str(word) for word in command], stderr=self._files[1],
                                        **given)
        self._handle = os.pidfd_open(self.process.pid)

    def end(self, seconds: float = DEADLINE_SECONDS) -> Ended:
        """Wait for its end, and reap it; what takes longer is killed, and shows -SIGKILL."""
        if not select.select([self._handle], [], [], seconds)[0]:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        _, status, usage = os.wait4(self.process.pid, 0)
        os.close(self._handle)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        with self._files[0] as file, self._files[1] as messages:
            file.seek(messages.seek(0))
            return Ended(self.process.returncode, file.read(), messages.read().decode("latin-1"),
                         time.monotonic() - self._start, usage.ru_maxrss * 1024)


def trailer_fault(file: bytes, state: bytes | None = None) -> str:
    """What is wrong with a state file (save-disk.md, section 10); empty if nothing is."""
    footer = file[-64:].rjust(64)
    size, metadata_bytes = struct.unpack("<24xQQ24x", footer)
    faults = {
        "no trailer": footer[:24] != TRAILER,
        "lengths that do not fit": size + metadata_bytes + 64 != len(file),
        "a wrong digest": xxhash.xxh3_128_digest(file[:size]) != footer[40:56],
        "a wrong hash": xxhash.xxh3_64_digest(file[size:-64] + footer[16:56]) != footer[56:],
        "another state": state not in (None, file[:size]),
    }
    return ", ".join(fault for fault, holds in faults.items() if holds)


def prepare(*programs: tuple[str, str]) -> None:
    """See that all is there, and that a signal ends a test program in order."""
    absent = [(name, f"({way})") for name, way in programs if shutil.which(name) is None]
    absent += [("root", "for loop devices")] if os.geteuid() else []
    for name, way in absent:
        print("needs", name, way, file=sys.stderr)
    if absent:
        sys.exit(2)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
