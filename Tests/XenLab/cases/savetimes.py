"""How long `xl save` and `xl restore` take: with a QEMU in dom0, with one in a stubdomain and stubsave,
and with the consoles, as far as they work: a table."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

from dom0 import Score, expect, good
from hvm import HVM
from savefile import emulator_states
from saves import counting, restored, saved
from serials import Serials, all_serials

ROUNDS = 3
TABLE = Path("/mnt/saves.md")
MAGIC = b"QEVM"
HELD = re.compile(r"(\d+) ms after QEMU's reply")


class Times:
    """Of one way, in seconds."""

    def __init__(self) -> None:
        self.saves, self.restores = list[float](), list[float]()
        self.silences, self.held = list[float](), list[float]()

    def cells(self) -> list[str]:
        """Medians; a dash for what there is not."""
        return [f"{statistics.median(times):.2f} s" if times else "–"
                for times in (self.saves, self.silences, self.restores, self.held)]


def measured(guest: HVM, times: Times) -> None:
    """Saved and let go on, saved and restored, again and again."""
    for _ in range(ROUNDS):
        times.saves.append(saved(guest, "-c")[0].seconds)
        guest.wait_until_counting()
        times.silences.append(guest.longest_silence())
        saved(guest)
        times.restores.append(restored(guest).seconds)
        guest.check_counting()


def in_dom0(serials: Serials, times: Times) -> str:
    """No stubdomain."""
    with counting("hvm", serials, has_stubdomain=False) as guest:
        measured(guest, times)
    return ", ".join(times.cells())


def over_disk(serials: Serials, times: Times) -> str:
    """stubsave."""
    with counting("hvm", serials) as guest:
        for _ in range(ROUNDS):
            saved(guest, "-c")
            times.held.append(int(HELD.findall(guest.proxy_log())[-1]) / 1000)
        measured(guest, times)
    return ", ".join(times.cells())


def over_consoles(serials: Serials, times: Times) -> str:
    """Unmodified libxl and its own proxy; in the stubdomain two crutches (consoles/), without which QEMU
    does not save at all. A restore through the third console never came to its end."""
    good("hooks", "remove", "xl")
    try:
        with counting("hvm", serials, arguments="consoles") as guest:
            for _ in range(ROUNDS):
                outcome = guest.save("-c")
                expect(outcome.code == 0, str(outcome))
                (state,) = emulator_states(guest.file)
                expect(state.startswith(MAGIC), f"{len(state)} bytes: {state[:16]!r}")
                times.saves.append(outcome.seconds)
                guest.wait_until_counting()
                times.silences.append(guest.longest_silence())
    finally:
        good("hooks", "install", "xl")
    return ", ".join(times.cells()[:2])


def savetimes(score: Score, _is_full: bool) -> None:
    """The table, and the file of it."""
    serials = all_serials()
    good("hooks", "install", "xl")
    ways = Times(), Times(), Times()
    for name, body, times in (("without a stubdomain", in_dom0, ways[0]), ("over a disk", over_disk, ways[1]),
                              ("over the consoles", over_consoles, ways[2])):
        score.case(f"times: {name}", lambda body=body, times=times: body(serials, times))
    titles = ("`xl save`", "guest silent in `xl save -c`", "`xl restore`", "QEMU's reply to that of the proxy")
    rows = zip(titles, *(times.cells() for times in ways))
    TABLE.write_text("\n".join([
        "| | QEMU in dom0 | stubdomain, stubsave | stubdomain, consoles with crutches |", "|---|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in rows), ""]))
