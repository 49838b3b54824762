#!/usr/bin/python3
"""The worst disks: what verifying and reading them takes, in memory and in time.

    worst.py --stubsave PROGRAM [--memory-only] [--table README.md]

Memory is the peak of the process, and for `read` what it may hold back in a file in memory on top.
It must stay below 64 MiB, whatever the disk holds, and four times the disk must take no more than
about four times as long: that is left out where others use the machine (--memory-only).
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from disks import DISKS, MIB

MAX_MEMORY_BYTES = 64 * MIB
HELD_BACK_BYTES = 16 * MIB  # of a state; what is longer goes to an unlinked file
SHARES = (0.25, 1.0)
ROUNDS = 3  # the fastest counts
# Four times the disk; the rest is noise. What takes the square of the time would be at 16.
MAX_RATIO = 8.0
START_SECONDS = 0.03  # too short to be compared: time(1) counts hundredths
BEGIN, END = "<!-- worst: make worst -->", "<!-- end of worst -->"


@dataclass
class Run:
    """What a command took: the processor's time, on which others have less influence."""
    seconds: float
    memory_bytes: int


def measure(command: list[str], rounds: int) -> Run:
    """The command, which must succeed; its output goes nowhere.

    By time(1): what Linux counts for a child of this process begins with this one's own memory.
    """
    best = Run(float("inf"), 0)
    for _ in range(rounds):
        run = subprocess.run(["/usr/bin/time", "-q", "-f", "%U %S %M", *command], text=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if run.returncode:
            raise SystemExit(f"exit code {run.returncode}: {' '.join(command)}\n{run.stderr}")
        user, system, memory = run.stderr.split()
        best = Run(min(best.seconds, float(user) + float(system)),
                   max(best.memory_bytes, int(memory) << 10))
    return best


@dataclass
class Row:
    """A disk, at its full size, and how much longer it takes than a quarter of it."""
    name: str
    disk_bytes: int
    verify: Run
    read: Run
    ratio: float

    def complaints(self, memory_only: bool) -> list[str]:
        """What is not as it should be."""
        found = [f"{self.name}: {what} takes {run.memory_bytes / MIB:.1f} MiB"
                 for what, run in (("verify", self.verify), ("read", self.read))
                 if run.memory_bytes > MAX_MEMORY_BYTES]
        if self.ratio > MAX_RATIO and not memory_only:
            found.append(f"{self.name}: four times as long takes {self.ratio:.1f} times the time")
        return found

    def __str__(self) -> str:
        cells = [self.name, f"{self.disk_bytes / MIB:.2f}"]
        for run in (self.verify, self.read):
            cells += [f"{run.memory_bytes / MIB:.1f}", f"{run.seconds * 1000:.0f}"]
        return f"| {' | '.join(cells)} | {self.ratio:.1f} |"


def tried(program: Path, name: str, folder: Path, rounds: int) -> Row:
    """One kind of disk, at a quarter and at its full size."""
    path, seconds = folder / "disk", []
    for share in SHARES:
        with path.open("wb") as file:
            DISKS[name](file, share)
        verify = measure([str(program), "verify", str(path)], rounds)
        seconds.append(verify.seconds)
    read = measure([str(program), "read", str(path)], rounds)
    read.memory_bytes += HELD_BACK_BYTES
    short, long = (max(value, START_SECONDS) for value in seconds)
    return Row(name, path.stat().st_size, verify, read, long / short)


HEAD = "\n".join((
    "| disk | MiB | verify, MiB of memory | ms of CPU | read, MiB of memory | ms of CPU "
    "| time, of four times the disk |",
    "|---|---:|---:|---:|---:|---:|---:|"))


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="The worst disks for memory and time.")
    parser.add_argument("--stubsave", type=Path, required=True)
    parser.add_argument("--memory-only", action="store_true", help="once, whatever time it takes")
    parser.add_argument("--table", type=Path, metavar="FILE", help="put the table into it")
    options = parser.parse_args()
    rounds = 1 if options.memory_only else ROUNDS
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="worst-", dir=memory) as folder:
        rows = []
        print(HEAD)
        for name in DISKS:
            rows.append(tried(options.stubsave.resolve(), name, Path(folder), rounds))
            print(rows[-1], flush=True)
    complaints = [text for row in rows for text in row.complaints(options.memory_only)]
    for text in complaints:
        print(text)
    if options.table and not complaints:
        table = "\n".join([HEAD, *map(str, rows)])
        text = options.table.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        text = f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"
        options.table.write_text(text, encoding="utf-8")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
