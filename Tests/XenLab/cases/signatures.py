"""A stubdomain writes what dom0's tools look for on every device: none of them may look."""

from __future__ import annotations

import base64
from pathlib import Path

from dom0 import Score, expect
from dumps import Dump, attached, lying, until
from guests import run
from stubs import Stub

# What multipath's, udisks' and systemd's rules ask for before they look.
LEFT_ALONE = ("DM_MULTIPATH_DEVICE_PATH=0", "DM_UDEV_DISABLE_OTHER_RULES_FLAG=1", "SYSTEMD_READY=0",
              "UDISKS_AUTO=0", "UDISKS_IGNORE=1")
# So much of a device has all that tools look for at its start.
SIGNED_BYTES = 128 << 10


def made() -> dict[str, str]:
    """What mkfs.ext4, pvcreate and mdadm leave on a device of 4 MiB, as `lie` takes it."""
    found_pieces = dict[str, str]()
    for name, command in (
            ("ext4", "mkfs.ext4 -q -L stolen {0}"),
            ("LVM", "pvcreate -qq -y --config 'devices{{use_devicesfile=0}}' {0} >/dev/null"),
            ("md", "mdadm --create /dev/md9 --metadata=1.2 --level=1 --force --run --quiet "
                   "--raid-devices=1 {0} >/dev/null 2>&1; udevadm settle; mdadm --stop /dev/md9 >/dev/null 2>&1")):
        file = Path("/tmp/signed")
        with file.open("wb") as backing:
            backing.truncate(4 << 20)
        device = run("losetup", "-f", "--show", str(file)).strip()
        run("sh", "-c", command.format(device))
        run("losetup", "-d", device)
        data = file.read_bytes()[:SIGNED_BYTES]
        pieces = [f"{at}:{base64.b64encode(data[at:at + 512]).decode()}"
                  for at in range(0, len(data), 512) if any(data[at:at + 512])]
        found = run("blkid", "-p", str(file), must=False)
        expect("TYPE" in found, f"{name}: blkid does not know it: {found}")
        found_pieces[name] = " ".join(pieces[:12])
        file.unlink()
    return found_pieces


def links() -> set[str]:
    """What udev has found on any device. A number of its own has an empty one too."""
    run("udevadm", "settle")
    found = run("sh", "-c", "find /dev/disk /dev/mapper /dev/md* -type l 2>/dev/null; true")
    return {link for link in found.splitlines() if "by-diskseq" not in link}


def seen_of(name: str) -> str:
    """What udev has found on this one, and the links that lead to it."""
    run("udevadm", "settle")
    return run("sh", "-c", f"find -L /dev/disk /dev/mapper -samefile /dev/{name} 2>/dev/null; "
               f"udevadm info --query=property --name={name} | grep -E '^(ID_FS_|LVM|MD_)'; true")


def unseen(stub: Stub, name: str, pieces: str) -> str:
    """The stubdomain puts something on the disk that dom0's tools would look into."""
    before = links()
    with lying(stub, f"lie('signatures {pieces}')"):
        dump = Dump(stub.name, "--pause")
        until(dump, "disk", lambda: attached(stub))
        until(dump, "signature", lambda: "written" in stub.sh("cat /tmp/inside.log"))
        disk = next(Path("/run/stubsave").glob("disk-*")).name.removeprefix("disk-")
        sysfs = Path(f"/sys/dev/block/{disk}").resolve()
        for action in "change", "add":
            run("udevadm", "trigger", f"--action={action}", str(sysfs))
        found = seen_of(sysfs.name)
        properties = run("udevadm", "info", "--query=property", f"--name={sysfs.name}").split()
        known = run("blkid", "-p", f"/dev/{sysfs.name}", must=False)
        dump.end(9)
    expect("TYPE" in known, f"there is nothing to be seen: {known!r}")
    expect(found == "", f"{name} was seen: {found}")
    expect(set(LEFT_ALONE) <= set(properties), f"not told to leave it alone: {properties}")
    expect(not links() - before, f"{name} was seen afterwards: {links() - before}")
    expect("active" not in Path("/proc/mdstat").read_text(), "an array was assembled")
    return known.strip()[:80]


def signatures(score: Score, stub: Stub) -> None:
    """All of them."""
    for name, pieces in made().items():
        score.clean(f"signature: {name}", lambda name=name, pieces=pieces: unseen(stub, name, pieces))
