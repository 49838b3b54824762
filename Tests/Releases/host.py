#!/usr/bin/python3
"""Runs a command in a clean clone of this tree on a minimal Debian of a release: what a machine has on
which nothing was installed but git, make and Swift.

    host.py --release trixie make demo
    host.py --release bookworm make demo test                    # one after the other, in the same root
    host.py --release trixie --with libgcc-13-dev make build     # with a package there before

The root is made by mmdebstrap (variant minbase), with this machine's kernel, devices and toolchain; the
folder of the toolchain stands where it does here, read only. /run, /tmp, processes and mounts are the
root's own, loop devices the machine's. What `make` needs there, it installs there. As root.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

from releases import RELEASES, Archive, Release, own_suite  # noqa: E402
from results import RESULTS, processor_seconds, record  # noqa: E402

TOP = Path(__file__).resolve().parents[2]
# What the README calls for; all else is the tree's to install.
GIVEN = ("git", "make", "ca-certificates")
# SwiftPM's own cache, if there is one: it spares the network, and holds nothing that a lock file does not name.
PACKAGES = Path.home() / ".cache/org.swift.swiftpm"
# In a mount and process namespace that ends with the command. The last arguments are the command.
ENTER = """set -eu
root=$1 swift=$2 packages=$3 debs=$4; shift 4
mount --make-rprivate /
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root$swift" "$root/root/.cache"
mount --bind "$swift" "$root$swift"
mount -o remount,bind,ro "$root$swift"
mount --bind "$debs" "$root/var/cache/apt/archives"
if [ -d "$packages" ]; then
  mkdir -p "$root/root/.cache/org.swift.swiftpm"
  mount --bind "$packages" "$root/root/.cache/org.swift.swiftpm"
fi
exec chroot "$root" env -i PATH="$swift/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \\
  HOME=/root LC_ALL=C.UTF-8 NO_COLOR=1 sh -c 'cd /tree && exec "$@"' sh "$@"
"""


def toolchain(named: Path | None) -> Path:
    """The folder that has usr/bin/swift."""
    swift = named / "usr/bin/swift" if named else Path(shutil.which("swift") or "/nowhere")
    folder = swift.resolve().parents[2]
    if not swift.exists() or folder == Path("/"):
        raise SystemExit("host: no toolchain in a folder of its own; --swift FOLDER names one with usr/bin/swift")
    return folder


class Host:
    """A release's root, made anew from one that is kept."""

    def __init__(self, release: Release, folder: Path) -> None:
        self._release, self._folder = release, folder / release.suite
        self._base, self._debs, self.root = (self._folder / name for name in ("base", "debs", "root"))

    def lock(self) -> None:
        """Until this program ends: another would take the root from under a command."""
        (self._debs / "partial").mkdir(parents=True, exist_ok=True)
        self._lock = (self._folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"host: {self._folder}: another host.py is at it; --folder for a root of its own") from None

    def make(self) -> None:
        """Everything in it is as it comes from Debian, and the clone of what is committed here."""
        if not (self._base / "etc/os-release").exists():
            shutil.rmtree(self._base, ignore_errors=True)
            making = self._folder / "making"
            shutil.rmtree(making, ignore_errors=True)
            Archive(self._release, self._folder / "apt").bootstrap(making, GIVEN, "--variant=minbase")
            making.rename(self._base)
        self.remove()
        subprocess.run(["cp", "-a", self._base, self.root], check=True)
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", TOP, self.root / "tree"], check=True)

    def run(self, swift: Path, *words: str) -> int:
        """The command's exit code."""
        enter = ["sh", "-c", ENTER, "host", self.root, swift, PACKAGES, self._debs, *words]
        return subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", *enter], check=False,
                              cwd="/", stdin=subprocess.DEVNULL).returncode

    def install(self, swift: Path, packages: list[str]) -> None:
        """What somebody had installed before."""
        words = ("apt-get", "install", "-q", "-y", "--no-install-recommends", *packages)
        for command in (("apt-get", "update", "-q"), ("env", "DEBIAN_FRONTEND=noninteractive", *words)):
            if self.run(swift, *command) != 0:
                raise SystemExit(f"host: {' '.join(command)} failed")

    def remove(self) -> None:
        """Nothing is mounted in it outside the namespaces that have ended."""
        shutil.rmtree(self.root, ignore_errors=True)


def main() -> int:
    """The command's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", choices=RELEASES, default=own_suite())
    parser.add_argument("--swift", type=Path, metavar="FOLDER", help="toolchain, if not that of PATH")
    parser.add_argument("--with", dest="packages", action="append", default=[], metavar="PACKAGE",
                        help="installed before; may be repeated")
    parser.add_argument("--folder", type=Path, default=TOP / ".build/hosts", help="where roots are kept")
    parser.add_argument("--keep", action="store_true", help="leave the root there when the command has ended")
    parser.add_argument("--again", action="store_true", help="in the root that --keep has left, as it is")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result is noted")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command:
        parser.error("which command?")
    if os.geteuid() != 0:
        raise SystemExit("host: as root, which may make a root and mount in it")
    swift, host = toolchain(options.swift), Host(RELEASES[options.release], options.folder.resolve())
    host.lock()
    if not options.again:
        host.make()
    try:
        if options.packages:
            host.install(swift, options.packages)
        for command in commands(options.command):
            begin, used = time.monotonic(), processor_seconds()
            code = host.run(swift, *command)
            seconds, used = time.monotonic() - begin, processor_seconds() - used
            print(f"host: {options.release}: {' '.join(command)}: exit {code} after {seconds:.0f} s, "
                  f"{used:.0f} s of processors", flush=True)
            if command[0] == "make" and not options.again:
                record(options.results, options.release, f"host {command[-1]}", passed=code == 0,
                       failed=code != 0, seconds=seconds, processor=used)
            if code != 0:
                break
    finally:
        if not options.keep:
            host.remove()
    return code


def commands(words: list[str]) -> list[list[str]]:
    """Of `make demo test` two, each of which is noted."""
    return [["make", target] for target in words[1:]] if words[0] == "make" and len(words) > 1 else [words]


if __name__ == "__main__":
    sys.exit(main())
