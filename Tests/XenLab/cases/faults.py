"""What may go wrong: the stubdomain ends, lies, or holds on; the command is killed. Each ends with
the documented exit code, leaves nothing in dom0, and a good dump follows."""

from __future__ import annotations

import signal
import subprocess
import time

from dom0 import PROGRAM, Score, Wrong, expect, good, nothing_left, refused, stubsave, traces
from dumps import DEADLINE_SECONDS, STATE, Dump, answered, attached, lying, until
from guests import Target, node, run
from signatures import signatures
from stubs import DEVICES, Stub

AT_ONCE_SECONDS = 5  # 20 for a stubdomain to connect
SLOW_SECONDS = 23  # a dump waits 20 for a stubdomain to connect, a restore 30


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


def dump_before_its_disk(stub: Stub, *options: str) -> Dump:
    """One that has looked at the stubdomain, and makes its disk, the first file in memory, in some seconds."""
    dump = Dump(stub.name, "--pause", *options, before=(
        "strace", "-qq", "-o", "/dev/null", "-e", "trace=memfd_create",
        "-e", "inject=memfd_create:delay_enter=5s:when=1"))
    until(dump, "its turn", lambda: "busy" in good("list").output.decode())
    return dump


def never_connects(stub: Stub) -> str:
    """A stubdomain that stands still gets a disk."""
    dump = dump_before_its_disk(stub)
    run("xl", "pause", stub.name)
    try:
        outcome = dump.end(10)
    finally:
        run("xl", "unpause", stub.name)
    expect("is paused" in outcome.message, f"no reason: {outcome}")
    return f"{outcome.seconds:.1f} s: {outcome.message}"


def paused(stub: Stub) -> str:
    """One that stands before anything has begun is not waited for."""
    run("xl", "pause", stub.name)
    try:
        expect("paused" in good("list").output.decode(), "list does not tell")
        start = time.monotonic()
        said = refused(9, "dump", stub.name, "--pause", "-o", "-").message
        seconds = time.monotonic() - start
        expect("the stubdomain is paused" in said, said)
        expect(seconds < AT_ONCE_SECONDS, f"after {seconds:.1f} s")
    finally:
        run("xl", "unpause", stub.name)
    expect(not stub.target.is_paused(), "the guest stands")
    return f"{seconds:.1f} s: {said}"


def boots_slowly(first: Stub, second: Stub) -> str:
    """A stubdomain that takes longer to connect than a dump would wait gets its state all the same."""
    STATE.unlink(missing_ok=True)
    first.start_qemu(DEVICES["e1000"])
    good("dump", first.name, "--pause", "-o", str(STATE))
    inside = first.saved()
    second.start_qemu(DEVICES["e1000"], incoming=True)
    run("xl", "pause", second.name)
    try:
        with subprocess.Popen([PROGRAM, "restore", second.name, "-i", str(STATE)]) as restore:
            try:
                code = restore.wait(SLOW_SECONDS)
                raise Wrong(f"the stubdomain stands, and yet: exit {code}")
            except subprocess.TimeoutExpired:
                run("xl", "unpause", second.name)
            code = restore.wait(DEADLINE_SECONDS)
    finally:
        run("xl", "unpause", second.name, must=False)
    expect(code == 0, f"restore: exit {code}")
    expect((found := second.saved()) == inside, f"another state: {found}, was {inside}")
    return f"connected after {SLOW_SECONDS} s"


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
        dump = dump_before_its_disk(stub, "--timeout", "30")
        run("xl", "pause", stub.name)
        until(dump, "back end", lambda: node(
            f"/local/domain/0/backend/vbd/{stub.domid}") is not None)
    else:
        stub.start_inside(f"lie('{'good' if when == 'committed' else 'wait'}')")
        dump = Dump(stub.name, "--pause", "--timeout", "30")
        wanted = "accepted" if when == "writing" else "committed"
        until(dump, wanted, lambda: answered(stub, wanted))
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
    score.clean("paused", lambda: paused(first))
    score.clean("boots slowly", lambda: boots_slowly(first, second))
    score.clean("busy", lambda: busy(first))
    score.clean("quota", lambda: quota(first))
    score.clean("good again", then_good)
    signatures(score, first)
    for when, *codes in (("connecting", 9), ("writing", 9), ("committed", 0, 9)):
        score.case(f"destroyed while {when}",
                   lambda when=when, codes=codes: destroyed(second.target, when, *codes))
    for call, most in (("write", 100), ("ioctl", 12), ("unlinkat", 3), ("pread64", 12)):
        for count in range(1, most, step):
            score.clean(f"killed at {call} {count}",
                        lambda call=call, count=count: killed(first, call, count))
    score.clean("good after all", then_good)
    score.clean(f"rewritten, {rounds} rounds", lambda: rewritten(first, rounds))
