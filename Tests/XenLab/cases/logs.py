"""The log of a stubdomain, its first console: who writes it, and whether all of it arrives."""

from __future__ import annotations

import re
from pathlib import Path

from dom0 import expect
from guests import node
from hvm import HVM
from saves import counting
from serials import Serials

LOG = Path("/var/log/xen/qemu-dm-hvm.log")
WANTED_BYTES = 64 << 10  # the ring holds 2 KiB
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
