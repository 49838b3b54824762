#!/usr/bin/python3
"""The matrix of releases: takes results of .build/results into docs/releases.json, and makes the README's
table of that file alone, between `<!-- releases: make matrix -->` and `<!-- end of releases -->`.

Only what was measured has a cell; all else says "not run". A result stays until the same row is run again
on that release.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from releases import RELEASES  # noqa: E402
from results import RESULTS, results  # noqa: E402

TOP = Path(__file__).resolve().parents[2]
KEPT = TOP / "docs/releases.json"
BEGIN, END = "<!-- releases: make matrix -->\n", "<!-- end of releases -->\n"
# What the reader sees, and the results that it is made of: all of them must be there.
ROWS = (
    ("`make demo` on a minimal host", ("host demo",)),
    ("`make test` on a minimal host", ("host test",)),
    ("`make demo` with its QEMU", ("demo",)),
    ("local round trips with its QEMU", ("roundtrips", "bitflips", "statefiles", "devices", "sweep")),
    ("`dump` and `restore` of PV guests' QEMUs", ("transfers",)),
    ("the same, with faults", ("faults",)),
    ("the same, many at once", ("many",)),
    ("`xl create`, `save`, `restore`, `migrate`", ("saves",)),
    ("the same, beside oxenstored", ("saves oxenstored",)),
    ("`xl restore` of what must not be restored, too", ("restores",)),
    ("`xl suspend`, `resume`", ("suspends",)),
    ("`xl save` and `migrate` with faults", ("savefaults", "lost")),
    ("a stubdomain without our agent", ("agentless",)),
    ("saved for the next release", ("departures",)),
    ("restored from the release before", ("arrivals",)),
    ("`xl migrate` to the next release", ("sends",)),
    ("`xl migrate` from the release before", ("receives",)),
)
NOT_RUN = "not run"


def take(kept: dict[str, dict[str, dict]], folder: Path) -> None:
    """The newer results, in place of those of the same row and release."""
    for result in results(folder):
        cell = {key: result[key] for key in ("passed", "failed", "seconds", "processor", "of") if key in result}
        kept.setdefault(result["row"], {})[result["release"]] = cell


def cell(kept: dict[str, dict[str, dict]], rows: tuple[str, ...], release: str) -> str:
    """What was measured of these rows on that release."""
    found = [kept.get(row, {}).get(release) for row in rows]
    if not any(found):
        return NOT_RUN
    there = [result for result in found if result]
    passed, failed = (sum(result[key] for result in there) for key in ("passed", "failed"))
    seconds = sum(result.get("processor", 0) for result in there)
    missing = [row for row, result in zip(rows, found) if not result]
    text = f"{passed} passed" if not failed else f"**{failed} failed**, {passed} passed"
    # A run of one command has passed or not.
    if passed + failed == 1:
        text = "passed" if passed else "**failed**"
    return (text + (f", {seconds} s" if seconds else "")
            + (f"; {', '.join(missing)}: {NOT_RUN}" if missing else ""))


def table(kept: dict[str, dict[str, dict]]) -> str:
    """In Markdown."""
    lines = ["| | " + " | ".join(f"{release.name} ({release.suite})" for release in RELEASES.values()) + " |",
             "|---" * (len(RELEASES) + 1) + "|"]
    for name, rows in ROWS:
        lines.append(f"| {name} | " + " | ".join(cell(kept, rows, suite) for suite in RELEASES) + " |")
    return "\n".join(lines)


def main() -> None:
    """Nothing is written unless both marks are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--readme", type=Path, required=True)
    parser.add_argument("--check", action="store_true", help="only see that the table is the file's")
    options = parser.parse_args()
    text = options.readme.read_text(encoding="utf-8")
    start, stop = text.index(BEGIN) + len(BEGIN), text.index(END)
    kept = json.loads(options.kept.read_text(encoding="utf-8")) if options.kept.exists() else {}
    if not options.check:
        take(kept, options.results)
    wanted = f"{text[:start]}\n{table(kept)}\n\n{text[stop:]}"
    if options.check:
        if wanted != text:
            raise SystemExit(f"{options.readme}: its table is not that of {options.kept.name}: make matrix")
        return
    lines = [f"  {json.dumps(row)}: {{\n" + ",\n".join(
        f"    {json.dumps(release)}: {json.dumps(kept[row][release])}" for release in RELEASES
        if release in kept[row]) + "\n  }" for row in sorted(kept)]
    options.kept.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    options.readme.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
