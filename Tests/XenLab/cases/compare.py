"""Against what is there, the same bytes in the same run: Debian's block script, and PV consoles.

Both ways begin with a request from dom0 and end with the whole state in a file there; each asks a real
QEMU. The consoles have it easy: dom0 is told how many bytes will come, and nobody checks them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from consoles import (
    CHANNEL, Console, ThroughQEMU, ThroughXenconsoled, add_console, memory_kib)
from dom0 import PROGRAM, Score, expect, good
from guests import Guest, Target, node, run
from stubs import DEVICES, SECOND_QMP, Stub
from transfers import digest

ROUNDS, MOST_SECONDS = 5, 60
STATE, DISK = Path("/tmp/state"), "/tmp/disk"
LARGE = 16 << 20
TABLE = Path("/mnt/consoles.md")
MIB = 1 << 20


def seconds(body: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.monotonic()
    body()
    return time.monotonic() - start


def in_turn(*ways: Callable[[], float], rounds: int = ROUNDS) -> str:
    """Cells of a table: each way's median, and the median of the ratios of the first to it."""
    times = [[way() for way in ways] for _ in range(rounds)]
    ours, *others = zip(*times)
    cells = [f"{statistics.median(ours):.2f} s"]
    for other in others:
        ratio = statistics.median(one / two for one, two in zip(ours, other))
        cells.append(f"{statistics.median(other):.2f} s ({ratio:.2f})")
    return " | ".join(cells)


def usable(stub: Guest, attach: Callable[[], object]) -> float:
    """From the command on until the stubdomain has read from a disk."""
    stub.start("until for d in /dev/xvd?; do dd if=$d of=/dev/null bs=512 count=1 2>/dev/null; done; "
               "do sleep 0.02; done; echo DISK''USABLE")
    start = time.monotonic()
    attach()
    stub.until_said(b"DISKUSABLE")
    return time.monotonic() - start


def attaching(stub: Stub) -> str:
    """Attach to usable: ours against xl with Debian's script."""
    plain = Path("/tmp/plain")
    allocate()
    plain.write_bytes(bytes(4 << 20))

    def ours() -> float:
        name = list[str]()
        took = usable(stub, lambda: name.append(good("attach", stub.name, DISK).output.decode()))
        good("detach", stub.name, name[0].strip())
        return took

    def script() -> float:
        took = usable(stub, lambda: run(
            "xl", "block-attach", stub.name, f"format=raw,vdev=xvdh,access=rw,target={plain}"))
        run("xl", "block-detach", stub.name, "xvdh")
        return took

    return in_turn(ours, script)


def allocate(*options: str) -> None:
    """A disk in a plain file, anew."""
    Path(DISK).unlink(missing_ok=True)
    good("allocate", DISK, *options)


def until_there(*words: str) -> tuple[float, int]:
    """From the start of a `dump` until the state's file is there, verified: before the disk is detached.
    And the most memory that it had, in KiB."""
    STATE.unlink(missing_ok=True)
    start = time.monotonic()
    with subprocess.Popen([PROGRAM, "dump", *words, "--format", "raw", "-o", str(STATE)]) as dump:
        while not STATE.exists() and time.monotonic() < start + MOST_SECONDS:
            time.sleep(0.005)  # the consoles' files are looked at as often
        took = time.monotonic() - start
        _, status, usage = os.wait4(dump.pid, 0)
        dump.returncode = os.waitstatus_to_exitcode(status)
    expect(dump.returncode == 0, f"dump {words}: exit {dump.returncode}")
    return took, usage.ru_maxrss


class Requests:
    """A real QEMU's state, from the request to the file, all ways."""

    def __init__(self, stub: Stub, devices: str) -> None:
        self._stub = stub
        stub.start_qemu(devices)
        self._inside = stub.saved()
        self._size = int(self._inside.split()[0])
        self.peak_kib = 0

    def run(self) -> str:
        """Cells of a table."""
        run("xl", "pause", self._stub.target.name)
        try:
            return f"{self._size:,} bytes | " + in_turn(
                self._whole, self._attached, lambda: self._by(ThroughXenconsoled(self._stub)),
                lambda: self._by(ThroughQEMU(self._stub)))
        finally:
            run("xl", "unpause", self._stub.target.name)

    def _whole(self) -> float:
        took, peak = until_there(self._stub.name)
        self.peak_kib = max(self.peak_kib, peak)
        expect(digest(STATE.read_bytes()) == self._inside, "dump: other bytes")
        return took

    def _attached(self) -> float:
        allocate()
        name = good("attach", self._stub.name, DISK).output.decode().strip()
        took, _ = until_there(self._stub.name, "--disk", DISK, "--attached", name)
        good("detach", self._stub.name, name)
        expect(digest(STATE.read_bytes()) == self._inside, "dump --attached: other bytes")
        return took

    def _by(self, console: Console) -> float:
        with console:
            self._stub.start_inside(f"save_to('{SECOND_QMP}', '{console.inside}')")
            took = console.receive("echo >/tmp/request", self._size)
            self._stub.sh("killall -9 python3", must=False)
            expect(digest(console.received()) == self._inside, f"{console.inside}: other bytes")
        return took


def large(stub: Stub, is_full: bool) -> list[str]:
    """16 MiB that do not compress: rows for throughput, and for request to file."""
    stub.sh(f"head -c {LARGE} /dev/urandom > /tmp/large")
    inside = stub.sh("sha256sum /tmp/large").split()[0]
    allocate("--size", "20MiB")
    start = time.monotonic()
    name = good("attach", stub.name, DISK).output.decode().strip()
    stub.wait_for_disk(name)
    written = seconds(lambda: stub.sh(f"stubsave-agent write /dev/{name} < /tmp/large"))
    STATE.unlink(missing_ok=True)
    good("read", DISK, "-o", str(STATE))
    whole = time.monotonic() - start
    expect(digest(STATE.read_bytes()).split()[1] == inside, "read: other bytes")
    bare = seconds(lambda: stub.sh(f"dd if=/tmp/large of=/dev/{name} bs=1M conv=fsync"))
    good("detach", stub.name, name)
    size = LARGE if is_full else MIB
    stub.sh(f"head -c {size} /tmp/large > /tmp/part")
    part = stub.sh("sha256sum /tmp/part").split()[0]
    took = list[float]()
    for console in ThroughXenconsoled(stub), ThroughQEMU(stub):
        with console:
            took.append(console.receive(
                f"sh -c 'stty raw -echo; cat /tmp/part >&0' <>{console.inside}", size))
            expect(digest(console.received()).split()[1] == part, f"{console.inside}: other bytes")
    stub.sh("rm /tmp/large /tmp/part")
    note = "" if is_full else f", consoles: {size >> 20} MiB"
    rates = " | ".join(f"{size / one / 1e6:.2f} MB/s ({LARGE / written * one / size:.0f} times)" for one in took)
    times = " | ".join(f"{one * LARGE / size:.1f} s ({whole / (one * LARGE / size):.3f})" for one in took)
    return [f"throughput, 16 MiB{note} | {LARGE / written / 1e6:.1f} MB/s "
            f"(`dd` to the same disk: {LARGE / bare / 1e6:.1f}) | – | {rates}",
            f"request to file, {LARGE:,} bytes | {whole:.2f} s | – | {times}"]


def compare(score: Score, _first: Stub, _second: Stub, is_full: bool) -> None:
    """A table, and the file of it."""
    rows = list[str]()
    stub = Stub("with-channel", Target("guest3"), CHANNEL)
    stub.wait_until_up()
    add_console(stub)

    def row(text: str) -> str:
        rows.append(f"| {text} |")
        return text

    peaks = list[int]()

    def requests(devices: str) -> str:
        ways = Requests(stub, devices)
        text = row(f"request to file, {ways.run()}")
        peaks.append(ways.peak_kib)
        return text

    def memory() -> str:
        emulator = memory_kib(int(node(f"/local/domain/{stub.domid}/image/device-model-pid") or 0))
        daemon = memory_kib(int(Path("/run/xenconsoled.pid").read_text()))
        return row(f"dom0's processes, memory | one while it lasts, {max(peaks) / 1024:.1f} MiB | – | "
                   f"xenconsoled for all, {daemon / 1024:.1f} MiB | "
                   f"a QEMU for each guest, always, {emulator / 1024:.1f} MiB")

    score.case("request to file, smallest machine", lambda: requests(""))
    score.case("request to file, e1000", lambda: requests(DEVICES["e1000"]))
    score.case("16 MiB", lambda: "; ".join(row(text) for text in large(stub, is_full)))
    score.case("memory", memory)
    attach = list[str]()
    score.case("attach to usable, against xl block-attach",
               lambda: attach.append(attaching(stub)) or attach[0])
    table = ["| | stubsave | attached before | hvc0, xenconsoled | hvc1, QEMU's file |",
             "|---|---:|---:|---:|---:|", *rows, "", "| | stubsave | `xl block-attach` |", "|---|---:|---:|",
             *(f"| attach to usable | {text} |" for text in attach), ""]
    TABLE.write_text("\n".join(table))
    stub.target.destroy()  # and with it the stubdomain
