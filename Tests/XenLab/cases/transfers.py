"""What works: states out of one stubdomain and into another, disks of all sizes and kinds."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dom0 import Score, expect, good, refused, stubsave
from guests import Target, node, run
from stubs import DEVICES, Stub

STATE = Path("/tmp/state")
SIZES = (1, 6_700, 216_000, 16 << 20, 256 << 20)


def digest(data: bytes) -> str:
    """As inside.saved prints it."""
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


def there_and_back(first: Stub, second: Stub, devices: str) -> str:
    """Out of the first, into the second: what its QEMU saves then is the same."""
    first.start_qemu(devices)
    STATE.unlink(missing_ok=True)
    refused(13, "dump", first.name, "-o", str(STATE))  # its guest runs
    dumped = good("dump", first.target.name, "--pause", "--keep-paused", "--format", "raw",
                  "-o", str(STATE))
    expect(first.target.is_paused(), "the guest does not stand")
    inside = first.saved()
    expect(digest(STATE.read_bytes()) == inside, f"{digest(STATE.read_bytes())}, inside {inside}")
    STATE.unlink()
    # Paused by Xen: that is enough.
    good("dump", first.name, "-o", str(STATE))
    expect(first.target.is_paused(), "the guest was let go on")
    run("xl", "unpause", first.target.name)
    second.start_qemu(devices, incoming=True)
    restored = good("restore", str(second.domid), "-i", str(STATE))
    expect(second.saved() == inside, f"saved again: {second.saved()}, was {inside}")
    return f"{inside.split()[0]} bytes, dump {dumped.seconds:.2f} s, restore {restored.seconds:.2f} s"


def pausing(stub: Stub) -> str:
    """A guest that runs goes on after --pause, and its QEMU too."""
    stub.start_qemu(DEVICES["e1000"])
    STATE.unlink(missing_ok=True)
    good("dump", stub.name, "--pause", "-o", str(STATE))
    expect(not stub.target.is_paused(), "the guest stands")
    run("xl", "pause", stub.target.name)
    STATE.unlink()
    good("dump", stub.name, "--pause", "-o", str(STATE))
    expect(stub.target.is_paused(), "a guest that its user has paused was let go on")
    run("xl", "unpause", stub.target.name)
    return f"afterwards QEMU says: {stub.status()}"


def of_other_devices(first: Stub, second: Stub) -> str:
    """dom0 knows with which devices a state was saved, and does not give it to others."""
    try:
        return refused_for_other_devices(first, second)
    finally:
        for target in first.target, second.target:
            tell_arguments(target, "")


def refused_for_other_devices(first: Stub, second: Stub) -> str:
    """What the refusal says."""
    tell_arguments(first.target, "-xen-domid 5 -machine pc -device e1000,id=a")
    tell_arguments(second.target, "-xen-domid 7 -machine pc -device e1000,id=a -incoming fd:3")
    first.start_qemu(DEVICES["e1000"])
    STATE.unlink(missing_ok=True)
    good("dump", first.name, "--pause", "-o", str(STATE))
    lines = good("inspect", str(STATE)).output.decode()
    for line in "dom0 time 20", "dom0 uuid ", "dom0 devices ", "dom0 device -device e1000,id=a":
        expect(line in lines, f"no {line}: {lines}")
    second.start_qemu(DEVICES["e1000"], incoming=True)
    tell_arguments(second.target, "-machine pc -device rtl8139,id=a")
    other = refused(12, "restore", second.name, "-i", str(STATE)).message
    expect("it had -device e1000,id=a, this one has -device rtl8139,id=a" in other, other)
    tell_arguments(second.target, "-xen-domid 7 -machine pc -device e1000,id=a -incoming fd:3")
    warning = good("restore", second.name, "-i", str(STATE)).message
    expect("is of the guest" in warning, warning)
    second.start_qemu(DEVICES["e1000"], incoming=True)
    tell_arguments(second.target, "-machine pc -device rtl8139,id=a")
    good("restore", second.name, "-i", str(STATE), "--force")
    return other


def tell_arguments(target: Target, line: str) -> None:
    """As libxl tells a stubdomain with which arguments to start QEMU."""
    vm = node(f"/local/domain/{target.domid}/vm")
    run("xenstore-rm", f"{vm}/image/dm-argv", must=False)
    for number, word in enumerate(line.split()):
        run("xenstore-write", "--", f"{vm}/image/dm-argv/{number:03}", word)


def naming(stub: Stub) -> str:
    """By domid and by name, of the guest and of the stubdomain; and what is no stubdomain."""
    for name in (stub.name, str(stub.domid), stub.target.name, str(stub.target.domid)):
        STATE.unlink(missing_ok=True)
        good("dump", name, "--pause", "-o", str(STATE))
    listed = good("list").output.decode()
    expect(f"{stub.domid} " in listed and "rendezvous 2" in listed, listed)
    missing = refused(14, "dump", "nobody", "-o", "-").message
    refused(14, "dump", "31000", "-o", "-")
    return f"{missing}\n{listed}"


def make_input(stub: Stub, size: int) -> str:
    """Bytes in the stubdomain that do not compress; their digest."""
    mib = 1 << 20
    stub.sh(f"head -c {min(size, mib)} /dev/urandom > /tmp/piece")
    source = f"head -c {size} /tmp/piece"
    if size > mib:
        source = f"for i in $(seq {size // mib}); do cat /tmp/piece; done"
    stub.sh(f"echo '{source}' > /tmp/input")
    return stub.sh("sh /tmp/input | sha256sum", timeout=300).split()[0]


def written(stub: Stub, size: int, disk: str) -> str:
    """The agent's `write`, to a disk that is attached by itself; dom0 reads it while it is there."""
    wanted = make_input(stub, size)
    attached = good("attach", stub.name, disk)
    name = attached.output.decode().strip()
    listed = good("list").output.decode()
    expect(name in listed, listed)
    stub.wait_for_disk(name)
    stub.sh(f"sh /tmp/input | stubsave-agent write /dev/{name}", timeout=600)
    # So that a page cache that is asked later has what was there before, or not.
    Path("/tmp/out").unlink(missing_ok=True)
    read = good("read", disk, "--max-state", "512MiB", "-o", "/tmp/out", timeout=600)
    expect(not stubsave("detach", stub.name, name).message, "detach had something to say")
    found = run("sha256sum", "/tmp/out", timeout=300).split()[0]
    Path("/tmp/out").unlink()
    expect(found == wanted, f"{found}, inside {wanted}")
    return f"attach {attached.seconds:.2f} s, read {read.seconds:.2f} s"


def file_disk(stub: Stub, size: int) -> str:
    """A disk in a plain file."""
    disk = Path("/tmp/disk")
    disk.unlink(missing_ok=True)
    good("allocate", str(disk), "--max-state", "512MiB",
         "--size", str((size + size // 64 + 65536 + 4095) & ~4095))
    try:
        return written(stub, size, str(disk))
    finally:
        disk.unlink()


def given_device(stub: Stub, size: int) -> str:
    """A block device of the user's, whose page cache in dom0 is stale."""
    backing = Path("/tmp/backing")
    with backing.open("wb") as file:
        file.truncate((size + size // 64 + (4 << 20)) & ~4095)
    device = run("losetup", "-f", "--show", str(backing)).strip()
    try:
        good("allocate", device, "--max-state", "512MiB")
        run("dd", f"if={device}", "of=/dev/null", "bs=1M")
        said = written(stub, size, device)
        good("allocate", device, "--force")
        run("dd", f"if={device}", "of=/dev/null", "bs=1M")
        STATE.unlink(missing_ok=True)
        stub.start_qemu(DEVICES["e1000"])
        good("dump", stub.name, "--disk", device, "--pause", "--keep-paused", "--format", "raw",
             "-o", str(STATE))
        expect(digest(STATE.read_bytes()) == stub.saved(), "another state")
        run("xl", "unpause", stub.target.name)
        zeros = run("cmp", device, "/dev/zero", must=False)
        expect("EOF" in zeros, f"the device is not zeros again: {zeros}")
    finally:
        run("losetup", "-d", device)
        backing.unlink()
    return said


def attached_before(stub: Stub, disk: str) -> str:
    """A disk that its user has attached, and takes away again."""
    stub.start_qemu(DEVICES["e1000"])
    good("allocate", disk)
    name = good("attach", stub.name, disk).output.decode().strip()
    refused(5, "dump", stub.name, "--disk", disk, "--pause", "-o", "-")
    refused(5, "attach", stub.name, disk)
    if disk.startswith("/dev/"):
        refused(5, "allocate", disk, "--force")
    STATE.unlink(missing_ok=True)
    dumped = good("dump", stub.name, "--disk", disk, "--attached", name, "--pause", "--keep-paused",
                  "--format", "raw", "-o", str(STATE))
    good("detach", stub.name, name)
    expect(digest(STATE.read_bytes()) == stub.saved(), "another state")
    good("verify", disk)
    run("xl", "unpause", stub.target.name)
    return f"dump {dumped.seconds:.2f} s"


def attached_file(stub: Stub) -> str:
    """The disk in a plain file."""
    disk = Path("/tmp/disk")
    disk.unlink(missing_ok=True)
    try:
        return attached_before(stub, str(disk))
    finally:
        disk.unlink()


def attached_device(stub: Stub) -> str:
    """The disk a block device."""
    backing = Path("/tmp/backing")
    with backing.open("wb") as file:
        file.truncate(8 << 20)
    device = run("losetup", "-f", "--show", str(backing)).strip()
    try:
        return attached_before(stub, device)
    finally:
        run("losetup", "-d", device)
        backing.unlink()


def transfers(score: Score, first: Stub, second: Stub, _is_full: bool) -> None:
    """All of them."""
    for name, devices in DEVICES.items():
        score.clean(f"there and back: {name}", lambda devices=devices: there_and_back(first, second, devices))
    score.clean("pausing", lambda: pausing(first))
    score.clean("other devices", lambda: of_other_devices(first, second))
    score.clean("naming", lambda: naming(first))
    for size in SIZES:
        score.clean(f"{size} bytes over a file", lambda size=size: file_disk(first, size))
    for size in SIZES[1:4]:
        score.clean(f"{size} bytes over a block device", lambda size=size: given_device(first, size))
    score.clean("a file attached before", lambda: attached_file(first))
    score.clean("a block device attached before", lambda: attached_device(first))
