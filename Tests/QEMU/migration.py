#!/usr/bin/python3
"""A whole running Linux guest, 512 MiB of RAM and all, leaves through `stubsave write`, comes back
through `stubsave read`, and goes on.

The guest counts on its serial port and keeps a sum over 50 MiB of some 340 that it has filled. QEMU
migrates it, while it runs, into `stubsave write` for each codec; another QEMU takes what `stubsave
read` gives it. Then
  1. what both QEMUs' serial ports have sent is one unbroken count, without a number twice;
  2. the guest sums up what is in its memory, and the sum is what it was before;
  3. what was cut off or damaged never gives the second QEMU a byte.

With --stream FILE the stream itself is kept there, for `make bench`, and nothing else is done.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
from linuxguest import Guest, guest, make
from machine import Failure, Score, expect

CODECS = "auto", "none", "zstd"
COUNTS_FIRST, COUNTS_AFTER = 20, 20
MOST_STATE = "--max-state=2GiB"
SECONDS = 900  # under emulation, on a machine that others use, too


class Migration:
    """Programs and files of one run."""

    def __init__(self, stubsave: str, folder: Path, images: Path) -> None:
        self.stubsave, self.folder = stubsave, folder
        self.kernel, self.root = make(images)

    def path(self, name: str) -> Path:
        return self.folder / name

    async def send(self, source: Guest, command: str) -> None:
        """Migrate into a command of the shell, as fast as it takes it, and see that it ended well.

        QEMU does not look at the command's exit status."""
        code = self.path("code")
        code.unlink(missing_ok=True)
        await source.monitor.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        await source.monitor.execute("migrate", uri=f"exec:{command}; echo $? > {code}")
        await source.migrated()
        while not (code.exists() and (text := code.read_text()).endswith("\n")):
            await asyncio.sleep(0.02)
        expect(int(text) == 0, f"`{command}` gave exit {int(text)}")

    async def boot(self, source: Guest) -> str:
        """Wait until it counts; the sum over its memory."""
        total = await source.until("FILLED")
        for _ in range(COUNTS_FIRST):
            await source.until("COUNT")
        return total

    async def crosses(self, codec: str) -> str:
        disk = self.path(f"disk-{codec}")
        async with guest(self.kernel, self.root) as source:
            total = await self.boot(source)
            await self.send(
                source, f"{self.stubsave} write {MOST_STATE} --codec {codec} {disk}")
            await source.monitor.execute("quit")
            await source.process.wait()
            await source.rest()
        incoming = f"exec:{self.stubsave} read {MOST_STATE} {disk}"
        async with guest(self.kernel, self.root, "-incoming", incoming) as target:
            target.text.extend(source.text)
            for _ in range(COUNTS_AFTER):
                await target.until("COUNT")
            target.writer.write(b"sum\n")
            found = await target.until("SUM")
            await target.until("COUNT")
            await target.monitor.expect_status("running")
        expect(found == total, f"the guest's memory sums up to {found}, was {total}")
        text = target.text.decode("ascii", "replace")
        counts = [int(number) for number in re.findall(r"^COUNT (\d+)\r?$", text, re.MULTILINE)]
        expect(counts == list(range(1, len(counts) + 1)), f"the count is broken: {counts}")
        before = len(re.findall(r"^COUNT", source.text.decode("ascii", "replace"), re.MULTILINE))
        return (f"{disk.stat().st_size >> 20} MiB, counted to {before} here and {len(counts)} "
                "there")

    async def refused(self, name: str, whole: Path, damage: bytes | int) -> str:
        """A disk that is cut off, or changed in the middle, is no guest."""
        data = bytearray(whole.read_bytes())
        if isinstance(damage, int):
            del data[damage:]
        else:
            at = len(data) // 2
            data[at : at + len(damage)] = bytes(a ^ b for a, b in zip(data[at:], damage))
        disk, got = self.path(f"disk-{name}"), self.path(f"got-{name}")
        disk.write_bytes(data)
        process = await asyncio.create_subprocess_shell(
            f"{self.stubsave} read {MOST_STATE} {disk} > {got} 2> {got}.err")
        code = await process.wait()
        expect(code in (2, 3), f"exit {code}")
        expect(got.stat().st_size == 0, "something was handed on")
        disk.unlink()
        return f"exit {code}, nothing handed on"

    async def keep(self, stream: Path) -> None:
        async with guest(self.kernel, self.root) as source:
            await self.boot(source)
            await self.send(source, f"cat > {stream}")


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stubsave", required=True)
    parser.add_argument("--images", type=Path, default=Path(".build/linuxguest"))
    parser.add_argument("--stream", type=Path)
    parser.add_argument("--codec", action="append", choices=CODECS, help="only these")
    options = parser.parse_args()
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="stubsave-migration-", dir=memory) as scratch:
        migration = Migration(os.path.abspath(options.stubsave), Path(scratch), options.images)
        if options.stream:
            await migration.keep(options.stream)
            return 0
        score = Score()
        codecs = options.codec or CODECS
        for codec in codecs:
            await score.case(f"a running guest, {codec}", migration.crosses(codec), SECONDS)
        disk = migration.path(f"disk-{codecs[0]}")
        await score.case("cut off", migration.refused("cut", disk, 100 << 20), SECONDS)
        await score.case("a bit in the middle", migration.refused("bit", disk, b"\x10"), SECONDS)
        print(f"{score.passed} passed, {score.failed} failed")
        return 1 if score.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except Failure as failure:
        sys.exit(str(failure))
