"""A stubdomain that lies in its QMP while a state is saved.

libxl sees a success only if the state lies in its file, once, under its own id; what is no answer
is an error in the end, within --timeout; and through the same proxy the next save is good.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from libxl import Refusal
from machine import expect, state_in
from proxied import Proxy, Scene
from wire import Mangle, Saving

TIMEOUT_SECONDS = 1
SLACK_SECONDS = 2
EVENTS = 20_000
NONSENSE = 20_000
MOST_LOG_BYTES = 1 << 16  # of two saves
LINE_BYTES = 3 << 19  # of which 1 MiB is allowed
SAVED, REFUSED = "saved", "refused"


class Lie(NamedTuple):
    """What the stubdomain says in the place of QEMU's reply, and what becomes of the save."""

    name: str
    outcome: str
    act: Mangle
    says: str = ""  # in the error


def instead(*lines: str) -> Mangle:
    """Saves, and says something else; ID stands for the command's id, OTHER for another."""
    async def act(saving: Saving) -> None:
        await saving.order()
        await saving.say(*(line.replace("ID", str(saving.id)).replace(
            "OTHER", str(saving.id + 1)).encode("latin-1") + b"\n" for line in lines))
    return act


async def early(saving: Saving) -> None:
    """Says that it has saved, and has not."""
    await saving.say(b'{"return": {}, "id": %d}\n' % saving.id)


async def never(saving: Saving) -> None:
    """Saves, and says nothing."""
    await saving.order()


async def late(saving: Saving) -> None:
    """Saves, and says so when libxl has been told that it did not."""
    reply = await saving.order()
    await asyncio.sleep(TIMEOUT_SECONDS + 0.3)
    await saving.say(reply)


async def flood(saving: Saving) -> None:
    """Events without end before the reply, some with the command's id."""
    event = b'{"event": "RESUME", "data": {}, "timestamp": {"seconds": 1}, "id": %d}\n' % saving.id
    for _ in range(EVENTS // 100):
        await saving.say(event * 100)
    await saving.say(await saving.order())


async def nonsense(saving: Saving) -> None:
    """Lines without end that are no messages, before the reply."""
    for _ in range(NONSENSE // 100):
        await saving.say(b"no message\n" * 100)
    await saving.say(await saving.order())


async def endless(saving: Saving) -> None:
    """A line that does not end."""
    await saving.order()
    for _ in range(LINE_BYTES >> 16):
        await saving.say(b'{"x": "' + b"x" * (1 << 16))


async def greets_again(saving: Saving) -> None:
    """A greeting in the middle."""
    await saving.say(b'{"QMP": {"version": {}, "capabilities": []}}\n', await saving.order())


GOOD = '{"return": {}, "id": ID}'
LIES = (
    Lie("a reply twice", SAVED, instead(GOOD, GOOD)),
    Lie("a reply before QEMU does it", REFUSED, early, "QEMU"),
    Lie("a name with an escape", SAVED, instead(r'{"return": {}, "\u0069d": ID}')),
    Lie("more members than it should have", SAVED,
        instead('{"return": {"id": ID, "error": 1}, "x": [[]], "id": ID, "event\\u0031": 1}')),
    Lie("a greeting twice", SAVED, greets_again),
    Lie("a flood of events", SAVED, flood),
    Lie("a flood of nonsense", SAVED, nonsense),
    Lie("no reply", REFUSED, never, "--timeout"),
    Lie("a reply too late", REFUSED, late, "--timeout"),
    Lie("nothing but nonsense", REFUSED, instead(
        '{"return": {}, "id": OTHER}', '{"return": {}}', '{"return": {}, "id": "ID"}',
        '{"return": {}, "id": ID.0}', '{"return": {}, "id": -ID}', '{"return": {}, "id": 1e99}',
        '{"return": {}, "id": ID', '{"return": {}, "id": ID}}', f"[{GOOD}]", "", "{}", "\0", "\xff",
        r'{"return": {}, "id": ID, "x": "\u0000"}', '{"return": {}, "id": ID, "x": "\0"}',
        '{"return": {}, "return": {}, "id": ID}', r'{"return": {}, "id": ID, "\u0069d": ID}',
        '{"return": {}, "error": {"class": "GenericError", "desc": "x"}, "id": ID}',
        "[" * 100_000, '{"return": {}, "id": ID, "x": "\\ud800"}', '{"event": 1, "id": ID}',
        '{"event": "X", "return": {}, "id": ID}'), "--timeout"),
    Lie("an error of its own", REFUSED, instead(
        r'{"error": {"class": "X\n", "desc": "\u001b[31mno\n\u00e4"}, "id": ID}'), "no\\x0a"),
    Lie("an error without a description", REFUSED, instead('{"error": 1, "id": ID}'), "QEMU"),
    Lie("a line without an end", REFUSED, endless, "was lost"),
)


async def told(here: Scene, this: Lie) -> str:
    """One of them, and a good save."""
    async with here.agent(), here.proxy("--timeout", str(TIMEOUT_SECONDS)) as proxy:
        return await told_to(here, proxy, this)


async def told_to(here: Scene, proxy: Proxy, this: Lie) -> str:
    """The same, with a proxy."""
    here.bench.saved.write_bytes(b"QEVM, of another time")
    await proxy.libxl.begin()
    here.wire.mangle = this.act
    start, said = time.monotonic(), ""
    try:
        await proxy.libxl.order(last=here.wire.mangled if this.act is late else None)
        outcome = SAVED
    except Refusal as refusal:
        outcome, said = REFUSED, str(refusal)
    took = time.monotonic() - start
    expect(outcome == this.outcome and this.says in said, f"{outcome}: {said}")
    expect(took < TIMEOUT_SECONDS + SLACK_SECONDS, f"after {took:.1f} s")
    if outcome == SAVED:
        expect(state_in(here.taken()) == await here.state(), "not what QEMU saves by itself")
    else:
        here.bench.saved.unlink()  # as libxl does
    await here.goes_on(proxy)
    await here.saves(proxy)
    expect(len(proxy.log) < MOST_LOG_BYTES, f"{len(proxy.log)} bytes in the log")
    return f"{outcome} after {took:.1f} s: {said}"
