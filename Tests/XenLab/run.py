#!/usr/bin/python3
"""Real Xen, on any machine: boots Xen, dom0 and guests under emulation, from Debian's packages, and
runs the cases in dom0. Nothing of it needs a person, hardware virtualisation or a Xen here.

As root: cpio archives with device nodes, and a share that dom0 owns.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

sys.dont_write_bytecode = True

from images import HERE, Images  # noqa: E402
from machine import PROCESSORS, Machine, boot_sector, compile_c, ramdisk, small_ramdisk  # noqa: E402

ROOT = HERE.parent.parent
RULES = ROOT / "Sources/udev/59-stubsave.rules"
LAST_LINES = 60
LAST_TOLD = 40
# What runs if nobody names suites: two machines at once, with a processor each.
GROUPS = {"standing": ("transfers", "faults", "many", "agentless", "lost"),
          "real": ("saves", "restores", "savefaults")}


def prepare(images: Images, share: Path, suites: Iterable[str], options: argparse.Namespace) -> None:
    """What dom0 finds in its share."""
    with tempfile.TemporaryDirectory(prefix="stubsave-xenlab-") as scratch:
        ramdisk(images.guest_root, share / "guest-ramdisk", {
            "init": HERE / "guest/init", "bin/inside.py": HERE / "cases/inside.py",
            "bin/stubsave-agent": options.agent}, Path(scratch) / "guest")
        addfd, notrunc = Path(scratch) / "addfd", Path(scratch) / "notrunc.so"
        compile_c(HERE / "consoles/addfd.c", addfd, "-static")
        qmpliar = Path(scratch) / "qmpliar"
        compile_c(HERE / "stubdomain/qmpliar.c", qmpliar, "-static")
        compile_c(HERE / "consoles/notrunc.c", notrunc, "-shared", "-fPIC")
        ramdisk(images.stubdomain_root, share / "stubdomain-ramdisk", {
            "init": HERE / "stubdomain/init", "bin/stubsave-agent": options.agent,
            "bin/liar": HERE / "stubdomain/liar", "bin/qmpliar": qmpliar,
            "bin/addfd": addfd, "usr/lib/notrunc.so": notrunc}, Path(scratch) / "stubdomain")
        small_ramdisk(share, Path(scratch) / "small")
        boot_sector(HERE / "hvm/boot.S", share, Path(scratch) / "boot.o")
    shutil.copy(HERE / "hvm/hotplug", share)
    shutil.copy(images.guest_kernel, share / "guest-vmlinux")
    for program in "stubsave", "stubsave-decode":
        shutil.copy(options.stubsave.with_name(program), share / program)
    shutil.copy(RULES, share)
    shutil.copytree(HERE / "cases", share / "cases")
    words = ["python3", "/mnt/cases/main.py", *suites, "--only", options.only]
    if options.full:
        words.append("--full")
    (share / "main").write_text(f"{shlex.join(words)} >/run/main.log 2>&1\n")


def show(logs: Path) -> None:
    """The last of each log, after a failure."""
    for log in sorted(logs.rglob("*.log*")):
        # A console may have carried anything.
        lines = log.read_text(encoding="ascii", errors="backslashreplace").splitlines()
        print(f"--- {log}, the last of {len(lines)} lines")
        print("\n".join(line[:300] for line in lines[-LAST_LINES:]))


def sum_up(name: str, said: list[str]) -> None:
    """The last lines, after all logs, are those that say what has failed."""
    told = [line for line in said if not line.startswith("ok ")]
    ok = [line for line in said if line.startswith("ok ")]
    print(f"--- {name}: {len(ok)} ok, the last: {ok[-1][:300] if ok else 'none'}")
    print("\n".join(line[:300] for line in told[-LAST_TOLD:]))


async def run(options: argparse.Namespace) -> int:
    """Exit code of the program."""
    images = Images(options.folder.resolve())
    images.make()
    logs = options.folder.resolve().with_name(options.folder.name + "-logs")
    shutil.rmtree(logs, ignore_errors=True)
    groups = {"": options.suites} if options.suites else GROUPS
    ends = await asyncio.gather(*(
        boot(images, logs / name, suites, PROCESSORS // len(groups), options)
        for name, suites in groups.items()))
    for name, (code, said) in zip(groups, ends, strict=True):
        if code != 0:
            sum_up(name, said)
    return max(code for code, _ in ends)


async def boot(images: Images, logs: Path, suites: Iterable[str], processors: int,
               options: argparse.Namespace) -> tuple[int, list[str]]:
    """One machine; exit code of what its dom0 has run, and what that has said."""
    logs.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="stubsave-xenlab-") as folder:
        share = Path(folder)
        prepare(images, share, suites, options)
        machine = Machine(images, share, logs / "serial.log", processors)
        is_over = await machine.run(options.timeout)
        for log in [*share.glob("*.log"), *share.glob("xen/*.log*"), *share.glob("*.md")]:
            shutil.copy(log, logs)
    code = machine.exit_code()
    if is_over and code == 0:
        return 0, machine.said
    show(logs)
    if not is_over:
        machine.said.append(f"dom0 did not come to its end within {options.timeout:.0f} s")
    return code or 1, machine.said


def main() -> int:
    """Exit code of the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="transfers, faults, many, compare, saves, "
                        "restores, savefaults, agentless, lost, savetimes; without one all but compare and savetimes, "
                        "in two machines")
    parser.add_argument("--stubsave", type=Path, required=True, metavar="PROGRAM")
    parser.add_argument("--agent", type=Path, required=True, metavar="PROGRAM")
    parser.add_argument("--folder", type=Path, default=ROOT / ".build/xenlab",
                        help="where the images are kept")
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose names it is found in")
    parser.add_argument("--full", action="store_true", help="as many rounds as there are")
    parser.add_argument("--timeout", type=float, default=1500, metavar="SECONDS")
    # Whoever ends this ends the machine, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
