"""What HVM guests say on their first serial port: heard from before they run.

The port ends in a pty in dom0. xl writes its name to xenstore before it lets the guest run; with a
stubdomain it is the stubdomain's fourth console. What is said to a pty that nobody has open is lost.
"""

from __future__ import annotations

import functools
import os
import re
import select
import threading
import time
import tty
from contextlib import suppress

from xenstore import Xenstore

NODE = re.compile(r"/local/domain/(\d+)/(?:device/console/3|serial/0)/tty")


class Serials:
    """Hears all of them, each under the domain that has the node: a thread."""

    def __init__(self) -> None:
        self._xenstore = Xenstore()
        self._xenstore.watch("/local/domain")
        self._heard = dict[int, bytearray]()
        self._times = dict[int, list[float]]()
        self._open = dict[int, int]()
        self._names = set[tuple[int, str]]()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def heard(self, domain: int) -> bytes:
        """All so far."""
        with self._changed:
            return bytes(self._heard.get(domain, b""))

    def longest_silence(self, domain: int) -> float:
        """Seconds between two things that it has said."""
        with self._changed:
            times = self._times.get(domain, [])
            return max((later - one for one, later in zip(times, times[1:])), default=0.0)

    def wait(self, domain: int, pattern: bytes, seconds: float, start: int = 0) -> bytes:
        """All so far, once something has been said after the first `start` bytes."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not re.search(pattern, (heard := bytes(self._heard.get(domain, b"")))[start:]):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"domain {domain} does not say {pattern!r}: {heard[-200:]!r}")
                self._changed.wait(left)
            return heard

    def wait_until_closed(self, domain: int, seconds: float) -> None:
        """All that it will ever say has been heard."""
        with self._changed:
            if not self._changed.wait_for(lambda: domain not in self._open.values(), seconds):
                raise TimeoutError(f"domain {domain}'s port is still there")

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._xenstore, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number != self._xenstore.fileno():
                    self._hear(number, poll)
                    continue
                while path := self._xenstore.event(0):
                    if match := NODE.fullmatch(path):
                        self._found(int(match[1]), self._xenstore.read(path), poll)

    def _found(self, domain: int, name: str | None, poll: select.poll) -> None:
        # Written empty first, and touched again later.
        if not name or (domain, name) in self._names:
            return
        self._names.add((domain, name))
        with suppress(OSError):
            number = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(number)
            self._open[number] = domain
            poll.register(number, select.POLLIN)

    def _hear(self, number: int, poll: select.poll) -> None:
        try:
            data = os.read(number, 65536)
        except BlockingIOError:
            return
        except OSError:  # the other end has gone
            data = b""
        domain = self._open[number]
        if not data:
            poll.unregister(number)
            os.close(number)
            with self._changed:
                del self._open[number]
                self._changed.notify_all()
            return
        with self._changed:
            heard = self._heard.setdefault(domain, bytearray())
            heard += data
            self._times.setdefault(domain, []).append(time.monotonic())
            self._changed.notify_all()


@functools.cache
def all_serials() -> Serials:
    """One for all suites: what two of them hear of the same port, each hears in part."""
    return Serials()
