#!/usr/bin/python3
"""Runs in the lab's dom0: the suites that are named, a line a case, and the sum."""

from __future__ import annotations

import argparse
import functools
import platform
import shutil
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from channels import channels  # noqa: E402
from compare import compare  # noqa: E402
from dom0 import Score  # noqa: E402
from evacuation import arrivals, departures  # noqa: E402
from faults import faults  # noqa: E402
from guests import CARRIED, LOCAL, Target, run  # noqa: E402
from joined import receives, sends  # noqa: E402
from many import many  # noqa: E402
from restores import agentless, restores  # noqa: E402
from savefaults import lost, savefaults  # noqa: E402
from saves import saves  # noqa: E402
from savetimes import savetimes  # noqa: E402
from stubs import Stub, qemu_version  # noqa: E402
from transfers import transfers  # noqa: E402

PORT = "/dev/virtio-ports/results"
# With two guests that stand for stubdomains, and with real ones.
STANDING = {"transfers": transfers, "faults": faults, "many": many, "compare": compare}
REAL = {"saves": saves, "restores": restores, "savefaults": savefaults, "agentless": agentless,
        "lost": lost, "channels": channels, "savetimes": savetimes, "departures": departures,
        "arrivals": arrivals, "sends": sends, "receives": receives}
RULES = "59-stubsave.rules"


@functools.cache
def pair(score: Score) -> tuple[Stub, Stub]:
    """Made when they are first wanted."""
    first, second = Stub("first", Target("guest1")), Stub("second", Target("guest2"))
    for stub in first, second:
        stub.wait_until_up()
    score.say("two stubdomains and their guests are up")
    return first, second


def versions() -> dict[str, str]:
    """Of what dom0 runs."""
    xen = dict(line.split(":", 1) for line in run("xl", "info").splitlines() if ":" in line)
    parts = {name.strip(): value.strip() for name, value in xen.items()}
    return {"xen": parts["xen_version"], "linux": platform.release(), "python": platform.python_version(),
            "qemu": qemu_version(), "udev": run("udevadm", "--version").strip(),
            "xenstored": Path(f"/proc/{Path('/run/xenstored.pid').read_text().strip()}/comm").read_text().strip()}


def main() -> int:
    """Exit code of the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="+", metavar="SUITE[:PATTERN]", help="of which all cases are run, or those "
                        "in whose names the pattern is found")
    parser.add_argument("--full", action="store_true", help="as many rounds as there are")
    options = parser.parse_args()
    with open(PORT, "w", encoding="ascii", errors="backslashreplace") as port:
        LOCAL.mkdir()
        for file in CARRIED.iterdir():
            (LOCAL / file.name).symlink_to(file)
        rules = Path("/run/udev/rules.d")
        rules.mkdir(exist_ok=True)
        shutil.copy(CARRIED / RULES, rules)
        run("udevadm", "control", "--reload")
        score = Score(port, has_limit=not options.full)
        score.tell(versions=versions())
        for word in options.suites:
            suite, _, only = word.partition(":")
            score.begin(suite, only)
            if suite in REAL:
                REAL[suite](score, options.full)
            else:
                STANDING[suite](score, *pair(score), options.full)
        score.say(f"{score.passed} passed, {score.failed} failed")
        return 1 if score.failed else 0


if __name__ == "__main__":
    sys.exit(main())
