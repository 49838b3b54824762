#!/usr/bin/python3
"""A program that does not run for longer than its deadline, stopped or with its whole domain paused: what it
waits for comes when it runs again, and counts.

    stopped.py --stubsave PROGRAM

The other side is a xenstored of this test's: it stops the program when its request has come, waits
until the deadline has passed, lets it run, and only then answers. A program that is not stopped gives up at its
deadline, as it should.
"""
from __future__ import annotations

import argparse
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

# A command's own for a request, and what is beyond it (Rendezvous/Cells.swift, SystemIO/WaitTime.swift).
DEADLINE_SECONDS, BEYOND_SECONDS = 10, 2
AFTER_SECONDS = 0.3  # until the answer comes, once it runs again
HEADER = struct.Struct("<4I")
XS_ERROR = 16


def answer_nothing(client: socket.socket, header: bytes) -> None:
    """There is no such node."""
    _, request, transaction, length = HEADER.unpack(header)
    while length:
        length -= len(client.recv(length))
    client.sendall(HEADER.pack(XS_ERROR, request, transaction, 7) + b"ENOENT\0")


def read(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := client.recv(count - len(data))):
        data += piece
    return data


class Xenstored:
    """Knows nothing, and answers the first request when `before_first` is done."""

    def __init__(self, path: Path, before_first: Callable[[], None]) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.before_first: Callable[[], None] | None = before_first
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            while len(header := read(client, HEADER.size)) == HEADER.size:
                first, self.before_first = self.before_first, None
                if first:
                    first()
                try:
                    answer_nothing(client, header)
                except OSError:
                    return


def listed(program: Path, stops: bool) -> tuple[int, str, float]:
    """`list` at a xenstored that is late, be it because the command was stopped."""
    with tempfile.TemporaryDirectory(prefix="stubsave-stopped-") as folder:
        path, started, running = Path(folder) / "socket", time.monotonic(), threading.Event()
        processes: list[subprocess.Popen[str]] = []

        def late() -> None:
            running.wait()
            if stops:
                os.kill(processes[0].pid, signal.SIGSTOP)
            time.sleep(DEADLINE_SECONDS + BEYOND_SECONDS)  # what is tested is that so much time passes
            if stops:
                os.kill(processes[0].pid, signal.SIGCONT)
                time.sleep(AFTER_SECONDS)

        server = Xenstored(path, late)
        processes.append(subprocess.Popen(
            [program, "list", "--xenstore", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True))
        running.set()
        said, _ = processes[0].communicate(timeout=60)
        server.listener.close()
        return processes[0].returncode, said.strip(), time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stubsave", type=Path, required=True)
    program = parser.parse_args().stubsave.resolve()
    wanted = {True: (9, "no such node"), False: (9, "did not answer in time")}
    results: dict[bool, tuple[int, str, float]] = {}
    threads = [threading.Thread(target=lambda stops=stops: results.__setitem__(stops, listed(program, stops)))
               for stops in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = 0
    for stops, (code, words) in wanted.items():
        found, said, seconds = results[stops]
        good = found == code and words in said
        failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {'stopped' if stops else 'not stopped'}: exit {found} after "
              f"{seconds:.1f} s: {said[:200]}")
    print(f"{len(wanted) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
