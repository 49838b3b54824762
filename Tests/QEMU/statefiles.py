#!/usr/bin/python3
"""A thousand state files that were padded, cut and flipped: what stubsave and a real QEMU make of them.

It checks that
  1. a state file with its trailer is good, also with zeros behind it, and nothing else is;
  2. without its trailer it is unverified at most, and never given to a QEMU (--require-trailer);
  3. stubsave and the second reader of formats/save-disk.md, section 10, say the same of each;
  4. QEMU itself takes many of the damaged ones without a word.
And, as root, that the QEMU example of the README works as it is written.

What is padded is so by 512 bytes to 1 MiB, as by `dd conv=sync` or a volume; a cut takes one byte or all but
a few; a file may have any of it. A seed gives the same places.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "formats"), str(ROOT / "fixtures")]
try:
    import statefile
    from bitflips import Trials
    from machine import QEMU
    from savefiles import trailer
except ModuleNotFoundError as missing:
    sys.exit(f"needs {missing.name} (apt package python3-xxhash)")

BATCH = 100
PADDINGS = (1, 7, 64, 512, 4096, 65_536, 1 << 20)
CODES = {"good": 0, "unverified": 0, "corrupt": 2, "incomplete": 3, "unsupported": 6}
README_SECONDS = 60


class Case(NamedTuple):
    """A file, and what was done to it."""
    data: bytes
    what: str
    is_whole: bool  # the bytes that were saved with their trailer, and zeros at most behind them


def changed(whole: bytes, state_bytes: int, chance: random.Random) -> Case:
    """One of them; one in eight is only padded."""
    data, done = bytearray(whole), list[str]()
    is_padded_only = chance.randrange(8) == 0
    if not is_padded_only and chance.randrange(2):
        at = chance.choice((chance.randrange(state_bytes), chance.randrange(state_bytes, len(data)),
                            len(data) - 64 + chance.randrange(64)))
        data[at] ^= 1 << chance.randrange(8)
        done.append(f"byte {at} flipped")
    if not is_padded_only and chance.randrange(2):
        most = chance.choice((64, len(whole) - state_bytes, len(data) - 100))
        count = chance.randrange(1, most + 1)
        del data[len(data) - count:]
        done.append(f"{count} bytes cut off")
    if is_padded_only or chance.randrange(2):
        count = chance.choice(PADDINGS)
        data += bytes(count)
        done.append(f"{count} zeros")
    if not is_padded_only and chance.randrange(6) == 0:
        data += chance.randbytes(chance.randrange(1, 600))
        done.append("noise")
    if not is_padded_only and chance.randrange(8) == 0:
        data += bytes(1 << 20) + b"\1"
        done.append("what a volume had before")
    content = bytes(data).rstrip(b"\0")
    is_whole = bytes(data).startswith(whole) and len(content) <= len(whole)
    return Case(bytes(data), ", ".join(done) or "nothing", is_whole)


def second(data: bytes) -> tuple[int, str]:
    """The verdict of formats/statefile.py: exit code and word."""
    if not data.startswith(b"QEVM"):
        return 4, "no state"
    try:
        found = statefile.judge(data)
    except statefile.Failed as failed:
        return failed.code, failed.field
    return 0, "good" if found else "unverified"


def judge(stubsave: str, folder: Path, cases: list[Case], *options: str) -> list[dict[str, object]]:
    """What `verify` says of each."""
    paths = list[Path]()
    for number, case in enumerate(cases):
        paths.append(folder / f"{number}")
        paths[-1].write_bytes(case.data)
    done = subprocess.run([stubsave, "verify", "--json", *options, *paths], capture_output=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(cases: list[Case], stubsave: str, folder: Path) -> list[str]:
    """Points 1 to 3; returns what is wrong."""
    wrong, words = list[str](), Counter[str]()
    for start in range(0, len(cases), BATCH):
        batch = cases[start:start + BATCH]
        told = judge(stubsave, folder, batch)
        strict = judge(stubsave, folder, batch, "--require-trailer")
        if len(told) != len(batch) or len(strict) != len(batch):
            return [f"{len(told)} and {len(strict)} verdicts on {len(batch)} files"]
        for case, loose, hard in zip(batch, told, strict):
            code, word = second(case.data)
            words[str(loose["verdict"])] += 1
            if case.is_whole != (loose["verdict"] == "good") or case.is_whole != (hard["exitCode"] == 0):
                wrong.append(f"{case.what}: {loose}, and where a trailer is required {hard}")
            # What its first bytes say besides is none of the trailer's.
            elif loose["exitCode"] != code and word != "unverified" and code != 4:
                wrong.append(f"{case.what}: {loose}, but statefile.py says {code}, {word}")
            elif loose["exitCode"] == 0 and loose["verdict"] not in ("good", "unverified"):
                wrong.append(f"{case.what}: {loose}")
    print(f"{len(cases)} state files: {dict(words)}")
    # Each of them must have come about, else the test is not worth much.
    for word in "good", "unverified", "corrupt", "incomplete":
        if words[word] < len(cases) // 100:
            wrong.append(f"only {words[word]} times {word}")
    return wrong


def readme(stubsave: str, folder: Path) -> list[str]:
    """The example, as it is written; what is wrong."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```console\n(# qemu='.*?)```", text, re.DOTALL)
    script = "set -e\n" + re.sub(r"^# ", "", block, flags=re.MULTILINE)
    ends = "stubsave verify --json --require-trailer state; kill $(cat pid)\n"
    environment = os.environ | {"PATH": f"{Path(stubsave).resolve().parent}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(["bash", "-c", script + ends], cwd=folder, env=environment, text=True,
                              capture_output=True, timeout=README_SECONDS, check=False)
    finally:
        if (folder / "pid").exists():
            subprocess.run(["bash", "-c", "kill $(cat pid) 2> /dev/null"], cwd=folder, check=False)
    print(f"README: exit {done.returncode}")
    return [] if done.returncode == 0 else [f"README's example: {done}"]


async def run(options: argparse.Namespace) -> list[str]:
    """Everything; what is wrong."""
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="stubsave-statefiles-") as name:
        folder = Path(name)
        trials = Trials(options.stubsave, folder)
        state, version = await trials.save()
        whole = state + trailer(state, f"qemu {version}\nmachine pc\n")
        cases = [changed(whole, len(state), chance) for _ in range(options.count)]
        wrong = check(cases, options.stubsave, folder)
        damaged = [case for case in cases if not case.is_whole and not case.data.startswith(state)]
        results = await asyncio.gather(*(trials.load(case.data) for case in damaged[:options.loads]))
        taken = sum(result.outcome == "accepted" for result in results)
        print(f"QEMU {version} takes {taken} of {len(results)} damaged ones without a word")
        if taken * 10 < len(results):
            wrong.append("QEMU takes less than a tenth of them")
        if os.geteuid() == 0:
            wrong += readme(options.stubsave, folder)
    return wrong


def main() -> int:
    """Read the command line, and see that both programs are there."""
    built = ROOT / ".build/release/stubsave"
    parser = argparse.ArgumentParser(description="Padded, cut and flipped state files.")
    parser.add_argument("--count", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--loads", type=int, default=60, help="of them into QEMU (default: 60)")
    parser.add_argument("--seed", type=int, default=20261128)
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    options = parser.parse_args()
    for program, way in ((QEMU, "apt package qemu-system-x86"), (options.stubsave, "make build")):
        if shutil.which(program) is None:
            print(f"needs {program} ({way})", file=sys.stderr)
            return 2
    wrong = asyncio.run(run(options))
    for text in wrong[:20]:
        print(f"FAILED {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
