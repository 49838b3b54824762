"""The consoles of a stubdomain in xenstore: as libxl makes them, as a QEMU in dom0 serves them, and as the
stubdomain's kernel connects to them.

The two QEMUs are what hw/char/xen_console.c and hw/xen/xen-bus.c say: `New` has been read in 10.0.13, `Old`
in 7.2. What they have in common with the real ones is what they make of the nodes, in which order; nothing
goes over a ring here.
"""

from __future__ import annotations

from contextlib import suppress

from client import Refused
from xenbus import CLOSED, CONNECTED, INIT_WAIT, INITIALISING, Xenstore

INITIALISED = "3"
BACKENDS = "/local/domain/0/backend/console"
LOG, SAVE, RESTORE = 0, 1, 2


def frontend(domid: int, number: int) -> str:
    """The primary one is not among the devices."""
    return f"/local/domain/{domid}/" + (f"device/console/{number}" if number else "console")


async def make(store: Xenstore, domid: int, outputs: dict[int, str | None]) -> None:
    """libxl__device_console_add of each: the nodes that the stubdomain may not write among its own."""
    for number, output in outputs.items():
        front, back = frontend(domid, number), f"{BACKENDS}/{domid}/{number}"
        for place, permissions in ((back, ("n0", f"r{domid}")),
                                   (front, (f"n{domid}", "r0") if number else ("n0", f"r{domid}"))):
            await store.directory(place, *permissions)
        for name, value in {"frontend": front, "frontend-id": domid, "online": 1,
                            "state": INITIALISING, "protocol": "vt100"}.items():
            await store.write(f"{back}/{name}", value)
        await store.write(f"{front}/backend", back)
        await store.write(f"{front}/backend-id", 0)
        fixed = {"limit": 1048576, "type": "ioemu", "output": output, "tty": ""}
        if number == LOG:
            fixed |= {"port": 2, "ring-ref": 1048572}
        else:
            await store.write(f"{front}/state", INITIALISING)
            await store.write(f"{front}/protocol", "vt100")
        for name, value in fixed.items():
            if value is not None:
                await store.directory(f"{front}/{name}", "n0", f"r{domid}")
                await store.write(f"{front}/{name}", value)


async def remove(store: Xenstore, domid: int) -> None:
    """All of them."""
    for place in (f"/local/domain/{domid}/console", f"/local/domain/{domid}/device/console",
                  f"/local/domain/{domid}/device", f"{BACKENDS}/{domid}"):
        await store.remove(place)


async def tree(store: Xenstore, path: str) -> dict[str, str]:
    """All nodes at and below it, and what they say."""
    found = dict[str, str]()
    value = await store.read(path)
    if value is None:
        return found
    found[path] = value
    for name in await store.children(path):
        found |= await tree(store, f"{path}/{name}")
    return found


class New:
    """QEMU 10: a console is served if its back end's state, as this has heard of it, is connected."""

    def __init__(self, store: Xenstore, domid: int) -> None:
        self._store, self._domid = store, domid
        self.said = list[str]()
        self._states = dict[int, str]()

    async def start(self) -> None:
        """xen_bus_enumerate, once: what comes to nothing is not tried again."""
        for name in sorted(await self._store.children(f"{BACKENDS}/{self._domid}")):
            back = f"{BACKENDS}/{self._domid}/{name}"
            if (await self._store.read(f"{back}/state"),
                    await self._store.read(f"{back}/online")) == (INITIALISING, "1"):
                await self._create(int(name))

    async def _create(self, number: int) -> None:
        front = frontend(self._domid, number)
        if (kind := await self._store.read(f"{front}/type")) != "ioemu":
            self.said.append(f"declining to handle console type '{kind}'")
            return
        if await self._store.read(f"{front}/output") is None and number:
            # serial_hd(), and libxl gives this QEMU no -serial.
            self.said.append(f"console: No serial device #{number} found")
            return
        if await self._store.read(f"{front}/state") is None:
            await self._store.write(f"{front}/state", INITIALISING)
        await self._set(number, INIT_WAIT)

    async def _set(self, number: int, state: str) -> None:
        self._states[number] = state
        await self._store.write(f"{BACKENDS}/{self._domid}/{number}/state", state)

    async def run(self) -> None:
        """xen_console_frontend_changed of each: its watches have fired."""
        for number, state in list(self._states.items()):
            front = await self._store.read(f"{frontend(self._domid, number)}/state")
            if front in (INITIALISED, CONNECTED) and state != CONNECTED:
                await self._set(number, CONNECTED)
            elif front in (None, CLOSED) and state != CLOSED:
                await self._set(number, CLOSED)

    @property
    def served(self) -> list[int]:
        """con_event returns at once of the others."""
        return sorted(number for number, state in self._states.items() if state == CONNECTED)


class Old(New):
    """QEMU 7.2: a console without an output has no device behind it and is served (qemu_chr_fe_init of NULL),
    and the primary one is served whatever the states (DEVOPS_FLAG_IGNORE_STATE)."""

    async def _create(self, number: int) -> None:
        if await self._store.read(f"{frontend(self._domid, number)}/type") != "ioemu":
            return
        await self._set(number, CONNECTED if number == LOG else INIT_WAIT)

    async def run(self) -> None:
        log = self._states.pop(LOG, "")
        await super().run()
        if log:
            self._states[LOG] = log


async def boot(store: Xenstore, domid: int, qemu: New) -> list[int]:
    """A Linux kernel (drivers/tty/hvc/hvc_xen.c): it connects to each device whose back end waits for it, and
    waits 30 s for the others, which are returned."""
    late = list[int]()
    for name in await store.children(f"/local/domain/{domid}/device/console"):
        if await store.read(f"{BACKENDS}/{domid}/{name}/state") == INIT_WAIT:
            await store.write(f"{frontend(domid, int(name))}/state", CONNECTED)
        else:
            late.append(int(name))
    await qemu.run()
    return late


async def may_write(store: Xenstore, path: str, value: str) -> bool:
    """Whether the client of that connection may."""
    with suppress(Refused):
        await store.write(path, value)
        return True
    return False
