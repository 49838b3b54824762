#!/usr/bin/python3
"""Runs in the lab's dom0: the suites that are named, a line a case, and the sum."""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from compare import compare  # noqa: E402
from dom0 import Score  # noqa: E402
from faults import faults  # noqa: E402
from guests import Target, fetch, run  # noqa: E402
from many import many  # noqa: E402
from restores import agentless, restores  # noqa: E402
from savefaults import lost, savefaults  # noqa: E402
from saves import saves  # noqa: E402
from savetimes import savetimes  # noqa: E402
from stubs import Stub  # noqa: E402
from transfers import transfers  # noqa: E402

PORT = "/dev/virtio-ports/results"
# With two guests that stand for stubdomains, and with real ones.
STANDING = {"transfers": transfers, "faults": faults, "many": many, "compare": compare}
REAL = {"saves": saves, "restores": restores, "savefaults": savefaults, "agentless": agentless,
        "lost": lost, "savetimes": savetimes}
RULES = "59-stubsave.rules"


@functools.cache
def pair(score: Score) -> tuple[Stub, Stub]:
    """Made when they are first wanted."""
    first, second = Stub("first", Target("guest1")), Stub("second", Target("guest2"))
    for stub in first, second:
        stub.wait_until_up()
    score.say("two stubdomains and their guests are up")
    return first, second


def main() -> int:
    """Exit code of the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="+", metavar="SUITE")
    parser.add_argument("--full", action="store_true", help="as many rounds as there are")
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose names it is found in")
    options = parser.parse_args()
    with open(PORT, "w", encoding="ascii", errors="backslashreplace") as port:
        fetch("stubsave", "stubsave-decode")
        rules = Path("/run/udev/rules.d")
        rules.mkdir(exist_ok=True)
        shutil.copy(Path("/mnt") / RULES, rules)
        run("udevadm", "control", "--reload")
        score = Score(port, options.only, has_limit=not options.full)
        for suite in options.suites:
            if suite in REAL:
                REAL[suite](score, options.full)
            else:
                STANDING[suite](score, *pair(score), options.full)
        score.say(f"{score.passed} passed, {score.failed} failed")
        return 1 if score.failed else 0


if __name__ == "__main__":
    sys.exit(main())
