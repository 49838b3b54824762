#!/usr/bin/python3
"""The table of docs/devices.md, tried: a QEMU saves with the first options, another loads with the second.

What QEMU does must be what stands there. What stubsave does is DeviceTableTests' affair, which reads the
same table; that nothing is restored that QEMU refuses follows from the two.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import NamedTuple

sys.dont_write_bytecode = True
try:
    from machine import INCOMING, QEMU, SAVE, XEN_LIKE, Failure, Monitor, Score, expect, running
except ModuleNotFoundError as missing:
    sys.exit(f"needs {missing.name} (apt package python3-xxhash)")

TABLE = Path(__file__).resolve().parents[2] / "docs/devices.md"
LEAST_ROWS = 50
AT_ONCE = 2
# What the options refer to, and what says how a load ended.
AROUND = ["-accel", "tcg,tb-size=8", "-S", "-qmp", "stdio", "-global", "migration.x-events=on"] + [
    word for number in range(2) for word in ("-netdev", f"hubport,id=net{number},hubid={number}")]


class Row(NamedTuple):
    """One of the table."""

    name: str
    saved: str
    restored: str
    takes: bool


def rows() -> list[Row]:
    """All that have options."""
    found = []
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[1].startswith("`"):
            assert cells[3] in ("takes", "refuses"), line
            found.append(Row(cells[0], cells[1].strip("`"), cells[2].strip("`"),
                             cells[3] == "takes"))
    return found


def words(options: str) -> list[str]:
    """With what is the same on both sides."""
    found = options.split()
    for option, value in ("-machine", "pc,suppress-vmdesc=on"), ("-m", "64"):
        if option not in found:
            found += [option, value]
    return found


class Trials:
    """Rows, two at a time; what was saved once is loaded by all rows that begin with it."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder, self.score = program, folder, Score()
        self._turns, self._states = asyncio.Semaphore(AT_ONCE), dict[str, asyncio.Task[Path]]()

    async def run(self, found: list[Row]) -> None:
        """All."""
        await asyncio.gather(*(self._turn(row) for row in found))

    async def _turn(self, row: Row) -> None:
        async with self._turns:
            await self.score.case(f"{row.name}: {row.saved} -> {row.restored}", self._row(row))

    async def _row(self, row: Row) -> str:
        if row.saved not in self._states:
            path = self._folder / f"{len(self._states)}.dev"
            self._states[row.saved] = asyncio.create_task(self._save(row.saved, path))
        state = await self._states[row.saved]
        why = await self._load(row.restored, state)
        expect(row.takes == (not why), why or "QEMU takes it")
        return f"refused: {why}" if why else "taken"

    async def _save(self, options: str, path: Path) -> Path:
        async with running(self._program, *XEN_LIKE, *AROUND, *words(options), stdin=PIPE,
                           stdout=PIPE, stderr=DEVNULL) as process:
            monitor = await greeted(process)
            await monitor.execute(SAVE, filename=str(path), live=False)
        return path

    async def _load(self, options: str, state: Path) -> str:
        """Why QEMU does not take it; empty if it does."""
        async with running(self._program, *XEN_LIKE, *AROUND, *words(options), *INCOMING, stdin=PIPE,
                           stdout=PIPE, stderr=PIPE) as process:
            monitor = await greeted(process)
            try:
                await monitor.execute("migrate-incoming", uri=f"exec:cat {state}")
                await monitor.loaded()
            except ConnectionError:
                pass
            else:
                await monitor.expect_status("inmigrate", "paused", "prelaunch", "postmigrate")
                return ""
            said = (await process.stderr.read()).decode(errors="replace").splitlines()
        # The last is QEMU 11's.
        signs = "savevm", "loading state", "load of migration failed: Invalid argument: "
        found = [line for line in said if any(sign in line for sign in signs)]
        expect(bool(found), f"QEMU has ended without a word of a device: {said}")
        return found[0].partition(": ")[2][:90]


async def greeted(process: asyncio.subprocess.Process) -> Monitor:
    """The monitor on its standard input and output."""
    assert process.stdin is not None and process.stdout is not None
    monitor = Monitor(process.stdout, process.stdin)
    await monitor.receive()
    await monitor.execute("qmp_capabilities")
    return monitor


async def run(options: argparse.Namespace, folder: Path) -> int:
    """Exit code of the program."""
    found = [row for row in rows() if options.only in row.name]
    if not options.only and len(found) < LEAST_ROWS:
        raise Failure(f"{TABLE} has only {len(found)} rows")
    trials = Trials(options.qemu, folder)
    await trials.run(found)
    print(f"{trials.score.passed} passed, {trials.score.failed} failed")
    return 1 if trials.score.failed or not found else 0


def main() -> int:
    """Exit code of the program."""
    parser = argparse.ArgumentParser(description="Try docs/devices.md against a real QEMU.")
    parser.add_argument("--qemu", default=QEMU, metavar="PROGRAM")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose names hold it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stubsave-devices-") as directory:
        return asyncio.run(run(options, Path(directory)))


if __name__ == "__main__":
    sys.exit(main())
