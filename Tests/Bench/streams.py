#!/usr/bin/python3
"""Long streams: stubsave against dd, `lz4 -1 | dd` and `zstd -1 -T2 | dd`, side by side in one run.

Each round runs every command once, each time in another order; a ratio is the median over the
rounds of one command's time to another's in the same round, with the quartiles. Times on a shared
machine mean little by themselves. Then the cost as the size grows, as a table and a plot.

Streams: a whole `migrate` stream of a Linux guest with 512 MiB (--stream), bytes that do not
compress, and such bytes with as many zeros. Places: a loop device over memory, flushed, as a save
disk is, and a tmpfs. What is read back goes to the tmpfs; the loop device is cold before.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
from growth import measure
from measuring import Command, Times, insert
from plot import svg

MIB = 1 << 20
MOST_STATE = "--max-state=64GiB"
CODECS = "auto", "none", "lz4", "zstd"
HEAD = ("| | | ms | stored, MB | to `dd` | to `lz4` | to `zstd` |\n"
        "|---|---|---:|---:|---:|---:|---:|")
SUMMARY_HEAD = ("| | stored, MB, of | `auto` to `dd` | `auto` to `lz4` | `auto` to `zstd` | `none` to `dd` |\n"
                "|---|---:|---:|---:|---:|---:|")
ALL_HEAD = """# Long streams, all rows

Written by `make bench-full`; what is measured is said in the [README](../README.md#long-streams).

"""


class Place:
    """Where is written to: one path for stubsave, one for the others."""

    def __init__(self, folder: Path, is_loop: bool, bytes_max: int) -> None:
        self.folder, self.is_loop = folder, is_loop
        self.mine, self.theirs = folder / "mine", folder / "theirs"
        self.loops: list[str] = []
        if is_loop:
            for backing in self.mine, self.theirs:
                with backing.open("wb") as file:
                    file.truncate((bytes_max + bytes_max // 32 + 4 * MIB) & ~4095)
                self.loops.append(subprocess.run(
                    ["losetup", "-f", "--show", backing], check=True, text=True,
                    stdout=subprocess.PIPE).stdout.strip())
            self.mine, self.theirs = map(Path, self.loops)

    def __str__(self) -> str:
        return "loop device" if self.is_loop else "tmpfs"

    def anew(self, path: Path) -> str:
        """What is written has to get its memory anew, for everybody."""
        return f"blkdiscard {path}" if self.is_loop else f"rm -f {path}"

    def cold(self, path: Path) -> str:
        return f"blockdev --flushbufs {path}" if self.is_loop else "true"

    def close(self) -> None:
        for loop in self.loops:
            subprocess.run(["losetup", "-d", loop], check=True)
        for name in "mine", "theirs":
            (self.folder / name).unlink(missing_ok=True)


@contextmanager
def place(folder: Path, is_loop: bool, bytes_max: int) -> Iterator[Place]:
    found = Place(folder, is_loop, bytes_max)
    try:
        yield found
    finally:
        found.close()


class Bench:
    """The folder, on a tmpfs, and the program; rows of the table."""

    def __init__(self, stubsave: str, folder: Path, rounds: int, mib: int) -> None:
        self.stubsave, self.folder, self.rounds, self.mib = stubsave, folder, rounds, mib
        self.rows: list[str] = []
        self.summary = [SUMMARY_HEAD]

    def sum_up(self, what: str, stored: str, times: Times) -> None:
        """A row for those who do not want all of them."""
        self.summary.append(f"| {what} | {stored} | {times.ratios('stubsave')} "
                            f"| {times.ratio('stubsave, none', 'dd')} |")

    def say(self, row: str) -> None:
        self.rows.append(row)
        print(row, flush=True)

    def streams(self, migration: Path | None) -> dict[str, Path]:
        noise, half = self.folder / "noise", self.folder / "half"
        with noise.open("wb") as one, half.open("wb") as other:
            for index in range(self.mib):
                fresh = random.Random(index).randbytes(MIB)
                one.write(fresh)
                other.write(fresh if index % 2 else bytes(MIB))
        found = {f"{self.mib} MiB, incompressible": noise, f"{self.mib} MiB, half zeros": half}
        return {"`migrate` of a 512 MiB guest": migration, **found} if migration else found

    def write(self, codec: str, stream: Path, at: Place) -> Command:
        # With a header of its own, which allows zstd; one that crosses does not.
        name = "stubsave" if codec == "auto" else f"stubsave, {codec}"
        return Command(name, f"{self.stubsave} write --force {MOST_STATE} --codec {codec} "
                       f"{at.mine} < {stream}", at.anew(at.mine))

    def writing(self, what: str, stream: Path, at: Place) -> None:
        out = f"dd of={at.theirs} bs=1M iflag=fullblock conv=fsync status=none"
        away = at.anew(at.theirs)
        commands = [
            Command("dd", f"{out} if={stream}", away),
            Command("lz4", f"lz4 -1 < {stream} | {out}", away),
            Command("zstd", f"zstd -q -1 -T2 < {stream} | {out}", away),
            *(self.write(codec, stream, at) for codec in CODECS)]
        times = Times(commands, self.rounds, self.folder)
        size = stream.stat().st_size
        stored = {"dd": size}
        for packer, line in ("lz4", "lz4 -1"), ("zstd", "zstd -q -1 -T2"):
            stored[packer] = int(subprocess.check_output(f"{line} < {stream} | wc -c", shell=True))
        for codec in CODECS:
            command = self.write(codec, stream, at)
            command.run(self.folder)
            stored[command.name] = self.disk_bytes(at.mine)
        for name in times.seconds:
            self.say(f"| write {what}, {at} | {name} | {times.median(name)} "
                     f"| {stored[name] / 1e6:.0f} | {times.ratios(name)} |")
        self.sum_up(f"write {what}, {at}", f"{stored['stubsave'] / 1e6:.0f} of {size / 1e6:.0f}", times)

    def disk_bytes(self, disk: Path) -> int:
        text = subprocess.check_output(
            [self.stubsave, "verify", MOST_STATE, "--no-decode", disk], text=True)
        return int(text.split("good: ")[1].split()[0])

    def reading(self, what: str, stream: Path, at: Place) -> None:
        """Each writes what it reads before each round, since all have one device."""
        out = self.folder / "out"
        fill = f"dd of={at.theirs} bs=1M iflag=fullblock conv=fsync status=none"
        sizes = {packer: int(subprocess.check_output(f"{line} < {stream} | wc -c", shell=True))
                 for packer, line in (("lz4", "lz4 -1"), ("zstd", "zstd -q -1 -T2"))}

        def theirs(name: str, packed: str, size: int, unpack: str) -> Command:
            take = f"dd if={at.theirs} bs=1M iflag=fullblock,count_bytes count={size} status=none"
            return Command(name, take + unpack, f"{at.anew(at.theirs)} && {packed} && rm -f {out} "
                           f"&& {at.cold(at.theirs)}")

        commands = [
            theirs("dd", f"{fill} if={stream}", stream.stat().st_size, f" of={out}"),
            theirs("lz4", f"lz4 -1 < {stream} | {fill}", sizes["lz4"], f" | lz4 -d > {out}"),
            theirs("zstd", f"zstd -q -1 -T2 < {stream} | {fill}", sizes["zstd"],
                   f" | zstd -q -d > {out}")]
        if not at.is_loop:
            commands[1] = commands[1]._replace(line=f"lz4 -d -q -f {at.theirs} {out}")
        for codec in CODECS:
            write = self.write(codec, stream, at)
            commands.append(Command(
                write.name, f"{self.stubsave} read {MOST_STATE} {at.mine} -o {out}",
                f"{write.prepare} && {write.line} && rm -f {out} && {at.cold(at.mine)}"))
        times = Times(commands, self.rounds, self.folder)
        for name in times.seconds:
            self.say(f"| read {what}, {at} | {name} | {times.median(name)} | "
                     f"| {times.ratios(name)} |")
        self.sum_up(f"read {what}, {at}", "", times)
        out.unlink(missing_ok=True)

    def verifying(self, what: str, stream: Path, at: Place) -> None:
        self.write("none", stream, at).run(self.folder)
        times = Times([
            Command("stubsave", f"{self.stubsave} verify {MOST_STATE} --no-decode {at.mine} "
                    "> /dev/null", "true"),
            Command("sha256sum", f"sha256sum {at.mine} > /dev/null", "true"),
        ], self.rounds, self.folder)
        ratio = times.ratio("sha256sum", "stubsave")
        self.say(f"| `verify --no-decode` {what}, {at} | stubsave | {times.median('stubsave')} | | "
                 f"`sha256sum` takes {ratio} of it | | |")
        self.summary.append(f"| `verify --no-decode` {what}, {at} | | `sha256sum` takes {ratio} of it | | | |")

    def measure(self, migration: Path | None) -> None:
        """All rows."""
        self.say(HEAD)
        for what, stream in self.streams(migration).items():
            for is_loop in True, False:
                with place(self.folder, is_loop, stream.stat().st_size) as at:
                    self.writing(what, stream, at)
                    self.reading(what, stream, at)
                    if not is_loop:
                        self.verifying(what, stream, at)
        for name in "noise", "half":
            (self.folder / name).unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stubsave", required=True)
    parser.add_argument("--stream", type=Path, help="what QEMU's migrate gave")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mib", type=int, default=256, help="of each other stream")
    parser.add_argument("--growth", type=int, default=4096, metavar="MIB", help="up to so much")
    parser.add_argument("--only", choices=("streams", "growth"))
    parser.add_argument("--plot", type=Path, help="where the SVG goes")
    parser.add_argument("--readme", type=Path, help="put a summary and the growth into it")
    parser.add_argument("--all", type=Path, help="where the whole table goes, as Markdown")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds must be at least 2")
    stubsave = os.path.abspath(options.stubsave)
    with tempfile.TemporaryDirectory(prefix="stubsave-bench-", dir="/dev/shm") as scratch:
        if options.only != "growth":
            bench = Bench(stubsave, Path(scratch), options.rounds, options.mib)
            bench.measure(options.stream.absolute() if options.stream else None)
            if options.readme:
                insert(options.readme, "streams", "\n".join(bench.summary))
            if options.all:
                options.all.write_text(ALL_HEAD + "\n".join(bench.rows) + "\n", encoding="utf-8")
        if options.only != "streams":
            table, curves = measure(stubsave, Path(scratch), options.growth)
            print(table)
            if options.plot:
                options.plot.write_text(svg("Cost as the stream grows, tmpfs", curves))
            if options.readme:
                insert(options.readme, "growth", table)


if __name__ == "__main__":
    main()
