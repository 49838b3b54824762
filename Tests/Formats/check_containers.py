#!/usr/bin/python3
"""Holds formats/containers.py and stubsave against fixtures/manifest.json, and against each other.

    check_containers.py --stubsave PROGRAM [--count N] [--seed N]

Every save file of the manifest: verdict, structure, field, offset, headers and records, QEMU's state,
bytes behind, from both readers. Then mutated ones, of which the manifest says nothing: both readers must
agree on the verdict and its place. Of good ones `extract` gives the very bytes, and `wrap` the very record.
What is no save file is named. And files whose end was lost: from any place before QEMU's state on they
read as zeros, and go on with zeros, and are never good; without a state they are unverified at most. A state by itself, in a file and in a record from `wrap`:
each way to begin (formats/statehead.py), and mutated ones among the others.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import random
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "formats"), str(ROOT / "fixtures")]
import containers  # noqa: E402
from recipes import alone  # noqa: E402
from savefiles import trailer  # noqa: E402
from trailer import placed  # noqa: E402

BATCH = 100
# With fewer different verdicts and places the mutations are not worth much.
LEAST_PLACES = 60
NOTABLE = (0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 18, 19, 24, 48, 0x7F, 0x80, 0xFF, 0xF00, 0xFFFF, 4096,
           1 << 31, (1 << 31) + 1, (1 << 32) - 1, 1 << 52, 1 << 63, (1 << 64) - 1)  # fmt: skip
Place = tuple[int, Any, Any, Any]


class Program:
    """stubsave."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path.resolve(), folder

    def run(self, *words: str | Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Whatever comes of it."""
        return subprocess.run([self.path, *words], input=data, capture_output=True, check=False)

    def verdicts(self, files: list[bytes], max_state: int) -> list[Place]:
        """Of `verify`, all in one run."""
        told = self.reports(files, max_state)
        return [(v["exitCode"], v.get("structure"), v.get("field"), v.get("offset")) for v in told]

    def reports(self, files: list[bytes], max_state: int = containers.DEFAULT_MAX_STATE) -> list[dict[str, Any]]:
        """All that it says."""
        paths = []
        for number, data in enumerate(files):
            path = self.folder / f"{number}"
            path.write_bytes(data)
            paths.append(path)
        done = self.run("verify", "--json", "--max-state", str(max_state), *paths)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(lines) == len(files), done.stderr[-2000:]
        return lines


def place(found: containers.Verdict) -> Place:
    """As `Program.verdicts` has it."""
    return found.exit_code, found.structure, found.field, found.offset


def max_state(fixture: dict[str, Any]) -> int:
    """The manifest's limit."""
    found: int = fixture.get("limits", {}).get("maxStateBytes", containers.DEFAULT_MAX_STATE)
    return found


def check_fixture(fixture: dict[str, Any], data: bytes, program: Program) -> list[str]:
    """What differs from the manifest."""
    found = containers.judge_bytes(data, max_state(fixture))
    wanted = (fixture["exitCode"], fixture.get("structure"), fixture.get("field"), fixture.get("offset"))
    if place(found) != wanted or found.container != fixture["container"]:
        return [f"containers.py found {place(found)}, {found.container}; the manifest says {wanted}"]
    told = program.run("inspect", "--json", "--max-state", str(max_state(fixture)), "-", data=data)
    inspection = json.loads(told.stdout)
    verdict = inspection["verdict"]
    problems = []
    if tuple(verdict.get(key) for key in ("exitCode", "structure", "field", "offset")) != wanted:
        problems.append(f"inspect found {verdict}; the manifest says {wanted}")
    lines = [f"{r['offset']} {r['bytes']} {r['structure']}" for r in inspection["records"]]
    if lines != [f"{e.offset} {e.size} {e.structure}" for e in found.entries]:
        problems.append(f"other headers and records: {lines}; {found.entries}")
    if fixture["container"] is None:
        problems += check_named(data, verdict["message"])
    if fixture["exitCode"] == 0:
        if verdict["bytesBehind"] != found.behind or found.behind != len(data) - fixture["containerBytes"]:
            problems.append(f"bytes behind: {verdict['bytesBehind']}, {found.behind}")
        problems += check_good(fixture, data, found, lines, program)
    # A process each takes time; every damaged file has been judged above.
    elif len(data) % 5 == 0 and program.run("extract", "--max-state", str(max_state(fixture)), "-", data=data).stdout:
        problems.append("extract gives something of a damaged file")
    return problems


def check_named(data: bytes, message: str) -> list[str]:
    """Of what is no save file: the message says what it is."""
    word, _ = containers.foreign(data) or ("", False)
    return [] if word and word in message else [f"is not called {word}: {message}"]


def check_lost_ends(files: list[bytes], program: Program) -> list[str]:
    """Zeros from some place before the state on, as after a power cut, and behind the end."""
    problems, count = [], 0
    for data in files:
        found = containers.judge_bytes(data)
        if not found.state:
            count += check_lost_records(data, found, program, problems)
            continue
        # Of a state that is there from its magic on, its own trailer tells (save-disk.md, section 10).
        places = range(32, found.state[0] + 4, 7)
        for behind in (0, 5000):
            lost = [data[:place] + bytes(len(data) + behind - place) for place in places]
            count += len(lost)
            judged = [place for place, file in zip(places, lost, strict=True)
                      if containers.judge_bytes(file).exit_code == 0]  # fmt: skip
            asked = range(0, len(lost), max(1, len(lost) // 20))
            told = program.verdicts([lost[index] for index in asked], containers.DEFAULT_MAX_STATE)
            judged += [places[index] for index, verdict in zip(asked, told, strict=True) if verdict[0] == 0]
            if judged:
                problems.append(f"zeros from {judged[:5]} on, {behind} behind: good")
        # A sector in the middle that reads as zeros may have held memory; the state is found all the same.
        for place in range(32, found.state[0], 24):
            file = data[:place] + bytes(512) + data[place + 512:]
            verdict = containers.judge_bytes(file)
            if verdict.exit_code == 0 and (verdict.state != found.state or place + 512 > found.state[0]):
                problems.append(f"zeros at {place}: good, the state at {verdict.state}")
            count += 1
    print(f"{count} files whose end was lost")
    return problems


def check_lost_records(data: bytes, whole: containers.Verdict, program: Program, problems: list[str]) -> int:
    """The same of a guest without a state, up to its end; returns how many files that were."""
    if data.rstrip(b"\0") == b"" or whole.container == "xenopsd suspend image":
        return 0
    places = range(32, whole.size - 8, 8)
    lost = [data[:place] + bytes(len(data) + 512 - place) for place in places]
    judged = [containers.judge_bytes(file) for file in lost]
    asked = range(0, len(lost), max(1, len(lost) // 60))
    told = program.reports([lost[index] for index in asked])
    called = [place for place, found in zip(places, judged, strict=True)
              if found.exit_code == 0 and not found.is_unverified]  # fmt: skip
    called += [places[index] for index, report in zip(asked, told, strict=True) if report["verdict"] == "good"]
    called += [places[index] for index, report in zip(asked, told, strict=True)
               if report["exitCode"] != judged[index].exit_code]  # fmt: skip
    if called:
        problems.append(f"without a state, zeros from {called[:5]} on: good, or not the same by both")
    return len(lost)


def check_alone(program: Program) -> list[str]:
    """States by themselves: both readers say what the document does of their first bytes."""
    problems, files, wanted = [], list[bytes](), list[Place]()
    for start in alone.starts():
        for begin, wrapped in ((0, False), (16, True)):
            failed = (start.exit_code, "state file", "record", begin + (start.offset or 0))
            for state, expected in (
                (start.state, failed if start.exit_code else (0, None, None, None)),
                # A trailer says that it is what was saved, not that a QEMU could load it.
                (start.state + trailer(start.state), failed if start.exit_code else (0, None, None, None)),
            ):  # fmt: skip
                files.append(alone.record(state) if wrapped else state)
                wanted.append(expected)
                found = place(containers.judge_bytes(files[-1]))
                if found != expected:
                    problems.append(f"{start.name}, {len(files)}: containers.py {found}, not {expected}")
    told = program.verdicts(files, containers.DEFAULT_MAX_STATE)
    problems += [f"{number}: verify {verdict}, not {expected}"
                 for number, (verdict, expected) in enumerate(zip(told, wanted, strict=True), 1)
                 if verdict != expected]  # fmt: skip
    print(f"{len(files)} states by themselves, {len(problems)} problems")
    return problems


def check_placed(program: Program) -> list[str]:
    """Trailers with something behind them, and cut ones."""
    problems, files, cases = [], list[bytes](), list(placed())
    for what, data, expected in cases:
        files.append(data)
        found = place(containers.judge_bytes(data))
        if found != expected:
            problems.append(f"{what}: containers.py {found}, not {expected}")
    told = program.verdicts(files, containers.DEFAULT_MAX_STATE)
    problems += [f"{what}: verify {verdict}, not {expected}"
                 for verdict, (what, _, expected) in zip(told, cases, strict=True)
                 if verdict != expected]  # fmt: skip
    print(f"{len(files)} trailers, followed or cut, {len(problems)} problems")
    return problems


def check_good(fixture: dict[str, Any], data: bytes, found: containers.Verdict, lines: list[str],
               program: Program) -> list[str]:  # fmt: skip
    """Of a good one: what is in it."""
    problems = []
    if lines != fixture["entries"] or found.size != fixture["containerBytes"]:
        problems.append(f"other headers and records: {lines}")
    done = program.run("extract", "-", data=data)
    state = fixture.get("state")
    if state is None:
        if found.state or (done.returncode, done.stdout) != (14, b""):
            problems.append(f"a state that is not there: {done}")
        return problems
    start, length = found.state or (0, 0)
    if (start, length, found.trailer) != (state["offset"], state["bytes"], state["trailer"]):
        problems.append(f"containers.py finds the state at {found.state}, trailer {found.trailer}")
    bytes_ = data[start:start + length]
    if hashlib.sha256(bytes_).hexdigest() != state["sha256"] or done.stdout != bytes_ or done.returncode:
        problems.append(f"extract ends with {done.returncode} and {len(done.stdout)} bytes")
    record = program.run("wrap", "-", data=bytes_).stdout
    wanted = struct.pack("<4I", 3, 8 + length, 2, 0) + bytes_ + bytes(-length % 8)
    if record != wanted:
        problems.append(f"wrap gives {len(record)} bytes, not {len(wanted)}")
    return problems


def mutated(data: bytes, generator: random.Random) -> bytes:
    """With one to three changes, mostly of whole fields."""
    changed = bytearray(data)
    for _ in range(generator.randint(1, 3)):
        if not changed:
            break
        kind, at = generator.randrange(8), generator.randrange(len(changed))
        size = generator.choice((1, 2, 4, 8))
        if kind == 0:
            changed[at] ^= 1 << generator.randrange(8)
        elif kind in (1, 2, 3):  # what lies at a multiple of 4 from the end or the start of something
            at -= (at - generator.choice((0, 3, 7))) % 4
            value = generator.choice(NOTABLE) if kind < 3 else generator.getrandbits(64)
            changed[max(at, 0):max(at, 0) + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        elif kind == 4:
            del changed[at:]
        elif kind == 5:
            changed[at:at] = generator.randbytes(generator.choice((1, 8, 16, 24)))
        elif kind == 6:
            del changed[at:at + generator.choice((1, 8, 16, 24))]
        else:
            other = generator.randrange(len(changed))
            length = generator.choice((8, 16, 24, 64))
            changed[at:at + length] = changed[other:other + length]
    return bytes(changed)


def check_mutated(files: list[bytes], program: Program, count: int, seed: int) -> list[str]:
    """Both readers on damaged files."""
    generator = random.Random(seed)
    problems, places = [], Counter[Place]()
    for _ in range(0, count, BATCH):
        batch = [mutated(generator.choice(files), generator) for _ in range(BATCH)]
        # What is no save file any more is judged as a save disk.
        batch = [data for data in batch if containers.judge_bytes(data).container]
        limit = generator.choice((containers.DEFAULT_MAX_STATE, 64, 61))
        told = program.verdicts(batch, limit)
        for data, verdict in zip(batch, told, strict=True):
            wanted = place(containers.judge_bytes(data, limit))
            places[wanted[:3] + (None,)] += 1
            if verdict != wanted:
                path = Path(tempfile.gettempdir()) / f"differs-{hashlib.sha1(data).hexdigest()[:12]}"
                path.write_bytes(data)
                problems.append(f"{path}: stubsave {verdict}, containers.py {wanted}")
    total = sum(places.values())
    print(f"{total} mutated save files, {len(places)} different verdicts and fields, seed {seed}")
    if count >= 2000 and len(places) < LEAST_PLACES:
        problems.append(f"only {len(places)} different verdicts and fields")
    return problems


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Hold two readers of save files against each other.")
    parser.add_argument("--stubsave", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000, help="of mutated files")
    parser.add_argument("--seed", type=int, default=20261125)
    options = parser.parse_args()
    manifest = json.loads((ROOT / "fixtures/manifest.json").read_text())
    problems, files = [], []
    with tempfile.TemporaryDirectory() as folder:
        program = Program(options.stubsave, Path(folder))
        for fixture in manifest["saveFiles"]:
            data = (ROOT / "fixtures" / fixture["file"]).read_bytes()
            problems += [f"{fixture['file']}: {text}" for text in check_fixture(fixture, data, program)]
            if fixture["exitCode"] == 0:
                files.append(data)
        print(f"{len(manifest['saveFiles'])} save files of the manifest, {len(problems)} problems")
        problems += check_lost_ends(files, program)
        problems += check_alone(program)
        problems += check_placed(program)
        problems += check_mutated(files + alone.good(), program, options.count, options.seed)
    for text in problems:
        print(text, file=sys.stderr)
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
