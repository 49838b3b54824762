#!/usr/bin/python3
"""Run the fuzzers, one on each processor, and keep count.

    fuzz.py --program FUZZER [--target NAME] [--seconds N] [--table README.md]

Corpora are kept from run to run, as are the figures: executions and seconds are sums over all
runs. A finding ends it with exit code 1 and a file that shows it; a fixture is to be made of that.
"""
from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import seeds

# Of one input, which takes milliseconds; but the processor may be somebody else's for long.
TIMEOUT_SECONDS, MEMORY_MIB = 60, 1024
ENVIRONMENT = {"SWIFT_BACKTRACE": "enable=no",
               "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=16"}
BEGIN, END = "<!-- fuzz: make fuzz-table -->", "<!-- end of fuzz -->"


class Fuzzing:
    """The fuzzer, and where it keeps what it learns."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.figures_path = folder / "figures.json"
        self._counting = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def figures(self) -> dict[str, dict[str, Any]]:
        """What has been counted so far, by target."""
        if not self.figures_path.exists():
            return {}
        found: dict[str, dict[str, Any]] = json.loads(self.figures_path.read_text())
        return found

    def arguments(self, target: str) -> list[str]:
        """The command without its corpus."""
        words = self.folder / f"{target}.dict"
        words.write_bytes(seeds.dictionary(target))
        findings = self.folder / "findings"
        findings.mkdir(exist_ok=True)
        return [str(self.program), f"--target={target}", f"-dict={words}",
                f"-max_len={seeds.SEEDS[target][0]}", f"-timeout={TIMEOUT_SECONDS}",
                f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={findings}/{target}-",
                "-print_final_stats=1"]  # fmt: skip

    def run(self, target: str, seconds: int) -> bool:
        """One target for so many seconds; false if there is a finding."""
        corpus = self.folder / target
        seeds.save_seeds(target, corpus)
        command = [*self.arguments(target), f"-max_total_time={seconds}", str(corpus)]
        run = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, stderr=subprocess.PIPE,
                             text=True, errors="replace", check=False)
        if run.returncode:
            print(f"{target}: FINDING, exit code {run.returncode}\n{run.stderr[-4000:]}")
            return False
        with self._counting:
            self.count(target, run.stderr)
        return True

    def count(self, target: str, output: str) -> None:
        """Add what a run has printed to the figures."""
        done = re.search(r"^Done (\d+) runs in (\d+) second", output, re.M)
        last = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/", output)
        if not done or not last:
            raise ValueError(f"{target}: no figures in what it has printed\n{output[-2000:]}")
        figures = self.figures()
        mine = figures.setdefault(target, {"executions": 0, "seconds": 0})
        mine["executions"] += int(done[1])
        mine["seconds"] += int(done[2])
        mine["coverage"], mine["features"], mine["corpus"] = map(int, last[-1])
        self.figures_path.write_text(json.dumps(figures, indent=1) + "\n")
        print(f"{target}: {int(done[1]):,} executions in {done[2]} s, {last[-1][0]} edges, "
              f"{last[-1][2]} inputs", flush=True)

    def table(self) -> str:
        """The figures, for people."""
        lines = [f"All runs up to {datetime.date.today().isoformat()}, with AddressSanitizer, "
                 "one process on a shared core:", "",
                 "| target | executions | a second | inputs kept | edges |",
                 "|---|---:|---:|---:|---:|"]  # fmt: skip
        figures = self.figures()
        for target in seeds.SEEDS:
            if target in figures:
                f = figures[target]
                speed = f["executions"] // max(f["seconds"], 1)
                lines.append(f"| {target} | {f['executions']:,} | {speed:,} | {f['corpus']:,} | "
                             f"{f['coverage']:,} |")
        total = sum(f["executions"] for f in figures.values())
        return "\n".join([*lines, f"| all | {total:,} | | | |"])


def replace_table(document: Path, table: str) -> None:
    """Put the table between its two marks."""
    text = document.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{document} has no place for the table")
    document.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run the fuzzers.")
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--target", action="append", choices=list(seeds.SEEDS), default=[])
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--folder", type=Path, default=seeds.ROOT / ".build/fuzzing",
                        help="for corpora, findings and figures")
    parser.add_argument("--table", type=Path, metavar="FILE", help="put the figures into it")
    options = parser.parse_args()
    fuzzing = Fuzzing(options.program.resolve(), options.folder)
    if options.table:
        replace_table(options.table, fuzzing.table())
        return 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        good = list(pool.map(lambda target: fuzzing.run(target, options.seconds),
                             options.target or seeds.SEEDS))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
