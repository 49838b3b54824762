#!/usr/bin/python3
"""What stubsave reads of a save file with much memory in it, counted in system calls.

    passed_over.py --stubsave PROGRAM

A file's memory is seeked over: of a guest of 256 MiB less than 1 MB may be read, of one of 13 GiB as
much in proportion, and the time is that of so many small reads. Of a good file a pipe is read to its
end, also what follows, so that who writes into it ends well. Memory is in holes; a hole that is read
costs the same calls as anything else.

Of a state with a hole behind it no more is read than of the state: 64 GiB of zeros are passed over, more
are refused, and so are bytes behind them, which would make it too large.
"""
from __future__ import annotations

import argparse
import re
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "fixtures"))
from recipes.save_files import CHECKED, libxl  # noqa: E402
from savefiles import SaveFile, trailer  # noqa: E402

sys.path.insert(0, str(ROOT / "Tests/Hostile"))
from fakeqmp import STATES, Fake  # noqa: E402

MIB = 1 << 20
# As libxc writes it (MAX_BATCH_SIZE).
PAGES = 1024
# Of some thousand small reads, on a machine that does something else as well.
MOST_SECONDS = 1.0
# Of a state of 22 KB, and of what its end is looked for in.
MOST_OF_A_STATE = 1_000_000
GIB = 1 << 30
OVER_LIMIT = 7


def sparse(path: Path, memory_mib: int, pages: int, state: bytes) -> None:
    """An HVM guest's libxl stream, with a state, and its memory in holes."""
    head, tail = SaveFile("libxl stream"), SaveFile("libxl stream")
    head.libxl_header()
    head.libxl("LIBXC_CONTEXT")
    head.libxc_headers()
    head.hvm_static()
    tail.hvm_rest()
    tail.libxc("END")
    tail.context(state)
    tail.libxl("END")
    with path.open("wb") as file:
        file.write(head.data)
        for start in range(0, memory_mib * MIB // 4096, pages):
            file.write(struct.pack("<4I", 1, 8 + pages * (8 + 4096), pages, 0))
            file.write(struct.pack(f"<{pages}Q", *range(start, start + pages)))
            file.seek(4096 * pages, 1)
        file.write(tail.data)


def traced(words: list[str | Path], path: Path, folder: Path, code: int = 0) -> tuple[int, int]:
    """Bytes read of the file, and by how many calls."""
    calls = "read,pread64,readv,preadv,preadv2,mmap,copy_file_range,sendfile,splice"
    done = subprocess.run(
        ["strace", "-ff", "-y", "-qq", "-e", f"trace={calls}", "-o", folder / "trace", *words, path],
        check=False, capture_output=True)  # fmt: skip
    assert done.returncode == code, (words, path, done)
    count = number = 0
    for trace in folder.glob("trace.*"):  # one for each process
        for line in trace.read_text().splitlines():
            if f"<{path}>" in line:
                found = re.search(r"^p?read(?:64)?\(.*= (\d+)$", line)
                assert found, f"the file is read by something else: {line}"
                count += int(found[1])
                number += 1
        trace.unlink()
    return count, number


def check_reads(program: Path, folder: Path) -> list[str]:
    """Of files."""
    problems = []
    ordinary = (ROOT / "fixtures/states/x06-pc-linux-2vcpu.dev").read_bytes()
    ordinary += trailer(ordinary)
    for mib, pages, state in ((256, PAGES, CHECKED), (256, PAGES, ordinary), (256, 64, CHECKED),
                              (13 << 10, PAGES, CHECKED)):  # fmt: skip
        path = folder / f"{mib}-{pages}-{len(state)}"
        sparse(path, mib, pages, state)
        size = path.stat().st_size
        for words in (["verify"], ["inspect", "--json"], ["extract", "--force", "-o", folder / "state"]):
            most = 1_000_000 * mib // 256
            count, calls = traced([program, *words], path, folder)
            start = time.monotonic()
            done = subprocess.run([program, *words, path], check=True, stdout=subprocess.PIPE)
            seconds = time.monotonic() - start
            print(f"{words[0]}: {size} bytes, {pages} pages a record: {count} read by {calls} calls, {1000 * seconds:.0f} ms")
            if not 0 < count < most:
                problems.append(f"{words[0]} reads {count} bytes of {size}; {most} at most")
            if seconds > MOST_SECONDS:
                problems.append(f"{words[0]} takes {seconds:.1f} s")
            if words[0] == "verify" and b": good: libxl stream" not in done.stdout:
                problems.append(f"verify says {done.stdout!r}")
        if (folder / "state").read_bytes() != state:
            problems.append("extract gives something else")
        path.unlink()
    return problems


def check_holes(program: Path, folder: Path) -> list[str]:
    """A state, and a hole behind it."""
    state = (STATES / "x01-pc-min-reset.dev").read_bytes()
    state += trailer(state)
    record = SaveFile("record")
    record.context(state)
    forms = {  # what is there, its length, what stands at its very end
        "64 GiB": (state, 64 * GIB, b"", 0),
        "1 TiB": (state, 1 << 40, b"", OVER_LIMIT),
        "a byte behind 60 GiB": (state, 60 * GIB, b"x", OVER_LIMIT),
        "nothing else, 64 GiB": (b"QEVM", 64 * GIB, b"", 2),
        "a record, 64 GiB": (bytes(record.data), 64 * GIB, b"", 0),
    }
    problems = []
    path, disk, out = folder / "hole", folder / "disk", folder / "out"
    for name, (start, size, end, code) in forms.items():
        path.write_bytes(start)
        with path.open("r+b") as file:
            file.truncate(size)
            file.seek(0, 2)
            file.write(end)
        commands = [["verify"], ["extract", "--force", "-o", out]]
        if not name.startswith("a record"):
            commands = [["verify"], ["inspect"], ["wrap", "--force", "-o", out],
                        ["restore", "--disk", disk, "-i"]]
        for words in commands:
            seconds, count = hole(program, words, path, folder, code)
            print(f"{words[0]}: {name}: {count} read, {1000 * seconds:.0f} ms")
            if not 0 < count < MOST_OF_A_STATE:
                problems.append(f"{name}: {words[0]} reads {count} bytes")
            if seconds > MOST_SECONDS:
                problems.append(f"{name}: {words[0]} takes {seconds:.1f} s")
            if words[0] == "extract" and out.read_bytes() != state:
                problems.append(f"{name}: extract gives something else")
        # What was open before stands where it stood.
        with path.open("rb") as file:
            subprocess.run([program, "verify", "-"], stdin=file, check=False, capture_output=True)
            if file.seek(0, 1) != 0:
                problems.append(f"{name}: the offset has moved")
    return problems


def hole(program: Path, words: list[str | Path], path: Path, folder: Path, code: int) -> tuple[float, int]:
    """One command: its seconds, and what it reads of the file."""
    if words[0] != "restore":
        count, _ = traced([program, *words], path, folder, code)
        start = time.monotonic()
        subprocess.run([program, *words, path], check=False, capture_output=True)
        return time.monotonic() - start, count
    subprocess.run([program, "allocate", "--force", "--direction", "restore", "--size", "1MiB", folder / "disk"],
                   check=True, capture_output=True)  # fmt: skip
    start = time.monotonic()
    with Fake(folder, status="inmigrate") as fake:
        count, _ = traced([program, words[0], "--qmp", fake.path, *words[1:]], path, folder, code)
    assert code or fake.loaded is not None
    return time.monotonic() - start, count


def check_pipe(program: Path, folder: Path) -> list[str]:
    """More behind the end than a pipe holds: who writes it must not be cut off."""
    problems = []
    suspended = (ROOT / "fixtures/good/suspend.suspend").read_bytes()
    for data in (bytes(libxl().data), suspended):
        behind = 3 * MIB + 17
        path = folder / "piped"
        path.write_bytes(data + bytes(behind))
        script = 'cat "$1" | "$0" verify --json -; exit $((PIPESTATUS[0] + PIPESTATUS[1]))'
        done = subprocess.run(["bash", "-c", script, program, path], capture_output=True, check=False)
        if done.returncode or f'"bytesBehind":{behind}' not in done.stdout.decode().replace(" ", ""):
            problems.append(f"of a pipe with {behind} bytes behind the end: {done}")
    return problems


def main() -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Count what is read of a save file.")
    parser.add_argument("--stubsave", type=Path, required=True)
    program = parser.parse_args().stubsave.resolve()
    with tempfile.TemporaryDirectory() as folder:
        problems = check_reads(program, Path(folder).resolve())
        problems += check_holes(program, Path(folder).resolve())
        problems += check_pipe(program, Path(folder))
    for text in problems:
        print(text, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
