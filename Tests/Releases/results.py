"""What was measured on which release: a file for each release and row, in .build/results.

    {"release": "trixie", "row": "saves", "passed": 6, "failed": 0, "seconds": 71, "of": "Xen 4.20, QEMU 10.0.13"}

`processor` are the seconds that all its processes have had of processors: unlike those of the clock they do not
depend on what else the machine does, and a reader can compare them. `matrix.py` takes them into docs/releases.json and makes the README's table of that. A row that somebody
ran a part of (`--only`) is not noted.
"""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / ".build/results"


def processor_seconds() -> float:
    """Of all children that have been waited for, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def record(folder: Path, release: str, row: str, *, passed: int, failed: int, seconds: float,
           of: str = "", processor: float = 0) -> None:
    """Note a row's result, in place of an earlier one."""
    folder.mkdir(parents=True, exist_ok=True)
    result = {"release": release, "row": row, "passed": int(passed), "failed": int(failed),
              "seconds": round(seconds)}
    if processor:
        result["processor"] = round(processor)
    if of:
        result["of"] = of
    path = folder / f"{release}.{row.replace(' ', '-')}.json"
    making = path.with_name(f"{path.name}.{os.getpid()}")
    making.write_text(json.dumps(result) + "\n", encoding="utf-8")
    making.rename(path)


def results(folder: Path) -> list[dict]:
    """All that are there."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
