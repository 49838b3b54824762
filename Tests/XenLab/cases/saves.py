"""What it is all for: `xl save`, `xl restore` and `xl migrate`, unchanged, of HVM guests with a Linux
stubdomain. The guest goes on exactly where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from dom0 import Outcome, Score, Wrong, expect, good, nothing_left
from guests import node, run
from hvm import BANNER, HVM, all_traces
from savefile import emulator_states, qemus, told
from serials import Serials, all_serials

MAGIC = b"QEVM"
# Of the file that QEMU writes to, which only the agent has a name for.
SUM = ("for f in /proc/$(pidof stubsave-agent)/fd/*; do case $(readlink $f) in "
       "/memfd:*|/state*) wc -c <$f; sha256sum <$f; break;; esac; done")


@contextmanager
def counting(name: str, serials: Serials, **options: Any) -> Iterator[HVM]:
    """A guest that runs; destroyed afterwards."""
    guest = HVM(name, serials, **options)
    try:
        guest.create()
        guest.wait_until_counting()
        yield guest
    finally:
        guest.destroy()


def saved(guest: HVM, *flags: str) -> tuple[Outcome, bytes]:
    """A good save, with a state in it: QEMU's bytes."""
    outcome = guest.save(*flags)
    expect(outcome.code == 0, f"{outcome}\n{guest.proxy_log()[-2000:]}")
    states = emulator_states(guest.file)
    expect(len(states) == 1, f"{len(states)} states")
    state = qemus(states[0])
    expect(state.startswith(MAGIC), f"{len(state)} bytes: {state[:32]!r}")
    if "-c" in flags and guest.has_stubdomain:
        length, digest, *_ = guest.sh(SUM).split()
        found = hashlib.sha256(state).hexdigest()
        expect((int(length), digest) == (len(state), found),
               f"{len(state)} {found}, inside {length} {digest}")
    return outcome, state


def restored(guest: HVM) -> Outcome:
    """It goes on where it stopped."""
    outcome = guest.restore()
    expect(outcome.code == 0, f"{outcome}\n{guest.log()[-2000:]}\n{guest.proxy_log()[-2000:]}")
    guest.wait_until_counting()
    return outcome


def created(serials: Serials, **options: bool) -> str:
    """It boots, counts, writes, and its stubdomain listens."""
    guest = HVM("hvm", serials, **options)
    try:
        outcome = guest.create()
        guest.wait_until_counting()
        guest.wait_for_lap()
        inside = guest.sh("free -m | sed -n 2p").split()[1:] if guest.stubdomain else []
        return f"create {outcome.seconds:.1f} s, {guest.check_counting()}; memory {inside}"
    finally:
        guest.destroy()


def saved_and_restored(serials: Serials, **options: bool) -> str:
    """Once."""
    with counting("hvm", serials, **options) as guest:
        save, state = saved(guest)
        told(guest.file)
        restore = restored(guest)
        guest.wait_for_lap()
        return (f"save {save.seconds:.1f} s, {len(state)} bytes, restore {restore.seconds:.1f} s, "
                f"{guest.check_counting()}")


def checkpointed(serials: Serials) -> str:
    """A guest that goes on after being saved, again and again: each state is the newest."""
    with counting("hvm", serials) as guest:
        seconds = [saved(guest, "-c")[0].seconds for _ in range(2)]
        told(guest.file)
        guest.wait_for_lap()
        silence = guest.longest_silence()
        saved(guest)
        restored(guest)
        seconds.append(saved(guest, "-c")[0].seconds)
        saved(guest)
        restored(guest)
        guest.wait_for_lap()
        return (f"save -c {', '.join(f'{one:.1f}' for one in seconds)} s, at most {silence:.1f} s silent; "
                f"{guest.check_counting()}")


def whole_rounds(serials: Serials, count: int) -> str:
    """A guest's whole life, again and again, each time with domains, disks and proxies of its own."""
    seconds = list[str]()
    for number in range(count):
        with nothing_left(look=all_traces), counting("hvm", serials) as guest:
            checkpoint, _ = saved(guest, "-c")
            save, _ = saved(guest)
            restore = restored(guest)
            guest.wait_for_lap()
            try:
                guest.check_counting()
            except Wrong as error:
                raise Wrong(f"round {number}: {error}") from None
            seconds.append(f"{checkpoint.seconds:.1f}, {save.seconds:.1f}, {restore.seconds:.1f}")
    return f"save -c, save, restore: {'; '.join(seconds)}"


def migrated(serials: Serials) -> str:
    """To the machine where it is."""
    with counting("hvm", serials) as guest:
        outcome = guest.migrate()
        expect(outcome.code == 0, f"{outcome}\n{guest.proxy_log()[-2000:]}")
        guest.wait_until_counting()
        guest.wait_for_lap()
        return f"{outcome.seconds:.1f} s, {guest.check_counting()}"


def without_console(serials: Serials) -> str:
    """Without the QEMU in dom0 that serves the stubdomain's consoles. Its serial port is deaf then:
    the disk tells that the guest goes on."""
    with counting("hvm", serials) as guest:
        pid = node(f"/local/domain/{guest.stubdomain}/image/device-model-pid")
        expect(pid, "no QEMU in dom0")
        run("kill", "-9", str(pid))
        before = guest.wait_for_lap()
        save, state = saved(guest)
        laps = guest.laps()
        restore = restored(guest)
        expect(BANNER not in guest.said()[len(BANNER):], "booted anew")
        expect(before <= laps < guest.wait_for_lap() <= laps + 3, f"{before}, {laps} and {guest.laps()} laps")
        return f"save {save.seconds:.1f} s, {len(state)} bytes, restore {restore.seconds:.1f} s"


def two_at_once(serials: Serials) -> str:
    """Two guests are saved at the same time, and restored."""
    with counting("hvm", serials) as one, ThreadPoolExecutor() as pool:
        # The second one's stubdomain has to start within libxl's time, and the machine is slow.
        run("xl", "pause", one.name)
        with counting("other", serials) as two:
            run("xl", "unpause", one.name)
            return saved_together(one, two, pool)


def saved_together(one: HVM, two: HVM, pool: ThreadPoolExecutor) -> str:
    """How long each took."""
    ends = list(pool.map(saved, (one, two)))
    for guest in one, two:
        restored(guest)
        guest.wait_for_lap()
        guest.check_counting()
    return ", ".join(f"{outcome.seconds:.1f}" for outcome, _ in ends) + " s"


def saves(score: Score, is_full: bool) -> None:
    """All of them."""
    serials = all_serials()
    good("hooks", "install", "xl")

    def clean(name: str, body: Callable[[], str]) -> None:
        def whole() -> str:
            with nothing_left(look=all_traces):
                return body()
        score.case(name, whole)

    if is_full:  # in all the others, too
        clean("created", lambda: created(serials))
        clean("created without a stubdomain", lambda: created(serials, has_stubdomain=False))
    clean("saved and restored", lambda: saved_and_restored(serials))
    clean("saved and restored without a stubdomain",
          lambda: saved_and_restored(serials, has_stubdomain=False))
    clean("checkpointed", lambda: checkpointed(serials))
    clean("migrated", lambda: migrated(serials))
    clean("without dom0's console QEMU", lambda: without_console(serials))
    clean("two at once", lambda: two_at_once(serials))
    rounds = 25 if is_full else 3
    score.case(f"{rounds} whole rounds", lambda: whole_rounds(serials, rounds))
