"""What dom0 finds in /lab: part of its first root. Over the share 128 KiB take a tenth of a second and more."""

from __future__ import annotations

import argparse
import shlex
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from images import HERE, Images, pack
from machine import boot_sector, compile_c, ramdisk, small_ramdisk

ROOT = HERE.parent.parent
STANDING = {"transfers", "faults", "many", "compare"}  # suites with PV guests; their root is large
RULES = ROOT / "Sources/udev/59-stubsave.rules"


def carry(images: Images, target: Path, suites: Iterable[str], options: argparse.Namespace) -> None:
    """dom0's first root: the release's, and behind it the programs under test, guests, cases, and `main`."""
    with tempfile.TemporaryDirectory(prefix="stubsave-xenlab-") as folder:
        scratch, place = Path(folder) / "scratch", Path(folder) / "root/lab"
        scratch.mkdir()
        place.mkdir(parents=True)
        make_guests(images, place, scratch, options, STANDING & {suite.partition(":")[0] for suite in suites})
        shutil.copy(HERE / "hvm/hotplug", place)
        shutil.copy(images.guest_kernel, place / "guest-vmlinux")
        for program in "stubsave", "stubsave-decode":
            shutil.copy(options.stubsave.with_name(program), place / program)
        for file in place.iterdir():
            file.chmod(0o755)
        shutil.copy(RULES, place)
        shutil.copytree(HERE / "cases", place / "cases", ignore=shutil.ignore_patterns("__pycache__"))
        words = ["python3", "/lab/cases/main.py", *suites]
        if options.full:
            words.append("--full")
        # Straight into the share: it can be read while the machine runs.
        (place / "main").write_text(f"{shlex.join(words)} >/mnt/main.log 2>&1\n")
        own = Path(folder) / "own.cpio"
        pack(place.parent, own)
        with target.open("wb") as out:
            for part in images.root, own:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, out)


def make_guests(images: Images, place: Path, scratch: Path, options: argparse.Namespace, standing: set[str]) -> None:
    """Roots of guests, with the agent in them, and the boot sector of one that needs none."""
    if standing:
        ramdisk(images.guest_root, place / "guest-ramdisk", {
            "init": HERE / "guest/init", "bin/inside.py": HERE / "cases/inside.py",
            "bin/stubsave-agent": options.agent}, scratch / "guest")
    addfd, notrunc, qmpliar = (scratch / name for name in ("addfd", "notrunc.so", "qmpliar"))
    compile_c(HERE / "consoles/addfd.c", addfd, "-static")
    compile_c(HERE / "stubdomain/qmpliar.c", qmpliar, "-static")
    compile_c(HERE / "consoles/notrunc.c", notrunc, "-shared", "-fPIC")
    ramdisk(images.stubdomain_root, place / "stubdomain-ramdisk", {
        "init": HERE / "stubdomain/init", "bin/stubsave-agent": options.agent,
        "bin/liar": HERE / "stubdomain/liar", "bin/qmpliar": qmpliar,
        "bin/addfd": addfd, "usr/lib/notrunc.so": notrunc}, scratch / "stubdomain")
    small_ramdisk(place, scratch / "small")
    boot_sector(HERE / "hvm/boot.S", place, scratch / "boot.o")
