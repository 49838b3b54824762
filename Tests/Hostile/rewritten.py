#!/usr/bin/python3
"""Rewrite a disk from another process, as fast as it can, while dom0 reads it.

Two states lie on a loop device in turn, block by block, record by record or at one stroke, with one
header, all their hashes right, and every record of the one as long as that of the other: what mixes
them has right hashes in every record. In half of the rounds the commit stays that of the first, so that
only the first may be taken.

  dump     a stubdomain says "committed" and goes on writing: the state that comes out is one of
           those that were whole, or there is a refusal and no file;
  verify   each path of one command is a look at the disk as it is being written.

Both must take something, and refuse something. Run by Tests/Xenstored/xenstored.py.
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import xxhash

from fakeqmp import prepare
from inject import Score, agent_beside

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "Agent")]
from stubdomain import ANSWER, OFFER, xenstored  # noqa: E402
from client import READ, WATCH, WRITE, Client, Refused  # noqa: E402

LIAR = 7  # domid
BLOCK, CHUNK = 4096, 65536
STATE_BYTES = 4 * CHUNK - 1000
PATHS = 100  # looks a command
WAYS = {"block": BLOCK, "record": CHUNK + 64, "all": 1 << 30}


class Rewriter:
    """Another process, which writes now the one image, now the other."""

    STOP, GO, END = 0, 1, 2

    def __init__(self, device: str, images: list[bytes]) -> None:
        self._wish, self._state = mmap.mmap(-1, 4096), mmap.mmap(-1, 4096)
        self._shape = mmap.mmap(-1, 4096)
        self._device, self._images = device, images
        self._process = multiprocessing.get_context("fork").Process(target=self._work)
        self._process.start()

    def _work(self) -> None:
        disk = os.open(self._device, os.O_RDWR | os.O_DIRECT)
        buffers = []
        for data in self._images:
            buffers.append(mmap.mmap(-1, len(data)))
            buffers[-1].write(data)
        while (wish := self._wish[0]) != self.END:
            if wish == self.STOP:
                self._state[0] = self.STOP
                time.sleep(0.0002)
                continue
            self._state[0] = self.GO
            self._round(disk, [memoryview(buffer) for buffer in buffers])

    def _round(self, disk: int, images: list[memoryview]) -> None:
        """Over the log, but for the commit if that is to stay; to and fro."""
        step = list(WAYS.values())[self._shape[0]] // BLOCK * BLOCK or BLOCK
        end = len(images[0]) - (BLOCK if self._shape[1] else 0)
        for image in (images[1], images[0]):
            for offset in range(BLOCK, end, step):
                os.pwritev(disk, [image[offset:min(offset + step, end)]], offset)
                if self._wish[0] != self.GO:
                    return

    def go(self, way: str, keeps_commit: bool) -> None:
        """Begin."""
        self._shape[0], self._shape[1] = list(WAYS).index(way), keeps_commit
        self._wish[0] = self.GO

    def stop(self) -> None:
        """Once this returns nothing is written any more."""
        self._wish[0] = self.STOP
        while self._state[0] != self.STOP:
            time.sleep(0.0001)

    def end(self) -> None:
        """The process, too."""
        self._wish[0] = self.END
        self._process.join()


class Stubdomain:
    """Says what an agent says, one offer after the other."""

    def __init__(self) -> None:
        self._client, self._last = Client(xenstored() / str(LIAR)), ""
        self._client.request(WATCH, OFFER, "0")

    def offered(self, process: subprocess.Popen[bytes]) -> str:
        """The next offer's id."""
        while process.poll() is None:
            with suppress(Refused):
                words = self._client.request(READ, OFFER).split(b" ")
                if len(words) > 2 and words[1].decode() != self._last:
                    self._last = words[1].decode()
                    return self._last
            self._client.wait()
        raise RuntimeError(f"nothing was offered: {process.communicate()}")

    def answer(self, words: str) -> None:
        """Its word, unless it is not waited for any more: on a machine that is starved."""
        with suppress(Refused):
            self._client.request(WRITE, ANSWER, value=f"2 {self._last} {words}".encode())


class Rounds(Score):
    """All of them, over one disk."""

    def __init__(self, stubsave: Path, device: str, place: Path) -> None:
        super().__init__()
        self._stubsave, self._device, self._place = stubsave, device, place
        generator = random.Random(7)
        self._states = {letter: b"QEVM" + generator.randbytes(STATE_BYTES) for letter in "AB"}
        with open(device, "rb") as disk:
            self._header = disk.read(BLOCK)
        self._images = [self._image(state) for state in self._states.values()]
        self.check("images of one length", len({len(image) for image in self._images}) == 1)
        self._seen = dict[str, Counter[str]]()

    def _image(self, state: bytes) -> bytes:
        """What the agent would write."""
        file = self._place / "image"
        with file.open("wb") as disk:
            disk.write(self._header)
            disk.truncate(os.stat(self._place / "disk").st_size)
        agent = agent_beside(str(self._stubsave))
        subprocess.run([agent, "write", str(file)], input=state, check=True)
        data = file.read_bytes().rstrip(b"\0")
        return data + bytes(-len(data) % BLOCK)

    def _put(self, data: bytes) -> None:
        """Past the page cache, as blkback does."""
        buffer = mmap.mmap(-1, len(data))
        buffer.write(data)
        disk = os.open(self._device, os.O_RDWR | os.O_DIRECT)
        os.pwritev(disk, [buffer], 0)
        os.close(disk)

    @contextmanager
    def _rewriter(self) -> Iterator[Rewriter]:
        rewriter = Rewriter(self._device, self._images)
        try:
            yield rewriter
        finally:
            rewriter.end()

    def _note(self, door: str, keeps_commit: bool, what: str) -> None:
        kind = "the commit stays" if keeps_commit else "all of it"
        self._seen.setdefault(f"{door}, {kind}", Counter())[what] += 1

    def dumps(self, count: int) -> None:
        """One command a round."""
        stubdomain = Stubdomain()
        empty = self._header + bytes(len(self._images[0]) - BLOCK)
        output = self._place / "state"
        words = [str(self._stubsave), "dump", str(LIAR), "--disk", self._device, "--attached",
                 "xvdz", "--xenstore", str(xenstored() / "dom0"), "--format", "raw", "-o",
                 str(output)]
        with self._rewriter() as rewriter:
            for number in range(count):
                self._put(empty)
                way, keeps_commit = list(WAYS)[number % len(WAYS)], number // len(WAYS) % 2 == 1
                with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE) as process:
                    stubdomain.offered(process)
                    self._put(self._images[0])
                    rewriter.go(way, keeps_commit)
                    stubdomain.answer(f"committed {len(self._images[0])} paused")
                    message = process.communicate()[1]
                rewriter.stop()
                self._judge(process.returncode, message, output, keeps_commit)

    def _judge(self, code: int, message: bytes, output: Path, keeps_commit: bool) -> None:
        what = f"refused, {code}"
        if code == 0:
            found = output.read_bytes()
            what = next((name for name, state in self._states.items() if state == found), "MIXTURE")
            output.unlink()
            self.check(f"dump: {what}", what == "A" or what == "B" and not keeps_commit)
        else:
            self.check(f"dump: exit {code}, {message!r}", code in (2, 3, 10)
                       and message.count(b"\n") == 1 and not output.exists())
        self._note("dump", keeps_commit, what)

    def looks(self, count: int) -> None:
        """Many of them by one command."""
        names = {xxhash.xxh3_128(state).hexdigest(): name for name, state in self._states.items()}
        self._put(self._images[0])
        with self._rewriter() as rewriter:
            for number in range(0, count, PATHS):
                way, keeps_commit = list(WAYS)[number // PATHS % 3], number // PATHS // 3 % 2 == 1
                rewriter.stop()
                self._put(self._images[0])
                rewriter.go(way, keeps_commit)
                done = subprocess.run(
                    [str(self._stubsave), "verify", *[self._device] * min(PATHS, count - number)],
                    capture_output=True, check=False)
                for line in done.stdout.decode().splitlines():
                    what = line.removeprefix(f"{self._device}: ").partition(":")[0]
                    if what == "good":
                        what = names.get(line.split()[-1], "MIXTURE")
                        self.check(f"verify: {what}: {line}",
                                   what == "A" or what == "B" and not keeps_commit)
                    self._note("verify", keeps_commit, what)
            rewriter.stop()

    def finish(self) -> int:
        """What came of them; the exit code."""
        for door, seen in sorted(self._seen.items()):
            text = ", ".join(f"{what}: {number:,}" for what, number in sorted(seen.items()))
            print(f"{door}: {seen.total():,} rounds: {text}")
            taken = seen["A"] + seen["B"]
            self.check(f"{door}: something is taken, something refused: {text}",
                       0 < taken < seen.total())
        return super().finish()


def main() -> int:
    """Exit code of the program."""
    root = Path(__file__).resolve().parents[2]
    made = argparse.ArgumentParser(description="Rewrite a disk while dom0 reads it.")
    made.add_argument("--stubsave", default=str(root / ".build/release/stubsave"))
    made.add_argument("--rounds", type=int, default=200, help="of dump (default: 200)")
    made.add_argument("--looks", type=int, default=2000, help="of verify (default: 2000)")
    options = made.parse_args()
    prepare((options.stubsave, "make build"), (agent_beside(options.stubsave), "make build"),
            ("losetup", "apt package mount"))
    stubsave = Path(options.stubsave).resolve()
    with TemporaryDirectory(prefix="stubsave-hostile-") as name:
        place = Path(name)
        (place / "disk").write_bytes(bytes(1 << 20))
        device = subprocess.run(["losetup", "-f", "--show", str(place / "disk")], check=True,
                                capture_output=True, text=True).stdout.strip()
        try:
            subprocess.run([stubsave, "allocate", "--force", device], check=True,
                           stdout=subprocess.DEVNULL)
            rounds = Rounds(stubsave, device, place)
            rounds.looks(options.looks)
            rounds.dumps(options.rounds)
        finally:
            subprocess.run(["losetup", "-d", device], check=True)
        return rounds.finish()


if __name__ == "__main__":
    sys.exit(main())
