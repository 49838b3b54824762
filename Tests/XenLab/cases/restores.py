"""What `xl restore` must not restore, and what it restores though it comes from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from dom0 import Outcome, Score, expect, good, nothing_left
from guests import LOCAL, node, run
from hvm import BANNER, HVM, all_traces, good_xl, xl
from savefile import emulator_states, qemus, told_bad, with_state
from saves import counting, restored, saved
from serials import Serials, all_serials
from stubs import qemu_version

LIBXL_SECONDS = 30  # that libxl gives a stubdomain to start
STATES = Path("/var/lib/xen")


def flipped(state: bytes) -> bytes:
    """One bit in the middle of QEMU's own bytes."""
    middle = len(qemus(state)) // 2
    return state[:middle] + bytes([state[middle] ^ 1]) + state[middle + 1:]


# What is changed, and the proxy's reason.
BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "one bit flipped": (flipped, "stateDigest"),
    "no state": (lambda _: b"", "neither a device state of QEMU nor"),
    "something else": (lambda state: b"x" + state[1:], "stateDigest"),
    "a bit flipped, and zeros behind it": (lambda state: flipped(state) + bytes(70000), "stateDigest"),
    "a zero tail": (lambda state: state[:len(qemus(state)) - 100] + bytes(len(state)), "trailer end"),
    "a piece missing": (lambda state: state[:2048] + state[4096:], "trailer"),
    "the trailer's first half": (lambda state: state[:-32] + bytes(32), "trailer"),
}


def not_restored(guest: HVM, file: Path, reason: str, *before: str) -> Outcome:
    """libxl is told before the stubdomain starts, and tells why if it is to tell all. (Of the exit
    code 4.17 says nothing: spawn_middle_death takes a wait status for one.)"""
    outcome = xl("-vvv", "restore", *before, str(file))
    expect(outcome.code != 0, "it was restored")
    said = "\n".join(line for line in outcome.message.splitlines() if "error" in line or "qmp proxy" in line)
    expect(re.search(f"spawn watch p=stubsave: .*{reason}", said), f"{said}\n{guest.proxy_log()}")
    expect(re.search(reason, guest.proxy_log()), guest.proxy_log()[-500:])
    expect(outcome.seconds < LIBXL_SECONDS, f"{outcome.seconds:.1f} s")
    return outcome


def bad_files(score: Score, guest: HVM) -> None:
    """Of a good one: each is refused, and the good one is restored in the end."""
    changed = LOCAL / "changed.save"
    for name, (change, reason) in BAD.items():
        def one(change: Callable[[bytes], bytes] = change, reason: str = reason) -> str:
            with_state(guest.file, changed, change)
            told_bad(changed)
            with nothing_left(look=all_traces):
                outcome = not_restored(guest, changed, reason)
            return f"{outcome.seconds:.1f} s: {guest.proxy_log().strip().splitlines()[-1][:150]}"
        score.case(f"bad: {name}", one)
    score.case("bad: another machine's", lambda: of_another_machine(guest))
    score.case("bad: cut", lambda: cut(guest, changed))
    score.case("bad: cut, where that is accepted", lambda: cut_and_accepted(guest, changed))
    changed.unlink(missing_ok=True)


def of_another_machine(guest: HVM) -> str:
    """The configuration has another VGA than the state, whose memory libxl takes out of the guest's."""
    config = LOCAL / "other.cfg"
    config.write_text((LOCAL / f"{guest.name}.cfg").read_text().replace('"none"', '"stdvga"'))
    with nothing_left(look=all_traces):
        outcome = not_restored(guest, guest.file, "other devices: it had -m 64, this one has -m 48", str(config))
    return f"{outcome.seconds:.1f} s: {guest.proxy_log().strip().splitlines()[-1][:150]}"


def cut(guest: HVM, changed: Path) -> str:
    """In QEMU's bytes, and with them the trailer."""
    with_state(guest.file, changed, lambda state: qemus(state)[:-1000])
    with nothing_left(look=all_traces):
        outcome = not_restored(guest, changed, "no trailer, or was cut")
    return f"{outcome.seconds:.1f} s: {guest.proxy_log().strip().splitlines()[-1][:150]}"


def cut_and_accepted(guest: HVM, changed: Path) -> str:
    """The same, in a dom0 that takes what cannot be checked: told from a state of another dom0 by QEMU alone,
    which does not start; libxl waits for it as long as it does."""
    with_state(guest.file, changed, lambda state: qemus(state)[:-1000])
    good("hooks", "install", "xl", "--accept-unverified")
    try:
        with nothing_left(look=all_traces):
            outcome = xl("restore", str(changed))
            expect(outcome.code != 0, "it was restored")
            expect("no trailer" in guest.proxy_log(), guest.proxy_log())
            expect(outcome.seconds < 2 * LIBXL_SECONDS, f"{outcome.seconds:.1f} s")
    finally:
        good("hooks", "install", "xl")
    return f"{outcome.seconds:.1f} s: {guest.proxy_log().strip().splitlines()[-1][:150]}"


def saved_and_bad(score: Score, serials: Serials) -> None:
    """A guest, saved; bad copies of its file; the file."""
    if not score.wants("bad: "):
        return
    with counting("hvm", serials) as guest:
        saved(guest)
        bad_files(score, guest)

        def at_last() -> str:
            restored(guest)
            guest.wait_for_lap()
            return guest.check_counting()
        score.case("bad: the good one at last", at_last)


def elsewhere(serials: Serials) -> str:
    """Saved with a stubdomain, restored without; saved there, restored with one again. A dom0 without us
    has the first; the second has no trailer."""
    with counting("hvm", serials) as guest:
        saved(guest)
        guest.move_to_dom0(True)
        good_xl("restore", str(guest.config), str(guest.file))
        guest.look()
        guest.wait_until_counting()
        saved(guest)
        (state,) = emulator_states(guest.file)
        expect(qemus(state) == state, "a trailer without us")
        guest.move_to_dom0(False)
        outcome = xl("restore", str(guest.config), str(guest.file))
        expect(outcome.code != 0, "a state that cannot be checked was restored")
        expect("--accept-unverified" in guest.proxy_log(), guest.proxy_log())
        good("hooks", "install", "xl", "--accept-unverified")
        try:
            good_xl("restore", str(guest.config), str(guest.file))
        finally:
            good("hooks", "install", "xl")
        guest.look()
        guest.wait_until_counting()
        expect("has no trailer" in guest.proxy_log(), guest.proxy_log())
        guest.wait_for_lap()
        return guest.check_counting()


def without_agent(serials: Serials) -> str:
    """An image that knows nothing of stubsave: a save is no success, a restore neither."""
    with counting("hvm", serials) as guest:
        saved(guest)
        guest.add_to_command_line("noagent")
        outcome = xl("restore", str(guest.config), str(guest.file))
        expect(outcome.code != 0, "it was restored")
        said = guest.proxy_log()
        expect("does its kernel have blkfront" in said or "nobody answers" in said, said)
    with counting("hvm", serials, arguments="noagent") as guest:
        failed = guest.save()
        expect(failed.code != 0, str(failed))
        expect("stubsave: " in failed.message or "fdset" in failed.message, str(failed))
        guest.wait_for_lap()
        return (f"restore: {outcome.seconds:.1f} s: {said.strip().splitlines()[-1][:100]}; "
                f"save: {failed.message.splitlines()[-1][:100]}; {guest.check_counting()}")


def stale(serials: Serials) -> str:
    """Files of another time lie about where libxl has its own: nothing is offered, nothing is believed."""
    probe = HVM("probe", serials)
    probe.create()
    following = range(probe.domid, probe.domid + 8)
    probe.destroy()
    for domid in following:
        for name in "save", "resume":
            (STATES / f"qemu-{name}.{domid}").write_bytes(b"QEVM" + bytes(5000))
    try:
        with counting("hvm", serials) as guest:
            expect(guest.domid in following, f"domid {guest.domid}")
            expect(guest.said().startswith(BANNER), "it did not boot")
            expect("state" not in guest.proxy_log(), guest.proxy_log())
            guest.sh("killall -9 stubsave-agent")
            outcome = guest.save()
            expect(outcome.code != 0, "a stale file was taken for the state")
            guest.wait_for_lap()
            said = guest.check_counting()
    finally:
        for file in STATES.glob("qemu-*"):
            file.unlink()
    return f"{said}; {outcome.seconds:.1f} s"


def without_us() -> str:
    """What a guest's configuration wants where nobody repairs the consoles for dom0's QEMU."""
    if int(qemu_version().split(".")[0]) < 9:
        return ""
    return 'device_model_args_pv=["-serial", "null", "-serial", "null", "-serial", "null"]\n'


def shown(serials: Serials) -> str:
    """`hooks show` tells of a stubdomain that was started before the hooks were there."""
    good("hooks", "remove", "xl")
    try:
        with counting("hvm", serials, lines=without_us()) as guest:
            before = good("hooks", "show", "xl").output.decode()
            expect("libxl's own" in before and f"stubdomain {guest.stubdomain}, hvm-dm: " in before, before)
            good("hooks", "install", "xl")
            after = good("hooks", "show", "xl").output.decode()
            expect(": stubsave's" in after and f"stubdomain {guest.stubdomain}, hvm-dm: " in after, after)
            pid = node(f"/local/domain/{guest.stubdomain}/image/qmp-proxy-pid")
            name = Path(f"/proc/{pid}/comm").read_text().strip()
    finally:
        good("hooks", "install", "xl")
    run("true")
    return f"{name}: {after.strip().splitlines()[-1][:120]}"


def restores(score: Score, _is_full: bool) -> None:
    """All of them."""
    serials = all_serials()
    good("hooks", "install", "xl")
    saved_and_bad(score, serials)
    for name, body in ("elsewhere", elsewhere), ("stale files", stale), ("hooks show", shown):
        clean(score, name, body, serials)


def agentless(score: Score, _is_full: bool) -> None:
    """A stubdomain from before us."""
    good("hooks", "install", "xl")
    clean(score, "image without agent", without_agent, all_serials())


def clean(score: Score, name: str, body: Callable[[Serials], str], serials: Serials) -> None:
    """A case that leaves nothing behind."""
    def whole() -> str:
        with nothing_left(look=all_traces):
            return body(serials)
    score.case(name, whole)
