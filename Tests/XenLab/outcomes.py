"""What the cases came to, for programs: a file for each release, beside its logs.

    {"release": "trixie", "name": "Debian 13",
     "versions": {"xen": "4.20.4", "linux": "6.12.118+deb13-amd64", "qemu": "10.0.13", ...},
     "machines": [{"machine": "real", "suites": [...], "isOver": true, "wallSeconds": 800.1, "processorSeconds": 790.2}],
     "cases": [{"suite": "saves", "case": "migrated", "result": "ok", "seconds": 9.3, "said": "...",
                "wallSeconds": 31.2, "processorSeconds": 30.9}]}

`seconds` are of the emulated machine's clock, the others of this one's, from the case before on; `result` is ok or
failed. What has no line was not run: `isOver` tells whether its machine came to an end.
"""

from __future__ import annotations

import json
from pathlib import Path

from releases import Release
from results import RESULTS, record

CASES = "cases.jsonl"  # in the share: a line from dom0 for each, as it ends
OUTCOMES = "results.json"
MARKS = ("ok ", "FAILED ")  # with which dom0 says the same to whoever looks on


def read(file: Path) -> list[dict[str, object]]:
    """What dom0 has written until it ended."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(errors="replace").splitlines() if line.endswith("}")]


def with_times(lines: list[dict[str, object]], wall: list[float], used: list[float]) -> list[dict[str, object]]:
    """The same, each case with what it has taken here; both lists begin with the machine's start."""
    cases = [line for line in lines if "case" in line]
    for case, *times in zip(cases, wall, wall[1:], used, used[1:]):
        case["wallSeconds"], case["processorSeconds"] = (round(times[1] - times[0], 1), round(times[3] - times[2], 1))
    return lines


def keep(folder: Path, release: Release, lines: list[dict[str, object]], machine: dict[str, object]) -> None:
    """Another machine's, with those that are there already."""
    file = folder / OUTCOMES
    whole = json.loads(file.read_text()) if file.exists() else {
        "release": release.suite, "name": release.name, "versions": {}, "machines": [], "cases": []}
    for line in lines:
        if "versions" in line:
            whole["versions"] = line["versions"]
        else:
            whole["cases"].append(line)
    whole["machines"].append(machine)
    file.write_text(json.dumps(whole, indent=1) + "\n")


def note(release: Release, lines: list[dict[str, object]], suites: set[str]) -> None:
    """For the table of releases: a row for each of these suites, which have run whole."""
    versions = next(line["versions"] for line in lines if "versions" in line)
    of = f"Xen {versions['xen']}, QEMU {versions['qemu']}, {versions['xenstored']}"
    cases = [line for line in lines if "case" in line]
    for suite in suites & {case["suite"] for case in cases}:
        own = [case for case in cases if case["suite"] == suite]
        passed = sum(case["result"] == "ok" for case in own)
        row = suite if versions["xenstored"] == "xenstored" else f"{suite} {versions['xenstored']}"
        record(RESULTS, release.suite, row, passed=passed, failed=len(own) - passed,
               seconds=sum(case["seconds"] for case in own), of=of,
               processor=sum(case.get("processorSeconds", 0) for case in own))
