#!/usr/bin/python3
"""Run `make demo`'s script as root in a plain chroot, and without CAP_SYS_ADMIN.

The chroot has /proc, some plain devices and an empty /tmp, but no loop devices and no /sys, as an
installer's or a builder's has. There the demo passes, with all of the decoder's sandbox. Root without
CAP_SYS_ADMIN, as in many containers, cannot have the namespaces of its own: the demo ends with 8 before
anything is looked at, what is missing is named, and the way around, by which it goes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fakeqmp import STATES, prepare
from inject import Score, agent_beside

# In a mount namespace of its own, which is gone with the last process in it.
ROOT = """set -eu
mount --make-rprivate /
for name in usr bin sbin lib lib32 lib64 libx32 etc; do
  [ -e "/$name" ] || continue
  if [ -L "/$name" ]; then ln -s "$(readlink "/$name")" "$1/$name"
  else mkdir "$1/$name"; mount --rbind "/$name" "$1/$name"; fi
done
mkdir "$1/proc" "$1/dev" "$1/tmp"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
for name in null zero full random urandom; do
  : > "$1/dev/$name"
  mount --bind "/dev/$name" "$1/dev/$name"
done
root=$1
shift
exec "$@"
"""
WITHOUT = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
SECONDS = 120


class Trials(Score):
    """Runs in one root."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def run(self, words: list[str], privileges: list[str]) -> subprocess.CompletedProcess[str]:
        """One program in the chroot; its folder is an empty one."""
        with TemporaryDirectory(dir=self._root.parent) as name:
            root = Path(name)
            shutil.copytree(self._root, root, dirs_exist_ok=True)
            chroot = ["chroot", str(root), *privileges, *words]
            return subprocess.run(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ROOT, "sh",
                 str(root), *chroot],
                capture_output=True, text=True, check=False, timeout=SECONDS, cwd="/",
                stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})

    def all(self) -> None:
        """Everything."""
        demo = ["/tree/demo.sh", "/tree/stubsave"]
        done = self.run(demo, [])
        self.check(f"the demo in a chroot: exit {done.returncode}, {done.stderr!r}",
                   done.returncode == 0 and "went on where it stopped" in done.stdout)
        self.check(f"the demo in a chroot says {done.stderr!r}", "sandbox" not in done.stderr)
        self.check("the demo has found a loop device", "a disk in a plain file" in done.stdout)
        done = self.run(demo, WITHOUT)
        self._refused("the demo", done)
        looks = "cd /tmp && /tree/stubsave allocate disk --size 1MiB >&2 && " \
            "/tree/stubsave write disk < /tree/state >&2 && /tree/stubsave "
        for command in "verify disk", "read disk", "inspect disk":
            verb, _, rest = command.partition(" ")
            self._refused(command, self.run(["sh", "-c", looks + command], WITHOUT))
            done = self.run(["sh", "-c", f"{looks}{verb} --allow-weak-sandbox {rest} | wc -c"],
                            WITHOUT)
            self.check(f"{command}, weak: exit {done.returncode}, {done.stderr!r}",
                       done.returncode == 0 and "warning: sandbox: " in done.stderr
                       and "an own network namespace" in done.stderr and int(done.stdout) > 0)

    def _refused(self, what: str, done: subprocess.CompletedProcess[str]) -> None:
        self.check(f"{what}, without CAP_SYS_ADMIN: exit {done.returncode}, {done.stderr!r}",
                   done.returncode == 8 and "missing an own IPC namespace" in done.stderr
                   and "an own network namespace" in done.stderr
                   and "--allow-weak-sandbox" in done.stderr)


def main() -> int:
    """Read the command line, make the root, and run everything in it."""
    top = Path(__file__).parents[2]
    parser = argparse.ArgumentParser(description="Run the demo in a plain chroot.")
    parser.add_argument("--stubsave", default=str(top / ".build/release/stubsave"))
    options = parser.parse_args()
    programs = [Path(options.stubsave).resolve(), Path(agent_beside(options.stubsave)).resolve()]
    programs.append(programs[0].parent / "stubsave-decode")
    prepare((options.stubsave, "make build"), ("qemu-system-x86_64", "apt package qemu-system-x86"),
            *((name, "apt package util-linux") for name in ("setpriv", "unshare")))
    with TemporaryDirectory(prefix="stubsave-hostile-") as name:
        tree = Path(name) / "root/tree"
        tree.mkdir(parents=True)
        for file in (*programs, top / "Tests/demo.sh"):
            shutil.copy(file, tree / file.name)
        shutil.copy(STATES / "x01-pc-min-reset.dev", tree / "state")
        trials = Trials(Path(name) / "root")
        trials.all()
        return trials.finish()


if __name__ == "__main__":
    sys.exit(main())
