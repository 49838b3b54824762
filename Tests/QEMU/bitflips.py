#!/usr/bin/python3
"""Show why a device state needs a checksum: a real QEMU, and stubsave, meet flipped bits.

It checks that
  1. QEMU loads the undamaged state, each time with the same result, and refuses a spoilt magic;
  2. QEMU silently loads at least half of the states in which one bit was flipped;
  3. stubsave reads the undamaged save disk back byte for byte;
  4. stubsave refuses every disk with a flipped bit, with a verdict's exit code and no output.

QEMU's settings stand in for Xen's: no footers, no configuration section. A seed gives the same
places; the firmware runs until the save, so the state itself may differ from run to run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

sys.dont_write_bytecode = True
try:
    import machine
    from machine import QEMU, SAVE, Monitor
except ModuleNotFoundError as missing:
    sys.exit(f"needs {missing.name} (apt package python3-xxhash)")

MACHINE = """
    -M pc,suppress-vmdesc=on -nodefaults -no-user-config -accel tcg -m 16 -display none
    -global migration.send-section-footer=off -global migration.send-configuration=off
    -global migration.store-global-state=off -global apic.vapic=off -rtc clock=vm
    -device VGA -device ahci -device rtl8139
""".split()
INCOMING = "-S -incoming defer -global migration.x-events=on".split()
DEADLINE_SECONDS = 15  # for one process; a load takes about 0.1 s
VERDICTS = {f"exit {code}" for code in (2, 3, 4, 6, 7)}  # by which stubsave refuses a disk
FIRST_CHUNK = 4096 + 128  # where its record starts: after header and stream begin
GONE = (ConnectionError, TimeoutError)  # raised where a QEMU gives no answer


class Result(NamedTuple):
    """How a program ended that was given a state or a disk."""

    outcome: str = "no answer"  # before the deadline; or "accepted", or "exit N"
    output: bytes = b""  # QEMU's standard error, stubsave's standard output
    file: bytes = b""  # the state as QEMU saves it again, the disk after stubsave


@asynccontextmanager
async def running(*command: str, **options: Any) -> AsyncIterator[Process]:
    """A process that outlives neither the block nor its deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        async with machine.running(*command, **options) as process:
            yield process


@asynccontextmanager
async def qemu(*options: str) -> AsyncIterator[tuple[Process, Monitor]]:
    """A QEMU and its monitor."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    with closing(writer), theirs:
        monitor_options = f"-chardev socket,id=qmp,fd={theirs.fileno()} -mon qmp,mode=control"
        async with running(QEMU, *MACHINE, *options, *monitor_options.split(), stdin=DEVNULL,
                           stdout=DEVNULL, stderr=PIPE, pass_fds=(theirs.fileno(),)) as process:
            theirs.close()  # QEMU's end is now the only one
            monitor = Monitor(reader, writer)
            await monitor.receive()  # the greeting
            await monitor.execute("qmp_capabilities")
            yield process, monitor


def flipped(content: bytes, flip: int | None) -> bytes:
    """The content, with one bit changed if `flip` says which."""
    data = bytearray(content)
    if flip is not None:
        data[flip // 8] ^= 1 << flip % 8
    return bytes(data)


class Trials:
    """Runs both programs in a directory, two processes at a time."""

    def __init__(self, stubsave: str, directory: Path) -> None:
        self._stubsave, self._directory = stubsave, directory
        self._slots = asyncio.Semaphore(2)

    def _file(self, content: bytes = b"", flip: int | None = None) -> IO[bytes]:
        """A temporary file of that content, with one bit changed if `flip` says which."""
        file = tempfile.NamedTemporaryFile(dir=self._directory)
        file.write(flipped(content, flip))
        file.seek(0)
        return file

    async def save(self) -> tuple[bytes, str]:
        """The state of a machine that has just been started, and QEMU's version."""
        with self._file() as file:
            async with qemu() as (_, monitor):
                await monitor.execute("stop")
                await monitor.execute(SAVE, filename=file.name, live=False)
                version = (await monitor.execute("query-version"))["qemu"]
            return Path(file.name).read_bytes(), "{major}.{minor}.{micro}".format(**version)

    async def load(self, state: bytes, flip: int | None = None) -> Result:
        """Load a state in a fresh QEMU, and save it again if it is accepted."""
        outcome = ""
        async with self._slots:
            with self._file(state, flip) as file, self._file() as again, suppress(*GONE):
                async with qemu(*INCOMING) as (process, monitor):
                    with suppress(ConnectionError):
                        # From a pipe, which every QEMU takes: since 11 none takes a file by `fd:`.
                        await monitor.execute("migrate-incoming", uri=f"exec:cat {file.name}")
                        await monitor.loaded()
                        outcome = "accepted"
                        await monitor.execute(SAVE, filename=again.name, live=False)
                        await monitor.execute("quit")
                    _, messages = await process.communicate()
                    outcome = outcome or f"exit {process.returncode}"
                    return Result(outcome, messages, Path(again.name).read_bytes())
        return Result()

    async def stubsave(self, command: str, disk: bytes, data: bytes = b"",
                       flip: int | None = None) -> Result:
        """Run a stubsave command on a disk with these bytes, with `data` as standard input."""
        async with self._slots:
            # Not open here: stubsave does not write to a file that another program may write to.
            with (tempfile.TemporaryDirectory(dir=self._directory) as directory,
                  self._file(data) as source, suppress(TimeoutError)):
                file = Path(directory, "disk")
                file.write_bytes(flipped(disk, flip))
                async with running(self._stubsave, command, str(file), stdin=source, stdout=PIPE,
                                   stderr=DEVNULL) as child:
                    output, _ = await child.communicate()
                    return Result(f"exit {child.returncode}", output, file.read_bytes())
        return Result()


def check(score: Counter[bool], what: str, holds: bool) -> None:
    """Count what holds, and say what does not."""
    score[holds] += 1
    if not holds:
        print(f"FAILED {what}")


async def demonstrate(trials: Trials, flips: int, seed: int, score: Counter[bool]) -> None:
    """The whole demonstration; where a program fails without flips, it ends there."""
    state, version = await trials.save()
    good, second, bad = [await trials.load(state, flip) for flip in (None, None, 0)]
    check(score, f"QEMU, undamaged: {good[:2]}", good.outcome == "accepted" and good == second)
    check(score, "QEMU, magic spoilt: accepted", bad.outcome != "accepted")
    disk = (await trials.stubsave("write", b"", state)).file
    read = await trials.stubsave("read", disk)
    check(score, f"stubsave, undamaged: {read.outcome}", read == ("exit 0", state, disk))
    chunk = disk[FIRST_CHUNK:]
    check(score, "stubsave: no chunk after the stream begin", chunk[8:12] == b"\2\0\0\0")
    if score[False]:
        return
    chance, body_bytes = random.Random(seed), int.from_bytes(chunk[24:28], "little")
    print(f"seed {seed}; state {len(state)} B, save disk {len(disk)} B, chunk body {body_bytes} B")
    on_disk = [chance.randrange(8 * len(disk)) for _ in range(flips)]
    on_disk += [8 * (FIRST_CHUNK + 64) + chance.randrange(8 * body_bytes) for _ in range(flips)]
    in_state = [chance.randrange(8 * len(state)) for _ in range(flips)]
    async with asyncio.TaskGroup() as group:
        loading = [group.create_task(trials.load(state, flip)) for flip in in_state]
        reading = [group.create_task(trials.stubsave("read", disk, b"", flip)) for flip in on_disk]
    loads, reads = [task.result() for task in loading], [task.result() for task in reading]
    silent = [load for load in loads if load[:2] == good[:2]]
    others = Counter(load.outcome for load in loads if load[:2] != good[:2])
    kept = sum(load.file != good.file for load in silent)
    refused = [read.outcome in VERDICTS and not read.output for read in reads]
    for flip, read, holds in zip(on_disk, reads, refused):
        check(score, f"stubsave, bit {flip % 8} of byte {flip // 8} flipped: {read.outcome}, "
                     f"{len(read.output)} bytes of output", holds)
    print(f"QEMU {version} accepted {len(silent)} of {flips} flipped states silently "
          f"({100 * len(silent) // flips} %); stubsave refused {sum(refused[:flips])} of {flips}")
    print(f"{kept} of these {len(silent)} differ when saved again; the others: {dict(others)}; "
          f"in the chunk body stubsave refused {sum(refused[flips:])} of {flips}")
    check(score, "QEMU refused more than half", 2 * len(silent) >= flips)


async def run(options: argparse.Namespace) -> int:
    """Exit code of the program; a signal ends it early and in order."""
    task, score = asyncio.current_task(), Counter[bool]()
    assert task is not None
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel, number)
    try:
        with tempfile.TemporaryDirectory(prefix="stubsave-bitflips-") as directory:
            trials = Trials(options.stubsave, Path(directory))
            await demonstrate(trials, options.flips, options.seed, score)
    except asyncio.CancelledError as error:
        return 128 + int(error.args[0])
    except GONE as error:
        check(score, f"QEMU gives no state: {error!r}", False)
    print(f"{score[True]} passed, {score[False]} failed")
    return 1 if score[False] else 0


def main() -> int:
    """Read the command line, and see that both programs are there."""
    built = Path(__file__).parents[2] / ".build/debug/stubsave"
    parser = argparse.ArgumentParser(description="Show why a device state needs a checksum.")
    parser.add_argument("--flips", type=int, default=120, help="how many (default: 120)")
    parser.add_argument("--seed", type=int, default=1, help="of their places (default: 1)")
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    options = parser.parse_args()
    if options.flips < 1:
        parser.error("--flips must be at least 1")
    for program, way in ((QEMU, "apt package qemu-system-x86"), (options.stubsave, "make build")):
        if shutil.which(program) is None:
            print(f"needs {program} ({way})", file=sys.stderr)
            return 2
    return asyncio.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
