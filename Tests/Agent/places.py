"""What serve.py and overxen.py have alike: guests, disks, the command line."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "QEMU")]
from machine import QEMU, Lab, Machine  # noqa: E402

LIMIT = 64 << 20  # bytes of state
MACHINE = Machine("e1000", "-device VGA -device e1000,netdev=net,romfile=")
# Its state takes more than the smallest disk has.
LARGE = Machine("virtio+hda", "-device VGA -device virtio-net-pci,netdev=net,romfile= "
                "-device virtio-balloon-pci -device virtio-rng-pci -device intel-hda "
                "-device e1000 -device qemu-xhci")


async def loop_device(lab: Lab, size: int = 1 << 20, direction: str = "save") -> str:
    """A loop device, allocated, for `detach`."""
    file = Path(lab.path("disk"))
    file.write_bytes(bytes(size))
    device = subprocess.run(["losetup", "-f", "--show", str(file)], check=True,
                            capture_output=True, text=True).stdout.strip()
    await lab.good("allocate", device, "--direction", direction)
    return device


def transfer_id(device: str) -> str:
    """As the disk's header has it."""
    with open(device, "rb") as block:
        return block.read(48)[32:].hex()


def detach(device: str) -> None:
    """Take a loop device away again."""
    subprocess.run(["losetup", "-d", device], check=True)


def parser(description: str) -> argparse.ArgumentParser:
    """With the options that name the programs."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--stubsave", required=True, metavar="PROGRAM")
    made.add_argument("--agent", required=True, metavar="PROGRAM")
    return made


def parsed(made: argparse.ArgumentParser) -> argparse.Namespace:
    """The options; ends the program with 2 if something is missing."""
    options = made.parse_args()
    options.agent = str(Path(options.agent).resolve())
    options.stubsave = str(Path(options.stubsave).resolve())
    for program, way in ((QEMU, "apt package qemu-system-x86"), (options.stubsave, "make build"),
                         (options.agent, "make agent"), ("losetup", "apt package mount")):
        if shutil.which(program) is None:
            print(f"needs {program} ({way})", file=sys.stderr)
            sys.exit(2)
    return options
