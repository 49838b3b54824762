"""What may go wrong: the stubdomain ends, lies, or holds on; the command is killed. Each ends with
the documented exit code, leaves nothing in dom0, and a good dump follows."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dom0 import PROGRAM, Outcome, Score, Wrong, expect, good, nothing_left, refused, stubsave, traces
from guests import Target, node, run
from stubs import DEVICES, Stub

STATE = Path("/tmp/state")
DEADLINE_SECONDS = 180


class Dump:
    """One that is under way."""

    def __init__(self, *words: str, before: tuple[str, ...] = ()) -> None:
        self._start = time.monotonic()
        self.process = subprocess.Popen(
            [*before, PROGRAM, "dump", *words, "--force", "-o", str(STATE)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, *codes: int) -> Outcome:
        """Its end, which must be one of these."""
        output, message = self.process.communicate(timeout=DEADLINE_SECONDS)
        outcome = Outcome(self.process.returncode, output, message.decode().strip(),
                          time.monotonic() - self._start)
        expect(outcome.code in codes, f"{outcome}; wanted: {codes}")
        return outcome


def until(dump: Dump, what: str, found: Callable[[], object]) -> None:
    """Wait until a function gives something, while a dump is under way."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not found():
        if dump.process.poll() is not None:
            raise Wrong(f"no {what}, but {dump.end(*range(256))}")
        expect(time.monotonic() < deadline, f"no {what} in time")
        time.sleep(0.02)


def attached(stub: Stub) -> bool:
    """Whether its kernel has connected to a disk."""
    listed = run("xenstore-ls", "-f", f"/local/domain/0/backend/vbd/{stub.domid}", must=False)
    return '/state = "4"' in listed


def answered(stub: Stub, word: str) -> bool:
    """Whether it has said so."""
    return word in (node(f"/local/domain/{stub.domid}/stubsave/answer") or "")


@contextmanager
def lying(stub: Stub, what: str) -> Iterator[None]:
    """No agent, but something that lies; afterwards the agent again."""
    stub.sh("killall -9 stubsave-agent", must=False)
    stub.start_lie(what)
    try:
        yield
    finally:
        stub.sh("killall -9 python3", must=False)
        stub.start_agent()


def lie(stub: Stub, what: str, *codes: int) -> str:
    """One, and the exit code that it brings."""
    with lying(stub, f"lie('{what}')"):
        outcome = Dump(stub.name, "--pause").end(*codes)
    expect(not stub.target.is_paused(), "the guest stands")
    return f"exit {outcome.code}: {outcome.message}"


def agent_killed(stub: Stub) -> str:
    """It does not come to an end, and is killed in the middle."""
    stub.sh("killall -STOP xen-qemu-system-i386")
    dump = Dump(stub.name, "--pause", "--timeout", "6")
    until(dump, "work", lambda: answered(stub, "accepted") or answered(stub, "progress"))
    stub.sh("killall -9 stubsave-agent", must=False)
    outcome = dump.end(10)
    stub.sh("killall -CONT xen-qemu-system-i386")
    nobody = Dump(stub.name, "--pause").end(10)
    stub.start_agent()
    return f"{outcome.message}; {nobody.message}"


def held_open(stub: Stub) -> str:
    """Somebody in the stubdomain has the disk open, and keeps it."""
    stub.sh("(until exec 9</dev/xvdz; do sleep 0.01; done; sleep 8) >/dev/null 2>&1 &")
    outcome = Dump(stub.name, "--pause").end(0)
    return f"{outcome.seconds:.1f} s {outcome.message}"


def not_let_go(stub: Stub) -> str:
    """The stubdomain's kernel does not answer any more when it is to close the disk."""
    with lying(stub, "lie('good')"):
        # Held up when it copies the disk, that is after "committed": the first file in memory is
        # the disk.
        dump = Dump(stub.name, "--pause", before=(
            "strace", "-qq", "-o", "/dev/null", "-e", "trace=memfd_create",
            "-e", "inject=memfd_create:delay_enter=3s:when=2"))
        until(dump, "commit", lambda: answered(stub, "committed"))
        run("xl", "pause", stub.name)
        outcome = dump.end(0)
        run("xl", "unpause", stub.name)
    expect("taken away" in outcome.message, str(outcome))
    return f"{outcome.seconds:.1f} s: {outcome.message}"


def never_connects(stub: Stub) -> str:
    """A stubdomain that stands still gets a disk."""
    run("xl", "pause", stub.name)
    try:
        outcome = Dump(stub.name, "--pause").end(10)
    finally:
        run("xl", "unpause", stub.name)
    return f"{outcome.seconds:.1f} s: {outcome.message}"


def busy(stub: Stub) -> str:
    """A second command for the same stubdomain, while the first lasts."""
    with lying(stub, "lie('wait')"):
        first = Dump(stub.name, "--pause", "--timeout", "5")
        until(first, "disk", lambda: attached(stub))
        second = refused(5, "dump", stub.target.name, "--pause", "-o", "-")
        expect("busy" in good("list").output.decode(), "list does not tell")
        collected = good("gc").output.decode()
        expect(collected == "" and attached(stub), f"gc took what is in use: {collected}")
        limited = refused(5, "dump", "second", "--pause", "--max-disks", "6MiB", "-o", "-")
        first.end(10)
    return f"{second.message}; {limited.message}"


def destroyed(target: Target, when: str, *codes: int) -> str:
    """The stubdomain is destroyed at some moment."""
    stub = Stub("third", target)
    try:
        stub.wait_until_up()
        said = destroy_during(stub, when, codes)
    finally:
        run("xl", "destroy", "third", must=False)
    expect(not target.is_paused(), "the guest stands")
    refused(14, "dump", "third", "--pause", "-o", "-")
    return said


def destroy_during(stub: Stub, when: str, codes: tuple[int, ...]) -> str:
    """Dump, and destroy it at that moment."""
    before = traces()
    if when == "connecting":
        run("xl", "pause", stub.name)
    else:
        stub.start_lie(f"lie('{'good' if when == 'committed' else 'wait'}')")
    dump = Dump(stub.name, "--pause", "--timeout", "30")
    if when == "connecting":
        until(dump, "back end", lambda: node(
            f"/local/domain/0/backend/vbd/{stub.domid}") is not None)
    elif when == "writing":
        until(dump, "work", lambda: answered(stub, "accepted"))
    else:
        until(dump, "commit", lambda: answered(stub, "committed"))
    with nothing_left(before):
        stub.destroy()
        outcome = dump.end(*codes)
    return f"exit {outcome.code} after {outcome.seconds:.1f} s: {outcome.message}"


def quota(stub: Stub) -> str:
    """The stubdomain has used up its share of xenstore."""
    said = stub.inside("inside.fill_xenstore()")
    outcome = Dump(stub.name, "--pause").end(0, 9, 10)
    stub.sh("xenstore-rm data/fill")
    expect(not stub.target.is_paused(), "the guest stands")
    return f"{said}; exit {outcome.code}: {outcome.message}"


def rewritten(stub: Stub, rounds: int) -> str:
    """Writing on after "committed": what was committed, or a refusal, never a mixture."""
    states = {b"QEVM" + letter * 200_000: letter.decode() for letter in (b"a", b"b")}
    seen = dict[str, int]()
    with lying(stub, f"flip({rounds})"):
        for _ in range(rounds):
            STATE.unlink(missing_ok=True)
            outcome = stubsave("dump", stub.name, "--pause", "--format", "raw", "-o", str(STATE))
            if outcome.code == 0:
                what = states.get(STATE.read_bytes())
                expect(what, "a mixture was taken for good")
            else:
                expect(outcome.code in (2, 3) and not STATE.exists(), str(outcome))
                what = f"exit {outcome.code}"
            seen[str(what)] = seen.get(str(what), 0) + 1
    return str(seen)


# So much of a device has all that tools look for at its start.
SIGNED_BYTES = 128 << 10


def signatures() -> dict[str, str]:
    """What mkfs.ext4, pvcreate and mdadm leave on a device of 4 MiB, as `lie` takes it."""
    made = dict[str, str]()
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
        made[name] = " ".join(pieces[:12])
        file.unlink()
    return made


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
        until(dump, "signature", lambda: "written" in stub.sh("cat /tmp/lie.log"))
        disk = next(Path("/run/stubsave").glob("disk-*")).name.removeprefix("disk-")
        sysfs = Path(f"/sys/dev/block/{disk}").resolve()
        for action in "change", "add":
            run("udevadm", "trigger", f"--action={action}", str(sysfs))
        found = seen_of(sysfs.name)
        known = run("blkid", "-p", f"/dev/{sysfs.name}", must=False)
        dump.end(9)
    expect("TYPE" in known, f"there is nothing to be seen: {known!r}")
    expect(found == "", f"{name} was seen: {found}")
    expect(not links() - before, f"{name} was seen afterwards: {links() - before}")
    expect("active" not in Path("/proc/mdstat").read_text(), "an array was assembled")
    return known.strip()[:80]


def killed(stub: Stub, call: str, count: int) -> str:
    """The command is killed at that system call; `gc` takes away what it has left."""
    done = subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}",
         "-e", f"inject={call}:signal=KILL:when={count}", PROGRAM, "dump", stub.name, "--pause",
         "--force", "-o", str(STATE)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, check=False, timeout=DEADLINE_SECONDS)
    expect(done.returncode in (0, -signal.SIGKILL), f"{done}")
    if done.returncode == 0:
        return "came to its end"
    collected = good("gc").output.decode().strip()
    expect(not stub.target.is_paused(), f"the guest stands after: {collected}")
    again = good("gc").output.decode().strip()
    expect(again == "", f"a second gc still finds: {again}")
    return collected.replace("\n", "; ")


def faults(score: Score, first: Stub, second: Stub, is_full: bool) -> None:
    """All of them."""
    rounds, step = (1000, 1) if is_full else (30, 10)  # 2 to 3 s each
    first.start_qemu(DEVICES["e1000"])
    second.start_qemu(DEVICES["e1000"])

    def then_good() -> str:
        outcome = Dump(first.name, "--pause").end(0)
        expect(not outcome.message, str(outcome))
        return f"{outcome.seconds:.2f} s"

    score.clean("a good dump first", then_good)
    for what, *codes in (("header", 2, 4), ("other header", 2), ("incomplete", 3), ("nothing", 3),
                         ("flipped", 2), ("good", 0)):
        score.clean(f"lie: {what}", lambda what=what, codes=codes: lie(first, what, *codes))
    score.clean("agent killed", lambda: agent_killed(first))
    score.clean("held open", lambda: held_open(first))
    score.clean("does not let go", lambda: not_let_go(first))
    score.clean("never connects", lambda: never_connects(first))
    score.clean("busy", lambda: busy(first))
    score.clean("quota", lambda: quota(first))
    score.clean("good again", then_good)
    for name, pieces in signatures().items():
        score.clean(f"signature: {name}",
                    lambda name=name, pieces=pieces: unseen(first, name, pieces))
    for when, *codes in (("connecting", 9), ("writing", 9), ("committed", 0, 9)):
        score.case(f"destroyed while {when}",
                   lambda when=when, codes=codes: destroyed(second.target, when, *codes))
    for call, most in (("write", 100), ("ioctl", 12), ("unlinkat", 3), ("pread64", 12)):
        for count in range(1, most, step):
            score.clean(f"killed at {call} {count}",
                        lambda call=call, count=count: killed(first, call, count))
    score.clean("good after all", then_good)
    score.clean(f"rewritten, {rounds} rounds", lambda: rewritten(first, rounds))
