"""Commands side by side, and tables in the README."""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

OTHERS = "dd", "lz4", "zstd"


class Command(NamedTuple):
    """One way to do it; `prepare` is not timed."""

    name: str
    line: str
    prepare: str

    def run(self, folder: Path) -> float:
        """The seconds that it takes."""
        subprocess.run(self.prepare, shell=True, check=True, cwd=folder)
        begin = time.monotonic()
        subprocess.run(self.line, shell=True, check=True, cwd=folder)
        return time.monotonic() - begin


class Times:
    """How long commands have taken, round by round."""

    def __init__(self, commands: list[Command], rounds: int, folder: Path) -> None:
        self.seconds: dict[str, list[float]] = {command.name: [] for command in commands}
        for _ in range(rounds):
            for command in random.sample(commands, len(commands)):
                self.seconds[command.name].append(command.run(folder))

    def ratio(self, name: str, other: str) -> str:
        """The median of the rounds' ratios, and the quartiles."""
        pairs = zip(self.seconds[name], self.seconds[other])
        low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
        return f"{middle:.2f} ({low:.2f}–{high:.2f})"

    def ratios(self, name: str) -> str:
        """To each of the others, as cells of a row."""
        return " | ".join("" if name in OTHERS else self.ratio(name, other) for other in OTHERS)

    def median(self, name: str) -> str:
        return f"{statistics.median(self.seconds[name]) * 1000:.0f}"


def insert(readme: Path, name: str, table: str) -> None:
    """Between its two marks; nothing is written unless both are there."""
    text = readme.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: make bench-full -->\n", f"<!-- end of {name} -->\n"
    start, stop = text.index(begin) + len(begin), text.index(end)
    readme.write_text(f"{text[:start]}\n{table.strip()}\n\n{text[stop:]}", encoding="utf-8")
