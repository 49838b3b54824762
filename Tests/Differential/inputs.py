"""Inputs for differential.py: fixtures, what a fuzzer has kept, and mutations of both."""
from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "formats"), str(ROOT / "fixtures")]
import containers  # noqa: E402
import reader  # noqa: E402
from mutations import mutated  # noqa: E402

BATCH = 250
BASE_BYTES, BASE_RAW_BYTES = 65536, 2 << 20
DAMAGED_BASES = 150


@dataclass
class Base:
    """A fixture, and the verdict that it has by default; None if the manifest states limits."""
    data: bytes
    verdict: Optional[tuple[Any, ...]]


@dataclass
class Input:
    """A mutated disk."""
    index: int
    data: bytes
    mutators: list[str]
    base: Base

    @property
    def name(self) -> str:
        return f"{self.index:07}.savedisk"


@dataclass
class Batch:
    """Inputs that are judged with the same limits."""
    inputs: list[Input]
    max_state: int
    codecs: frozenset[int]
    decode: bool

    @property
    def is_default(self) -> bool:
        both = reader.DEFAULT_CODECS
        return self.decode and (self.max_state, self.codecs) == (reader.DEFAULT_MAX_STATE, both)

    @property
    def arguments(self) -> list[str]:
        """The limits as options of stubsave verify and read."""
        names = [name for name, codec in reader.CODECS.items() if codec in self.codecs]
        return [f"--max-state={self.max_state}", f"--codecs={','.join(names) or 'none'}"]


def load_bases(rng: random.Random) -> tuple[list[Base], list[Base]]:
    """The good fixtures; a sample of the damaged ones and those for other limits; all small."""
    good: list[Base] = []
    damaged: list[Base] = []
    for entry in json.loads((ROOT / "fixtures/manifest.json").read_text())["fixtures"]:
        raw_bytes = sum(stream["rawBytes"] for stream in entry.get("streams") or [])
        if entry["bytes"] <= BASE_BYTES and raw_bytes <= BASE_RAW_BYTES:
            data = (ROOT / "fixtures" / entry["file"]).read_bytes()
            verdict = tuple(entry.get(key) for key in ("exitCode", "structure", "field", "offset"))
            base = Base(data, None if {"limits", "or"} & entry.keys() else verdict)
            (damaged if entry["exitCode"] else good).append(base)
    limited = [base for base in damaged if base.verdict is None]
    return good, limited + rng.sample(damaged, DAMAGED_BASES)


def load_corpus(folders: list[Path]) -> list[Base]:
    """Everything in these folders, in an order that does not depend on the file system."""
    paths = sorted(path for folder in folders for path in folder.iterdir() if path.is_file())
    return [Base(path.read_bytes(), None) for path in paths]


def is_another_kind(data: bytes) -> bool:
    """Whether `verify` judges it as a state or save file by its beginning (containers.md, section 9):
    check_containers.py compares those."""
    begins_one = any(data.startswith(magic) for magic in containers.CONTAINERS)
    is_foreign = containers.foreign(data) is not None and not data.startswith(reader.MAGIC)
    return begins_one or is_foreign or containers.is_record(data)


@dataclass
class Bases:
    """What is mutated."""
    good: list[Base]
    damaged: list[Base]
    corpus: list[Base]

    @classmethod
    def load(cls, seed: int, folders: list[Path]) -> Bases:
        good, damaged = load_bases(random.Random(f"bases {seed}"))
        return cls(good, damaged, load_corpus(folders))

    def choose(self, rng: random.Random) -> Base:
        """One of a fuzzer's every third time, if there are any; else mostly a good one."""
        if self.corpus and rng.randrange(3) == 0:
            return rng.choice(self.corpus)
        return rng.choice(self.good if rng.randrange(7) else self.damaged)


def batches(seed: int, count: int, bases: Bases) -> Iterator[Batch]:
    """All inputs: first what a fuzzer has kept, as it is, then mutations.

    Each has its own source of chance, so that it does not depend on the others.
    """
    total = max(count, len(bases.corpus))
    for first in range(0, total, BATCH):
        rng = random.Random(f"batch {seed} {first}")
        batch = Batch([], reader.DEFAULT_MAX_STATE, reader.DEFAULT_CODECS, True)
        if first and rng.randrange(4) == 0:
            batch.max_state = rng.choice((63, 64, 300, 65536, 200_000, 1 << 20, 64 << 20))
            batch.codecs = frozenset(c for c in batch.codecs if rng.randrange(3))
            batch.decode = bool(rng.randrange(4))
        for index in range(first, min(first + BATCH, total)):
            rng = random.Random(f"input {seed} {index}")
            if index < len(bases.corpus):
                base = bases.corpus[index]
                batch.inputs.append(Input(index, base.data, [], base))
                continue
            base = bases.choose(rng)
            data, mutators = mutated(rng, base.data, rng.choice(bases.good).data)
            batch.inputs.append(Input(index, data, mutators, base))
        yield batch
