"""The log of a stubdomain, its first console: who writes it, whether all of it arrives, and how large it gets."""

from __future__ import annotations

import re
import time
from pathlib import Path

from dom0 import expect
from guests import node, run
from hvm import HVM
from saves import counting
from serials import Serials

LOG = Path("/var/log/xen/qemu-dm-hvm.log")
OLDER = LOG.with_name(f"{LOG.name}.older")
WANTED_BYTES, FLOOD_BYTES = 64 << 10, 5 << 20  # the ring holds 2 KiB
# A kernel that tells of each of its initcalls, two lines each.
TALKATIVE = "ignore_loglevel initcall_debug log_buf_len=4M"


def is_ours(guest: HVM) -> bool:
    """Where dom0's QEMU has the new console code."""
    return node(f"/local/domain/{guest.stubdomain}/console/type") == "stubsave"


def whole_at_boot(serials: Serials) -> str:
    """What the stubdomain's kernel says while it boots arrives whole, much more than its ring holds."""
    with counting("hvm", serials, arguments=TALKATIVE) as guest:
        text = LOG.read_text(errors="replace")
        expect(len(text) >= WANTED_BYTES, f"{len(text)} bytes: {text[-500:]}")
        expect("Linux version" in text and "QEMU has its monitors" in text, "the beginning or the end is not there")
        called = re.findall(r"calling +(\S+) @", text)
        returned = re.findall(r"initcall (\S+) returned", text)
        missing = sorted(set(called) ^ set(returned))
        # Modules are loaded by several processes at a time.
        expect(len(called) > 500 and len(called) == len(returned) and not missing,
               f"{len(called)} called, {len(returned)} returned, not both: {missing[:5]}")
        whose = "ours" if is_ours(guest) else "QEMU's"
        return f"{len(text)} bytes, {len(called)} initcalls, {whose}; {guest.check_counting()}"


def flooded(serials: Serials, most_bytes: int) -> str:
    """It writes to its log more than that may be: the last of it is kept, and nobody is harmed. Where QEMU
    writes the log, see `console flooded`."""
    with counting("hvm", serials) as guest:
        if not is_ours(guest):
            return "QEMU's"
        start = time.monotonic()
        guest.sh(f"i=0; while [ $i -lt {FLOOD_BYTES // 4096} ]; do echo $i; head -c 4080 /dev/zero | tr '\\0' x; echo; "
                 "i=$((i+1)); done >/dev/hvc0; echo written >/dev/hvc0", seconds=240)
        took = time.monotonic() - start
        log, older = LOG.read_bytes(), OLDER.read_bytes()
        expect(most_bytes // 2 <= len(log) + len(older) <= most_bytes, f"{len(older)} and {len(log)} bytes")
        expect(log.rstrip().endswith(b"written"), f"ends in {log[-100:]!r}")
        numbers = [int(word) for word in re.findall(rb"^([0-9]+)\r?$", older + log, re.MULTILINE)][1:]
        expect(numbers[-1] == FLOOD_BYTES // 4096 - 1 and numbers == list(range(numbers[0], numbers[-1] + 1)),
               f"{numbers[:3]} to {numbers[-3:]}")
        guest.wait_for_lap()
        return (f"{FLOOD_BYTES} bytes in {took:.1f} s, kept {len(older)} and {len(log)}; memory of the process "
                f"{memory()} KiB; {guest.check_counting()}")


def memory() -> int:
    """Of `console-log`: what is its own, not shared with others of the program."""
    (pid,) = run("pgrep", "-f", "console-log").split()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(found) for found in re.findall(r"^Private_\w+: +(\d+)", rollup, re.MULTILINE))
