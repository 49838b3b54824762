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
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "QEMU")]
from machine import Lab, Score  # noqa: E402
from places import parsed, parser  # noqa: E402
import proxyadopt  # noqa: E402
import proxyblocked  # noqa: E402
import proxyclients  # noqa: E402
import proxyconsoles  # noqa: E402
import proxyfaults  # noqa: E402
import proxyhostile  # noqa: E402
import proxyrestores  # noqa: E402
import proxysaves  # noqa: E402
import proxysteps  # noqa: E402
from proxied import ARGUMENTS, Bench, Scene, scene  # noqa: E402
from xenbus import Xenstore  # noqa: E402


def with_one_guest() -> Iterator[tuple[str, Callable[[Scene], Awaitable[str]]]]:
    """Names and cases that leave the guest as it was."""
    for case in proxysaves.CASES:
        yield f"saves: {case.__name__}", case
    for case in proxyclients.CASES:
        yield f"clients: {case.__name__}", case
    for lie in proxyhostile.LIES:
        yield f"says: {lie.name}", partial(proxyhostile.told, this=lie)
    for case in proxyfaults.CASES:
        yield f"faults: {case.__name__}", case
    for case in proxyadopt.CASES:
        yield f"adopt: {case.__name__}", case
    for step in proxyadopt.STEPS:
        yield f"adopt: {step.__name__}", partial(proxyadopt.step, name=step.__name__)
    for way, steps in proxysteps.STEPS.items():
        for step in steps:
            yield f"{way.__name__}: {step.__name__}", partial(way, step=step.__name__)


async def run(options: argparse.Namespace, directory: Path) -> int:
    """Exit code of the program. xenstored is dead at the end."""
    score, store = Score(), await Xenstore.connect()
    bench = Bench(Lab(options.stubsave, directory), options.agent, store)
    async with scene(bench) as here:
        for name, case in with_one_guest():
            if options.only in name:
                await score.case(name, case(here))
    for consoles in proxyconsoles.CASES:
        if options.only in (name := f"consoles: {consoles.__name__}"):
            await score.case(name, consoles(bench))
    for blocked in proxyblocked.CASES:
        if options.only in (name := f"blocked: {blocked.__name__}"):
            await score.case(name, blocked(bench), proxyblocked.MOST_SECONDS)
    given = await proxyrestores.save(bench)
    for restore in proxyrestores.CASES:
        if options.only in (name := f"restores: {restore.__name__}"):
            await bench.arguments(*ARGUMENTS, *proxyrestores.INCOMING)
            await score.case(name, restore(bench, given))
    for end in proxyfaults.qemu_dies, proxyfaults.xenstored_killed:
        if options.only in (name := f"faults: {end.__name__}"):
            async with scene(bench) as here:
                await score.case(name, end(here))
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
