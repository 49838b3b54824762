#!/usr/bin/python3
"""Keep what a release writes: fixtures/releases/VERSION, made once and never again.

And the SHA-256 of every fixture that is good at the time: it stays one.

Disks of every codec, allocated ones of both directions, archives, state files with dom0's lines, an EMULATOR_CONTEXT
record; from a real QEMU, its agent and dom0's commands over a real xenstored. Tests/Formats/releases.py holds every later
program against them. Run by Tests/Xenstored/xenstored.py, as root.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "QEMU")]
from machine import Lab, expect, state_in  # noqa: E402
from overxen import HONEST, Stubdomains  # noqa: E402
from places import MACHINE, parsed, parser  # noqa: E402
from stubdomain import xenstored  # noqa: E402
from client import WRITE, Client  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
STATES = ("x05-pc-lsi-usb2-4vcpu", "f06-pc-virtio-linux-1nic")
UUID = "0b7c9d0e-5e0f-4c35-9c52-2a1d7a3f1c11"
DISK_BYTES = 128 << 10


class Kept:
    """The folder, and what its manifest says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.entries = folder, list[dict[str, object]]()
        folder.mkdir(parents=True)

    def add(self, name: str, kind: str, state: bytes, about: str) -> None:
        """A file that lies there already."""
        data = (self.folder / name).read_bytes()
        self.entries.append({
            "file": name, "kind": kind, "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(), "stateBytes": len(state),
            "stateSha256": hashlib.sha256(state).hexdigest(), "about": about})

    def close(self, version: str) -> None:
        """The manifest."""
        text = json.dumps({"release": version, "files": self.entries}, indent=1)
        (self.folder / "manifest.json").write_text(text + "\n")


async def disks(lab: Lab, kept: Kept) -> None:
    """What `allocate` and `write` make of states that lie here."""
    for stem in STATES:
        state = (ROOT / f"fixtures/states/{stem}.dev").read_bytes()
        for codec, chunk in (("auto", "256KiB"), ("none", "64KiB"), ("lz4", "64KiB"),
                             ("zlib", "1MiB"), ("zstd", "128KiB")):
            if codec == "none" and len(state) > 100_000:
                continue
            name = f"{stem}-{codec}.savedisk"
            await lab.good("write", str(kept.folder / name), "--codec", codec,
                           "--chunk-size", chunk, source=state)
            kept.add(name, "disk", state, f"write --codec {codec} --chunk-size {chunk}")
        for direction in "save", "restore":
            name = f"{stem}-allocated-{direction}.savedisk"
            path = str(kept.folder / name)
            await lab.good("allocate", path, "--size", str(DISK_BYTES), "--direction", direction,
                           "--chunk-size", "64KiB")
            await lab.good("write", path, source=state)
            kept.add(name, "disk", state, f"allocate --direction {direction}, write")


async def dumps(stubs: Stubdomains, kept: Kept) -> None:
    """What `dump` makes of a real QEMU's state, and `wrap` of that."""
    lab = stubs.lab
    with Client(xenstored() / "dom0") as dom0:
        dom0.request(WRITE, f"/local/domain/{100 + HONEST}/vm", value=f"/vm/{UUID}".encode())
        for number, word in enumerate((b"-machine", b"pc", b"-device", b"VGA", b"-device", b"e1000")):
            dom0.request(WRITE, f"/vm/{UUID}/image/dm-argv/{number:03}", value=word)
    async with lab.guest(MACHINE, lab.new_ram()) as guest, stubs.serving(guest.qmp):
        await guest.console.more(3)
        for format, name, codec in (("state", "dump.state", "auto"), ("raw", "dump.raw", "auto"),
                                    ("archive", "dump-archive.savedisk", "zlib")):
            async with stubs.disk() as device:
                await lab.good("dump", *stubs.over(HONEST, device), "--pause", "--format", format,
                               "-o", str(kept.folder / name), *(("--keep-paused",)
                                                                if format == "state" else ()))
            data = (kept.folder / name).read_bytes()
            if format == "state":
                state = state_in(data)
            kept.add(name, {"archive": "disk"}.get(format, format), state, f"dump --format {format}")
    await lab.good("wrap", str(kept.folder / "dump.state"), "-o", str(kept.folder / "wrapped.record"))
    kept.add("wrapped.record", "record", state, "wrap, of dump.state")


async def run(options: argparse.Namespace, directory: Path) -> None:
    """All of it, or nothing."""
    folder = ROOT / "fixtures/releases" / options.version
    expect(not folder.exists(), f"{folder} is there: what a release has written is not written again")
    stubs = Stubdomains(Lab(options.stubsave, directory), options.agent)
    kept = Kept(directory / "release")
    await disks(stubs.lab, kept)
    await dumps(stubs, kept)
    kept.close(options.version)
    good = sorted((ROOT / "fixtures/good").glob("*.savedisk"))
    (kept.folder / "good.sha256").write_text("".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in good))
    folder.mkdir(parents=True)
    for path in sorted(kept.folder.iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
        print(path.name, path.stat().st_size)


def main() -> int:
    """The command."""
    made = parser(__doc__.splitlines()[0])
    made.add_argument("--version", required=True, help="of the format: a folder's name")
    options = parsed(made)
    with tempfile.TemporaryDirectory(prefix="stubsave-release-") as directory:
        asyncio.run(run(options, Path(directory)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
