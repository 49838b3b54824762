#!/usr/bin/python3
"""Differential test: stubsave and formats/reader.py must judge the same mutated disks alike.

An input is a fixture with 0 to 3 mutations (inputs.py, mutations.py); it depends on the seed, its
index and the fixtures only. What begins as a state or save file, as some inputs of a fuzzer's do,
is left out, and counted. With --corpus, what a fuzzer has kept comes first, and is mutated too.
The readers must agree in exit code, structure, field and offset; of a good disk in its length, its
streams, and the bytes of the stream qemu. A fixture that is not mutated must get the verdict of
the manifest. In some batches both readers have other limits and codecs than by default, or do not
decode. With too few different verdicts the test fails, whatever they are; a count of 2000 is
enough.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "formats")]
import reader  # noqa: E402
from inputs import ROOT, Bases, Batch, Input, batches, is_another_kind  # noqa: E402
from mutations import LOGGED, PLAIN  # noqa: E402

READS = 400  # so many good inputs are read in any case, the others if they are no fixtures
LEAST_VERDICTS, LEAST_PAIRS = 5, 45
SHOWN = 20  # disagreements that are printed and kept


class Judgement(NamedTuple):
    """What a reader says of an input, in so far as readers must agree."""
    exit_code: int
    structure: Optional[str] = None
    field: Optional[str] = None
    offset: Optional[int] = None
    disk_bytes: Optional[int] = None
    streams: tuple[tuple[str, int, str], ...] = ()

    def __str__(self) -> str:
        word = reader.WORDS.get(self.exit_code, "failure")
        if self.exit_code == reader.GOOD:
            return f"{word}, {self.disk_bytes} bytes, streams {list(self.streams)}"
        return f"{word}: {self.structure} {self.field}, offset {self.offset}"


# With the SHA-256 of the stream qemu, or the exit code of reading it, or None if it was not read.
Outcome = tuple[Judgement, Optional[str]]


# --- The two readers -----------------------------------------------------------------------------


def judged_by_reader(batch: Batch) -> list[Outcome]:
    """What reader.py says."""
    found: list[Outcome] = []
    for item in batch.inputs:
        try:
            v = reader.judge_bytes(item.data, max_state=batch.max_state, codecs=batch.codecs,
                                   decode=batch.decode, keep="qemu")
        except Exception as error:  # a bug in reader.py, to be reported like any other
            v = reader.Verdict(-1, None, "reader.py", f"raised {error!r}")
        streams = [(s.name, s.rawBytes, str(s.xxh128)) for s in v.streams or []]
        has_qemu = any(name == "qemu" for name, *_ in streams)
        sha256 = hashlib.sha256(v.kept or b"").hexdigest() if has_qemu else "exit code 14"
        found.append((Judgement(v.exit_code, v.structure, v.field, v.offset, v.disk_bytes,
                                tuple(streams)), sha256 if v.exit_code == reader.GOOD else None))
    return found


def judgement(line: dict[str, Any]) -> Judgement:
    """What a line of stubsave verify --json says."""
    streams = [(s["name"], s["rawBytes"], s["xxh128"]) for s in line["streams"]]
    return Judgement(line["exitCode"], line.get("structure"), line.get("field"),
                     line.get("offset"), line.get("diskBytes"), tuple(streams))


class Stubsave:
    """The program under test."""

    def __init__(self, program: Path, work: Path, fixtures: set[bytes]) -> None:
        # A copy, so that a build that goes on meanwhile does not matter.
        self.program, self.work, self.fixtures = work / "stubsave", work, fixtures
        for name in program.name, "stubsave-decode":  # root is refused without the decoder
            shutil.copy(program.with_name(name), work)
        self.seen: set[bytes] = set()

    def run(self, directory: Path, *arguments: str) -> tuple[int, bytes]:
        """Exit code, and what is written to standard output."""
        environment = {**os.environ, "TMPDIR": str(directory)}
        try:
            run = subprocess.run([self.program, *arguments], cwd=directory, env=environment,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 timeout=120, check=False)
        except subprocess.TimeoutExpired:
            return -1, b""
        return run.returncode, run.stdout

    def judge(self, batch: Batch) -> list[Outcome]:
        """What stubsave says; runs in the thread."""
        with tempfile.TemporaryDirectory(dir=self.work) as name:
            directory = Path(name)
            for item in batch.inputs:
                (directory / item.name).write_bytes(item.data)
            judgements = self.verify(directory, batch, batch.inputs)
            if judgements is None:  # not one line each, or no right exit code: which is it?
                none = [Judgement(-2, "stubsave", "gave no verdict, or a wrong exit code")]
                judgements = [(self.verify(directory, batch, [item]) or none)[0]
                              for item in batch.inputs]
            return [(said, self.read(directory, batch, item, said))
                    for item, said in zip(batch.inputs, judgements)]

    def verify(self, directory: Path, batch: Batch,
               inputs: list[Input]) -> Optional[list[Judgement]]:
        """All verdicts, or None if the output is not as it should be."""
        mode = [] if batch.decode else ["--no-decode"]
        names = [item.name for item in inputs]
        code, output = self.run(directory, "verify", "--json", *mode, *batch.arguments, *names)
        try:
            lines = [json.loads(line) for line in output.splitlines()]
            paths = [line["path"] for line in lines]
            judgements = [judgement(line) for line in lines]
        except (ValueError, LookupError, TypeError):
            return None
        fits = paths == names and code == next((j.exit_code for j in judgements if j.exit_code), 0)
        return judgements if fits else None

    def read(self, directory: Path, batch: Batch, item: Input, said: Judgement) -> Optional[str]:
        """A process for each is slow: no input twice, and not every fixture as it is."""
        if said.exit_code != reader.GOOD or not batch.decode or item.data in self.seen or (
                len(self.seen) >= READS and item.data in self.fixtures):
            return None
        self.seen.add(item.data)
        code, output = self.run(directory, "read", *batch.arguments, item.name)
        return f"exit code {code}" if code else hashlib.sha256(output).hexdigest()


# --- Comparing -----------------------------------------------------------------------------------


@dataclass
class Score:
    """What has been seen, and where the readers differ."""
    seed: int
    keep: Optional[Path]
    passed: int = 0
    failed: int = 0
    read: int = 0
    left_out: int = 0
    table: Counter[tuple[str, int]] = field(default_factory=Counter)
    verdicts: Counter[int] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)

    def compare(self, batch: Batch, ours: list[Outcome], theirs: list[Outcome]) -> None:
        for item, (first, first_bytes), (second, second_bytes) in zip(batch.inputs, ours, theirs):
            self.verdicts[second.exit_code] += 1
            self.table.update((name, second.exit_code) for name in set(item.mutators or ["none"]))
            if second.exit_code != reader.GOOD:
                self.pairs[str(second.structure), str(second.field)] += 1
            self.read += first_bytes is not None
            verdict = item.base.verdict if batch.is_default and not item.mutators else None
            if first != second:
                self.fail(batch, item, f"stubsave   {first}", f"reader.py  {second}")
            elif first_bytes not in (None, second_bytes):
                self.fail(batch, item, f"stubsave   qemu {first_bytes}",
                          f"reader.py  qemu {second_bytes}")
            elif verdict not in (None, second[:4]):
                self.fail(batch, item, f"manifest   {verdict}", f"both       {second}")
            else:
                self.passed += 1

    def fail(self, batch: Batch, item: Input, *lines: str) -> None:
        self.failed += 1
        if self.failed > SHOWN:
            return
        if self.keep is None:
            self.keep = Path(tempfile.mkdtemp(prefix="differential-"))
        self.keep.mkdir(parents=True, exist_ok=True)
        path = self.keep / f"seed-{self.seed}-{item.name}"
        path.write_bytes(item.data)
        options = [*batch.arguments, *([] if batch.decode else ["--no-decode"])]
        print(f"DIFFERENT: seed {self.seed}, index {item.index}, mutators {item.mutators}",
              *lines, f"options    {' '.join(options)}", f"kept       {path}", sep="\n  ")

    def report(self, seconds: float) -> None:
        """The table, and whether there was enough of everything."""
        codes = list(reader.WORDS)
        print(f"{'':24}" + "".join(f"{word:>16}" for word in reader.WORDS.values()))
        for name in ["none", *(mutator.__name__ for mutator in PLAIN + LOGGED)]:
            print(f"{name:24}" + "".join(f"{self.table[name, code]:16}" for code in codes))
        print(f"{'all':24}" + "".join(f"{self.verdicts[code]:16}" for code in codes))
        print(f"{len(self.pairs)} pairs of structure and field, {self.read} states read, "
              f"{self.left_out} inputs of another kind left out, {seconds:.0f} s")
        for what, number, least in (("verdicts", len(self.verdicts), LEAST_VERDICTS),
                                    ("pairs of structure and field", len(self.pairs), LEAST_PAIRS)):
            if number < least:
                self.failed += 1
                print(f"FAILED: only {number} different {what}, there should be {least}")


def test(options: argparse.Namespace, work: Path) -> Score:
    """Both readers at once: stubsave in a thread, reader.py here."""
    score, start = Score(options.seed, options.keep), time.monotonic()
    bases = Bases.load(options.seed, options.corpus)
    stubsave = Stubsave(options.stubsave, work, {base.data for base in bases.good})
    waiting: deque[tuple[Batch, Future[list[Outcome]], list[Outcome]]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for batch in batches(options.seed, options.count, bases):
            count = len(batch.inputs)
            batch.inputs = [item for item in batch.inputs if not is_another_kind(item.data)]
            score.left_out += count - len(batch.inputs)
            future = pool.submit(stubsave.judge, batch)
            waiting.append((batch, future, judged_by_reader(batch)))
            while len(waiting) > 4:
                done, future, theirs = waiting.popleft()
                score.compare(done, future.result(), theirs)
        for done, future, theirs in waiting:
            score.compare(done, future.result(), theirs)
    score.report(time.monotonic() - start)
    return score


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stubsave", type=Path, default=ROOT / ".build/debug/stubsave")
    parser.add_argument("--count", type=int, default=20_000, help="of inputs (default 20000)")
    parser.add_argument("--corpus", type=Path, action="append", default=[], metavar="DIR",
                        help="a fuzzer's inputs, as they are and to be mutated")
    parser.add_argument("--seed", type=int, default=1, help="default 1")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="for inputs that are judged "
                        "differently (default: a new directory)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="for temporary files "
                        "(default: /dev/shm if there is one)")
    options = parser.parse_args()
    if not options.stubsave.is_file():
        parser.error(f"{options.stubsave} is missing")
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    print(f"seed {options.seed}, {options.count} inputs")
    with tempfile.TemporaryDirectory(prefix="differential-", dir=options.work or memory) as work:
        score = test(options, Path(work))
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


if __name__ == "__main__":
    sys.exit(main())
