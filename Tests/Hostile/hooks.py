#!/usr/bin/python3
"""`stubsave hooks` at every kill and every failure, beside itself and beside dpkg, in systems of their
own with dpkg's database and a Xen that is a package.

Always, also after SIGKILL at any system call of stubsave, of the dpkg-divert that it starts, or of a
dpkg that upgrades Xen:
  1. libxl's place holds a whole program that can be run: libxl's own or ours;
  2. libxl's own, of the version that dpkg has installed last, has one of its two names;
  3. the next `hooks install` or `remove`, also after another upgrade, ends with 0 and all is in order:
     nothing else is left in the folder, and dpkg's list is as it should be.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from fakeqmp import Running, prepare
from inject import CALL, NEVER, Score

NAME = "vchan-socket-proxy"
FOLDER = "usr/lib/xen-4.17/bin"
DIVERSION = f"/{FOLDER}/{NAME}\n/{FOLDER}/{NAME}.distrib\n:\n"
MARK = "# Put here by `stubsave hooks install xl`; `stubsave hooks remove xl` takes it away."
# stubsave opens the system, dpkg-divert its database.
BEGIN = re.compile(r'^openat\(AT_FDCWD, "[^"]*/root["/]', re.MULTILINE)
VERBS = "install", "remove"
# What may come between a kill and the end.
AFTER = (("install",), ("remove",), ("upgrade", "install"), ("upgrade", "remove"))
# Each leaves something new behind, so after each everything is tried; after others one thing is.
CHANGING = {"link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "clone",
            "clone3", "vfork", "ppoll", "poll", "wait4"}
DPKG = ("dpkg", "--force-unsafe-io", "--no-triggers")
MOST_SECONDS = 30


def own(version: int) -> str:
    """libxl's own."""
    return f"#!/bin/sh\necho own {version} \"$@\"\n"


def package(directory: Path, version: int, xen: str = "4.17") -> Path:
    """Xen's, as far as it matters."""
    tree = directory / f"xen-{version}"
    program = tree / FOLDER.replace("4.17", xen) / NAME
    program.parent.mkdir(parents=True)
    program.write_text(own(version))
    program.chmod(0o755)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        f"Package: xen-utils-{xen}\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: nobody <nobody@localhost>\nDescription: for a test\n")
    subprocess.run(["dpkg-deb", "-Znone", "-b", tree, f"{tree}.deb"], check=True,
                   stdout=subprocess.DEVNULL)
    return Path(f"{tree}.deb")


class Point(NamedTuple):
    """Which use of which call fails, of which program, and how."""

    side: str
    verb: str
    error: str
    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.side}: {self.verb}: {self.call} number {self.number}: {self.error}"


class System:
    """One with a Xen; a copy of another."""

    def __init__(self, template: Path, place: Path) -> None:
        self.root, self.version = place / "root", 1
        shutil.copytree(template, self.root, symlinks=True)
        self.folder = self.root / FOLDER
        self._packages = template.parent

    def hooks(self, stubsave: str, verb: str, *before: object) -> Running:
        """Start it; `before` are words before its own."""
        return Running(*before, stubsave, "hooks", verb, "xl", "--root", self.root)

    def wait(self) -> None:
        """Until nothing is at work in it, not even a child of a command that was killed."""
        folder = os.open(self.root, os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        os.close(folder)

    def upgrade(self, *before: object) -> int:
        """By dpkg; its exit code."""
        code = self.dpkg("-i", self._packages / f"xen-{self.version + 1}.deb", before=before)
        if code == 0:
            self.version += 1
        return code

    def dpkg(self, *words: object, before: tuple[object, ...] = ()) -> int:
        """Its exit code."""
        return Running(*before, *DPKG, f"--root={self.root}", *words).end(MOST_SECONDS).code

    def texts(self) -> dict[str, str]:
        """What the names in the folder, but dpkg's own, stand for."""
        return {name: (self.folder / name).read_text() for name in os.listdir(self.folder)
                if ".dpkg-" not in name}

    def diversions(self) -> str:
        """dpkg's list."""
        return (self.root / "var/lib/dpkg/diversions").read_text()

    def fault(self, *versions: int) -> str:
        """What is wrong; empty if nothing is. Which of libxl's own it may be."""
        texts, versions = self.texts(), versions or (self.version,)
        place, wanted = texts.get(NAME), {own(version) for version in versions}
        if place is None:
            return "nothing in libxl's place"
        if not os.access(self.folder / NAME, os.X_OK):
            return "libxl's place has no program"
        is_ours = place.split("\n")[1:2] == [MARK]
        if is_ours and not place.endswith('.distrib "$@"\n'):
            return f"a part of ours: {place!r}"
        aside = texts.get(f"{NAME}.distrib")
        if not wanted & {place, aside}:
            return f"libxl's own is lost: {texts}"
        return "" if is_ours or place.startswith("#!/bin/sh\necho own ") else f"{place!r}"

    def end_fault(self, verb: str) -> str:
        """The same after a command that ended well."""
        texts = self.texts()
        if verb == "remove":
            wanted, diversions = {NAME: own(self.version)}, ""
        else:
            wanted, diversions = {NAME: texts.get(NAME, ""),
                                  f"{NAME}.distrib": own(self.version)}, DIVERSION
            if MARK not in wanted[NAME]:
                return f"ours is not there: {texts}"
        if texts != wanted:
            return f"{texts}"
        return "" if self.diversions() == diversions else f"diversions: {self.diversions()!r}"


class Trials(Score):
    """Runs hooks, and judges what is left."""

    def __init__(self, stubsave: str, directory: Path) -> None:
        super().__init__()
        self._stubsave, self._directory = str(Path(stubsave).resolve()), directory
        packages = [package(directory, version) for version in (1, 2, 3)]
        self._template = directory / "template"
        for name in "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers":
            (self._template / name).mkdir(parents=True)
        for name in "status", "diversions":
            (self._template / "var/lib/dpkg" / name).touch()
        subprocess.run([*DPKG, f"--root={self._template}", "-i", packages[0]], check=True,
                       stdout=subprocess.DEVNULL)
        self._divert = directory / "dpkg-divert"
        shutil.copy("/usr/bin/dpkg-divert", self._divert)
        self.calls, self._begun = dict[tuple[str, str], Counter[str]](), dict[
            tuple[str, str], Counter[str]]()
        for side, verb in itertools.product(("stubsave", "dpkg-divert"), VERBS):
            log = self.run(Point(side, verb, "", "", 0), ())
            self.calls[side, verb] = Counter(CALL.findall(log))
            self.check(f"{side}: {verb}: where it begins", BEGIN.search(log))
            self._begun[side, verb] = Counter(CALL.findall(BEGIN.split(log, 1)[0]))

    def _system(self, place: Path, verb: str) -> System:
        """As `verb` finds it."""
        system = System(self._template, place)
        if verb == "remove":
            ended = system.hooks(self._stubsave, "install").end(MOST_SECONDS)
            self.check(f"the first install: {ended.messages}", ended.code == 0)
        return system

    def _before(self, point: Point, place: Path) -> list[object]:
        """Words by which the one or the other runs under strace."""
        inject = [f"--inject={point.call}:{point.error}:when={point.number}"] * bool(point.call)
        strace = ["strace", "-qq", "-s", "200", "-o", str(place / "log"), *inject]
        if point.side == "stubsave":
            return list(strace)
        wrapper = place / "wrapper"
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(strace)} {self._divert} "$@"\n')
        wrapper.chmod(0o755)
        return ["unshare", "-m", "sh", "-c",
                f'mount --bind {wrapper} /usr/bin/dpkg-divert && exec "$@"', "sh"]

    def run(self, point: Point, after: tuple[str, ...]) -> str:
        """One, and what comes after it; strace's log."""
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            place = Path(name)
            system = self._system(place, point.verb)
            ended = system.hooks(self._stubsave, point.verb,
                                 *self._before(point, place)).end(MOST_SECONDS)
            log = (place / "log").read_text(errors="replace") if (place / "log").exists() else ""
            what = f"{point}: exit {ended.code}, {ended.messages.strip()!r:.300}"
            # dpkg may have upgraded to what has the other name.
            self.check(f"{what}: {system.fault()}", not system.fault())
            is_killed = point.error == "signal=KILL" and point.side == "stubsave"
            self.check(f"{what}: how it ended", ended.code == -signal.SIGKILL if is_killed
                       and ended.code < 0 else ended.code >= 0 and not ended.messages_fault)
            if ended.code == 0:
                self.check(f"{what}: {system.end_fault(point.verb)}",
                           not system.end_fault(point.verb))
            for verb in after:
                if verb == "upgrade":
                    system.wait()  # which dpkg does not
                    code = system.upgrade()
                    self.check(f"{what}: then dpkg: exit {code}", code == 0)
                    self.check(f"{what}: then dpkg: {system.fault()}", not system.fault())
                    continue
                ended = system.hooks(self._stubsave, verb).end(MOST_SECONDS)
                fault = system.end_fault(verb)
                self.check(f"{what}: then {after}: exit {ended.code}, {ended.messages.strip()}, "
                           f"{fault}", ended.code == 0 and not fault)
            return log

    def exhaust(self, side: str, verb: str, error: str, call: str) -> None:
        """Let the first use fail, then the second, until there are no more."""
        for number in itertools.count(self._begun[side, verb][call] + 1):
            if number > self.calls[side, verb][call]:
                return
            some = AFTER if call in CHANGING and error == "signal=KILL" else (
                AFTER[number % len(AFTER)],)
            for after in some:
                self.run(Point(side, verb, error, call, number), after)

    def without_exchange(self, verb: str) -> None:
        """A file system that cannot exchange names."""
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            system = self._system(Path(name), verb)
            for _ in range(2):
                ended = system.hooks(self._stubsave, verb, "strace", "-qq", "-o", "/dev/null",
                                     "--inject=renameat2:error=EINVAL").end(MOST_SECONDS)
                self.check(f"{verb} without exchange: exit {ended.code}, {ended.messages}, "
                           f"{system.end_fault(verb)}",
                           ended.code == 0 and not system.end_fault(verb))

    def overtaken(self, verb: str, is_first: bool) -> None:
        """Somebody without a lock puts another one of libxl's into its place, between the last look at it
        and what is done: that one counts then. Without dpkg, whose upgrades do not."""
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            system = self._system(Path(name), "install" if is_first else "remove")
            shutil.rmtree(system.root / "var/lib/dpkg")
            running = system.hooks(self._stubsave, verb, "strace", "-qq", "-o", "/dev/null",
                                   "--inject=renameat2:delay_enter=1000000")
            ready = system.folder / {
                "remove": ".stubsave-hooks",
                "install": f"{NAME}.distrib" if is_first else ".stubsave-hooks.new"}[verb]
            draft = system.folder / ".stubsave-hooks.new"
            while not (os.access(ready, os.X_OK) and (draft == ready or not draft.exists())):
                time.sleep(0.001)  # until it is about to exchange the two names, for a second
            newer = system.folder / "newer"
            newer.write_text(own(2))
            newer.chmod(0o755)
            newer.rename(system.folder / NAME)
            system.version = 2
            ended = running.end(MOST_SECONDS)
            texts = system.texts()
            is_good = (texts == {NAME: own(2)} if verb == "remove" else
                       len(texts) == 2 and MARK in texts[NAME]
                       and texts[f"{NAME}.distrib"] == own(2))
            self.check(f"{verb}, overtaken: exit {ended.code}, {ended.messages}, {texts}",
                       ended.code == 0 and is_good)

    def locked(self, name: str, environment: str) -> None:
        """dpkg or apt is at work: busy in the end, and nothing is changed; unless it waits for this."""
        with tempfile.TemporaryDirectory(dir=self._directory) as place:
            system = System(self._template, Path(place))
            with (system.root / "var/lib/dpkg" / name).open("w") as lock:
                fcntl.lockf(lock, fcntl.LOCK_EX)
                ended = system.hooks(self._stubsave, "install", *["env", environment]
                                     * bool(environment)).end(MOST_SECONDS)
            what = f"{name} locked, {environment}: exit {ended.code}, {ended.messages}"
            if environment:
                self.check(f"{what}: {system.end_fault('install')}",
                           ended.code == 0 and not system.end_fault("install"))
            else:
                self.check(f"{what}: {system.end_fault('remove')}",
                           ended.code == 5 and "dpkg" in ended.messages
                           and not system.end_fault("remove"))

    def deleted_by_hand(self, verb: str) -> None:
        """The folder is gone, while dpkg still diverts: a reinstall leaves libxl's own aside only."""
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            system = self._system(Path(name), "remove")
            shutil.rmtree(system.folder.parent)
            self._shows(system, "deleted by hand", "dpkg diverts it")
            again = system.dpkg("-i", self._directory / "xen-1.deb")
            self.check(f"deleted by hand: dpkg: exit {again}", again == 0
                       and list(system.texts()) == [f"{NAME}.distrib"])
            self._shows(system, "deleted by hand, installed again", "nothing, but libxl's own is")
            ended = system.hooks(self._stubsave, verb).end(MOST_SECONDS)
            self.check(f"deleted by hand, then {verb}: exit {ended.code}, {ended.messages}, "
                       f"{system.end_fault(verb)}", ended.code == 0 and not system.end_fault(verb))

    def new_release(self, verb: str) -> None:
        """Xen 4.20 comes beside 4.17, which goes: `show` names what has no hooks, `install` adds them, and
        `remove` leaves nothing of either."""
        old, new = f"/{FOLDER}/{NAME}", f"/{FOLDER}/{NAME}".replace("4.17", "4.20")
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            system = self._system(Path(name), "remove")
            code = system.dpkg("-i", package(Path(name), 4, "4.20"))
            self.check(f"4.20: dpkg: exit {code}", code == 0)
            self._shows(system, "4.20", f"{new}: libxl's own, and ours is elsewhere")
            code = system.dpkg("-r", "xen-utils-4.17")
            self.check(f"4.17 goes: dpkg: exit {code}", code == 0)
            self._shows(system, "4.17 went", f"{old}: stubsave's, of a Xen that is no longer there")
            for command in ("install", "install") if verb == "install" else ("install", "remove"):
                ended = system.hooks(self._stubsave, command).end(MOST_SECONDS)
                self.check(f"4.20, {command}: exit {ended.code}, {ended.messages}", ended.code == 0)
            here = (system.root / new[1:]).read_text()
            self.check(f"4.20, {verb}: {here!r:.100}", (MARK in here) == (verb == "install"))
            self.check(f"4.20, {verb}: {system.diversions()!r}",
                       (new in system.diversions()) == (verb == "install"))
            if verb == "remove":
                self.check("4.17's place is left", not (system.root / old[1:]).exists())
                self.check(f"diversions: {system.diversions()!r}", system.diversions() == "")

    def _shows(self, system: System, what: str, wanted: str) -> None:
        shown = subprocess.run([self._stubsave, "hooks", "show", "xl", "--root", system.root],
                               capture_output=True, text=True, check=True).stdout
        self.check(f"{what}: shows {shown!r}", wanted in shown)

    def upgrade_killed(self, call: str, number: int) -> None:
        """dpkg is killed while it upgrades a Xen with hooks; they come and go; it is run again."""
        for verb in VERBS:
            with tempfile.TemporaryDirectory(dir=self._directory) as name:
                system = self._system(Path(name), "remove")
                code = system.upgrade("strace", "-qq", "-o", "/dev/null",
                                      f"--inject={call}:signal=KILL:when={number}")
                what = f"dpkg killed at {call} number {number}, exit {code}, then {verb}"
                self.check(f"{what}: {system.fault(1, 2)}", not system.fault(1, 2))
                ended = system.hooks(self._stubsave, verb).end(MOST_SECONDS)
                self.check(f"{what}: exit {ended.code}, {ended.messages}, {system.fault(1, 2)}",
                           ended.code == 0 and not system.fault(1, 2))
                if code != 0:
                    again = system.upgrade()
                    self.check(f"{what}: dpkg once more: exit {again}", again == 0)
                self.check(f"{what}: at last: {system.end_fault(verb)}",
                           not system.end_fault(verb))

    def upgrade_calls(self) -> list[tuple[str, int]]:
        """Those that change something, from when dpkg first writes in the folder."""
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            system, log = self._system(Path(name), "remove"), Path(name) / "log"
            system.upgrade("strace", "-qq", "-s", "200", "-o", log)
            lines = log.read_text().splitlines()
        first = next(n for n, line in enumerate(lines) if f"{NAME}.distrib.dpkg-new" in line)
        seen, found = Counter[str](), list[tuple[str, int]]()
        for n, line in enumerate(lines):
            call = line.partition("(")[0]
            seen[call] += 1
            if n >= first and call in CHANGING | {"openat", "fchmod", "fchown", "close", "fsync",
                                                  "write", "sync_file_range"}:
                found.append((call, seen[call]))
        return found

    def at_once(self, number: int, with_dpkg: bool) -> None:
        """Install beside remove beside show, by two names of one system; perhaps beside dpkg."""
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            system = self._system(Path(name), VERBS[number % 2])
            link = Path(name) / "link"
            link.symlink_to("root")
            verbs = [*VERBS, "show"]
            running = [Running(self._stubsave, "hooks", verb, "xl", "--root", root)
                       for verb, root in zip(verbs[number % 3:] + verbs[:number % 3],
                                             (system.root, link, link / "."), strict=True)]
            if with_dpkg:
                system.upgrade()  # refused while one of ours is at work
            for run in running:
                ended = run.end(MOST_SECONDS)
                self.check(f"at once, {number}: exit {ended.code}, {ended.messages}",
                           ended.code == 0)
            self.check(f"at once, {number}: {system.fault()}", not system.fault())
            faults = [system.end_fault(verb) for verb in VERBS]
            self.check(f"at once, {number}: {faults}", "" in faults)
            if with_dpkg and system.version == 1:
                self.check(f"at once, {number}: dpkg", system.upgrade() == 0)
            for verb in VERBS if number % 2 else reversed(VERBS):
                ended = system.hooks(self._stubsave, verb).end(MOST_SECONDS)
                self.check(f"at once, {number}, then {verb}: exit {ended.code}, {ended.messages}, "
                           f"{system.end_fault(verb)}",
                           ended.code == 0 and not system.end_fault(verb))


def main() -> int:
    """Read the command line, see that all is there, and let everything fail."""
    built = Path(__file__).parents[2] / ".build/release/stubsave"
    parser = argparse.ArgumentParser(description="Kill stubsave hooks, and what works beside it.")
    parser.add_argument("--stubsave", default=str(built), metavar="PROGRAM")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (default: 2)")
    parser.add_argument("--rounds", type=int, default=60, help="at once (default: 60)")
    options = parser.parse_args()
    prepare((options.stubsave, "make build"), ("strace", "apt package strace"),
            ("dpkg-deb", "apt package dpkg"), ("unshare", "apt package util-linux"))
    with tempfile.TemporaryDirectory(prefix="stubsave-hooks-") as directory:
        trials = Trials(options.stubsave, Path(directory))
        trials.each(trials.at_once, [(number, number % 3 == 2)
                                     for number in range(options.rounds)], options.jobs)
        trials.each(trials.without_exchange, [(verb,) for verb in VERBS], options.jobs)
        trials.each(trials.deleted_by_hand, [(verb,) for verb in VERBS], options.jobs)
        trials.each(trials.new_release, [(verb,) for verb in VERBS], options.jobs)
        trials.each(trials.overtaken, [("install", True), ("install", False), ("remove", False)],
                    options.jobs)
        trials.each(trials.locked, [
            ("lock", ""), ("lock-frontend", ""), ("lock", "DPKG_RUNNING_VERSION=1.21.22"),
            ("lock-frontend", "DPKG_RUNNING_VERSION=1.21.22"),
            ("lock-frontend", "DPKG_FRONTEND_LOCKED=1")], options.jobs)
        trials.each(trials.exhaust, [(side, verb, error, call)
                                     for error in ("signal=KILL", "error=EIO")
                                     for side, verb in trials.calls
                                     for call in sorted(set(trials.calls[side, verb]) - NEVER)],
                    options.jobs)
        trials.each(trials.upgrade_killed, trials.upgrade_calls(), options.jobs)
        return trials.finish()


if __name__ == "__main__":
    sys.exit(main())
