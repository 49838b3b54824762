"""Restores over `stubsave qmp-proxy`: the state lies in a file before the stubdomain is started.

What is not a good state of a machine with the same devices ends the proxy, with its exit code,
before libxl's own proxy is started, and libxl's log gets the reason. What is good reaches QEMU over
a disk that it cannot write to. Where libxl does not restore, nothing that lies about is believed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from machine import LETTERS, QEMU, SAVE, Guest, Machine, counted, expect, running, state_in
from places import LIMIT, MACHINE
from proxied import ARGUMENTS, DOMID, TARGET, Bench, Proxy, offered, scene, serving
from stubdomain import StubdomainClient, kill_domain, xenstored
from xenbus import BACKENDS, Kernels, introduce

QEMU_PROGRAM = shutil.which(QEMU) or QEMU
MOST_SECONDS = 2.5
INCOMING = ("-incoming", "fd:9")


class Given(NamedTuple):
    """A state that a guest was saved as, with its trailer, and that guest's RAM."""

    content: bytes
    ram: Path


async def save(bench: Bench) -> Given:
    """A guest that is saved, and ends."""
    async with scene(bench) as here, here.agent(), here.proxy() as proxy:
        await proxy.libxl.begin()
        await proxy.libxl.order()
        return Given(here.taken(), here.guest.ram)


def loading(bench: Bench, limit: int = LIMIT) -> tuple[str, ...]:
    """The agent's words before those of the program that gets the state as its file 9."""
    return (bench.program, "load", "9", f"xenstore:{xenstored()}/{DOMID}", str(limit),
            str(bench.devices))


@asynccontextmanager
async def restoring(bench: Bench, ram: Path,
                    *options: str) -> AsyncIterator[tuple[Guest, Proxy, Kernels]]:
    """libxl restores what is in the file: proxy first, then the stubdomain with its QEMU."""
    lab = bench.lab
    load = Machine("load", MACHINE.devices, program=" ".join((*loading(bench), QEMU_PROGRAM)))
    qmp = lab.path("qemu")
    async with (Kernels.running(DOMID, bench.devices) as kernels,
                bench.starting(qmp, *options) as proxy):
        kernels.connects = False  # it has not booted
        await bench.runs(proxy)
        kernels.connects = True
        kernels.heed()
        async with lab.guest(load, ram, "-S", *INCOMING, "-chardev",
                             f"socket,id=libxl,path={qmp},server=on,wait=off",
                             "-mon", "libxl,mode=control") as guest:
            while (await guest.monitor.execute("query-status"))["status"] == "inmigrate":
                await guest.monitor.receive()
            yield guest, proxy, kernels
            code = await proxy.hang_up()
            expect(code in (0, -signal.SIGHUP), f"exit {code} after SIGHUP: {proxy.log}")
    await bench.nothing_left()


async def good(bench: Bench, given: Given) -> str:
    """The guest goes on where it stood; what QEMU saves now is what it was given."""
    bench.resume.write_bytes(given.content)
    async with restoring(bench, given.ram) as (guest, proxy, kernels):
        await proxy.said("to the stubdomain's QEMU")
        expect("trailer" not in proxy.log, proxy.log)
        expect(kernels.modes == ["r"], f"disks: {kernels.modes}")
        await bench.nothing_left()
        state = state_in(given.content)
        alone = Path(bench.lab.path("alone"))
        await guest.monitor.execute(SAVE, filename=str(alone), live=False)
        differing = sum(a != b for a, b in zip(state, alone.read_bytes(), strict=True))
        expect(differing <= 1, f"{differing} bytes differ when saved again")
        count = counted(guest.ram)
        await proxy.libxl.execute("cont")
        await guest.console.more(6)
        expect(guest.console.text == "".join(LETTERS[(count + n) % 26] for n in range(6)),
               f"{guest.console.text} after {count}")
        # And is saved again, as often as one likes.
        async with serving(bench, guest):
            await proxy.libxl.begin()
            await proxy.libxl.order()
            await guest.monitor.execute(SAVE, filename=str(alone), live=False)
            content = bench.saved.read_bytes()
            bench.saved.unlink()
            expect(state_in(content) == alone.read_bytes(), "not what QEMU saves by itself")
            await proxy.libxl.log_dirty(False)
    return f"{differing} bytes differ when saved again; {proxy.log.strip()}"


async def without_trailer(bench: Bench, given: Given) -> str:
    """A state of somebody who knows no trailers: not at all, unless that is wanted; then with a warning
    before QEMU gets a byte."""
    bench.resume.write_bytes(state_in(given.content))
    for options in ((), ("--require-trailer",)):
        refused = await refusal(bench, 3, "`stubsave hooks install xl --accept-unverified`", *options)
    async with restoring(bench, given.ram, "--accept-unverified") as (_, proxy, _):
        await proxy.said("to the stubdomain's QEMU")
        before, _, _ = proxy.log.partition("to the stubdomain's QEMU")
        expect("unverified: it has no trailer" in before, proxy.log)
    return f"{proxy.log.strip()}; {refused}"


async def refusal(bench: Bench, code: int, says: str, *options: str) -> str:
    """The proxy must end so, before libxl's own is started; what it says to libxl."""
    async with bench.starting(bench.lab.path("none"), *options) as proxy:
        found = await proxy.ended()
        expect(found == code, f"exit {found}, not {code}: {proxy.log}")
        expect(not proxy.channels(), "libxl's own proxy was started")
    said = await bench.store.read(bench.state_path) or ""
    expect(said.startswith("stubsave: ") and says in said and said.isascii()
           and said.isprintable(), f"libxl's log: {said!r}")
    expect(said.removeprefix("stubsave: ") in proxy.log, f"{said} is not in {proxy.log}")
    await bench.nothing_left()
    return said


def flip(content: bytes, offset: int) -> bytes:
    """One bit."""
    return content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1:]


async def padded(bench: Bench, given: Given) -> str:
    """A good state with zeros behind it, as read back from a volume: QEMU gets it without them."""
    bench.resume.write_bytes(given.content + bytes(1 << 20))
    async with restoring(bench, given.ram) as (_, proxy, _):
        await proxy.said("to the stubdomain's QEMU")
        expect(f"{1 << 20} zero bytes follow the trailer" in proxy.log, proxy.log)
        expect(f"a state of {len(state_in(given.content))} bytes" in proxy.log, proxy.log)
    return proxy.log.strip()


async def bad(bench: Bench, given: Given) -> str:
    """Every file that must not be restored."""
    content, state, file = given.content, state_in(given.content), bench.resume
    other = Path(bench.lab.path("other"))
    other.write_bytes(content)

    def flipped(offset: int) -> Callable[[], object]:
        return lambda: file.write_bytes(flip(content, offset))

    def foreign() -> None:
        file.write_bytes(content)
        os.chown(file, 65534, 65534)

    def socket_at() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(file))

    fifo = Path(bench.lab.path("fifo"))
    os.mkfifo(fifo)
    bench.resume.unlink(missing_ok=True)
    cases: tuple[tuple[str, int, str, Callable[[], object], tuple[str, ...]], ...] = (
        ("missing", 14, "No such file", lambda: None, ()),
        ("empty", 4, "neither", file.touch, ()),
        ("no state", 4, "neither", lambda: file.write_bytes(bytes(1 << 16)), ()),
        ("a bit of the state", 2, "", flipped(len(state) // 2), ()),
        ("a bit of the trailer's lines", 2, "", flipped(len(state) + 3), ()),
        ("a bit of the footer", 2, "", flipped(len(content) - 20), ()),
        ("cut in the state", 3, "trailer",
         lambda: file.write_bytes(content[:len(state) // 2]), ()),
        ("cut in the trailer", 3, "trailer",
         lambda: file.write_bytes(content[:-1]), ("--accept-unverified",)),
        ("a flipped bit, and zeros behind", 2, "stateDigest",
         lambda: file.write_bytes(flip(content, len(state) // 2) + bytes(4096)), ("--accept-unverified",)),
        ("bytes behind", 2, "trailing", lambda: file.write_bytes(content + b"x"), ("--accept-unverified",)),
        ("a zero tail", 2, "zeros",
         lambda: file.write_bytes(state[:-1000] + bytes(70000)), ("--accept-unverified",)),
        ("a part is missing inside", 2, "",
         lambda: file.write_bytes(content[:4096] + content[8192:]), ()),
        ("a link", 8, "root", lambda: file.symlink_to(other), ()),
        ("a FIFO", 8, "root", lambda: os.mkfifo(file), ()),
        ("a link to a FIFO", 8, "root", lambda: file.symlink_to(fifo), ()),
        ("a device", 8, "root",
         lambda: os.mknod(file, stat.S_IFCHR | 0o600, os.makedev(1, 3)), ()),
        ("a socket", 8, "root", socket_at, ()),
        ("a directory", 8, "root", file.mkdir, ()),
        ("not root's", 8, "root", foreign, ()),
        ("too much", 7, "--max-state", lambda: file.write_bytes(content), ("--max-state", "4KiB")),
    )
    said, failed = list[str](), list[str]()
    for name, code, says, make, options in cases:
        make()
        try:
            said.append(f"{name}: {await refusal(bench, code, says, *options)}")
        except Exception as error:
            failed.append(f"{name}: {error}")
        if file.is_dir() and not file.is_symlink():
            file.rmdir()
        else:
            file.unlink(missing_ok=True)
    expect(not failed, "; ".join(failed))
    return "; ".join(said)


async def other_devices(bench: Bench, given: Given) -> str:
    """A state of a QEMU with other devices, unless that is wanted; one device more is only told."""
    bench.resume.write_bytes(given.content)
    await bench.arguments(*ARGUMENTS, "-drive", "if=ide,index=1", *INCOMING)
    async with restoring(bench, given.ram) as (_, proxy, _):
        await proxy.said("has more devices than the one that saved it, as after a reset: -drive")
    bench.resume.write_bytes(given.content)
    await bench.arguments(*ARGUMENTS[:2], "-device", "rtl8139,netdev=net", *INCOMING)
    said = await refusal(bench, 12, "other devices")
    expect("--any-devices" in said and "--force" not in said, f"another command's option: {said}")
    async with restoring(bench, given.ram, "--any-devices") as (_, proxy, _):
        await proxy.said("other devices")
    return said


async def stale(bench: Bench, given: Given) -> str:
    """libxl does not restore: a good state that lies about is not looked at, and a bad one too."""
    for content in given.content, b"nonsense":
        bench.resume.write_bytes(content)
        async with scene(bench) as here, here.agent(), here.proxy() as proxy:
            await proxy.libxl.execute("query-status")
            expect(not here.kernels.seen, "a disk was attached")
            await bench.nothing_left()
            await here.saves(proxy)
            expect(here.kernels.modes == ["w"], f"disks: {here.kernels.modes}")
    return "left alone"


async def not_loaded(bench: Bench, given: Given) -> str:
    """The agent takes no such state: QEMU is not started, and the log says why."""
    bench.resume.write_bytes(given.content)
    async with (Kernels.running(DOMID, bench.devices),
                bench.starting(bench.lab.path("none")) as proxy):
        await bench.runs(proxy)
        async with running(*loading(bench, 4096), "echo", "started", stdin=DEVNULL, stdout=PIPE,
                           stderr=PIPE) as agent:
            output, message = await agent.communicate()
        expect(agent.returncode == 7 and output == b"", f"exit {agent.returncode}: {message!r}")
        await proxy.said("the agent")
        await bench.nothing_left()
        code = await proxy.hang_up()
        expect(code in (0, -signal.SIGHUP), f"exit {code} after SIGHUP: {proxy.log}")
    return proxy.log.strip()


async def never_boots(bench: Bench, given: Given) -> str:
    """The stubdomain does not come to use its disk: who ends it need not wait."""
    bench.resume.write_bytes(given.content)
    said = list[str]()
    for connects in False, True:
        for end in hang_up, die, kill:
            # Its connection, which has to outlive it (Tests/Xenstored/xenstored.py).
            with StubdomainClient(DOMID):
                async with (Kernels.running(DOMID, bench.devices) as kernels,
                            bench.starting(bench.lab.path("none")) as proxy):
                    kernels.connects = connects
                    await bench.runs(proxy)
                    if connects:
                        await offered("load")
                    else:
                        while not await bench.store.children(f"{BACKENDS}/{DOMID}"):
                            await asyncio.sleep(0.01)
                    start = time.monotonic()
                    end(proxy)
                    await proxy.all_ended()
                    took = time.monotonic() - start
                    expect(took < MOST_SECONDS, f"after {took:.1f} s")
                    await introduce(bench.store, DOMID, TARGET)
                    if end is kill:
                        gc = await bench.lab.good("gc", "--xenstore", str(xenstored() / "dom0"))
                        expect(b"was taken away" in gc, f"{gc!r}")
                    await bench.nothing_left()
            said.append(proxy.log.strip())
    return "; ".join(said)


def hang_up(proxy: Proxy) -> None:
    """As libxl ends it."""
    proxy.process.send_signal(signal.SIGHUP)


def kill(proxy: Proxy) -> None:
    """As nobody should."""
    proxy.process.kill()


def die(_: Proxy) -> None:
    """The stubdomain ends."""
    kill_domain(DOMID)


CASES = good, without_trailer, padded, bad, other_devices, not_loaded, never_boots, stale
