#!/usr/bin/python3
"""The Debian releases on which the project is tested: one table of what differs, and packages of any of
them, from wherever this machine has its own.

    release = RELEASES["trixie"]
    release.package("xen-utils")             # xen-utils-4.20
    archive = Archive(release, folder)       # lists and packages are kept in that folder
    archive.download("xen-utils-4.20", into) # unpacked there
    archive.bootstrap(root, ["busybox-static"])

The machine's own apt is read and never changed: an Archive has lists, cache and status of its own. Its
sources are those of the machine with the suite replaced, so no host's name stands here.

    releases.py sources --release trixie     # such a list, in the deb822 format
    releases.py suite                        # this machine's
    releases.py package xen-utils --release trixie
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Release(NamedTuple):
    """What is different in one of them. Versions of packages are the archive's to say."""

    suite: str
    name: str
    xen: str  # as it stands in names of packages and in paths
    python: str

    @property
    def python_program(self) -> str:
        """Debian's own interpreter, which only one version has."""
        return f"python{self.python}"

    @property
    def xen_folder(self) -> str:
        """Where its xen-utils has libxl's helpers, below the root."""
        return f"usr/lib/xen-{self.xen}/bin"

    def package(self, name: str) -> str:
        """Its name in this release."""
        if name == "xen-utils":
            return f"xen-utils-{self.xen}"
        if name == "xen-hypervisor":
            return f"xen-hypervisor-{self.xen}-amd64"
        return name


RELEASES = {release.suite: release for release in (
    Release("bookworm", "Debian 12", "4.17", "3.11"),
    Release("trixie", "Debian 13", "4.20", "3.13"),
    Release("forky", "Debian testing", "4.20", "3.14"),
)}
# In what a suite may be called in a list of sources, beside its own name.
OTHER_NAMES = ("oldstable", "stable", "testing")
# What is added to it; other parts of a release (backports, proposed updates) are nobody's default.
PARTS = ("", "-updates", "-security")
SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))


def own_suite() -> str:
    """This machine's."""
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise SystemExit("/etc/os-release: no VERSION_CODENAME: is this Debian?")


def stanzas() -> Iterator[dict[str, str]]:
    """This machine's sources of packages, of both formats, as fields of deb822."""
    for place in SOURCES:
        for file in sorted(place.iterdir()) if place.is_dir() else [place]:
            if file.suffix == ".sources":
                yield from deb822(file.read_text(encoding="utf-8"))
            elif file.suffix == ".list" and file.exists():
                yield from filter(None, map(one_line, file.read_text(encoding="utf-8").splitlines()))


def deb822(text: str) -> Iterator[dict[str, str]]:
    """The stanzas of such a file that have packages."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for part in "\n".join(line.rstrip() for line in lines).split("\n\n"):
        fields, name = dict[str, str](), ""
        for line in filter(None, part.splitlines()):
            if line[0].isspace():
                fields[name] += f"\n{line}"
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        is_on = fields.get("Enabled", "yes").lower() not in ("no", "false", "0")
        if is_on and "deb" in fields.get("Types", "").split():
            yield fields


def one_line(line: str) -> dict[str, str] | None:
    """A line of the older format, if it has packages."""
    words = line.partition("#")[0].split()
    if len(words) < 3 or words[0] != "deb":
        return None
    fields, rest = dict[str, str](), words[1:]
    if rest[0].startswith("["):
        text, _, after = " ".join(rest).partition("]")
        for option in text.strip("[ ").split():
            key, _, value = option.partition("=")
            fields[key.title()] = value.replace(",", " ")
        rest = after.split()
    return {"URIs": rest[0], "Suites": rest[1], "Components": " ".join(rest[2:]), **fields}


def sources(release: Release) -> str:
    """A list of sources in the deb822 format for that release: this machine's, with the suite replaced."""
    names, seen = (*RELEASES, *OTHER_NAMES), dict[tuple[str, str], str]()
    for fields in stanzas():
        for suite in fields["Suites"].split():
            part = next((part for part in PARTS for name in names if suite == name + part), None)
            if part is None:
                continue
            lines = {"Types": "deb", "URIs": fields["URIs"], "Suites": release.suite + part,
                     "Components": fields.get("Components", "main")}
            lines |= {key: fields[key] for key in ("Signed-By", "Trusted") if key in fields}
            text = "".join(f"{key}: {value}\n" for key, value in lines.items())
            seen.setdefault((lines["URIs"], lines["Suites"]), text)
    if not seen:
        raise SystemExit(f"{', '.join(map(str, SOURCES))}: no source of a Debian release")
    return "\n".join(seen.values())


class Archive:
    """A release's packages: an apt of its own, whose state and cache are in a folder."""

    def __init__(self, release: Release, folder: Path) -> None:
        self.release, self._folder = release, folder.resolve()
        self._list, self._configuration = self._folder / "packages.sources", self._folder / "apt.conf"
        self._is_updated = False

    def _run(self, *words: str | Path, cwd: Path | None = None) -> str:
        environment = os.environ | {"APT_CONFIG": str(self._configuration), "LC_ALL": "C"}
        return subprocess.run([str(word) for word in words], check=True, text=True, cwd=cwd,
                              env=environment, stdout=subprocess.PIPE).stdout

    def update(self) -> None:
        """Fetch the lists; all others do it first, once."""
        if self._is_updated:
            return
        for name in "state/lists/partial", "cache/archives/partial":
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "status").write_bytes(b"")
        self._list.write_text(sources(self.release), encoding="utf-8")
        # The rest (a proxy, how long a list is good) is the machine's own.
        values = {"Dir::State": self._folder / "state", "Dir::State::status": self._folder / "status",
                  "Dir::Cache": self._folder / "cache", "Dir::Etc::SourceList": self._list,
                  "Dir::Etc::SourceParts": "/dev/null", "Dir::Etc::Preferences": "/dev/null",
                  "Dir::Etc::PreferencesParts": "/dev/null", "APT::Architecture": "amd64",
                  "APT::Architectures": "amd64", "APT::Sandbox::User": "root",
                  "Acquire::Languages": "none"}
        self._configuration.write_text("".join(f'{key} "{value}";\n' for key, value in values.items()))
        self._run("apt-get", "update", "-qq")
        self._is_updated = True

    def policy(self, *names: str) -> str:
        """Which versions there are of these packages."""
        self.update()
        return self._run("apt-cache", "policy", *names)

    def depends(self, name: str) -> list[str]:
        """The packages that one depends on directly."""
        self.update()
        lines = self._run("apt-cache", "depends", "--important", name).splitlines()
        return [line.split()[-1] for line in lines if "Depends:" in line and "<" not in line]

    def download(self, name: str, place: Path) -> Path:
        """Unpack one into a folder, which is returned."""
        self.update()
        packages = self._folder / "cache/archives"
        for old in packages.glob(f"{name}_*.deb"):
            old.unlink()
        self._run("apt-get", "download", "-qq", name, cwd=packages)
        (package,) = packages.glob(f"{name}_*.deb")
        place.mkdir(parents=True, exist_ok=True)
        self._run("dpkg-deb", "-x", package, place)
        package.unlink()
        return place

    def kernel(self, name: str, place: Path) -> Path:
        """Unpack the kernel that a meta package stands for. Newer releases have a kernel and its modules
        in packages that the image depends on, all with the image's version at their ends."""
        image = next(found for found in self.depends(name) if found.startswith("linux-image-"))
        ending = image.removeprefix("linux-image")
        for package in (image, *self.depends(image)):
            if package.startswith("linux-") and package.endswith(ending):
                self.download(package, place)
        return place

    def bootstrap(self, root: Path, packages: Iterable[str], *options: str) -> Path:
        """A root with these packages and what they depend on, by mmdebstrap with these options; root's."""
        self.update()
        # mmdebstrap's apt does not read this machine's configuration.
        acquire = [f"--aptopt={line}" for line in self._run("apt-config", "dump").splitlines()
                   if line.startswith(("Acquire::Check-", "Acquire::http", "Acquire::https"))
                   and not line.endswith('"";')]
        subprocess.run(["mmdebstrap", "--quiet", "--include=" + ",".join(packages), *acquire, *options,
                        self.release.suite, root, self._list], check=True, stdout=subprocess.DEVNULL)
        return root


def main() -> None:
    """What a makefile asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sources", "suite", "package"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--release", choices=RELEASES, default=None, help="this machine's, if it is not named")
    options = parser.parse_args()
    suite = options.release or own_suite()
    if options.what == "suite":
        print(suite)
        return
    if suite not in RELEASES:
        raise SystemExit(f"{suite}: known are {', '.join(RELEASES)}")
    release = RELEASES[suite]
    if options.what == "sources":
        print(sources(release), end="")
    else:
        print(*map(release.package, options.names), sep="\n")


if __name__ == "__main__":
    main()
