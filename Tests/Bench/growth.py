"""Time and memory as the stream grows: half of it does not compress, a quarter is text, a quarter zeros."""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from pathlib import Path

from plot import Curve

MIB = 1 << 20
MOST_STATE = "--max-state=64GiB"
SIZES_MIB = 1, 4, 16, 64, 256, 1024, 4096
PIECE_MIB = 64  # what a longer stream repeats: more than a codec looks back
RUNS, RUNS_LONG, LONG_MIB = 5, 3, 1024


def peak(line: str, folder: Path) -> tuple[float, float]:
    """Seconds, and the most memory of the program and the process that decodes for it, in MiB."""
    note = folder / "note"
    begin = time.monotonic()
    subprocess.run(f"/usr/bin/time -f %M -o {note} {line}", shell=True, check=True, cwd=folder)
    return time.monotonic() - begin, int(note.read_text()) / 1024


def pieces(folder: Path, mib: int) -> str:
    """The shell's words for a stream of so many MiB: one file, as often as it takes."""
    size = min(mib, PIECE_MIB)
    with (folder / "piece").open("wb") as file:
        for index in range(size):
            half = random.Random(index).randbytes(MIB // 2)
            file.write(half + half[: MIB // 128] * 32 + bytes(MIB // 4))
    return " ".join(["piece"] * (mib // size))


def measure(stubsave: str, folder: Path, most_mib: int) -> tuple[str, list[Curve]]:
    """A table, and a curve for each command."""
    kinds = {"write": f"{stubsave} write {MOST_STATE} disk",
             "write --codec zstd": f"{stubsave} write {MOST_STATE} --codec zstd disk",
             "read": f"{stubsave} read {MOST_STATE} disk -o out"}
    points: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    clean = {"write": "rm -f disk", "write --codec zstd": "rm -f disk", "read": "rm -f out"}
    base = {}
    for kind, line in kinds.items():
        subprocess.run(clean[kind], shell=True, check=True, cwd=folder)
        base[kind] = peak(f"{line} < /dev/null", folder)[1]
    rows = ["| MiB | " + " | ".join(f"`{kind}`, ms | MiB above base" for kind in kinds) + " |",
            "|---:|" + "---:|---:|" * len(kinds)]
    for mib in (size for size in SIZES_MIB if size <= most_mib):
        source = pieces(folder, mib)
        cells = []
        for kind, line in kinds.items():
            found = []
            for _ in range(RUNS_LONG if mib >= LONG_MIB else RUNS):
                subprocess.run(f"{clean[kind]} out", shell=True, check=True, cwd=folder)
                found.append(peak(line if kind == "read" else f"sh -c 'cat {source} | {line}'",
                                  folder))
            seconds = statistics.median(one[0] for one in found)
            memory = max(one[1] for one in found) - base[kind]
            points[kind].append((mib, seconds, memory))
            cells.append(f"{seconds * 1000:.0f} | {memory:.1f}")
        rows.append(f"| {mib} | " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
    note = ", ".join(f"`{kind}` {mib:.1f}" for kind, mib in base.items())
    table = "\n".join(rows) + f"\n\nBase, an empty stream, in MiB: {note}."
    return table, [Curve(kind, found) for kind, found in points.items()]
