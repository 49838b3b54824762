#!/usr/bin/python3
"""Every two of `hooks`, `gc`, `attach`, `detach`, `dump`, `restore` and `allocate` at once.

Over a real xenstored, with the real agent beside a QEMU that is only QMP, and all of them about the
same domain, the same disk, the same directory of programs. Whatever the order is that comes about:
  1. each ends in time, with a code that its partner can be the reason of;
  2. whatever block device a stubdomain has, there is a claim on it, and none besides;
  3. libxl's own program is there, whole, and so is what stands in its place;
  4. a file that has been attached has its name; a dump that has succeeded is the state;
  5. one `gc` later nothing is left.
Then all again, in either order, with the second killed meanwhile. Run by Tests/Xenstored/xenstored.py.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "QEMU"), str(HERE.parent / "Hostile")]
from machine import Lab, Outcome, Score, expect, running, state_in  # noqa: E402
from fakeqmp import STATES, Fake  # noqa: E402
from places import LIMIT, parsed, parser  # noqa: E402
from claims import Dom0, RUN, claims  # noqa: E402
from stubdomain import xenstored  # noqa: E402
from xenbus import BACKENDS, Xenstore  # noqa: E402

DOMID = 7
STATE = STATES / "x01-pc-min-reset.dev"
OWN = "#!/bin/sh\n" + "# libxl's own\n" * 2000 + "echo own\n"  # long: half a copy is noticed
SEED = 16
BIN = "usr/lib/xen-4.17/bin"
LATEST_SECONDS = 0.06  # how much later the second begins, at most; most commands take less
DEADLINE_SECONDS = 40
# Beside its own success, and 5 where somebody else is at work with the same thing.
GOOD, BUSY = {0}, {0, 5}
CODES = {
    "install": BUSY, "remove": BUSY, "show": GOOD, "gc": GOOD, "attach": BUSY, "detach": BUSY,
    "dump": BUSY, "restore": BUSY, "allocate": BUSY,
}
# What the partner can be the reason of besides.
REASONS = {
    ("detach", "detach"): {14},  # the other has taken it away
    ("dump", "detach"): {9, 10, 11, 13, 14},  # its disk is taken away before or under it
    ("dump", "dump"): {12},  # its disk holds the other's state
    ("restore", "dump"): {13},  # the QEMU is one that has a state
    ("restore", "restore"): {13},  # the other's
}


class Round(NamedTuple):
    """What the two commands are about."""

    root: Path  # where libxl's program is
    attached: str  # a disk that the stubdomain has
    name: str  # what it is called there
    free: str  # a disk that nobody has
    given: str  # a state


class Together:
    """All rounds."""

    def __init__(self, dom0: Dom0, fake: Fake) -> None:
        self._dom0, self._lab, self._fake = dom0, dom0.lab, fake
        self._random, self.seen = random.Random(SEED), Counter[str]()

    def _new_root(self) -> Path:
        """A directory as a dom0's, with libxl's own program in its place."""
        root = Path(self._lab.path("root"))
        place = root / BIN / "vchan-socket-proxy"
        place.parent.mkdir(parents=True)
        (root / "var/lib").mkdir(parents=True)
        place.write_text(OWN)
        place.chmod(0o755)
        return root

    def _words(self, what: str, partner: str, here: Round, output: str) -> list[str]:
        """The command line."""
        words = self._dom0.words
        match what:
            case "install" | "remove" | "show":
                return ["hooks", what, "xl", "--root", str(here.root)]
            case "gc":
                return words("gc")
            case "attach":
                return words("attach", DOMID, here.free)
            case "detach":
                return words("detach", DOMID, here.name)
            case "dump":
                return words("dump", DOMID, "--disk", here.attached, "--attached", here.name,
                             "--timeout", 5, "--force", "-o", output)
            case "restore":
                return words("restore", DOMID, "-i", here.given, "--timeout", 5)
            case "allocate":
                return ["allocate", "--force", "--size", "1MiB",
                        here.free if partner in ("attach", "allocate") else here.attached]
        raise AssertionError(what)

    async def _one(self, words: list[str], delay: float, life: float | None) -> Outcome | None:
        """Run it, so much later; None if it was killed."""
        await asyncio.sleep(delay)
        if life is None:
            return await self._lab.stubsave(*words)
        async with running(self._lab.program, *words, stdin=DEVNULL, stdout=DEVNULL,
                           stderr=DEVNULL) as process:
            try:
                async with asyncio.timeout(life):
                    await process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):  # it has ended just now
                    os.kill(process.pid, signal.SIGKILL)  # process.kill() may reap, as asyncio does
                    self.seen["killed"] += 1
                await process.wait()
        return None

    async def pair(self, one: str, other: str, kills: bool) -> str:
        """Both at once, and what has become of it."""
        attached, free = await self._dom0.file(), await self._dom0.file()
        name = await self._dom0.good("attach", DOMID, attached)
        here = Round(self._new_root(), attached, name, free, await self._dom0.state())
        delays = [0.0, self._random.random() * LATEST_SECONDS]
        self._random.shuffle(delays)
        lives = [None, self._random.random() * LATEST_SECONDS * 2 if kills else None]
        outputs = [self._lab.path("out"), self._lab.path("out")]
        waits = "restore" in (one, other) and "dump" not in (one, other)
        self._fake.status, self._fake.loaded = "inmigrate" if waits else "paused", None
        async with asyncio.timeout(DEADLINE_SECONDS):
            done = await asyncio.gather(
                self._one(self._words(one, other, here, outputs[0]), delays[0], lives[0]),
                self._one(self._words(other, one, here, outputs[1]), delays[1], lives[1]))
        try:
            self._judge(one, other, done[0], Path(outputs[0]))
            self._judge(other, one, done[1], Path(outputs[1]))
            self._program(here.root)
            if kills:
                await self._lab.good("hooks", "remove", "xl", "--root", str(here.root))
                await self._dom0.good("gc")
            self._program(here.root, is_whole=True)
            await self._settled()
        finally:
            await self._tidy()
        return ", ".join("killed" if outcome is None else str(outcome.code) for outcome in done)

    def _judge(self, what: str, partner: str, outcome: Outcome | None, file: Path) -> None:
        """How one of them has ended."""
        if outcome is None:
            return
        allowed = CODES[what] | REASONS.get((what, partner), set())
        expect(outcome.code in allowed, f"{what} beside {partner}: {outcome}; {outcome.message}")
        self.seen[f"{what} {outcome.code}"] += 1
        if what == "dump":
            expect(file.exists() == (outcome.code == 0), f"{outcome}; output: {file.exists()}")
            if outcome.code == 0:
                expect(state_in(file.read_bytes()) == STATE.read_bytes(), "not the state")

    def _program(self, root: Path, is_whole: bool = False) -> None:
        """libxl's own is there, under one of its names, its place has a program, and nothing else is
        there if nobody was killed, or what he left has been put away."""
        programs = {path.name: path for path in (root / BIN).iterdir()}
        whole = [name for name, path in programs.items() if path.read_bytes() == OWN.encode()]
        expect(whole, f"libxl's own program is lost: {sorted(programs)}")
        place = programs.get("vchan-socket-proxy")
        expect(place is not None and os.access(place, os.X_OK), f"no program: {sorted(programs)}")
        assert place is not None
        text = place.read_text()
        expect(text.startswith("#!") and text.endswith("\n"), f"half a program: {text[-80:]!r}")
        if is_whole:
            others = {name for name in programs if not name.startswith("vchan-socket-proxy")}
            expect(not others, f"left beside it: {others}")

    async def _settled(self) -> None:
        """Each block device that the stubdomain has is claimed, and nothing else is."""
        store, wanted = self._dom0.store, set[str]()
        for number in await store.children(f"{BACKENDS}/{DOMID}"):
            found = await store.read(f"{BACKENDS}/{DOMID}/{number}/physical-device")
            expect(found is not None, f"half a disk: {number}")
            major, minor = (int(word, 16) for word in str(found).split(":"))
            wanted.add(f"disk-{major}:{minor}")
            file = Path(f"/sys/block/loop{minor}/loop/backing_file").read_text().strip()
            expect(not file.endswith("(deleted)"), f"{file} has been replaced under a stubdomain")
        expect(set(claims()) == wanted, f"claims {set(claims())}, disks {wanted}")
        locks = [path.name for path in RUN.glob("domain-*")]
        expect(not locks, f"left: {locks}")

    async def _tidy(self) -> None:
        """Take away what is the user's; then nothing is left."""
        for number in await self._dom0.store.children(f"{BACKENDS}/{DOMID}"):
            name = f"xvd{chr(ord('a') + (int(number) >> 8 & 0xFFFFF))}"
            await self._dom0.good("detach", DOMID, name)
        await self._dom0.nothing_left()


async def run(program: str, agent: str, only: str, directory: Path) -> int:
    """Exit code of the program."""
    score, store = Score(), await Xenstore.connect()
    dom0 = Dom0(Lab(program, directory), store)
    pairs = list(itertools.combinations_with_replacement(CODES, 2))
    async with dom0.domain(DOMID) as kernels:
        with Fake(directory, STATE.read_bytes()) as fake:
            async with running(agent, "serve", str(fake.path), f"xenstore:{xenstored()}/{DOMID}",
                               str(LIMIT), str(kernels.devices), stdin=DEVNULL, stdout=DEVNULL,
                               stderr=DEVNULL):
                together = Together(dom0, fake)
                for kills in False, True:
                    for one, other in itertools.product(CODES, repeat=2) if kills else pairs:
                        name = f"{one}, {other}" + ", killed" * kills
                        if only in name:
                            await score.case(name, together.pair(one, other, kills))
    store.close()
    print(", ".join(f"{what}: {count}" for what, count in sorted(together.seen.items())))
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


def main() -> int:
    """Exit code of the program."""
    made = parser("Every two commands at once, over a real xenstored.")
    made.add_argument("--only", default="", metavar="TEXT", help="pairs whose names hold it")
    options = parsed(made)
    with tempfile.TemporaryDirectory(prefix="stubsave-together-") as directory:
        return asyncio.run(run(options.stubsave, options.agent, options.only, Path(directory)))


if __name__ == "__main__":
    sys.exit(main())
