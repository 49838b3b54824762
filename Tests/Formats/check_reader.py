#!/usr/bin/python3
"""Holds formats/reader.py against fixtures/manifest.json: every fixture, verdict, structure,
field, offset, streams. Runs its command line too: output, exit code, and silence on failure."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "formats"))
import reader  # noqa: E402

CODECS = {"none": 0, "zeros": 1, "lz4": 2, "zlib": 3}


def judge(fixture: dict[str, Any], data: bytes) -> list[str]:
    """What differs from the manifest."""
    limits = fixture.get("limits", {})
    options: dict[str, Any] = {"keep": "qemu"}
    if "maxStateBytes" in limits:
        options["max_state"] = limits["maxStateBytes"]
    if "codecs" in limits:
        options["codecs"] = {CODECS[name] for name in limits["codecs"]}
    found = reader.judge_bytes(data, **options)
    wanted = (fixture["exitCode"], fixture.get("structure"), fixture.get("field"),
              fixture.get("offset"))
    got = (found.exit_code, found.structure, found.field, found.offset)
    if got != wanted and "or" in fixture:  # section 6: either verdict
        other = fixture["or"]
        wanted = tuple(other[key] for key in ("exitCode", "structure", "field", "offset"))
        if got == wanted:
            return []
    if got != wanted:
        return [f"found {got}, the manifest says {wanted}"]
    if fixture["exitCode"] != 0:
        return []
    qemu = [stream for stream in fixture["streams"] if stream["name"] == "qemu"]
    if not qemu:
        return ["bytes of a stream that is not there"] if found.kept else []
    if hashlib.sha256(found.kept or b"").hexdigest() != qemu[0]["sha256"]:
        return ["the stream qemu has other bytes"]
    return []


def run(fixture: dict[str, Any]) -> list[str]:
    """The same through the command line, for fixtures without limits of their own."""
    path = ROOT / "fixtures" / fixture["file"]
    found = subprocess.run([ROOT / "formats/reader.py", path], capture_output=True, check=False)
    streams = {stream["name"]: stream for stream in fixture.get("streams", [])}
    code = fixture["exitCode"]
    if code == 0 and "qemu" in streams:
        output = f"{streams['qemu']['rawBytes']} {streams['qemu']['sha256']}\n".encode()
        return [] if (found.returncode, found.stdout) == (0, output) else ["other output"]
    code = code or 14
    if found.returncode != code or found.stdout or found.stderr.count(b"\n") != 1:
        return [f"exit code {found.returncode}, output {found.stdout!r}, {found.stderr!r}"]
    return []


def asked() -> list[str]:
    """A stream that must be understood is, by who asks for it, and by nobody else."""
    path = ROOT / "fixtures/unsupported/must-understand-tpm.savedisk"
    found = {name: reader.judge_bytes(path.read_bytes(), keep=name) for name in ("tpm", "pci")}
    if found["tpm"].exit_code == reader.GOOD and found["tpm"].kept == b"more" \
            and found["pci"].check == "B9":
        return []
    return [f"who asks for the stream: {found}"]


def main() -> int:
    manifest = json.loads((ROOT / "fixtures/manifest.json").read_text())
    passed = failed = 0
    for number, fixture in enumerate(manifest["fixtures"]):
        data = (ROOT / "fixtures" / fixture["file"]).read_bytes()
        problems = judge(fixture, data)
        # A process each takes 50 ms: every tenth.
        if not {"limits", "or"} & fixture.keys() and number % 10 == 0:
            problems += run(fixture)
        for problem in problems:
            print(f"{fixture['file']}: {problem}", file=sys.stderr)
        passed, failed = passed + (not problems), failed + bool(problems)
    for problem in asked():
        print(problem, file=sys.stderr)
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
