#!/usr/bin/python3
"""Real Xen, on any machine: boots Xen, dom0 and guests under emulation, from the packages of a Debian
release, and runs the cases in dom0. Nothing of it needs a person, hardware virtualisation or a Xen here.

As root: cpio archives with device nodes, and a share that dom0 owns.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.dont_write_bytecode = True

from carried import ROOT, carry  # noqa: E402
from images import Images  # noqa: E402
from machine import Join, Machine  # noqa: E402
from releases import RELEASES, Release  # noqa: E402
from outcomes import CASES, MARKS, keep, note, read, with_times  # noqa: E402

LAST_LINES = 60
LAST_TOLD = 40
TELLING_FAULTS = ("good dump first", "held open", "does not let go", "never connects", "boots slowly", "quota",
                  "destroyed while")
# Machines: each works on one processor, or waits for a deadline; more than there are make none of them late. But
# each uses up to 5 GiB, and a host that runs out of memory ends one.
MOST_AT_ONCE, MACHINE_BYTES = 3, 6 << 30
# What runs if nobody names suites, in a machine each, the longest first: of the older release everything; of others
# what may be different there. SUITE:PATTERN are the cases in whose names the pattern is found.
EVERYTHING = {
    "standing": ("transfers", "faults", "many", "agentless", "lost"),
    "real": ("saves", "restores", "savefaults")}
TELLING = {
    "real": ("saves", "restores", "savefaults"),
    "standing": ("transfers", f"faults:{'|'.join(TELLING_FAULTS)}", "agentless", "lost")}

# In this machine of a release guests are saved for the next one, and restored of the one before: what its dom0 finds
# in its share, and what it leaves there.
CARRYING, CARRIED, LEAVING = "standing", "carried", "leaving"
SENDS, RECEIVES, JOINED = "sends", "receives", "joined"  # two machines at once, for each release and the next


class Job(NamedTuple):
    """A machine that is to run, and where its logs go."""

    release: Release
    name: str
    suites: tuple[str, ...]
    logs: Path
    carried: Path | None = None  # what the machine of another release has saved


def joined(options: argparse.Namespace, suite: str) -> list[Job]:
    """A machine of each release that has a guest in common with another's."""
    logs = options.folder.with_name(options.folder.name + "-logs")
    return [Job(RELEASES[name], suite, (suite,), logs / name / suite) for name in options.release]


class End(NamedTuple):
    """What became of it."""

    job: Job
    code: int
    said: list[str]


def jobs(options: argparse.Namespace) -> list[Job]:
    """Of all releases."""
    named = {"": tuple(f"{suite}:{options.only}" if options.only else suite for suite in options.suites)}
    logs = options.folder.with_name(options.folder.name + "-logs")
    if options.suites == [JOINED]:
        return []
    if options.suites:
        return [Job(RELEASES[suite], "", named[""], logs / suite, options.carried) for suite in options.release]
    wanted = []
    for suite, earlier, later in zip(options.release, [None, *options.release], [*options.release[1:], None]):
        for name, suites in (EVERYTHING if suite == "bookworm" or options.full else TELLING).items():
            carried = None
            if name == CARRYING and later:
                suites = ("departures", *suites)
            if name == CARRYING and earlier:
                suites, carried = (*suites, "arrivals"), logs / earlier / CARRYING / LEAVING
            wanted.append(Job(RELEASES[suite], name, suites, logs / suite / name, carried))
    return wanted


def at_once() -> int:
    """Machines for which there is memory."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    return max(1, min(MOST_AT_ONCE, free // MACHINE_BYTES))


def show(logs: Path) -> None:
    """The last of each log, after a failure."""
    for log in sorted(logs.rglob("*.log*")):
        # A console may have carried anything.
        lines = log.read_text(encoding="ascii", errors="backslashreplace").splitlines()
        print(f"--- {log}, the last of {len(lines)} lines")
        print("\n".join(line[:300] for line in lines[-LAST_LINES:]))


def sum_up(end: End) -> None:
    """The last lines, after all logs, are those that say what has failed."""
    told = [line for line in end.said if not line.startswith("ok ")]
    ok = [line for line in end.said if line.startswith("ok ")]
    print(f"--- {end.job.release.suite} {end.job.name}: {len(ok)} ok, the last: {ok[-1][:300] if ok else 'none'}")
    print("\n".join(line[:300] for line in told[-LAST_TOLD:]))


async def run(options: argparse.Namespace) -> int:
    """Exit code of the program."""
    wanted = jobs(options)
    releases = [RELEASES[suite] for suite in options.release]
    images = {release: Images(release, options.folder / release.suite) for release in releases}
    for release, ones in images.items():
        ones.make()
        shutil.rmtree(options.folder.with_name(options.folder.name + "-logs") / release.suite, ignore_errors=True)
    turn = asyncio.Semaphore(at_once())
    ended = {job.logs: asyncio.Event() for job in wanted}

    async def one(job: Job) -> list[End]:
        if job.carried and job.carried.parent in ended:
            await ended[job.carried.parent].wait()
        try:
            return [await its_turn(job)]
        finally:
            ended[job.logs].set()

    async def its_turn(job: Job) -> End:
        async with turn:
            return await boot(images[job.release], job, options, is_alone=len(wanted) == 1)

    async def two(earlier: Job, later: Job) -> list[End]:
        async with turn:  # one of them waits for the other
            return await boot_joined(images, (earlier, later), options)

    together = list(zip(joined(options, SENDS), joined(options, RECEIVES)[1:]))
    pairs = [two(*both) for both in together] if options.suites in ([], [JOINED]) else []
    ends = [end for some in await asyncio.gather(*map(one, wanted), *pairs) for end in some]
    for end in ends:
        if end.code != 0:
            sum_up(end)
    return max(end.code for end in ends)


async def boot_joined(images: dict[Release, Images], both: tuple[Job, Job], options: argparse.Namespace) -> list[End]:
    """Two machines with a line between them."""
    first, second = socket.socketpair()
    with tempfile.TemporaryDirectory(prefix="stubsave-xenlab-") as folder, first, second:
        return await asyncio.gather(*(
            boot(images[job.release], job, options, is_alone=False, join=Join(Path(folder), end.fileno()))
            for job, end in zip(both, (first, second))))


async def boot(images: Images, job: Job, options: argparse.Namespace, *, is_alone: bool,
               join: Join | None = None) -> End:
    """One machine; exit code of what its dom0 has run, and what that has said."""
    job.logs.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="stubsave-xenlab-") as folder:
        share, root = Path(folder) / "share", Path(folder) / "dom0.cpio"
        share.mkdir()
        if job.carried and job.carried.exists():
            shutil.copytree(job.carried, share / CARRIED)
        await asyncio.to_thread(carry, images, root, job.suites, options)
        machine = Machine(images, share, root, job.logs / "serial.log",
                          "" if is_alone else f"{job.release.suite}: ", xenstored=options.xenstored, join=join)
        start = time.monotonic()
        is_over = await machine.run(options.timeout)
        figures = {"machine": job.name, "suites": job.suites, "isOver": is_over,
                   "wallSeconds": round(time.monotonic() - start, 1)}
        for log in [*share.glob("*.log"), *share.glob("xen/*.log*"), *share.glob("*.md")]:
            shutil.copy(log, job.logs)
        if (share / LEAVING).exists():
            shutil.copytree(share / LEAVING, job.logs / LEAVING)
        times = [one for line, one in zip(machine.said, machine.times) if line.startswith(MARKS)]
        lines = with_times(read(share / CASES), [start, *(wall for wall, _ in times)],
                           [0, *(used for _, used in times)])
        if is_over and lines:
            note(job.release, lines, {suite for suite in job.suites if ":" not in suite})
        keep(job.logs.parent if job.name else job.logs, job.release, lines,
             figures | {"processorSeconds": round(machine.times[-1][1], 1) if machine.times else 0})
    code = machine.exit_code()
    if is_over and code == 0:
        return End(job, 0, machine.said)
    show(job.logs)
    if not is_over:
        machine.said.append(f"dom0 did not come to its end within {options.timeout:.0f} s")
    return End(job, code or 1, machine.said)


def main() -> int:
    """Exit code of the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE[:PATTERN]", help="transfers, faults, many, compare, saves, "
                        "restores, savefaults, agentless, lost, channels, savetimes, departures, arrivals, joined; without one what CI "
                        "wants, in two machines for each release")
    parser.add_argument("--release", action="append", choices=RELEASES, help="whose packages; of several each takes over guests of the one before")
    parser.add_argument("--carried", type=Path, metavar="FOLDER",
                        help="for arrivals: the folder `leaving` in another release's logs, of departures")
    parser.add_argument("--stubsave", type=Path, required=True, metavar="PROGRAM")
    parser.add_argument("--agent", type=Path, required=True, metavar="PROGRAM")
    parser.add_argument("--folder", type=Path, default=ROOT / ".build/xenlab",
                        help="where the images are kept, in a folder for each release")
    parser.add_argument("--only", default="", metavar="PATTERN", help="the same for all suites that are named")
    parser.add_argument("--full", action="store_true", help="as many rounds as there are")
    parser.add_argument("--xenstored", choices=("xenstored", "oxenstored"), default="xenstored")
    parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS",
                        help="of this machine's time, for each emulated one")
    # Whoever ends this ends the machine, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    options.release = options.release or ["bookworm"]
    if options.suites == [JOINED] and len(options.release) < 2:
        parser.error(f"{JOINED} wants two releases")
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
