"""What `stubsave qmp-proxy` does to a stubdomain's consoles before libxl starts the QEMU that serves them.

Once libxl reads `running`, a QEMU with the new console code serves all of them and the stubdomain's kernel
waits for none; the stubdomain can write nothing that is new there. Where libxl's QEMU has the old code,
nothing changes.
"""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from consoleqemu import BACKENDS, LOG, RESTORE, SAVE, New, Old, boot, frontend, make, may_write, remove, tree
from machine import Failure, expect
from proxied import DOMID, TARGET, Bench, Proxy
from stubdomain import xenstored
from xenbus import Xenstore, introduce

MARK = b"\0cannot create primary Xen console\0"  # of the new code
OUTPUTS: dict[int, str | None] = {
    LOG: "file:/var/log/xen/qemu-dm-hvm.log", SAVE: f"file:/var/lib/xen/qemu-save.{TARGET}",
    RESTORE: None, 3: "pty"}
PID = f"/local/domain/{DOMID}/image/device-model-pid"
QUIET_SECONDS = 0.5


@contextmanager
def libxl_with(bench: Bench, *qemus: bytes) -> Iterator[list[Path]]:
    """This process is as one that has libxl, with QEMUs of that content."""
    paths = [bench.lab.directory / f"xen-qemu-system-{number}" for number in range(len(qemus))]
    library = bench.lab.directory / "libxenlight.so.4.20.0"
    for path, content in zip(paths, qemus, strict=True):
        path.write_bytes(content)
    library.write_bytes(bytes(5000) + b"".join(
        b"\0qemu-system-i386\0%s\0" % os.fsencode(path) for path in paths))
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        try:
            yield paths
        finally:
            for path in library, *paths:
                path.unlink()


@asynccontextmanager
async def stubdomain(bench: Bench, outputs: dict[int, str | None]) -> AsyncIterator[None]:
    """One that has not been started, with these consoles."""
    await introduce(bench.store, DOMID, TARGET)
    await remove(bench.store, DOMID)
    await make(bench.store, DOMID, outputs)
    try:
        yield
    finally:
        await remove(bench.store, DOMID)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Proxy]:
    """A proxy that libxl goes on after."""
    async with bench.starting(bench.lab.path("vchan")) as proxy:
        await bench.runs(proxy)
        yield proxy
        await proxy.hang_up()


async def nodes(bench: Bench) -> dict[str, str]:
    """Of all consoles."""
    return (await tree(bench.store, f"/local/domain/{DOMID}/console")
            | await tree(bench.store, f"/local/domain/{DOMID}/device")
            | await tree(bench.store, f"{BACKENDS}/{DOMID}"))


async def served(bench: Bench, kind: type[New]) -> tuple[list[int], list[int]]:
    """Which consoles are, once QEMU and then the kernel have started; and which the kernel waits for."""
    qemu = kind(bench.store, DOMID)
    await qemu.start()
    late = await boot(bench.store, DOMID, qemu)
    return qemu.served, late


async def new_code(bench: Bench) -> str:
    """Everything is there before libxl goes on. Without us that QEMU serves neither the log nor the restore's."""
    everywhere = sorted(OUTPUTS)
    async with stubdomain(bench, OUTPUTS):
        expect(await served(bench, New) == ([SAVE, 3], [RESTORE]), "without us it is served all the same")
    # The mark lies over the edge of what is read at once.
    edge = (1 << 20) - len(MARK) // 2
    for at in 0, edge, 3 << 20:
        async with stubdomain(bench, OUTPUTS):
            with libxl_with(bench, bytes(at) + MARK + bytes(100)) as (path,):
                async with running(bench) as proxy:
                    found = await nodes(bench)
                    expect(await served(bench, New) == (everywhere, []), f"of {everywhere} not all are served")
                    log = proxy.log
    changed = {f"{frontend(DOMID, LOG)}/state": "4", f"{frontend(DOMID, RESTORE)}/output": "null"}
    async with stubdomain(bench, OUTPUTS):
        expect(found == await nodes(bench) | changed, f"more was changed: {found}")
    expect(f"{path} would not serve them: the output of 2 is null now; 0, the log, is connected now;" in log, log)
    return log.strip()


async def old_code(bench: Bench) -> str:
    """Nothing changes, and nothing is said; that QEMU serves them all."""
    async with stubdomain(bench, OUTPUTS):
        with libxl_with(bench, bytes(2 << 20)):
            before = await nodes(bench)
            async with running(bench) as proxy:
                expect(await nodes(bench) == before, "changed")
                expect(await served(bench, Old) == (sorted(OUTPUTS), []), "they are not served")
            expect(proxy.log == "", proxy.log)
    return f"{len(before)} nodes"


async def several(bench: Bench) -> str:
    """libxl names two QEMUs, of which one has the new code; or one that is not there."""
    async with stubdomain(bench, OUTPUTS):
        with libxl_with(bench, b"old", MARK) as (_, new):
            async with running(bench) as proxy:
                expect(await served(bench, New) == (sorted(OUTPUTS), []), "they are not served")
            expect(str(new) in proxy.log, proxy.log)
    async with stubdomain(bench, OUTPUTS):
        with libxl_with(bench, b"old", MARK) as paths:
            for path in paths:
                path.rename(path.with_suffix(".away"))
            async with running(bench) as proxy:
                expect(await served(bench, New) == (sorted(OUTPUTS), []), "they are not served")
            for path in paths:
                path.with_suffix(".away").rename(path)
    return proxy.log.strip()


async def unknown(bench: Bench) -> str:
    """Whoever starts the proxy has no libxl: it is done, and an old QEMU does not mind."""
    for kind in New, Old:
        async with stubdomain(bench, OUTPUTS), running(bench) as proxy:
            expect(await served(bench, kind) == (sorted(OUTPUTS), []), f"{kind.__name__} does not serve them")
    expect("libxl's QEMU was not found" in proxy.log, proxy.log)
    return proxy.log.strip()


async def restore(bench: Bench) -> str:
    """Where libxl has given the third console an output, for a state, it keeps that; and what is no QEMU's
    is left alone."""
    async with stubdomain(bench, OUTPUTS | {RESTORE: "pipe:/var/lib/xen/qemu-resume.105"}):
        await bench.store.write(f"{frontend(DOMID, LOG)}/type", "xenconsoled")
        before = await nodes(bench)
        with libxl_with(bench, MARK):
            async with running(bench) as proxy:
                expect(await nodes(bench) == before, "changed")
            expect(proxy.log == "", proxy.log)
    return "as it was"


async def replaced(bench: Bench) -> str:
    """A proxy that is started while that QEMU runs already changes nothing."""
    await introduce(bench.store, DOMID, TARGET)
    async with stubdomain(bench, OUTPUTS):
        await bench.store.write(PID, os.getpid())
        before = await nodes(bench)
        async with bench.starting(bench.lab.path("vchan"), "--max-console", "0") as proxy:
            await bench.runs(proxy)
            expect(await nodes(bench) == before, "changed")
            await proxy.hang_up()
        await bench.store.remove(PID)
    return "as it was"


async def read_only(bench: Bench) -> str:
    """What is new there the stubdomain may not write: an output is a file of dom0's."""
    async with stubdomain(bench, OUTPUTS), running(bench):
        theirs = Xenstore(*await asyncio.open_unix_connection(str(xenstored() / str(DOMID))))
        expect(await may_write(theirs, f"{frontend(DOMID, RESTORE)}/state", "1"), "it may write nothing at all")
        for node in (f"{frontend(DOMID, RESTORE)}/output", f"{frontend(DOMID, LOG)}/state",
                     f"{frontend(DOMID, SAVE)}/output"):
            expect(not await may_write(theirs, node, "file:/etc/passwd"), f"it may write {node}")
        theirs.close()
    return "refused"


async def holds_back(bench: Bench) -> str:
    """libxl hears that the proxy runs from us, and only once its own program listens."""
    async with stubdomain(bench, OUTPUTS):
        gate, watch = Path(bench.lab.path("gate")), await Xenstore.connect()
        os.mkfifo(gate)
        os.environ["CHANNEL_GATE"] = str(gate)
        async with bench.starting(bench.lab.path("vchan")) as proxy:
            await watch.watch(bench.state_path)
            await watch.changed.wait()
            watch.changed.clear()
            while not proxy.channels():
                await asyncio.sleep(0.01)  # a file tells no events here
            with suppress(TimeoutError):
                await asyncio.wait_for(watch.changed.wait(), QUIET_SECONDS)
                raise Failure(f"said while nobody listens: {await watch.read(bench.state_path)}")
            del os.environ["CHANNEL_GATE"]
            with gate.open("rb"):
                await bench.runs(proxy)
            await proxy.hang_up()
        gate.unlink()
        watch.close()
    return f"nothing for {QUIET_SECONDS} s"


CASES = (new_code, old_code, several, unknown, restore, replaced, read_only, holds_back)
