"""`xl migrate` from one machine's dom0 to another's, of another release, while the guest runs. Both have the guest's
disk, in a share of theirs; xl's two ends talk over a line that joins the machines. The guest goes on in the
other one exactly where it stopped in the first."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import line
from dom0 import Score, expect, good, nothing_left
from evacuation import HEARD_SECONDS, KINDS
from guests import run
from hvm import HVM, all_traces, xl
from line import Line
from saves import counting
from serials import Serials, all_serials

SHARED = Path("/mnt/joined")


def begin() -> Serials:
    """What both machines want first."""
    SHARED.mkdir(exist_ok=True)
    run("mount", "-t", "9p", "-o", "trans=virtio,version=9p2000.L,cache=none,msize=512000", "joined", str(SHARED))
    good("hooks", "install", "xl")
    return all_serials()


# The cases: both machines have them in the same order. The receiving one is told when to begin.

def sends(score: Score, _is_full: bool) -> None:
    """Of the older release."""
    serials = begin()
    for kind, has_stubdomain in KINDS.items():
        def whole(kind: str = kind, has_stubdomain: bool = has_stubdomain) -> str:
            with nothing_left(look=all_traces):
                return goes(serials, kind, has_stubdomain=has_stubdomain)
        score.case(f"goes, QEMU in {kind}", whole)


def goes(serials: Serials, kind: str, *, has_stubdomain: bool) -> str:
    """It counts here, and no more."""
    with counting(kind, serials, has_stubdomain=has_stubdomain, disk=SHARED / f"{kind}.disk") as guest:
        guest.wait_for_lap()
        port = guest.port
        tell(b"begin")
        outcome = xl("migrate", "-s", "", kind, f"python3 {line.__file__}")
        said = None
        try:
            expect(outcome.code == 0, f"{outcome}\n{guest.proxy_log()[-1500:]}")
            serials.wait_until_closed(port, HEARD_SECONDS)
            said = json.dumps({"said": guest.said().decode()}).encode()
        finally:
            tell(said)
    return f"{outcome.seconds:.1f} s, {len(guest.said())} bytes said here"


def tell(word: bytes | None) -> None:
    """The other machine."""
    other = Line()
    other.send(word)
    other.close()


def receives(score: Score, _is_full: bool) -> None:
    """Of the newer."""
    serials = begin()
    for kind, has_stubdomain in KINDS.items():
        other = Line()
        # For as long as it takes: time passes here while the other machine works.
        word = other.receive()

        def whole(kind: str = kind, has_stubdomain: bool = has_stubdomain) -> str:
            expect(word == b"begin", "the other machine does not begin")
            with nothing_left(look=all_traces):
                return comes(other, serials, kind, has_stubdomain=has_stubdomain)
        score.case(f"comes, QEMU in {kind}", whole)
        other.close()


def comes(other: Line, serials: Serials, kind: str, *, has_stubdomain: bool) -> str:
    """Its next letters and its next lap."""
    guest = HVM(kind, serials, has_stubdomain=has_stubdomain, disk=SHARED / f"{kind}.disk", is_new=False)
    try:
        with subprocess.Popen(["xl", "migrate-receive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as receiver:
            assert receiver.stdin and receiver.stdout
            target = os.dup(receiver.stdin.fileno())
            receiver.stdin.close()
            other.carry(receiver.stdout.fileno(), target)
            other.send(str(receiver.wait()).encode())
        said = other.receive()
        expect(said, f"xl migrate has failed there; here: exit {receiver.returncode}\n{guest.proxy_log()[-1500:]}")
        guest.goes_on_from(json.loads(said)["said"].encode())
        guest.look()
        guest.wait_until_counting()
        guest.wait_for_lap()
        return guest.check_counting()
    finally:
        guest.destroy()
