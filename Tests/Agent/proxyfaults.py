"""Somebody falls silent, lies or dies in the middle of a save over `stubsave qmp-proxy`.

libxl hears of it in time and never of a success; the guest does not stand because of us; nothing is
left; and whoever is left can save again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import stat
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import forged
from libxl import Refusal
from machine import Failure, expect, state_in
from proxied import DOMID, HINT, RUNTIME, Proxy, Scene, expect_starts, offered
from proxysteps import Step
from stubdomain import ANSWER, xenstored
from wire import Saving

READY_SECONDS = 7  # for disk and agent
LIBXL_SECONDS = 10  # for which libxl waits for a reply
SLACK_SECONDS = 2.5
MUTE_SECONDS = 4  # for the agent's part, too, on a busy machine
ENOUGH = b"QEVM\0\0\0\3"  # of a state that nobody can check
AGAIN = "started again"
WARNING = ("came over the stubdomain's console, without stubsave-agent, and has no trailer: to restore it here, "
           "`stubsave hooks install xl --accept-unverified` is needed before")


async def refused(work: Awaitable[object]) -> str:
    """What is said in the error that it must be."""
    try:
        await work
    except Refusal as refusal:
        return str(refusal)
    raise Failure("a success")


async def no_agent(here: Scene) -> str:
    """QMP goes through; a success does if a state's beginning comes into the file in this save."""
    bench, saved = here.bench, here.bench.saved
    await bench.store.remove(HINT)
    other = Path(bench.lab.path("other"))
    other.write_bytes(ENOUGH)

    def old(content: bytes, time: float) -> None:
        saved.write_bytes(content)
        os.utime(saved, (time, time))

    def foreign(content: bytes) -> None:
        saved.write_bytes(content)
        os.chown(saved, 65534, 65534)

    def nothing() -> None:
        pass

    def null() -> None:
        os.mknod(saved, stat.S_IFCHR | 0o600, os.makedev(1, 3))

    def replaced(make: Callable[[], object]) -> None:
        saved.unlink()
        make()

    Make = Callable[[], object]
    # Whether it is good, what is there before, and what comes while QEMU saves.
    forms: dict[str, tuple[bool, Make, Make]] = {
        "nothing": (False, nothing, nothing),
        "an empty file": (False, saved.touch, nothing),
        "zeros": (False, nothing, lambda: saved.write_bytes(bytes(1 << 16))),
        "three bytes": (False, nothing, lambda: saved.write_bytes(ENOUGH[:3])),
        "a link to a state": (False, nothing, lambda: saved.symlink_to(other)),
        "a directory": (False, nothing, saved.mkdir),
        "a FIFO": (False, nothing, lambda: os.mkfifo(saved)),
        "a state with a trailer": (False, nothing, lambda: saved.write_bytes(
            forged.state_file(forged.STATE))),
        "a device": (False, nothing, null),
        "a state that is not root's": (False, nothing, lambda: foreign(ENOUGH)),
        "a state": (True, nothing, lambda: saved.write_bytes(ENOUGH)),
        "a state into an empty file": (True, saved.touch, lambda: saved.write_bytes(ENOUGH)),
        "a FIFO for an empty file": (False, saved.touch, lambda: replaced(lambda: os.mkfifo(saved))),
        "a state of just before": (False, lambda: saved.write_bytes(ENOUGH), nothing),
        "a state of long ago": (False, lambda: old(ENOUGH, 1e9), nothing),
        "a state of times to come": (False, lambda: old(ENOUGH, 4e9), nothing),
        "a state behind one of another time": (
            False, lambda: old(ENOUGH, 1e9), lambda: saved.write_bytes(ENOUGH * 2)),
        "a state over one of another time": (
            False, lambda: old(ENOUGH, 1e9), lambda: saved.write_bytes(ENOUGH)),
        "a link to a state, before": (False, lambda: saved.symlink_to(other), nothing),
        "a directory, before": (False, saved.mkdir, nothing),
        "a FIFO, before": (False, lambda: os.mkfifo(saved), nothing),
        "a device, before": (False, null, nothing),
    }
    said = list[str]()
    async with here.proxy() as proxy:
        for name, (is_good, before, meanwhile) in forms.items():

            async def comes(saving: Saving, make: Make = meanwhile) -> None:
                reply = await saving.order()
                make()
                await saving.say(reply)

            before()
            try:
                start = time.monotonic()
                here.wire.mangle = comes
                if saved.is_dir() and not saved.is_symlink():
                    said.append(await refused(proxy.libxl.begin()))  # while the guest still runs
                else:
                    await proxy.libxl.begin()
                    expect(not here.kernels.held, "a disk is attached for nobody")
                    order = proxy.libxl.order(bench.lab.path("console"))
                    if is_good:
                        await order
                    else:
                        said.append(await refused(order))
                took = time.monotonic() - start
                expect(took < SLACK_SECONDS, f"after {took:.1f} s")
            except Failure as failure:
                raise Failure(f"{name}: {failure}") from failure
            finally:
                here.wire.mangle = None
                if saved.is_dir() and not saved.is_symlink():
                    saved.rmdir()
                else:
                    saved.unlink(missing_ok=True)
            await here.goes_on(proxy)
    # Of each success, and of nothing else, what its restore will need.
    goods, warnings = sum(good for good, *_ in forms.values()), proxy.log.count(WARNING)
    expect(warnings == goods, f"{warnings} warnings of {goods} successes: {proxy.log}")
    return f"a success for {goods} of {len(forms)}; {said}"


async def in_the_way(here: Scene) -> str:
    """Whatever has the name of libxl's file, with an agent: the state gets there, a file of root's, and nothing
    is waited for or written to. Only a directory stays, and is told while the guest runs."""
    saved, other = here.bench.saved, Path(here.bench.lab.path("other"))
    other.write_bytes(ENOUGH)
    fifo = Path(here.bench.lab.path("fifo"))
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as listener:
        forms: tuple[tuple[str, Callable[[], object]], ...] = (
            ("a FIFO", lambda: os.mkfifo(saved)),
            ("a link to a file", lambda: saved.symlink_to(other)),
            ("a link to a FIFO", lambda: saved.symlink_to(fifo)),
            ("a link that leads nowhere", lambda: saved.symlink_to(other / "none")),
            ("a device", lambda: os.mknod(saved, stat.S_IFCHR | 0o600, os.makedev(1, 3))),
            ("a block device", lambda: os.mknod(saved, stat.S_IFBLK | 0o600, os.makedev(7, 0))),
            ("a socket", lambda: listener.bind(str(saved))),
            ("another's file", lambda: (saved.touch(), os.chown(saved, 65534, 65534))),
        )
        async with here.agent(), here.proxy() as proxy:
            for name, make in forms:
                make()
                try:
                    start = time.monotonic()
                    await here.saves(proxy)
                    took = time.monotonic() - start
                    expect(took < LIBXL_SECONDS, f"after {took:.1f} s")
                except Failure as failure:
                    raise Failure(f"{name}: {failure}") from failure
            expect(other.read_bytes() == ENOUGH, "what a link led to was written to")
            saved.mkdir()
            try:
                said = await refused(proxy.libxl.log_dirty(True))
            finally:
                saved.rmdir()
            await here.guest.monitor.expect_status("running")
            await here.saves(proxy)
    return said


async def agent_killed(here: Scene) -> str:
    """Before the save: an error while the guest still runs. While it is carried: an error, too."""
    async with here.proxy() as proxy:
        async with here.agent() as agent:
            agent.kill()
            await agent.wait()
            start = time.monotonic()
            first = await refused(proxy.libxl.log_dirty(True))
            took = time.monotonic() - start
            expect(took < READY_SECONDS + SLACK_SECONDS, f"{first}; after {took:.1f} s")
            await here.guest.monitor.expect_status("running")
            await here.bench.nothing_left()
        async with here.agent() as agent:
            await proxy.libxl.begin()
            agent.send_signal(signal.SIGSTOP)
            order = asyncio.create_task(proxy.libxl.order())
            await offered("save")
            agent.kill()
            await agent.wait()
        async with here.agent():  # as init starts it again
            second = await refused(order)
            await here.goes_on(proxy)
            await here.saves(proxy)
    return f"{first} (after {took:.1f} s); {second}"


async def lying_agent(here: Scene) -> str:
    """Somebody in the agent's place says what he likes."""
    bench, said = here.bench, list[str]()

    async def answers(verb: str, words: str) -> None:
        id = await offered(verb)
        await bench.store.write(f"/local/domain/{DOMID}/{ANSWER}", words.replace("ID", id))

    async with here.proxy() as proxy:
        await bench.store.write(HINT, "rendezvous 2")
        for words in ("x", "2 ID committed 8192 paused", "1 ID ready", "9 ID unsupported",
                      "2 ID failed 7 0 unknown large", "2 ID failed 13 0 running blocked \\x1b[31m",
                      "2 ID failed 13 0 running blocked \x1b[31m"):
            begun = asyncio.create_task(proxy.libxl.begin())
            await answers("reset", words)
            said.append(await refused(begun))
            await here.guest.goes_on()
            await bench.nothing_left()
        for words in ("x", "2 ID ready", "2 ID committed 8192 paused", "2 ID loaded 1",
                      f"2 ID failed 7 {1 << 62} paused small", "2 ID failed 7 1 paused small"):
            begun = asyncio.create_task(proxy.libxl.begin())
            await answers("reset", "2 ID ready")
            await begun
            order = asyncio.create_task(proxy.libxl.order(bench.lab.path("elsewhere")))
            await answers("save", words)
            said.append(await refused(order))
            await here.goes_on(proxy)
    async with here.agent(), here.proxy() as proxy:
        await here.saves(proxy)
    return "; ".join(said)


async def never_connects(here: Scene) -> str:
    """The stubdomain's kernel has no eye for the disk: an error in time, the guest runs on."""
    async with here.agent(), here.proxy() as proxy:
        here.kernels.connects = False
        try:
            start = time.monotonic()
            said = await refused(proxy.libxl.log_dirty(True))
            took = time.monotonic() - start
        finally:
            here.kernels.connects = True
        expect(took < READY_SECONDS + SLACK_SECONDS, f"{said}; after {took:.1f} s")
        await here.guest.monitor.expect_status("running")
        await here.bench.nothing_left()
        # Late, but in time.
        here.kernels.connects = False
        begun = asyncio.create_task(proxy.libxl.begin())
        while not await here.bench.store.children(f"/local/domain/{DOMID}/device/vbd"):
            await asyncio.sleep(0.01)
        here.kernels.connects = True
        here.kernels.heed()
        await begun
        await proxy.libxl.order()
        state_in(here.taken())
        await here.goes_on(proxy)
    return f"{said} (after {took:.1f} s)"


async def never_lets_go(here: Scene) -> str:
    """It keeps the disk: libxl is told of its success, and waits for nothing longer than it may."""
    async with here.agent(), here.proxy() as proxy:
        here.kernels.lets_go = False
        try:
            await proxy.libxl.begin()
            await proxy.libxl.order()
            state_in(here.taken())
            start = time.monotonic()
            await proxy.libxl.log_dirty(False)
            await proxy.libxl.execute("cont")
            took = time.monotonic() - start
        finally:
            here.kernels.lets_go = True
        expect(took < LIBXL_SECONDS - SLACK_SECONDS, f"after {took:.1f} s")
        await proxy.said("did not let go of the disk")
        await here.bench.nothing_left()
        await here.guest.goes_on()
        await here.saves(proxy)
    return f"the next commands took {took:.1f} s"


async def decoder(proxy: Proxy, order: asyncio.Task[None]) -> Path:
    """Wait until it has one that says nothing; its directory in /proc."""
    children = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children")
    while True:  # /proc tells no events
        if order.done():
            raise Failure(f"the save has ended before anything was looked at: {order.exception()}")
        for name in children.read_text().split():
            with suppress(OSError):
                if (place := Path("/proc") / name).joinpath("comm").read_text() == "sleep\n":
                    return place
        await asyncio.sleep(0.005)


async def decoder_mute(here: Scene) -> str:
    """What looks at the state comes to no end: an error in time, and a signal ends it all at once."""
    directory = Path(here.bench.lab.path("mute"))
    directory.mkdir()
    shutil.copy(here.bench.lab.program, directory / "stubsave")
    program = directory / "stubsave-decode"
    program.write_text("#!/bin/sh\ntrap '' HUP INT TERM\nexec sleep 1000\n")
    program.chmod(0o755)
    said = list[str]()
    for end in None, signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
        options = ("--timeout", str(MUTE_SECONDS)) if end is None else ()
        ours = str(directory / "stubsave")
        async with here.agent(), here.bench.starting(here.path, *options, ours=ours) as proxy:
            await here.bench.runs(proxy)
            await proxy.libxl.begin()
            order = asyncio.create_task(proxy.libxl.order())
            place, start = await decoder(proxy, order), time.monotonic()
            if end is None:
                said.append(await refused(order))
                expect("took too long; --timeout" in said[-1], said[-1])
                took, most = time.monotonic() - start, MUTE_SECONDS + SLACK_SECONDS
                await here.goes_on(proxy)
            else:
                os.kill(proxy.process.pid, end)
                code = await proxy.ended()
                took, most = time.monotonic() - start, SLACK_SECONDS
                expect(code in (0, -end), f"exit {code}: {proxy.log}")
                with suppress(ConnectionError, Refusal):
                    await order
                    raise Failure("libxl was told of a success")
                await here.guest.monitor.execute("cont")
            expect(took < most, f"after {took:.1f} s")
            expect(not place.exists(), "the decoder is left")
            expect(not os.path.lexists(here.bench.saved), "a state is there that was not to be")
        await here.bench.nothing_left()
    async with here.agent(), here.proxy() as proxy:
        await here.saves(proxy)
    return "; ".join(said)


async def qemu_dies(here: Scene) -> str:
    """QEMU is killed while it saves, and while the state is carried."""
    reached = asyncio.Event()

    async def hold(saving: Saving) -> None:
        reached.set()

    async with here.agent(), here.proxy() as proxy:
        await proxy.libxl.begin()
        here.wire.mangle = hold
        order = asyncio.create_task(proxy.libxl.order())
        await reached.wait()
        here.guest.process.kill()
        try:
            await order
            raise Failure("a success")
        except (ConnectionError, Refusal) as error:
            said = repr(error)
        await here.guest.process.wait()
        expect(not os.path.lexists(here.bench.saved), "a state is there that was not to be")
        start = time.monotonic()
        expect("cannot be reached" in await refused(proxy.libxl.log_dirty(False)), "another error")
        took = time.monotonic() - start
        expect(took < LIBXL_SECONDS, f"told after {took:.1f} s")
    return f"{said}; told after {took:.1f} s; {proxy.log.strip()}"


async def channel_dies(here: Scene, proxy: Proxy) -> None:
    """Kill it, and wait until another one is started; libxl, which has gone on long since, is told nothing."""
    await here.bench.store.remove(here.bench.state_path)
    before = proxy.log.count(AGAIN)
    os.kill(proxy.channels()[-1], signal.SIGKILL)
    await proxy.said(AGAIN, before + 1)
    expect(await here.bench.store.read(here.bench.state_path) is None, "libxl is told again")


async def channel_just_killed(here: Scene) -> str:
    """libxl's own proxy dies when nobody needs it; libxl comes while it is started again."""
    async with here.agent(), here.proxy() as proxy:
        os.kill(proxy.channels()[-1], signal.SIGKILL)
        await proxy.said(AGAIN)
        await here.saves(proxy)
    return proxy.log


async def channel_killed(here: Scene) -> str:
    """The same, when nobody needs it and in the middle, and again and again."""
    async with here.agent(), here.proxy() as proxy:
        await channel_dies(here, proxy)
        await here.saves(proxy)
        expect_starts(proxy, 2)
        order = await Step(here, proxy, proxy.process).saving()
        await channel_dies(here, proxy)
        expect("was lost" in await refused(order), "another error")
        await here.goes_on(proxy)
        await here.saves(proxy)
        expect_starts(proxy, 3)
        while proxy.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(proxy.channels()[-1], signal.SIGKILL)
            await asyncio.sleep(0.02)
        code = await proxy.ended()
        expect(code == 9 and "again and again" in proxy.log, f"exit {code}: {proxy.log}")
    return f"exit {code} after {len(proxy.channels())} starts"


async def client_lost(here: Scene) -> str:
    """libxl's own proxy loses a client, which neither side notices: nobody greets. Another one is tried before
    libxl gives up, after a pause."""
    said = list[str]()
    for lost, seconds in (1, 2.0), (2, 6.0):
        async with here.agent(), here.proxy() as proxy:
            here.wire.lost, start = lost, time.monotonic()
            await proxy.libxl.execute("query-status")
            took = time.monotonic() - start
            expect(seconds < took < LIBXL_SECONDS, f"{lost} lost: {took:.1f} s")
            said.append(f"{lost} lost: {took:.1f} s")
            expect(proxy.log.count("waited for its greeting") == lost, proxy.log)
            # Whoever comes now is greeted at once, with what is kept; so is one that comes when QEMU is lost.
            for drop in (False, True) if lost == 1 else (False,):
                if drop:
                    here.wire.lost = 1
                    here.wire.drop()
                    await proxy.said("connection to the stubdomain's QEMU was lost")
                start = time.monotonic()
                async with proxy.libxl.conversation() as talk:
                    took = time.monotonic() - start
                    expect(took < 1, f"greeted after {took:.1f} s")
                    await talk.execute("query-status")
            expect_starts(proxy, 1)
            await here.saves(proxy)
    return "; ".join(said)


async def all_lost(here: Scene) -> str:
    """Nobody greets at all: libxl hears of it."""
    async with here.agent(), here.proxy() as proxy:
        here.wire.lost, start = 99, time.monotonic()
        try:
            await proxy.libxl.execute("query-status")
            raise Failure("an answer of nobody")
        except (ConnectionError, Failure) as error:
            expect("cannot be reached" in str(error), f"{error!r}")
        took = time.monotonic() - start
        expect(took < LIBXL_SECONDS, f"told after {took:.1f} s")
        here.wire.lost = 0
        await here.saves(proxy)
    return f"told after {took:.1f} s"


async def client_cut(here: Scene) -> str:
    """Connections to QEMU end before it has greeted: libxl, which asks once, does not notice, be it its first
    question or one in the middle; and the pauses grow."""
    async with here.agent(), here.proxy() as proxy:
        here.wire.cut, start = 3, time.monotonic()
        await proxy.libxl.execute("query-status")
        took = time.monotonic() - start
        expect(0.35 <= took < SLACK_SECONDS, f"after {took:.2f} s")
        expect(here.wire.cut == 0, f"{here.wire.cut} connections have not been cut")
        count = proxy.log.count("was lost before it greeted")
        expect(count == 3, f"said {count} times: {proxy.log}")
        await proxy.libxl.begin()
        await proxy.libxl.order()
        expect(state_in(here.taken()) == await here.state(), "not what QEMU saves by itself")
        await proxy.libxl.log_dirty(False)
        here.wire.cut = 2
        here.wire.drop()
        await proxy.libxl.execute("cont")
        await here.guest.goes_on()
        expect_starts(proxy, 1)
        await here.saves(proxy)
    return f"{took:.2f} s; {proxy.log}"


async def channel_killed_by_client(here: Scene) -> str:
    """libxl's own proxy dies of a client of libxl's that has not been greeted: the next one greets."""
    async with here.agent(), here.proxy() as proxy:
        here.wire.lost = 1
        going_on = asyncio.create_task(proxy.libxl.execute("cont"))
        while here.wire.lost:
            await asyncio.sleep(0.01)
        start = time.monotonic()
        os.kill(proxy.channels()[-1], signal.SIGKILL)
        await going_on
        took = time.monotonic() - start
        expect(took < 2.5, f"after {took:.1f} s")
        expect_starts(proxy, 2)
        await here.saves(proxy)
    return f"after {took:.2f} s"


def is_locked(path: Path) -> bool:
    """Whether a living command has a file of ours."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def xenstored_killed(here: Scene) -> str:
    """xenstored ends, its nodes with it: a save is refused, all else goes through."""
    async with here.agent(), here.bench.starting(here.path) as proxy:
        await here.bench.runs(proxy)
        await proxy.libxl.begin()
        os.kill(int((xenstored() / "pid").read_text()), signal.SIGKILL)
        await proxy.said("xenstore")
        order = await refused(proxy.libxl.order())
        await proxy.libxl.log_dirty(False)
        await proxy.libxl.execute("cont")
        said = await refused(proxy.libxl.log_dirty(True))
        start = time.monotonic()
        code = await proxy.hang_up()
        took = time.monotonic() - start
        expect(took < SLACK_SECONDS, f"after {took:.1f} s")
        # The back end may have the disk on, which nobody can take from it: its claim stays, without an owner, until
        # a command that makes a disk, or gc, sees that the kernel has let go of it.
        left = [path for path in RUNTIME.iterdir() if path.name != "turn"]
        owned = [path.name for path in left if is_locked(path)]
        expect(len(left) <= 1 and not owned and all(path.name.startswith("disk-") for path in left),
               f"left: {[path.name for path in left]}, with an owner: {owned}")
        await here.guest.goes_on()
    return f"{order}; {said}; exit {code}"


CASES = (no_agent, in_the_way, agent_killed, lying_agent, never_connects, never_lets_go, decoder_mute, client_lost,
         all_lost, client_cut, channel_killed_by_client, channel_just_killed, channel_killed)
