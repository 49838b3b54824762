#!/usr/bin/python3
"""What stubsave reads of a save file with much memory in it, counted in system calls.

    passed_over.py --stubsave PROGRAM

A file's memory is seeked over: of a guest of 256 MiB less than 1 MB may be read, of one of 13 GiB as
much in proportion, and the time is that of so many small reads. Of a good file a pipe is read to its
end, also what follows, so that who writes into it ends well. Memory is in holes; a hole that is read
costs the same calls as anything else.
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
from savefiles import SaveFile  # noqa: E402

MIB = 1 << 20
# As libxc writes it (MAX_BATCH_SIZE).
PAGES = 1024
# Of some thousand small reads, on a machine that does something else as well.
MOST_SECONDS = 1.0


def sparse(path: Path, memory_mib: int, pages: int = PAGES) -> None:
    """An HVM guest's libxl stream, with a state, and its memory in holes."""
    head, tail = SaveFile("libxl stream"), SaveFile("libxl stream")
    head.libxl_header()
    head.libxl("LIBXC_CONTEXT")
    head.libxc_headers()
    head.hvm_static()
    tail.hvm_rest()
    tail.libxc("END")
    tail.context(CHECKED)
    tail.libxl("END")
    with path.open("wb") as file:
        file.write(head.data)
        for start in range(0, memory_mib * MIB // 4096, pages):
            file.write(struct.pack("<4I", 1, 8 + pages * (8 + 4096), pages, 0))
            file.write(struct.pack(f"<{pages}Q", *range(start, start + pages)))
            file.seek(4096 * pages, 1)
        file.write(tail.data)


def traced(words: list[str | Path], path: Path, folder: Path) -> tuple[int, int]:
    """Bytes read of the file, and by how many calls."""
    calls = "read,pread64,readv,preadv,preadv2,mmap,copy_file_range,sendfile,splice"
    subprocess.run(["strace", "-ff", "-y", "-qq", "-e", f"trace={calls}", "-o", folder / "trace", *words, path],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
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
    for mib, pages in ((256, PAGES), (256, 64), (13 << 10, PAGES)):
        path = folder / f"{mib}-{pages}"
        sparse(path, mib, pages)
        size = path.stat().st_size
        for words in (["verify"], ["inspect", "--json"], ["extract", "--force", "-o", folder / "state"]):
            # With smaller records more lies around the memory: their headers and numbers, in whole blocks.
            most = 1_000_000 * mib // 256 if pages == PAGES else mib * 256 // pages * 4 * 4096
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
        if (folder / "state").read_bytes() != CHECKED:
            problems.append("extract gives something else")
        path.unlink()
    return problems


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
        problems += check_pipe(program, Path(folder))
    for text in problems:
        print(text, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
