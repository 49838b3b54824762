"""`stubsave proxy adopt`: a proxy that was killed, at every moment, is replaced while the guest runs.

The new one has the same socket and options, what the killed one has left is taken away, a guest that libxl
had stopped goes on, and the next save is good. Nobody adopts a guest that has a proxy.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from libxl import Libxl, Refusal
from machine import Failure, Outcome, expect, state_in
from proxied import CHANNEL, DOMID, MARK, Bench, Scene
from proxysteps import Step
from stubdomain import xenstored

PID = f"/local/domain/{DOMID}/image/qmp-proxy-pid"
MOST_SECONDS = 5.0
GRACE_SECONDS = 2.0
OPTIONS = ("--max-state", "32MiB")


class Adopted:
    """A proxy that runs in the background, which is nobody's child."""

    def __init__(self, pid: int, socket: str, log: Path) -> None:
        self.pid, self.socket, self._log = pid, socket, log
        self.libxl = Libxl(socket)

    @property
    def log(self) -> str:
        """What it and those before it have said."""
        return self._log.read_text()

    async def hang_up(self) -> None:
        """As libxl ends it."""
        os.kill(self.pid, signal.SIGHUP)
        end = time.monotonic() + MOST_SECONDS
        while Path(f"/proc/{self.pid}").exists():
            expect(time.monotonic() < end, "it does not end")
            await asyncio.sleep(0.01)  # it is nobody's child here
        expect(not os.path.lexists(self.socket), "its socket is left")


class Adopting:
    """What the command needs."""

    def __init__(self, bench: Bench, qmp: str, socket: str) -> None:
        self.bench, self.socket = bench, socket
        self.log = Path(bench.lab.path("log"))
        self.starts = bench.lab.directory / "starts-adopted"
        self.starts.touch()
        self.hook = Path(bench.lab.path("hook"))
        # As `hooks install` writes it, with what the stand-ins need.
        self.hook.write_text(
            f"#!/bin/sh\nexport CHANNEL_QMP={qmp} CHANNEL_STARTS={self.starts} TMPDIR={bench.lab.directory}\n"
            f"exec {bench.lab.program} qmp-proxy --program {CHANNEL} --states {bench.states} "
            f"--xenstore {xenstored()}/dom0 {' '.join(OPTIONS)} \"$@\"\n")
        self.hook.chmod(0o755)

    async def command(self, *options: str) -> Outcome:
        """The command itself."""
        return await self.bench.lab.stubsave(
            "proxy", "adopt", str(DOMID), "--hook", str(self.hook), "--socket", self.socket, "--log", str(self.log),
            "--xenstore", str(xenstored() / "dom0"), *options)

    async def adopt(self) -> Adopted:
        """It must be good, and soon; libxl finds the new one's process."""
        start = time.monotonic()
        outcome = await self.command("--json")
        took = time.monotonic() - start
        said = self.log.read_text() if self.log.exists() else ""
        expect(outcome.code == 0 and took < MOST_SECONDS, f"{outcome} after {took:.1f} s: {said}")
        pid = int(json.loads(outcome.output)["process"])
        expect(await self.bench.store.read(PID) == str(pid), "libxl would not find it")
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        expect(words[-2] == self.socket and all(option in words for option in OPTIONS), f"{words}")
        expect(os.getsid(pid) == pid, "it has no session of its own")
        return Adopted(pid, self.socket, self.log)


async def listed(bench: Bench) -> tuple[str | None, bool]:
    """The stubdomain's proxy as `list` has it, and whether it is lost."""
    found = json.loads(await bench.lab.good("list", "--json", "--xenstore", str(xenstored() / "dom0")))
    this, = (entry for entry in found["stubdomains"] if entry["domid"] == DOMID)
    text = (await bench.lab.good("list", "--xenstore", str(xenstored() / "dom0"))).decode()
    expect(("lost!" in text) == this["isProxyLost"], text)
    return this.get("proxy"), this["isProxyLost"]


@asynccontextmanager
async def killed(here: Scene, reach: Callable[[Step], Awaitable[object]],
                 stays: bool = False) -> AsyncIterator[tuple[Adopting, bool]]:
    """A proxy that libxl has started is killed there, and its program does not end with it; whether the guest
    runs then."""
    bench = here.bench
    if stays:
        os.environ["CHANNEL_STAYS"] = "1"
    async with here.agent() as agent, bench.starting(here.path) as proxy:
        try:
            await bench.runs(proxy)
            await bench.store.write(PID, proxy.process.pid)
            expect(await listed(bench) == ("stubsave", False), f"{await listed(bench)}")
            waits = await reach(Step(here, proxy, agent))
            proxy.process.kill()
            while proxy.process.returncode is None:
                await asyncio.sleep(0.005)  # wait() waits for who has its standard error, too
        finally:
            os.environ.pop("CHANNEL_STAYS", None)
            here.kernels.connects = here.kernels.lets_go = True
            here.kernels.heed()
            with suppress(ProcessLookupError):
                agent.send_signal(signal.SIGCONT)
        if isinstance(waits, asyncio.Task):
            with suppress(ConnectionError, Refusal):
                await waits
                raise Failure("libxl was told of a success")
        expect(await listed(bench) == (None, True), f"{await listed(bench)}")
        runs = bool((await here.guest.monitor.execute("query-status"))["running"])
        try:
            yield Adopting(bench, here.path, proxy.socket), runs
        finally:
            for place in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    words = (place / "cmdline").read_bytes().split(b"\0")
                    if b"qmp-proxy" in words and proxy.socket.encode() in words:
                        os.kill(int(place.name), signal.SIGKILL)  # of a case that has failed
        await proxy.all_ended()
    await bench.store.remove(PID)
    expect(not MARK.exists(), "its mark is left")


async def step(here: Scene, name: str) -> str:
    """At one step of a save: the guest goes on if libxl had stopped it, and is saved, twice."""
    here.bench.saved.unlink(missing_ok=True)
    async with killed(here, lambda step: getattr(step, name)()) as (adopting, runs):
        start = time.monotonic()
        adopted = await adopting.adopt()
        expect(await listed(here.bench) == ("stubsave", False), f"{await listed(here.bench)}")
        if not runs and name != "saved" and name != "closing":
            while "the guest goes on" not in adopted.log:
                expect(time.monotonic() - start < GRACE_SECONDS + MOST_SECONDS, "the guest does not go on")
                await asyncio.sleep(0.02)
            await here.guest.goes_on()
        if name in ("saved", "closing"):
            # Somebody has its state: what becomes of it is not for a proxy to say.
            await asyncio.sleep(GRACE_SECONDS + 0.5)
            await here.guest.monitor.expect_status("paused")
            await adopted.libxl.execute("cont")
        await here.bench.nothing_left()
        here.bench.saved.unlink(missing_ok=True)
        for _ in range(2):
            await adopted.libxl.begin()
            await adopted.libxl.order()
            state_in(here.taken())
            await adopted.libxl.log_dirty(False)
            await adopted.libxl.execute("cont")
            await here.guest.goes_on()
        await adopted.hang_up()
        await here.bench.nothing_left()
    return f"{'ran' if runs else 'stood'}; {adopted.log.strip()}"


async def refuses(here: Scene) -> str:
    """Where there is a proxy; where the guest is not there; two at once; a hook that cannot be started, and one
    that ends: each with its own exit code, and the proxy that is there is not disturbed."""
    said = list[str]()
    async with killed(here, Step.idle) as (adopting, _):
        for options, code in ((("--hook", "/nowhere/vchan-socket-proxy"), 14), (("--hook", "/bin/false"), 9)):
            outcome = await adopting.command(*options)
            expect(outcome.code == code and outcome.message != "", f"{outcome}; {code} was to be expected")
            said.append(outcome.message)
        outcome = await here.bench.lab.stubsave("proxy", "adopt", "4711", "--xenstore", str(xenstored() / "dom0"))
        expect(outcome.code == 14, str(outcome))
        outcomes = await asyncio.gather(*(adopting.command("--json") for _ in range(4)))
        good = [outcome for outcome in outcomes if outcome.code == 0]
        expect(len(good) == 1, f"{len(good)} of 4 are good: {[str(outcome) for outcome in outcomes]}")
        for outcome in outcomes:
            expect(outcome.code in (0, 5, 9), str(outcome))
        pid = int(json.loads(good[0].output)["process"])
        adopted = Adopted(pid, adopting.socket, adopting.log)
        await adopted.libxl.execute("query-status")
        outcome = await adopting.command()
        expect(outcome.code == 5 and "has a proxy" in outcome.message, str(outcome))
        said.append(outcome.message)
        await adopted.libxl.begin()
        await adopted.libxl.order()
        state_in(here.taken())
        await adopted.libxl.execute("cont")
        await adopted.hang_up()
    return "; ".join(said)


async def program_left(here: Scene) -> str:
    """libxl's own program outlives its parent, and has the channel: it is ended."""
    async with killed(here, Step.attached, stays=True) as (adopting, _):
        adopted = await adopting.adopt()
        expect("of a qmp-proxy that was killed was ended" in adopted.log, f"it was not ended: {adopted.log}")
        await adopted.libxl.execute("cont")
        await adopted.libxl.begin()
        await adopted.libxl.order()
        state_in(here.taken())
        await adopted.libxl.execute("cont")
        await adopted.hang_up()
    return adopted.log.strip()


async def foreground(here: Scene) -> str:
    """As a unit has it: the command becomes the proxy, under its own process id."""
    async with killed(here, Step.idle) as (adopting, _):
        running = asyncio.create_task(adopting.command("--foreground"))
        libxl, end = Libxl(adopting.socket), time.monotonic() + MOST_SECONDS
        while True:
            expect(time.monotonic() < end and not running.done(), f"{running}")
            with suppress(ConnectionError):
                await libxl.execute("query-status")
                break
            await asyncio.sleep(0.02)  # nothing tells that somebody listens
        pid = int(await here.bench.store.read(PID) or 0)
        await libxl.begin()
        await libxl.order()
        state_in(here.taken())
        await libxl.execute("cont")
        os.kill(pid, signal.SIGHUP)
        outcome = await running
        expect(outcome.code in (0, -signal.SIGHUP), str(outcome))
    return f"process {pid}"


CASES = refuses, program_left, foreground
STEPS = (Step.idle, Step.connecting, Step.resetting, Step.attached, Step.saving, Step.carrying, Step.saved,
         Step.closing)
