"""Many transfers in a row, and at once: nothing grows."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dom0 import Score, expect, good, stubsave, traces
from guests import run
from stubs import DEVICES, Stub
from transfers import digest

ROUNDS, AT_ONCE = 50, 8
MOST_MEMORY_KIB = 512  # that xenstored may have grown by


def figures() -> dict[str, int]:
    """What would grow if something leaked: of xenstored, of dom0's kernel, of the files."""
    pid = Path("/run/xenstored.pid").read_text().strip()
    status = Path(f"/proc/{pid}/status").read_text()
    return {
        "xenstored's memory, KiB": int(status.split("VmRSS:")[1].split()[0]),
        "xenstored's descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "open files of all": int(Path("/proc/sys/fs/file-nr").read_text().split()[0]),
        "loop devices": len(run("losetup", "-a").splitlines()),
        "nodes": len(run("xenstore-ls", "-f").splitlines()),
        "processes": len(list(Path("/proc").glob("[0-9]*"))),
    }


def in_a_row(first: Stub, second: Stub, rounds: int) -> str:
    """A dump and a restore, again and again; the state stays the same."""
    state = Path("/tmp/state")
    first.start_qemu(DEVICES["e1000"])
    inside = None
    start, before, seconds = time.monotonic(), None, [0.0, 0.0]
    for count in range(rounds):
        state.unlink(missing_ok=True)
        seconds[0] += good("dump", first.name, "--pause", "--format", "raw", "-o",
                           str(state)).seconds
        found = digest(state.read_bytes())
        expect(inside in (None, found), f"round {count}: {found}, before {inside}")
        inside = found
        second.start_qemu(DEVICES["e1000"], incoming=True)
        seconds[1] += good("restore", second.name, "-i", str(state), "--accept-unverified").seconds
        if count == 1:
            before = figures()
    whole = time.monotonic() - start
    expect(second.saved() == inside, "saved again: another state")
    after = figures()
    for name, value in after.items():
        most = MOST_MEMORY_KIB if "KiB" in name else 64 if "open files" in name else 2
        expect(value <= before[name] + most, f"{name}: {before[name]}, then {value}")
    return (f"{rounds} in {whole:.0f} s, of which dumps {seconds[0]:.0f} s, restores {seconds[1]:.0f} s; "
            + ", ".join(
        f"{name} {before[name]} then {value}" for name, value in after.items()))


def at_once(first: Stub, second: Stub) -> str:
    """From many stubdomains at the same time."""
    others = list[Stub]()
    try:
        for number in range(AT_ONCE - 2):
            others.append(Stub(f"more{number}", first.target))
        for stub in others:
            stub.wait_until_up()
        return dumped_at_once([first, second, *others])
    finally:
        for target in first.target, second.target:
            run("xl", "unpause", target.name, must=False)
        for stub in others:
            stub.destroy()


def dumped_at_once(stubs: list[Stub]) -> str:
    """Each state is what its QEMU saves by itself."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda stub: stub.start_qemu(DEVICES["e1000"]), stubs))
    for target in {stub.target.name for stub in stubs}:
        run("xl", "pause", target)
    before = traces()
    start = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(lambda stub: stubsave(
            "dump", str(stub.domid), "--pause", "--keep-paused", "--format", "raw", "--force", "-o",
            f"/tmp/state-{stub.domid}"), stubs))
    seconds = time.monotonic() - start
    expect(all(end.code == 0 and end.message == "" for end in ends), str(ends))
    for stub in stubs:
        file = Path(f"/tmp/state-{stub.domid}")
        expect(digest(file.read_bytes()) == stub.saved(), f"{stub.name}: another state")
        file.unlink()
    expect(traces() == before, f"left behind: {traces()}\nbefore: {before}")
    each = sorted(end.seconds for end in ends)
    return f"{AT_ONCE} in {seconds:.1f} s, each {each[0]:.1f} to {each[-1]:.1f} s"


def many(score: Score, first: Stub, second: Stub, is_full: bool) -> None:
    """All of them."""
    rounds = 4 * ROUNDS if is_full else ROUNDS
    score.case(f"{rounds} in a row", lambda: in_a_row(first, second, rounds))
    score.case(f"{AT_ONCE} at once", lambda: at_once(first, second))
