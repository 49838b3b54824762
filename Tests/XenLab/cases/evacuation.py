"""From one release to the next, as who upgrades a host moves his guests: saved in one machine's dom0 by `xl save`, the
file carried, restored in another's. With a stubdomain and us on both sides, on one of them, and, for comparison,
with a QEMU in dom0 on both. The guest goes on exactly where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dom0 import Score, expect, good, nothing_left
from guests import LOCAL
from hvm import HVM, all_traces, xl
from savefile import told
from saves import counting, saved
from serials import Serials, all_serials

LEAVING, CARRIED = Path("/mnt/leaving"), Path("/mnt/carried")
# Where its QEMU is when it is saved.
KINDS = {"stubdomain": True, "dom0": False}
HEARD_SECONDS = 10


def leaves(serials: Serials, kind: str) -> str:
    """A guest that counts is saved; what it has said and its disk go with the file."""
    with counting(kind, serials, has_stubdomain=KINDS[kind]) as guest:
        guest.wait_for_lap()
        port = guest.port
        outcome, state = saved(guest)
        told(guest.file)
        serials.wait_until_closed(port, HEARD_SECONDS)
        text = guest.check_counting()
        LEAVING.mkdir(exist_ok=True)
        for file in guest.file, guest.disk:
            shutil.copyfile(file, LEAVING / file.name)
        (LEAVING / f"{kind}.json").write_text(json.dumps({"said": guest.said().decode()}))
    return f"save {outcome.seconds:.1f} s, {len(state)} bytes, {text}"


@contextmanager
def carried(serials: Serials, kind: str, *, to_stubdomain: bool) -> Iterator[HVM]:
    """One that has come, and is to be restored."""
    guest = HVM(kind, serials, has_stubdomain=to_stubdomain)
    try:
        for file in guest.file, guest.disk:
            shutil.copyfile(CARRIED / file.name, file)
        guest.goes_on_from(json.loads((CARRIED / f"{kind}.json").read_text())["said"].encode())
        yield guest
    finally:
        guest.destroy()


def arrives(serials: Serials, kind: str, *, to_stubdomain: bool, hooks: tuple[str, ...] | None) -> str:
    """Its next letters and its next lap; `hooks` are the options of those that are there."""
    good("hooks", *(("remove", "xl") if hooks is None else ("install", "xl", *hooks)))
    try:
        with carried(serials, kind, to_stubdomain=to_stubdomain) as guest:
            outcome = xl("restore", str(guest.config), str(guest.file))
            expect(outcome.code == 0, f"{outcome}\n{guest.log()[-1500:]}\n{guest.proxy_log()[-1500:]}")
            guest.look()
            guest.wait_until_counting()
            guest.wait_for_lap()
            return f"restore {outcome.seconds:.1f} s, {guest.check_counting()}"
    finally:
        good("hooks", "install", "xl")


def unverified(serials: Serials) -> str:
    """A state that was saved without us has no trailer: not restored before somebody says so."""
    with carried(serials, "dom0", to_stubdomain=True) as guest:
        outcome = xl("restore", str(guest.config), str(guest.file))
        expect(outcome.code != 0, "a state that cannot be checked was restored")
        expect("--accept-unverified" in guest.proxy_log(), guest.proxy_log()[-1500:])
    return f"refused after {outcome.seconds:.1f} s"


def departures(score: Score, _is_full: bool) -> None:
    """Of the older release."""
    serials = all_serials()
    good("hooks", "install", "xl")
    for kind in KINDS:
        def whole(kind: str = kind) -> str:
            with nothing_left(look=all_traces):
                return leaves(serials, kind)
        score.case(f"leaves, QEMU in {kind}", whole)


def arrivals(score: Score, _is_full: bool) -> None:
    """Of the newer."""
    serials = all_serials()
    LOCAL.mkdir(exist_ok=True)
    for name, kind, to_stubdomain, hooks in (
            ("comes from dom0 to dom0, without us", "dom0", False, None),
            ("comes from stubdomain to stubdomain", "stubdomain", True, ()),
            ("comes from stubdomain to dom0, without us", "stubdomain", False, None),
            ("comes from dom0 to stubdomain, accepted", "dom0", True, ("--accept-unverified",))):
        def whole(kind: str = kind, to_stubdomain: bool = to_stubdomain,
                  hooks: tuple[str, ...] | None = hooks) -> str:
            with nothing_left(look=all_traces):
                return arrives(serials, kind, to_stubdomain=to_stubdomain, hooks=hooks)
        score.case(name, whole)

    def refused() -> str:
        with nothing_left(look=all_traces):
            return unverified(serials)
    score.case("comes from dom0 to stubdomain, not accepted", refused)
