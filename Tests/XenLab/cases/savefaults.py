"""What may go wrong under `xl save`, `xl restore` and `xl migrate`: xl says so, the guest goes on, dom0
is as before, and the next save is good."""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import logs
from dom0 import Outcome, Score, Wrong, expect, good, nothing_left
from guests import LOCAL, node, run
from hvm import HVM, all_traces, xl
from savefile import emulator_states, qemus
from saves import counting, restored, saved
from serials import Serials, all_serials
from signatures import links, made

# A good save disk; lies for stubdomain/liar.
STATE = "(echo -n QEVM; head -c 90000 /bin/busybox)"
OTHER_STATE = "(echo -n QEVM; tail -c 90000 /bin/busybox)"
WRITE = f"{STATE} | stubsave-agent write $disk"
COMMITTED = "answer committed 20480 unknown"
# As long as it is offered: who writes when the disk goes may hang his own kernel.
REWRITE = (f"{WRITE}; dd if=$disk of=/tmp/one bs=4096 count=32; "
           "dd if=/dev/zero of=$disk bs=4096 seek=1 count=1 conv=notrunc,fsync; "
           f"{OTHER_STATE} | stubsave-agent write $disk; dd if=$disk of=/tmp/two bs=4096 count=32; "
           "cmp -s /tmp/one /tmp/two && exit; "
           "while case $(xenstore-read stubsave/offer) in *\" $last \"*) true;; *) false;; esac; do for f in one two; do "
           f"dd if=/tmp/$f of=$disk bs=4096 conv=notrunc oflag=direct; done; done 2>/dev/null & {COMMITTED}; wait")
LIES: dict[str, tuple[str, str]] = {
    "nothing": (COMMITTED, "incomplete"),
    "no agent's answer": ("answer nonsense", "no message of the rendezvous"),
    "another header": (f"{WRITE}; head -c 1 /bin/busybox | dd of=$disk bs=1 seek=64 conv=notrunc; sync; {COMMITTED}",
                       "header"),
    "flipped": (f"{WRITE}; head -c 1 /bin/busybox | dd of=$disk bs=1 seek=5000 conv=notrunc; sync; {COMMITTED}",
                "record|chunk|hash"),
    "cut": (f"{WRITE}; dd if=/dev/zero of=$disk bs=4096 seek=2 count=20 conv=notrunc; sync; {COMMITTED}",
            "corrupt|incomplete"),
    "failed": ("answer failed 11 0 unknown system", "agent's own system"),
}
# For stubdomain/qmpliar, and whether the save is a good one all the same.
QMP_LIES = {"doubled": True, "escaped": True, "early": False, "endless": False}
AGENT = ("n=0; until xenstore-read data/stubsave >/dev/null 2>&1; do usleep 50000; n=$((n+1)); "
         "[ $n -lt 200 ] || exit 1; done")


@contextmanager
def lying(guest: HVM, lie: str, *, checks: bool = True) -> Iterator[None]:
    """In the agent's place, which goes on afterwards; then a good save."""
    guest.sh(f"liar '{lie}' >/tmp/liar.log 2>&1 &")
    guest.sh("n=0; until grep -q T.*stopped /proc/$(pidof stubsave-agent)/status; do usleep 50000; "
             "n=$((n+1)); [ $n -lt 200 ] || exit 1; done")
    try:
        yield
    finally:
        guest.sh("killall -9 liar; killall -CONT stubsave-agent", must=False)
    if checks:
        saved(guest, "-c")


def start_agent(guest: HVM) -> None:
    """Another one, after the first was killed."""
    guest.sh("xenstore-rm data/stubsave; "
             "(stubsave-agent serve /tmp/qmp-agent xenstore 67108864 >/dev/null 2>&1 &); " + AGENT)


def goes_on(guest: HVM) -> str:
    """Its next letters and its next lap."""
    guest.wait_until_counting()
    guest.wait_for_lap()
    return guest.check_counting()


def refused(guest: HVM, reason: str, *, seconds: float = 60) -> Outcome:
    """A save that fails, and says why; the guest goes on."""
    outcome = guest.save()
    expect(outcome.code != 0, f"a save without a state: {outcome}")
    expect(re.search(reason, outcome.message), f"{outcome}\nnot in it: {reason}")
    expect(outcome.seconds < seconds, f"{outcome.seconds:.1f} s: {outcome}")
    goes_on(guest)
    return outcome


def reason_in(outcome: Outcome) -> str:
    """Ours, of all that libxl says."""
    found = re.search(r"stubsave: .*", outcome.message)
    return found[0][:160] if found else outcome.message[-160:]


# The agent, the stubdomain and the proxy fail; the guest is one and the same.

def agent_killed(guest: HVM) -> str:
    """It is no more, and the stubdomain says that it is."""
    guest.sh("killall -9 stubsave-agent")
    outcome = refused(guest, "stubsave: .*(nobody answers|in time)")
    start_agent(guest)
    saved(guest, "-c")
    return f"{outcome.seconds:.1f} s: {reason_in(outcome)}"


def agent_stops(guest: HVM) -> str:
    """It stops when the state is to be written: libxl has stopped the guest, and waits."""
    with lying(guest, "answer accepted; sleep 1000"):
        outcome = refused(guest, "stubsave: .*in time")
    return f"{outcome.seconds:.1f} s: {reason_in(outcome)}"


def lie(guest: HVM, name: str) -> str:
    """Something else than a state is on the disk."""
    text, reason = LIES[name]
    with lying(guest, text):
        outcome = refused(guest, f"stubsave: .*({reason})")
    return reason_in(outcome)


def rewritten(guest: HVM, rounds: int) -> str:
    """Writing on after "committed": one of the two states that are whole, or a refusal."""
    states = {guest.sh(f"{state} | sha256sum").split()[0]: name
              for state, name in ((STATE, "one"), (OTHER_STATE, "the other"))}
    expect(len(states) == 2, str(states))
    seen = dict[str, int]()
    for _ in range(rounds):
        with lying(guest, REWRITE, checks=False):
            outcome = guest.save("-c")
        if outcome.code == 0:
            (state,) = emulator_states(guest.file)
            what = states.get(hashlib.sha256(qemus(state)).hexdigest())
            expect(what, f"a mixture was taken for good: {len(state)} bytes")
        else:
            expect(re.search("stubsave: .*(corrupt|incomplete)", outcome.message), str(outcome))
            what = "refused"
        seen[str(what)] = seen.get(str(what), 0) + 1
    saved(guest, "-c")
    return f"{seen}, {goes_on(guest)}"


def lie_over_qmp(guest: HVM, lie: str, is_saved: bool) -> str:
    """The stubdomain says something else than its QEMU does: libxl has a success only if the state lies
    in its file; the guest goes on."""
    guest.sh(f"echo -n {lie} >/tmp/lie")
    if is_saved:
        outcome, state = saved(guest, "-c")
        said = f"{outcome.seconds:.1f} s, {len(state)} bytes"
    else:
        outcome = refused(guest, "qmp|QMP|QEMU")
        said = f"{outcome.seconds:.1f} s: {reason_in(outcome)}"
    guest.sh("rm /tmp/lie")
    saved(guest, "-c")
    return f"{said}; {goes_on(guest)}"


def signed(guest: HVM) -> str:
    """What dom0's tools look for on every device is on the disk when dom0 has it again."""
    said = []
    for name, pieces in made().items():
        before = links()
        # As much as a command over xenstore has room for: the pieces that a tool knows it by.
        words = " ".join(pieces.split()[:3])
        sign = (f"for p in {words}; do echo ${{p#*:}} | base64 -d | dd of=$disk bs=512 seek=$((${{p%%:*}}/512)) "
                f"conv=notrunc; done; sync; {COMMITTED}")
        with lying(guest, sign):
            outcome = refused(guest, "stubsave: .*(corrupt|incomplete|not-a-save-disk)")
        expect(not links() - before, f"{name} was seen: {links() - before}")
        expect("active" not in Path("/proc/mdstat").read_text(), f"{name}: an array was assembled")
        said.append(f"{name}: {reason_in(outcome)[:60]}")
    return "; ".join(said)


def held_open(guest: HVM) -> str:
    """Somebody has the disk open, and keeps it; somebody writes on."""
    # One loop for all names: many of them starve the rest of the stubdomain.
    guest.sh("(while [ ! -e /tmp/enough ]; do for d in q r s t u v w x y z; do "
             "[ -b /dev/xvd$d ] && sleep 20 <>/dev/xvd$d; done; usleep 50000; done) >/dev/null 2>&1 &")
    outcome, _ = saved(guest, "-c")
    guest.sh("touch /tmp/enough; killall sleep", must=False)
    return f"{outcome.seconds:.1f} s"


def proxied_program_killed(guest: HVM) -> str:
    """libxl's own proxy, behind ours."""
    run("pkill", "-9", "-f", f"^/usr/lib/xen.*distrib (.* )?{guest.stubdomain} ")
    deadline = time.monotonic() + 120
    while "started again" not in guest.proxy_log():
        expect(time.monotonic() < deadline, "it is not started again")
        time.sleep(0.1)
    saved(guest, "-c")
    return next(line for line in guest.proxy_log().splitlines() if "started again" in line)


def proxy_killed(guest: HVM) -> str:
    """Ours: libxl is told, and one that is started by hand does the rest."""
    pid = node(f"/local/domain/{guest.stubdomain}/image/qmp-proxy-pid") or ""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    run("kill", "-9", pid)
    outcome = guest.save()
    expect(outcome.code != 0, str(outcome))
    goes_on(guest)
    with Path(f"/var/log/xen/qmp-proxy-{guest.name}-dm.log").open("ab") as log:
        again = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                                 start_new_session=True)
    run("xenstore-write", f"/local/domain/{guest.stubdomain}/image/qmp-proxy-pid", str(again.pid))
    deadline = time.monotonic() + 120
    # The name alone is there from before. A flag tells that somebody listens (__SO_ACCEPTCON).
    while not re.search(rf" 00010000 .*/qmp-libxl-{guest.domid}\n", Path("/proc/net/unix").read_text()):
        expect(time.monotonic() < deadline, "it does not start")
        time.sleep(0.1)
    saved(guest, "-c")
    return f"xl: {outcome.seconds:.1f} s"


def quota(guest: HVM) -> str:
    """The stubdomain has used up its share of xenstore: its agent cannot answer, or can."""
    # Many at once, then the rest one by one.
    guest.sh("i=0; for n in 50 1; do while [ $i -lt 3000 ]; do a=; j=0; while [ $j -lt $n ]; do "
             "a=\"$a data/fill/$((i+j)) x\"; j=$((j+1)); done; xenstore-write $a 2>/dev/null || break; "
             "i=$((i+n)); done; done; echo $i", seconds=180)
    outcome = guest.save("-c")
    guest.sh("xenstore-rm data/fill")
    goes_on(guest)
    return f"exit {outcome.code}: {reason_in(outcome) if outcome.code else 'saved'}"


def console_flooded(serials: Serials) -> str:
    """It writes to the consoles of today's inits without end: no file in dom0 grows beyond the limit, at
    which the kernel ends the QEMU of its consoles. Linux's hvc then waits for room in its ring with the
    processor (domU_write_console): the stubdomain stands by its own doing, and its guest with it."""
    with counting("hvm", serials) as guest:
        pid = Path(f"/proc/{node(f'/local/domain/{guest.stubdomain}/image/device-model-pid')}")
        guest.sh("(yes flood >/dev/hvc1 2>/dev/null &) ; (yes flood >/dev/hvc2 2>/dev/null &)")
        size, deadline = 0, time.monotonic() + 120
        with suppress(OSError):  # it has ended
            while open_files := [file.stat().st_size for file in (pid / "fd").iterdir()]:
                size = max([size, *open_files])
                expect(time.monotonic() < deadline, f"{size} bytes, and no limit")
                time.sleep(0.05)
        size = max([size, *(file.stat().st_size for file in STATES.glob(f"qemu-*.{guest.domid}"))])
        expect(0 < size <= CONSOLE_BYTES, f"{size} bytes")
    return f"{size} bytes, its QEMU was ended"


CONSOLE_BYTES, STATES = 2 << 20, Path("/var/lib/xen")


# Migration.

STALLER = """import os, subprocess, time
receiver = subprocess.Popen(["xl", "migrate-receive"], stdin=subprocess.PIPE)
for _ in range(32):
    receiver.stdin.write(os.read(0, 65536))
    receiver.stdin.flush()
time.sleep(1000)
"""


def cancelled(guest: HVM) -> str:
    """xl is told to end while it copies memory, and the disk is there already; nothing tells QEMU. A
    later save is good."""
    staller = LOCAL / "staller.py"
    staller.write_text(STALLER)
    with subprocess.Popen(["xl", "migrate", "-s", "", guest.name, f"python3 {staller}"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while '/state = "4"' not in run("xenstore-ls", "-f", f"/local/domain/0/backend/vbd/{guest.stubdomain}"
                                        ).replace("/51712/state", ""):
            expect(time.monotonic() < deadline, "no disk is attached")
            time.sleep(0.1)
        process.terminate()
        process.wait(timeout=60)
    run("pkill", "-f", str(staller), must=False)
    goes_on(guest)
    outcome, _ = saved(guest, "-c")
    return f"exit {process.returncode}; then saved in {outcome.seconds:.1f} s"


CUTTER = """import os, subprocess, sys
receiver = subprocess.Popen(["xl", "migrate-receive"], stdin=subprocess.PIPE)
seen = b""
while data := os.read(0, 65536):
    seen = (seen + data)[-70000:]
    if b"QEVM" in seen:
        break
    receiver.stdin.write(data)
    receiver.stdin.flush()
receiver.stdin.close()
sys.exit(receiver.wait())
"""


def transfer_fails(guest: HVM) -> str:
    """The stream ends before QEMU's state has come through, which QEMU has saved well: the guest goes on
    here, writes its disk, and migrates well the second time."""
    cutter = LOCAL / "cutter.py"
    cutter.write_text(CUTTER)
    failed = xl("migrate", "-s", "", guest.name, f"python3 {cutter}")
    expect(failed.code != 0, str(failed))
    goes_on(guest)
    outcome = guest.migrate()
    expect(outcome.code == 0, f"{outcome}\n{guest.proxy_log()[-2000:]}")
    return f"exit {failed.code} after {failed.seconds:.1f} s, then {outcome.seconds:.1f} s, {goes_on(guest)}"


# The stubdomain goes.

def destroyed(serials: Serials, when: str) -> str:
    """libxl leaves a guest suspended whose QEMU is gone: it says so, and nothing is left."""
    with counting("hvm", serials) as guest:
        stubdomain = str(guest.stubdomain)
        if when == "before":
            run("xl", "destroy", stubdomain)
            outcome = guest.save()
        else:
            what, word = "answer accepted; sleep 1000", "accepted"
            if when == "after commit":
                what, word = f"{WRITE}; {COMMITTED}; sleep 1000", "committed"
            guest.sh(f"liar '{what}' >/tmp/liar.log 2>&1 &")
            with subprocess.Popen(["xl", "save", guest.name, str(guest.file)], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
                answer = f"/local/domain/{stubdomain}/stubsave/answer"
                deadline = time.monotonic() + 120
                try:
                    while f" {word}" not in (node(answer) or "") and process.poll() is None:
                        expect(time.monotonic() < deadline, f"not {word}")
                        time.sleep(0.01)
                    start = time.monotonic()
                    run("xl", "destroy", stubdomain)
                    output, _ = process.communicate(timeout=120)
                except subprocess.TimeoutExpired:
                    raise Wrong(f"xl does not end; its proxy:\n{guest.proxy_log()[-2000:]}") from None
                finally:
                    process.kill()
            outcome = Outcome(process.returncode, b"", output.decode(errors="replace"),
                              time.monotonic() - start)
        # What was committed may have been fetched before: the guest is saved then, and no more.
        if outcome.code == 0 and when == "after commit":
            (state,) = emulator_states(guest.file)
            expect(qemus(state).startswith(b"QEVM"), f"{len(state)} bytes: {state[:32]!r}")
        else:
            expect(outcome.code != 0, str(outcome))
        expect(outcome.seconds < 60, str(outcome))
        return f"exit {outcome.code} after {outcome.seconds:.1f} s: {reason_in(outcome)}"


def installed() -> Serials:
    """The hooks, with limits that are reached here."""
    good("hooks", "install", "xl", "--max-console", str(CONSOLE_BYTES), "--timeout", "15")
    return all_serials()


def savefaults(score: Score, is_full: bool) -> None:
    """All of them."""
    rounds = 100 if is_full else 6
    serials = installed()
    guest_cases: dict[str, Callable[[HVM], str]] = {
        "agent killed": agent_killed,
        "agent stops": agent_stops,
        **{f"lie: {name}": lambda guest, name=name: lie(guest, name) for name in LIES},
        f"rewritten, {rounds} rounds": lambda guest: rewritten(guest, rounds),
        "signatures": signed,
        "held open": held_open,
        "quota": quota,
        "libxl's own proxy killed": proxied_program_killed,
        "migration cancelled": cancelled,
        "transfer fails": transfer_fails,
        "our proxy killed": proxy_killed,
    }
    wanted = {name: body for name, body in guest_cases.items() if score.wants(name)}
    if wanted:
        with nothing_left(look=all_traces), counting("hvm", serials) as guest:
            # So that QEMU has a file of the agent's, which lies need.
            saved(guest, "-c")
            for name, body in wanted.items():
                def whole(body: Callable[[HVM], str] = body) -> str:
                    look = without_domains if body is transfer_fails else all_traces
                    with nothing_left(look=look):
                        return body(guest)
                score.case(name, whole)
            saved(guest)
            restored(guest)
    if score.wants("QMP: "):
        with nothing_left(look=all_traces), counting("hvm", serials, arguments="lies") as guest:
            for name, is_saved in QMP_LIES.items():
                score.case(f"QMP: {name}", lambda name=name, is_saved=is_saved: lie_over_qmp(
                    guest, name, is_saved))


def lost(score: Score, _is_full: bool) -> None:
    """Guests that do not survive what their stubdomain does, or what is done to it."""
    serials = installed()

    def flooded() -> str:
        with nothing_left(look=all_traces):
            return console_flooded(serials)
    score.case("console flooded", flooded)

    def logged(body: Callable[[Serials], str]) -> str:
        with nothing_left(look=all_traces):
            return body(serials)
    score.case("log at boot", lambda: logged(logs.whole_at_boot))
    score.case("log flooded", lambda: logged(lambda serials: logs.flooded(serials, CONSOLE_BYTES)))
    for when in "before", "while writing", "after commit":
        def gone(when: str = when) -> str:
            with nothing_left(look=all_traces):
                return destroyed(serials, when)
        score.case(f"stubdomain destroyed {when}", gone)


def without_domains() -> dict[str, str]:
    """Where the guest has other domains afterwards."""
    return {name: found for name, found in all_traces().items()
            if name not in ("sockets", "state files", "vbd nodes", "domains' nodes", "loop devices")}
