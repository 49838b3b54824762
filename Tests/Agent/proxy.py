#!/usr/bin/python3
"""`stubsave qmp-proxy` between libxl and a QEMU, over a real xenstored, with a real agent.

libxl never sees a success without the state in its file; whoever lies, falls silent or dies, it
gets an honest error in time, the guest goes on, the next save is good, and nothing is left. Run by
Tests/Xenstored/xenstored.py.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "QEMU")]
from machine import Lab, Score  # noqa: E402
from places import parsed, parser  # noqa: E402
import proxyfaults  # noqa: E402
import proxyhostile  # noqa: E402
import proxyrestores  # noqa: E402
import proxysaves  # noqa: E402
from proxied import Bench, scene  # noqa: E402
from xenbus import Xenstore  # noqa: E402


async def run(options: argparse.Namespace, directory: Path) -> int:
    """Exit code of the program."""
    score, store = Score(), await Xenstore.connect()
    bench = Bench(Lab(options.stubsave, directory), options.agent, store)
    async with scene(bench) as here:
        for case in proxysaves.CASES:
            if options.only in case.__name__:
                await score.case(f"saves: {case.__name__}", case(here))
        timeout = "--timeout", str(proxyhostile.TIMEOUT_SECONDS)
        async with here.agent(), here.proxy(*timeout) as proxy:
            for this in proxyhostile.LIES:
                if options.only in this.name:
                    await score.case(f"says {this.name}", proxyhostile.lie(here, proxy, this))
        for case in proxyfaults.CASES:
            if options.only in case.__name__:
                await score.case(f"faults: {case.__name__}", case(here))
        for way in (proxyfaults.libxl_lost, proxyfaults.hung_up, proxyfaults.killed,
                    proxyfaults.domain_dies):
            for step in proxyfaults.STEPS:
                name = f"{way.__name__} {step.__name__}"
                if options.only in name:
                    await score.case(f"faults: {name}", way(here, step.__name__))
    if restores := [case for case in (*proxyrestores.CASES, proxyrestores.stale)
                    if options.only in case.__name__]:
        given = await proxyrestores.save(bench)
        for case in restores:
            await bench.arguments(*proxyrestores.ARGUMENTS, *proxyrestores.INCOMING)
            await score.case(f"restores: {case.__name__}", case(bench, given))
    if options.only in "qemu_dies":
        async with scene(bench) as here:
            await score.case("faults: qemu_dies", proxyfaults.qemu_dies(here))
    if options.only in "xenstored_killed":
        async with scene(bench) as here:
            await score.case("faults: xenstored_killed", proxyfaults.xenstored_killed(here))
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


def main() -> int:
    """Exit code of the program."""
    made = parser("Test stubsave qmp-proxy over a real xenstored.")
    made.add_argument("--only", default="", metavar="TEXT", help="cases whose names hold it")
    options = parsed(made)
    with tempfile.TemporaryDirectory(prefix="stubsave-proxy-") as directory:
        return asyncio.run(run(options, Path(directory)))


if __name__ == "__main__":
    sys.exit(main())
