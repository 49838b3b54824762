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
    base = {}
    for kind, line in kinds.items():
        subprocess.run("rm -f out" if kind == "read" else "rm -f disk", shell=True, check=True, cwd=folder)
        base[kind] = peak(f"{line} < /dev/null", folder)[1]
    rows = ["| MiB | " + " | ".join(f"`{kind}`, ms | MiB above base" for kind in kinds)
            + " | `dd`, ms |", "|---:|" + "---:|---:|" * len(kinds) + "---:|"]
    for mib in (size for size in SIZES_MIB if size <= most_mib):
        source = pieces(folder, mib)
        subprocess.run(f"cat {source} > plain", shell=True, check=True, cwd=folder)
        runs = RUNS_LONG if mib >= LONG_MIB else RUNS
        seconds: dict[str, list[float]] = {name: [] for name in (*kinds, "dd")}
        memory: dict[str, float] = dict.fromkeys(kinds, 0.0)
        for _ in range(runs):
            for kind in "write", "write --codec zstd":
                subprocess.run("rm -f disk out copy", shell=True, check=True, cwd=folder)
                took, most = peak(f"sh -c 'cat {source} | {kinds[kind]}'", folder)
                seconds[kind].append(took)
                memory[kind] = max(memory[kind], most - base[kind])
            # Both find the memory that the other one has left.
            for name in random.sample(("read", "dd"), 2):
                subprocess.run("rm -f out copy", shell=True, check=True, cwd=folder)
                line = kinds["read"] if name == "read" else "dd if=plain of=copy bs=1M status=none"
                took, most = peak(line, folder)
                seconds[name].append(took)
                if name == "read":
                    memory[name] = max(memory[name], most - base[name])
        cells = list[str]()
        for kind in kinds:
            middle = statistics.median(seconds[kind])
            points[kind].append((mib, middle, memory[kind]))
            cells.append(f"{middle * 1000:.0f} | {memory[kind]:.1f}")
        rows.append(f"| {mib} | " + " | ".join(cells) + f" | {statistics.median(seconds['dd']) * 1000:.0f} |")
        print(rows[-1], flush=True)
    note = ", ".join(f"`{kind}` {mib:.1f}" for kind, mib in base.items())
    table = "\n".join(rows) + f"\n\nBase, an empty stream, in MiB: {note}."
    return table, [Curve(kind, found) for kind, found in points.items()]
