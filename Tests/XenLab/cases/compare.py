"""Against what is there, the same bytes in the same run: Debian's block script, and a PV console.

The console has it easy: its bytes lie ready in the stubdomain, and dom0 knows how many there are. For
stubsave QEMU is asked, and everything is verified.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from dom0 import Score, expect, good
from guests import Guest, run
from stubs import DEVICES, Stub
from transfers import digest

ROUNDS = 5
STATE = Path("/tmp/state")
LARGE = 16 << 20


def seconds(body: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.monotonic()
    body()
    return time.monotonic() - start


def paired(first: Callable[[], float], second: Callable[[], float]) -> str:
    """Medians of both, in turn, and of the ratios of the pairs."""
    times = [(first(), second()) for _ in range(ROUNDS)]
    ratio = statistics.median(one / other for one, other in times)
    ours, theirs = (statistics.median(column) for column in zip(*times))
    return f"{ours:.2f} s | {theirs:.2f} s | {ratio:.2f}"


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
    disk, plain = "/tmp/disk", "/tmp/plain"
    Path(disk).unlink(missing_ok=True)
    good("allocate", disk)
    Path(plain).write_bytes(bytes(4 << 20))

    def ours() -> float:
        name = list[str]()
        took = usable(stub, lambda: name.append(good("attach", stub.name, disk).output.decode()))
        good("detach", stub.name, name[0].strip())
        return took

    def script() -> float:
        took = usable(stub, lambda: run(
            "xl", "block-attach", stub.name, f"format=raw,vdev=xvdh,access=rw,target={plain}"))
        run("xl", "block-detach", stub.name, "xvdh")
        return took

    return paired(ours, script)


def by_console(stub: Stub, file: str, size: int) -> float:
    """From the request on until a file in dom0 is whole and flushed."""
    start = time.monotonic()
    data = stub.read_raw(f"cat {file}", size)
    with open("/tmp/by-console", "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return time.monotonic() - start


def requests(stub: Stub, devices: str) -> str:
    """Request to verified file, of a real QEMU's state."""
    stub.start_qemu(devices)
    inside = stub.saved()
    size = int(inside.split()[0])
    good("dump", stub.name, "--pause", "--keep-paused", "-o", str(STATE), "--force")

    def ours() -> float:
        took = seconds(lambda: good("dump", stub.name, "--format", "raw", "--force", "-o", str(STATE)))
        expect(digest(STATE.read_bytes()) == inside, "dump: other bytes")
        return took

    def console() -> float:
        took = by_console(stub, "/tmp/saved", size)
        expect(digest(Path("/tmp/by-console").read_bytes()) == inside, "console: other bytes")
        return took

    try:
        return f"{size} bytes | {paired(ours, console)}"
    finally:
        run("xl", "unpause", stub.target.name)


def throughput(stub: Stub) -> str:
    """Bytes a second of a large stream, once they flow."""
    disk = "/tmp/disk"
    Path(disk).unlink(missing_ok=True)
    good("allocate", disk, "--size", "20MiB")
    stub.sh(f"head -c {LARGE} /dev/urandom > /tmp/large")
    name = good("attach", stub.name, disk).output.decode().strip()
    ours = seconds(lambda: stub.sh(f"stubsave-agent write /dev/{name} < /tmp/large", timeout=300))
    good("detach", stub.name, name)
    size = LARGE >> 4
    theirs = seconds(lambda: stub.read_raw(f"head -c {size} /tmp/large", size)) * (LARGE / size)
    stub.sh("rm /tmp/large")
    return (f"{LARGE / ours / 1e6:.1f} MB/s | {LARGE / theirs / 1e6:.2f} MB/s | "
            f"{theirs / ours:.0f} times")


def compare(score: Score, first: Stub, _second: Stub, _is_full: bool) -> None:
    """A table."""
    score.case("| attach to usable, against xl block-attach |", lambda: attaching(first))
    score.case("| throughput, against hvc0 |", lambda: throughput(first))
    score.case("| request to file, against hvc0 |", lambda: requests(first, DEVICES["e1000"]))
    score.case("| request to file, smallest machine |", lambda: requests(first, ""))
