#!/usr/bin/python3
"""Long streams: stubsave against dd, `lz4 -1 | dd` and `zstd -1 -T2 | dd`, side by side in one run.

Each round runs every command once, each time in another order; a ratio is the median over the
rounds of one command's time to another's in the same round, with the quartiles. Times on a shared
machine mean little by themselves. Then the cost as the size grows, as a table and a plot.

Streams: a whole `migrate` stream of a Linux guest with 512 MiB (--stream), bytes that do not
compress, and such bytes with as many zeros. Places: a loop device, flushed, and a tmpfs.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.dont_write_bytecode = True
from plot import Curve, svg

MIB = 1 << 20
OTHER_BYTES = 256 * MIB  # of each stream but the first
MOST_STATE = "--max-state=64GiB"
CODECS = "auto", "none", "lz4", "zstd"
GROWTH_MIB = 1, 4, 16, 64, 256, 1024, 4096


class Command(NamedTuple):
    """One way to do it; `prepare` is not timed."""

    name: str
    line: str
    prepare: str


class Times:
    """How long commands have taken, round by round."""

    def __init__(self, commands: list[Command], rounds: int, folder: Path) -> None:
        self.seconds: dict[str, list[float]] = {command.name: [] for command in commands}
        for _ in range(rounds):
            for command in random.sample(commands, len(commands)):
                subprocess.run(command.prepare, shell=True, check=True, cwd=folder)
                begin = time.monotonic()
                subprocess.run(command.line, shell=True, check=True, cwd=folder)
                self.seconds[command.name].append(time.monotonic() - begin)

    def ratio(self, name: str, other: str) -> str:
        """The median of the rounds' ratios, and the quartiles."""
        pairs = zip(self.seconds[name], self.seconds[other])
        low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
        return f"{middle:.2f} ({low:.2f}–{high:.2f})"

    def median(self, name: str) -> str:
        return f"{statistics.median(self.seconds[name]) * 1000:.0f}"


def size(path: Path) -> int:
    return path.stat().st_size


class Bench:
    """The folder, on a tmpfs, and the program."""

    def __init__(self, stubsave: str, folder: Path, rounds: int) -> None:
        self.stubsave, self.folder, self.rounds = stubsave, folder, rounds

    def streams(self, migration: Path | None) -> dict[str, Path]:
        noise, half = self.folder / "noise", self.folder / "half"
        piece = random.Random(1).randbytes(MIB)
        with noise.open("wb") as one, half.open("wb") as other:
            for index in range(OTHER_BYTES // MIB):
                # Another beginning each time, so that nothing repeats within what a codec looks at.
                fresh = random.Random(index).randbytes(MIB)
                one.write(fresh)
                other.write(fresh if index % 2 else bytes(MIB))
        del piece
        found = {"does not compress": noise, "half zeros": half}
        return {"`migrate`, 512 MiB guest": migration, **found} if migration else found

    @contextmanager
    def place(self, is_loop: bool, bytes_max: int):
        """The path that is written to, once for stubsave and once for the others."""
        if not is_loop:
            yield self.folder / "disk", self.folder / "other"
            return
        loops = []
        for name in "loop-1", "loop-2":
            backing = self.folder / name
            with backing.open("wb") as file:
                file.truncate((bytes_max + bytes_max // 32 + 4 * MIB) & ~4095)
            loops.append(subprocess.run(["losetup", "-f", "--show", backing], check=True, text=True,
                                        stdout=subprocess.PIPE).stdout.strip())
        try:
            yield Path(loops[0]), Path(loops[1])
        finally:
            for loop in loops:
                subprocess.run(["losetup", "-d", loop], check=True)
            for name in "loop-1", "loop-2":
                (self.folder / name).unlink()

    def write_lines(self, stream: Path, mine: Path, theirs: Path, is_loop: bool) -> list[Command]:
        empty = f"{self.stubsave} allocate --force {MOST_STATE} {mine}" if is_loop else f"rm -f {mine}"
        # What is written anew has to get its memory anew, for everybody.
        away = f"blkdiscard {theirs}" if is_loop else f"rm -f {theirs}"
        if is_loop:
            empty = f"blkdiscard {mine} && {empty}"
        out = f"dd of={theirs} bs=1M conv=fsync status=none"
        return [
            Command("dd", f"dd if={stream} {out[3:]}", away),
            Command("lz4", f"lz4 -1 < {stream} | {out}", away),
            Command("zstd", f"zstd -q -1 -T2 < {stream} | {out}", away),
            *(Command(f"stubsave {codec}", f"{self.stubsave} write {MOST_STATE} --codec {codec} "
                      f"{mine} < {stream}", empty) for codec in CODECS)]

    def writing(self, what: str, stream: Path, is_loop: bool) -> None:
        with self.place(is_loop, size(stream)) as (mine, theirs):
            commands = self.write_lines(stream, mine, theirs, is_loop)
            times = Times(commands, self.rounds, self.folder)
            stored = self.stored(stream, commands, mine)
            where = "loop device" if is_loop else "tmpfs"
            for name in times.seconds:
                print(f"| write {what}, {where} | {name} | {times.median(name)} | "
                      f"{stored[name] / 1e6:.0f} | {times.ratio(name, 'dd')} | "
                      f"{times.ratio(name, 'lz4')} | {times.ratio(name, 'zstd')} |", flush=True)
            self.reading(what, stream, mine, theirs, is_loop)

    def stored(self, stream: Path, commands: list[Command], mine: Path) -> dict[str, int]:
        """How many bytes each has written, in MB."""
        found = {}
        for command in commands:
            if command.name.startswith("stubsave"):
                subprocess.run(command.prepare, shell=True, check=True, cwd=self.folder)
                subprocess.run(command.line, shell=True, check=True, cwd=self.folder)
                text = subprocess.run([self.stubsave, "verify", MOST_STATE, "--no-decode", mine],
                                      check=True, text=True, stdout=subprocess.PIPE).stdout
                found[command.name] = int(text.split("good: ")[1].split()[0])
            elif command.name == "dd":
                found["dd"] = size(stream)
            else:
                packer = command.line.split("|")[0]
                found[command.name] = int(subprocess.run(
                    f"{packer} | wc -c", shell=True, check=True, stdout=subprocess.PIPE).stdout)
        return found

    def reading(self, what: str, stream: Path, mine: Path, theirs: Path, is_loop: bool) -> None:
        """Cold where that can be: nothing of the device in the page cache."""
        packed = self.folder / "packed"
        out = self.folder / "out"
        cold = "blockdev --flushbufs {0}" if is_loop else "true"
        subprocess.run(f"lz4 -1 -q < {stream} > {packed}", shell=True, check=True)
        subprocess.run(f"dd if={packed} of={theirs} bs=1M conv=fsync status=none", shell=True,
                       check=True)
        count = f"iflag=count_bytes count={size(packed)}"
        packed.unlink()
        where = "loop device" if is_loop else "tmpfs"
        for codec in "auto", "lz4":
            command = next(c for c in self.write_lines(stream, mine, theirs, is_loop)
                           if c.name == f"stubsave {codec}")
            subprocess.run(command.prepare, shell=True, check=True)
            subprocess.run(command.line, shell=True, check=True)
            back = f"dd if={theirs} bs=1M {count} status=none | lz4 -d > {out}" if is_loop \
                else f"lz4 -d -q -f {theirs} {out}"
            mark, mark_theirs = (cold.format(path) for path in (mine, theirs))
            name = f"read -o ({codec})"
            times = Times([
                Command(name, f"{self.stubsave} read {MOST_STATE} {mine} -o {out}",
                        f"rm -f {out} && {mark}"),
                Command("lz4", back, f"rm -f {out} && {mark_theirs}"),
            ], self.rounds, self.folder)
            print(f"| read {what}, {where} | {name} | {times.median(name)} | – | – | "
                  f"{times.ratio(name, 'lz4')} | – |", flush=True)
        out.unlink(missing_ok=True)
        if not is_loop:
            times = Times([
                Command("stubsave", f"{self.stubsave} verify {MOST_STATE} --no-decode {mine} "
                        "> /dev/null", "true"),
                Command("sha256sum", f"sha256sum {mine} > /dev/null", "true"),
            ], self.rounds, self.folder)
            print(f"| verify --no-decode, {what}: times as fast as sha256sum | | | | "
                  f"{times.ratio('sha256sum', 'stubsave')} | | |", flush=True)

    def peak(self, line: str) -> tuple[float, float]:
        """Seconds, and the most memory in MiB."""
        note = self.folder / "note"
        begin = time.monotonic()
        subprocess.run(f"/usr/bin/time -f %M -o {note} {line}", shell=True, check=True,
                       cwd=self.folder)
        seconds = time.monotonic() - begin
        return seconds, int(note.read_text()) / 1024

    def growth(self, plot: Path | None) -> None:
        """Time and memory from 1 MiB to 4 GiB, half of it not compressible."""
        source, disk, out = (self.folder / name for name in ("source", "disk", "out"))
        kinds = {"write auto": f"{self.stubsave} write {MOST_STATE} {disk} < {source}",
                 "write zstd": f"{self.stubsave} write {MOST_STATE} --codec zstd {disk} < {source}",
                 "read": f"{self.stubsave} read {MOST_STATE} {disk} -o {out}"}
        curves: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
        base = self.peak(f"{self.stubsave} write {disk} < /dev/null")[1]
        disk.unlink()
        print(f"\nBase: {base:.1f} MiB. Medians of the time, the most of the memory.\n")
        print("| MiB | " + " | ".join(f"{kind}, ms | MiB above base" for kind in kinds) + " |")
        print("|---:|" + "---:|---:|" * len(kinds))
        for mib in GROWTH_MIB:
            available = int(next(line.split()[1] for line in Path("/proc/meminfo").read_text()
                                 .splitlines() if line.startswith("MemAvailable:"))) // 1024
            if 3 * mib > available:
                print(f"| {mib} | not enough memory on this machine |")
                break
            with source.open("wb") as file:
                for index in range(mib):
                    half = random.Random(index).randbytes(MIB // 2)
                    file.write(half + half[: MIB // 8] * 4)
            row = []
            for kind, line in kinds.items():
                found = []
                for _ in range(1 if mib >= 1024 else 3):
                    for path in (out,) if kind == "read" else (disk, out):
                        path.unlink(missing_ok=True)
                    found.append(self.peak(line))
                seconds = statistics.median(one[0] for one in found)
                memory = max(one[1] for one in found) - base
                curves[kind].append((mib, seconds, memory))
                row.append(f"{seconds * 1000:.0f} | {memory:.1f}")
            print(f"| {mib} | " + " | ".join(row) + " |", flush=True)
        if plot:
            plot.write_text(svg(
                "Cost as the stream grows (tmpfs; logarithmic, memory linear)",
                [Curve(kind, points) for kind, points in curves.items()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stubsave", required=True)
    parser.add_argument("--stream", type=Path, help="what QEMU's migrate gave")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--plot", type=Path, help="where the SVG goes")
    parser.add_argument("--only", choices=("streams", "growth"))
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds must be at least 2")
    with tempfile.TemporaryDirectory(prefix="stubsave-bench-", dir="/dev/shm") as scratch:
        bench = Bench(os.path.abspath(options.stubsave), Path(scratch), options.rounds)
        if options.only != "growth":
            print("| what | | ms | stored, MB | to `dd` | to `lz4 -1 \\| dd` "
                  "| to `zstd -1 -T2 \\| dd` |\n|---|---|---:|---:|---:|---:|---:|")
            stream = options.stream.absolute() if options.stream else None
            for what, path in bench.streams(stream).items():
                for is_loop in True, False:
                    bench.writing(what, path, is_loop)
            for name in "noise", "half", "disk", "other":
                (Path(scratch) / name).unlink(missing_ok=True)
        if options.only != "streams":
            bench.growth(options.plot)


if __name__ == "__main__":
    main()
