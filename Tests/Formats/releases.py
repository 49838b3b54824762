#!/usr/bin/python3
"""What earlier releases have written is read as it was: fixtures/releases, never written again.

Every file has the bytes that it had, and so has every fixture that was good then. Disks and archives are good to `stubsave` and to reader.py, and give the
state that they were made of; state files have a good trailer to `stubsave inspect` and to Tests/Formats/trailer.py, and a
record is what `wrap` makes of its state file today.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "formats"), str(ROOT / "fixtures")]
import reader  # noqa: E402
from trailer import TrailerFile  # noqa: E402

RELEASES = ROOT / "fixtures/releases"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Checker:
    """Of one file; its complaints."""

    def __init__(self, program: Path, path: Path, entry: dict[str, Any]) -> None:
        self.program, self.path, self.entry = program, path, entry
        self.data = path.read_bytes()

    def run(self, *arguments: str | Path, source: bytes = b"") -> tuple[int, bytes]:
        """Exit code and standard output of stubsave."""
        found = subprocess.run([self.program, *arguments], input=source, capture_output=True,
                               check=False)
        return found.returncode, found.stdout

    def disk(self) -> list[str]:
        """Verify, read, and the second reader."""
        found = []
        if (code := self.run("verify", self.path)[0]) != 0:
            found.append(f"verify: exit code {code}")
        code, state = self.run("read", self.path)
        if (code, sha256(state)) != (0, self.entry["stateSha256"]):
            found.append(f"read: exit code {code}, or another state")
        judged = reader.judge_bytes(self.data, keep="qemu")
        if judged.exit_code != reader.GOOD or sha256(judged.kept or b"") != self.entry["stateSha256"]:
            found.append(f"reader.py: {judged.verdict} ({judged.check}), or another state")
        return found

    def state(self) -> list[str]:
        """Its trailer, and that what is before it is the state."""
        code, text = self.run("inspect", self.path)
        found = [] if code == 0 and b"trailer: good" in text else [f"inspect: exit code {code}"]
        found += [f"inspect does not show {line!r}"
                  for line in ("dom0 uuid 0b7c9d0e-5e0f-4c35-9c52-2a1d7a3f1c11",
                               "dom0 device -device e1000")
                  if line.encode() not in text]
        if (check := TrailerFile.check(self.data)) != "good":
            found.append(f"trailer.py: {check}")
        if sha256(self.data[:self.entry["stateBytes"]]) != self.entry["stateSha256"]:
            found.append("another state before the trailer")
        return found

    def raw(self) -> list[str]:
        """A state without a trailer."""
        code, text = self.run("inspect", self.path)
        return [] if code == 0 and b"trailer: good" not in text else [f"inspect: exit code {code}"]

    def record(self) -> list[str]:
        """What wrap makes of the release's own state file."""
        again = self.run("wrap", self.path.with_name("dump.state"))
        return [] if again == (0, self.data) else [f"wrap: exit code {again[0]}, or another record"]

    def all(self) -> list[str]:
        """By its kind."""
        if sha256(self.data) != self.entry["sha256"]:
            return ["is not what the release wrote"]
        kinds = {"disk": self.disk, "state": self.state, "raw": self.raw, "record": self.record}
        return kinds[self.entry["kind"]]()


def lost(folder: Path) -> list[str]:
    """Fixtures that were good when the release was made, and are others now or not there."""
    found = []
    for line in (folder / "good.sha256").read_text().splitlines():
        digest, name = line.split("  ")
        path = ROOT / "fixtures/good" / name
        if not path.is_file() or sha256(path.read_bytes()) != digest:
            found.append(f"{folder.name}: good/{name} is not what it was")
    return found


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Files of earlier releases.")
    parser.add_argument("--stubsave", type=Path, required=True, metavar="PROGRAM")
    program = parser.parse_args().stubsave.resolve()
    passed = failed = 0
    for folder in sorted(RELEASES.iterdir()):
        entries = json.loads((folder / "manifest.json").read_text())["files"]
        names = {entry["file"] for entry in entries} | {"manifest.json", "good.sha256"}
        problems = [f"{folder.name}/{path.name}: is not in the manifest"
                    for path in folder.iterdir() if path.name not in names]
        for entry in entries:
            complaints = Checker(program, folder / entry["file"], entry).all()
            problems += [f"{folder.name}/{entry['file']}: {text}" for text in complaints]
            passed += not complaints
        problems += lost(folder)
        failed += len(problems)
        print("\n".join(problems), end="\n" if problems else "", file=sys.stderr)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
