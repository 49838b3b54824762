#!/usr/bin/python3
"""Claims, domains' locks and `gc` beside each other, over a real xenstored, with real loop devices.

A claim belongs to whoever has its lock, and to nobody because of a number; whoever works at a domain
has its lock until he is done; `gc` takes nothing that is somebody's, and makes nobody busy. Where
there is a window, strace stretches it. Run by Tests/Xenstored/xenstored.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "QEMU"), str(HERE.parent / "Hostile")]
from machine import Lab, Outcome, Score, expect, running  # noqa: E402
from places import parsed, parser  # noqa: E402
from fakeqmp import STATES, Fake  # noqa: E402
from stubdomain import kill_domain, xenstored  # noqa: E402
from xenbus import BACKENDS, Kernels, Xenstore, introduce  # noqa: E402

FIRST, SECOND = 5, 7  # domids
RUN = Path("/run/stubsave")


def claims() -> dict[str, str]:
    """All of them, and what they say."""
    return {path.name: path.read_text() for path in RUN.glob("disk-*")}


def is_used(number: str) -> bool:
    """Whether the kernel has a file behind the loop device that a claim is named after."""
    minor = number.partition(":")[2]
    return Path(f"/sys/block/loop{minor}/loop/backing_file").exists()


class Dom0:
    """What all cases need: two stubdomains, and files for disks."""

    def __init__(self, lab: Lab, store: Xenstore) -> None:
        self.lab, self.store, self._state = lab, store, ""

    @asynccontextmanager
    async def domain(self, domid: int) -> AsyncIterator[Kernels]:
        """The two kernels of a disk of a stubdomain's."""
        await introduce(self.store, domid, 100 + domid)
        devices = Path(self.lab.path("dev"))
        devices.mkdir()
        async with Kernels.running(domid, devices) as kernels:
            yield kernels

    async def file(self) -> str:
        """An allocated disk."""
        path = self.lab.path("disk")
        await self.lab.good("allocate", path, "--size", "1MiB")
        return path

    async def state(self) -> str:
        """A state that a stubdomain may be given, with its trailer."""
        if not self._state:
            self._state = self.lab.path("given")
            folder = Path(self.lab.path("qmp"))
            folder.mkdir()
            with Fake(folder, (STATES / "x01-pc-min-reset.dev").read_bytes()) as fake:
                await self.lab.good("dump", "--qmp", str(fake.path), "-o", self._state)
        return self._state

    def words(self, *words: object) -> list[str]:
        """Of a command that talks to xenstored."""
        return [*map(str, words), "--xenstore", str(xenstored() / "dom0")]

    async def good(self, *words: object) -> str:
        """It succeeds; what it prints."""
        return (await self.lab.good(*self.words(*words))).decode().strip()

    async def run(self, *words: object) -> Outcome:
        """It ends somehow."""
        return await self.lab.stubsave(*self.words(*words))

    async def stretched(self, inject: str, *words: object) -> Outcome:
        """The same, with some system calls delayed."""
        log = self.lab.path("log")
        async with running("strace", "-f", "-qq", "-o", log, f"--inject={inject}",
                           self.lab.program, *self.words(*words), stdin=DEVNULL, stdout=PIPE,
                           stderr=PIPE) as process:
            output, message = await process.communicate()
        assert process.returncode is not None
        return Outcome(process.returncode, output, message.decode(), " ".join(map(str, words)))

    async def number(self, domid: int) -> str | None:
        """Of the block device that a domain has, as claims are named."""
        for number in await self.store.children(f"{BACKENDS}/{domid}"):
            found = await self.store.read(f"{BACKENDS}/{domid}/{number}/physical-device")
            if found is not None:
                major, minor = (int(word, 16) for word in found.split(":"))
                return f"disk-{major}:{minor}"
        return None

    async def nothing_left(self) -> None:
        """After one `gc`."""
        await self.good("gc")
        left = [path.name for path in RUN.iterdir() if path.name != "turn"]
        expect(not left, f"left: {left}")
        nodes = [domid for domid in (FIRST, SECOND)
                 if await self.store.children(f"{BACKENDS}/{domid}")]
        expect(not nodes, f"disks are left with {nodes}")


async def number_given_again(dom0: Dom0) -> str:
    """A command is killed, its domain ends, another command is given the same loop device; then gc."""
    given = await dom0.state()
    async with dom0.domain(SECOND) as second:
        async with dom0.domain(FIRST) as first:
            async with running(dom0.lab.program, *dom0.words("restore", FIRST, "-i", given),
                               stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as killed:
                await first.until(lambda: bool(first.seen))
                number = await dom0.number(FIRST)
                os.kill(killed.pid, signal.SIGKILL)
                await killed.wait()
            kill_domain(FIRST)
        async with running(dom0.lab.program, *dom0.words("restore", SECOND, "-i", given),
                           stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as other:
            await second.until(lambda: bool(second.seen))
            expect(await dom0.number(SECOND) == number, "the kernel has given another number")
            before = claims()
            said = await dom0.good("gc")
            expect("domain 5" in said, f"gc: {said}")
            expect(claims() == before and number in before, f"{before} -> {claims()}")
            expect(other.returncode is None, "the other command has ended")
            other.terminate()
            await other.wait()
        await dom0.nothing_left()
    return f"{number} stays"


async def detach_at_its_end(dom0: Dom0) -> str:
    """Another command is given the loop device while `detach` is about to end the claim on it."""
    async with dom0.domain(FIRST), dom0.domain(SECOND):
        one, other = await dom0.file(), await dom0.file()
        name = await dom0.good("attach", FIRST, one)
        before = await dom0.number(FIRST)
        assert before is not None
        taking = asyncio.create_task(
            dom0.stretched("unlinkat,unlink:delay_enter=1000000", "detach", FIRST, name))
        while is_used(before):
            await asyncio.sleep(0.005)  # the kernel tells nobody
        second = await dom0.good("attach", SECOND, other)
        outcome = await taking
        expect(outcome.code == 0, f"{outcome}")
        number = await dom0.number(SECOND)
        expect(number in claims(), f"{number} is not in {claims()}")
        await dom0.good("detach", SECOND, second)
        await dom0.nothing_left()
    return f"{number} stays"


async def fresh_claim(dom0: Dom0) -> str:
    """`gc` has looked at xenstore already when `attach` makes its claim, and ends."""
    async with dom0.domain(FIRST):
        file = await dom0.file()
        for call in "getdents64", "flock", "fcntl", "unlinkat":
            for when in range(1, 5):
                collecting = asyncio.create_task(
                    dom0.stretched(f"{call}:delay_enter=300000:when={when}", "gc"))
                await asyncio.sleep(0.1)  # it has begun; where it is then differs, and must not matter
                name = await dom0.good("attach", FIRST, file)
                outcome = await collecting
                expect(outcome.code == 0, f"{outcome}")
                number = await dom0.number(FIRST)
                expect(number in claims(), f"{call} {when}: {number} is not in {claims()}")
                await dom0.good("detach", FIRST, name)
        await dom0.nothing_left()
    return "16 windows"


async def kept_claims(dom0: Dom0) -> str:
    """What `attach` has left stays as long as its disk, and no longer."""
    async with dom0.domain(FIRST), dom0.domain(SECOND):
        name = await dom0.good("attach", FIRST, await dom0.file())
        number, before = await dom0.number(FIRST), claims()
        expect(await dom0.good("gc") == "" and claims() == before, f"{before} -> {claims()}")
        # As `xl block-detach` does, which knows nothing of claims.
        node = (await dom0.store.children(f"{BACKENDS}/{FIRST}"))[0]
        await dom0.store.remove(f"{BACKENDS}/{FIRST}/{node}")
        for _ in range(200):
            if not (await dom0.run("gc")).code and not claims():
                break
            await asyncio.sleep(0.01)  # until the kernel has let go of the device
        expect(not claims(), f"{claims()}")
        second = await dom0.good("attach", SECOND, await dom0.file())
        outcome = await dom0.run("detach", FIRST, name)
        expect(outcome.code == 14, f"{outcome}")
        expect(await dom0.number(SECOND) in claims(), f"{claims()}")
        await dom0.good("detach", SECOND, second)
        await dom0.nothing_left()
    return f"{number}, until its nodes are gone"


async def locks_are_held(dom0: Dom0) -> str:
    """`attach` and `detach` have the domain until they are done."""
    async with dom0.domain(FIRST) as kernels:
        one, other = await dom0.file(), await dom0.file()
        kernels.connects = False
        first = asyncio.create_task(dom0.good("attach", FIRST, one))
        while not await dom0.store.children(f"{BACKENDS}/{FIRST}"):
            await asyncio.sleep(0.005)
        said = [(await dom0.lab.refused(5, *dom0.words("attach", FIRST, other))).message]
        expect(b'"isBusy":true' in (await dom0.run("list", "--json")).output.replace(
            b" ", b""), "list does not tell")
        kernels.connects = True
        kernels.heed()
        name = await first
        kernels.lets_go = False
        taking = asyncio.create_task(dom0.good("detach", FIRST, name))
        node = (await dom0.store.children(f"{BACKENDS}/{FIRST}"))[0]
        while await dom0.store.read(f"{BACKENDS}/{FIRST}/{node}/state") != "5":
            await asyncio.sleep(0.005)
        said.append((await dom0.lab.refused(5, *dom0.words("detach", FIRST, name))).message)
        await dom0.good("gc")
        kernels.lets_go = True
        kernels.heed()
        await taking
        await dom0.nothing_left()
    return said[0]


async def nobody_is_busy(dom0: Dom0) -> str:
    """Two `gc` one after the other all the time, beside commands for a domain that has a disk."""
    seen, over, count = Counter[str](), asyncio.Event(), 0

    async def collect() -> None:
        nonlocal count
        while not over.is_set():
            outcome = await dom0.run("gc")
            expect(outcome.code == 0, f"{outcome}")
            count += 1

    async with dom0.domain(FIRST):
        stays, comes = await dom0.file(), await dom0.file()
        kept = await dom0.good("attach", FIRST, stays)
        tasks = [asyncio.create_task(collect()) for _ in range(2)]
        try:
            for _ in range(25):
                name = await dom0.good("attach", FIRST, comes)
                await dom0.good("detach", FIRST, name)
                seen["pairs"] += 1
        finally:
            over.set()
            await asyncio.gather(*tasks)
        await dom0.good("detach", FIRST, kept)
        await dom0.nothing_left()
    return f"{seen['pairs']} times attached and detached beside {count} gc"


async def guest_that_stands(dom0: Dom0) -> str:
    """Which guest a killed command had paused is not lost with the next command's lock."""
    async with dom0.domain(FIRST):
        said = []
        for words in ("attach", FIRST, await dom0.file()), ("detach", FIRST, None):
            (RUN / f"domain-{FIRST}").write_text("paused 105")
            outcome = await dom0.run(*words[:2], words[2] or said[0].split()[0])
            expect(outcome.code == 0 and "a killed command had paused" in outcome.message
                   and "105" in outcome.message, f"{outcome}")
            said += [outcome.output.decode().strip() or outcome.message]
        await dom0.nothing_left()
    return said[-1]


async def whatever_is_in_it(dom0: Dom0) -> str:
    """A claim that says nothing, or nonsense, ends nobody's; a link is not followed."""
    async with dom0.domain(FIRST):
        name = await dom0.good("attach", FIRST, await dom0.file())
        kept, state = claims(), Path(await dom0.state())
        for number, text in enumerate(("", "x", "1 2 3 4", "18446744073709551616 1", "\0" * 300)):
            (RUN / f"disk-254:{number}").write_text(text)
        (RUN / "disk-254:99").symlink_to(state)
        outcome = await dom0.run("gc")
        (RUN / "disk-254:99").unlink()
        expect(state.stat().st_size > 0 and claims() == kept, f"{outcome}; {claims()}")
        await dom0.good("detach", FIRST, name)
        await dom0.nothing_left()
    return f"gc: {outcome.code}"


async def given_device(dom0: Dom0) -> str:
    """Of a device of the user's nothing is left that dom0's tools would look at."""
    given, file = await dom0.state(), Path(dom0.lab.path("device"))
    file.write_bytes(bytes(8 << 20))
    device = await asyncio.to_thread(subprocess.check_output, ["losetup", "-f", "--show", str(file)],
                                     text=True)
    try:
        async with dom0.domain(FIRST) as kernels:
            async with running(
                    dom0.lab.program, *dom0.words("restore", FIRST, "-i", given, "--disk",
                                                  device.strip()),
                    stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as process:
                await kernels.until(lambda: bool(kernels.seen))
                # A stubdomain has the whole device, for all that its header says of a capacity.
                with open(device.strip(), "r+b", buffering=0) as block:
                    for place in 0, 600 << 10, (8 << 20) - (1 << 20), (8 << 20) - 512:
                        block.seek(place)
                        block.write(b"LABELONE".ljust(512, b"x"))
                    os.fsync(block.fileno())
                process.terminate()
                await process.wait()
            await dom0.nothing_left()
        left = file.read_bytes()
        expect(not any(left[:1 << 20]) and not any(left[-(1 << 20):]), "a sign is left")
    finally:
        subprocess.run(["losetup", "-d", device.strip()], check=True)
    return "zeros at both ends"


CASES = (number_given_again, detach_at_its_end, fresh_claim, kept_claims, locks_are_held,
         nobody_is_busy, guest_that_stands, whatever_is_in_it, given_device)


async def run(program: str, only: str, directory: Path) -> int:
    """Exit code of the program."""
    score, store = Score(), await Xenstore.connect()
    dom0 = Dom0(Lab(program, directory), store)
    for case in CASES:
        if only in case.__name__:
            await score.case(case.__name__, case(dom0))
    store.close()
    print(f"{score.passed} passed, {score.failed} failed")
    return 1 if score.failed else 0


def main() -> int:
    """Exit code of the program."""
    made = parser("Test claims, locks and gc over a real xenstored.")
    made.add_argument("--only", default="", metavar="TEXT", help="cases whose names hold it")
    options = parsed(made)
    os.environ.setdefault("LC_ALL", "C")
    with tempfile.TemporaryDirectory(prefix="stubsave-claims-") as directory:
        return asyncio.run(run(options.stubsave, options.only, Path(directory)))


if __name__ == "__main__":
    sys.exit(main())
