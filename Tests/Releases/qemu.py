#!/usr/bin/python3
"""Runs a command that finds another release's QEMU in PATH: its qemu-system-x86_64, and in
STUBSAVE_XEN_QEMU that of its Xen.

    qemu.py --release trixie Tests/demo.sh .build/release/stubsave

The packages are unpacked into a root of their own and nothing is installed. QEMU runs as an ordinary
process of this machine, by that root's loader, with that root's libraries, modules and firmware: the paths
that it is given are this machine's. As root, like mmdebstrap that unpacks.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

from releases import RELEASES, Archive, Release  # noqa: E402
from results import RESULTS, processor_seconds, record  # noqa: E402

TOP = Path(__file__).resolve().parents[2]
# Unpacked only, a root has no links from its first level into /usr.
LOADER, LIBRARIES = "ld-linux-x86-64.so.2", ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
FIRMWARE = ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")
MODULES = "usr/lib/x86_64-linux-gnu/qemu"
PROGRAMS = {"qemu-system-x86_64": "usr/bin/qemu-system-x86_64",
            "xen-qemu-system-i386": "usr/libexec/xen-qemu-system-i386"}
FRESH_SECONDS = 3600
TABLE = TOP / "packages/table"
# With what the tests end.
COUNTS = re.compile(r"(\d+) (?:passed|machines)\b.*?(\d+) failed")
WRAPPER = """#!/bin/sh
export QEMU_MODULE_DIR={modules}
exec {loader} --library-path {libraries} --argv0 {name} {program} {firmware} "$@"
"""


def packages(release: Release) -> list[str]:
    """Those of packages/table that are QEMU's, and the boot ROMs of its network cards."""
    listed = subprocess.run([TOP / "packages/install", "--list", release.suite, "demo", "test"], check=True,
                            text=True, stdout=subprocess.PIPE).stdout
    return [name for name in listed.split() if name.startswith(("qemu-", "ipxe-"))]


class Programs:
    """A release's QEMUs, in a folder that PATH may begin with."""

    def __init__(self, release: Release, folder: Path) -> None:
        self._release, self._folder = release, folder / release.suite
        self.bin = self._folder / "bin"

    def make(self) -> None:
        """Once; a newer version is noticed by its name in the archive."""
        archive, stamp = Archive(self._release, self._folder / "apt"), self._folder / "stamp"
        # The lists are not fetched again for each command of one `make`.
        if stamp.exists() and stamp.stat().st_mtime > max(
                time.time() - FRESH_SECONDS, *(file.stat().st_mtime for file in (Path(__file__), TABLE))):
            return
        wanting = packages(self._release)
        wanted = Path(__file__).read_text(encoding="utf-8") + archive.policy(*wanting)
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            stamp.touch()
            return
        root = self._folder / "root"
        for old in root, self.bin:
            shutil.rmtree(old, ignore_errors=True)
        archive.bootstrap(root, wanting, "--variant=extract")
        self.bin.mkdir()
        loader = next(root.glob(f"**/lib64/{LOADER}"))
        libraries = ":".join(str(root / place) for place in LIBRARIES)
        for name, program in PROGRAMS.items():
            if not (root / program).exists():
                raise SystemExit(f"{self._release.suite}: no {program} in {', '.join(wanting)}")
            wrapper = self.bin / name
            wrapper.write_text(WRAPPER.format(
                name=name, loader=shlex.quote(str(loader)), program=shlex.quote(str(root / program)),
                libraries=shlex.quote(libraries), modules=shlex.quote(str(root / MODULES)),
                firmware=shlex.join(word for place in FIRMWARE for word in ("-L", str(root / place)))))
            wrapper.chmod(0o755)
        stamp.write_text(wanted, encoding="utf-8")

    def version(self) -> str:
        """As it says itself; a QEMU that does not start is found here."""
        said = subprocess.run([self.bin / "qemu-system-x86_64", "--version"], check=True, text=True,
                              stdout=subprocess.PIPE).stdout
        return said.split("(")[0].replace("emulator version ", "").strip()


def main() -> int:
    """The command's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", choices=RELEASES, required=True)
    parser.add_argument("--folder", type=Path, default=TOP / ".build/qemu", help="where the programs are kept")
    parser.add_argument("--row", help="of the matrix, where the result is noted as")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command:
        parser.error("which command?")
    programs = Programs(RELEASES[options.release], options.folder.resolve())
    programs.make()
    version = programs.version()
    print(f"== {options.release}: {version}", flush=True)
    environment = os.environ | {"PATH": f"{programs.bin}:{os.environ['PATH']}",
                                "STUBSAVE_XEN_QEMU": str(programs.bin / "xen-qemu-system-i386")}
    begin, used, counts = time.monotonic(), processor_seconds(), None
    with subprocess.Popen(options.command, env=environment, stdout=subprocess.PIPE, text=True,
                          errors="replace") as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            counts = COUNTS.search(line) or counts
    code = process.returncode
    if options.row:
        passed, failed = map(int, counts.groups()) if counts else (code == 0, code != 0)
        record(options.results, options.release, options.row, passed=passed,
               failed=failed or int(code != 0), seconds=time.monotonic() - begin,
               processor=processor_seconds() - used, of=version)
    return code


if __name__ == "__main__":
    sys.exit(main())
