"""Many clients of one `stubsave qmp-proxy`, whose connection to QEMU outlives them.

Each is greeted at once and gets its own replies, whoever else comes, stays or dies; QEMU sees one
connection; events come to those who have negotiated. A guest that a client has stopped goes on if that
client dies without its state, and in no other case.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path

from libxl import LOG_DIRTY, MEMFD, Conversation
from machine import SAVE, expect, state_in
from proxied import MARK, Proxy, Scene
from proxyfaults import refused

CLIENTS = int(os.environ.get("PROXY_CLIENTS", "200"))
GREETED_SECONDS = 1.0  # on a busy machine; libxl waits 10
GRACE_SECONDS = 2.0
SLACK_SECONDS = 2.5
MOST_GROWTH_KIB = 2048
PLACES = 16


def facts(proxy: Proxy) -> tuple[int, int]:
    """Open files, and resident memory in KiB."""
    place = Path(f"/proc/{proxy.process.pid}")
    resident = next(line for line in (place / "status").read_text().splitlines() if line.startswith("VmRSS"))
    return len(list((place / "fd").iterdir())), int(resident.split()[1])


async def connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """One that has said nothing."""
    return await asyncio.open_unix_connection(proxy.socket)


async def back_to_back(here: Scene) -> str:
    """One after the other and several at once, every fourth killed in mid-command: none of the others is lost,
    no greeting missed, and in the end nothing is left."""
    choose, slowest, killed, connections = random.Random(17), 0.0, 0, here.wire.connections
    async with here.proxy() as proxy:
        async def client(number: int, dies: bool) -> None:
            nonlocal slowest, killed
            start = time.monotonic()
            async with proxy.libxl.conversation() as talk:
                slowest = max(slowest, time.monotonic() - start)
                if dies:
                    killed += 1
                    talk.send("query-qmp-schema")
                    return
                for _ in range(number % 3 + 1):
                    expect("status" in await talk.execute("query-status"), "another command's reply")

        for number in range(20):  # buffers, and what the allocator keeps
            await client(number, number % 4 == 0)
        await proxy.libxl.execute("query-status")
        before, start, done = facts(proxy), time.monotonic(), 0
        while done < CLIENTS:
            many = choose.choice((1, 1, 1, 2, 5))
            await asyncio.gather(*(client(done + n, choose.random() < 0.25) for n in range(many)))
            done += many
        took = time.monotonic() - start
        await proxy.libxl.execute("query-status")
        while (after := facts(proxy))[0] > before[0]:
            expect(time.monotonic() - start < took + SLACK_SECONDS, f"open files: {before[0]}, {after[0]}")
            await asyncio.sleep(0.01)  # no event tells that a file was closed
        expect(slowest < GREETED_SECONDS, f"the slowest was greeted after {slowest:.2f} s")
        expect(after[1] - before[1] < MOST_GROWTH_KIB, f"memory: {before[1]} KiB, then {after[1]}")
        expect(here.wire.connections == connections + 1, "more than one connection to QEMU")
        expect(killed > CLIENTS // 8, f"only {killed} were killed")
        expect(proxy.log == "", proxy.log)
        async with here.agent():
            await here.saves(proxy)
    return (f"{done} clients in {took:.1f} s, {killed} killed, slowest greeting {slowest * 1000:.0f} ms, "
            f"{after[0]} files, {after[1] - before[1]} KiB more")


async def one_connection(here: Scene) -> str:
    """QEMU sees one connection and one negotiation, however many come; ids come back as they were."""
    connections, here.wire.commands[:] = here.wire.connections, []
    async with here.proxy() as proxy:
        for id in ('1', '"a"', '[1,{"b":null}]', 'null', '18446744073709551615', '-1.5e3'):
            reader, writer = await connect(proxy)
            await reader.readline()
            writer.write(b'{"execute":"qmp_capabilities"}\r\n{"execute":"query-status","id":%b}\r\n' % id.encode())
            expect(await reader.readline() == b'{"return":{}}\r\n', "an id where there was none")
            reply = await reader.readline()
            expect(reply.endswith(b',"id":%b}\r\n' % id.encode()), f"{id}: {reply!r}")
            writer.write(b'{"execute":"query-status"}\r\n')
            expect(b'"id"' not in await reader.readline(), "an id where there was none")
            writer.close()
        expect(here.wire.connections == connections + 1, f"{here.wire.connections - connections} connections")
        expect(here.wire.commands.count("qmp_capabilities") == 1, f"{here.wire.commands}")
    return "1 connection"


async def rules(here: Scene) -> str:
    """Before it has negotiated a client gets no event, and none of its commands reaches QEMU."""
    async with here.proxy() as proxy, proxy.libxl.conversation() as other:
        early, late = await connect(proxy), await connect(proxy)
        greeting = json.loads(await early[0].readline())
        expect(greeting["QMP"]["capabilities"] == [], f"{greeting}")
        await late[0].readline()
        before = len(here.wire.commands)
        early[1].write(b'{"execute":"stop","id":1}\r\n')
        reply = json.loads(await early[0].readline())
        expect(reply["error"]["class"] == "CommandNotFound" and reply["id"] == 1, f"{reply}")
        early[1].write(b'{"execute":"qmp_capabilities","arguments":{"enable":["oob"]},"id":2}\r\n')
        expect("error" in json.loads(await early[0].readline()), "a capability that is not there")
        expect(len(here.wire.commands) == before, "QEMU has heard of it")
        # An event while one of them has negotiated and the other has not.
        late[1].write(b'{"execute":"qmp_capabilities"}\r\n')
        await late[0].readline()
        await other.execute("stop")
        await other.execute("cont")
        expect(json.loads(await late[0].readline())["event"] == "STOP", "no event")
        expect(json.loads(await late[0].readline())["event"] == "RESUME", "no event")
        early[1].write(b'{"execute":"qmp_capabilities","id":3}\r\n{"execute":"qmp_capabilities","id":4}\r\n')
        reply = json.loads(await early[0].readline())
        expect(reply == {"return": {}, "id": 3}, f"{reply}")
        expect("already" in json.loads(await early[0].readline())["error"]["desc"], "twice")
        for _, writer in early, late:
            writer.close()
    return "as QEMU has them"


async def idle_others(here: Scene) -> str:
    """As many as there is room for sit there and say nothing: the next is served all the same."""
    async with here.proxy() as proxy:
        idle = [await connect(proxy) for _ in range(PLACES)]
        for reader, _ in idle:
            await reader.readline()
        start = time.monotonic()
        await proxy.libxl.execute("query-status")
        took = time.monotonic() - start
        expect(took < SLACK_SECONDS, f"after {took:.1f} s")
        # One that reads nothing, and has events by the thousand: nobody waits for it.
        for _ in range(50):
            for name in "stop", "cont":
                await proxy.libxl.execute(name)
        for _, writer in idle:
            writer.close()
    return f"after {took:.2f} s"


async def hostile(here: Scene) -> str:
    """What QEMU says that nobody has asked for reaches nobody, whoever is there: binary, floods, replies to
    ids that were never given, greetings."""
    noise = (b"\0\xff\xfe\r\n", b'{"return":{},"id":1}\r\n', b'{"return":{},"id":7890}\r\n',
             b'{"QMP":{"version":{}}}\r\n', b'{"error":{},"id":null}\r\n', b"[" * 5000 + b"\r\n",
             os.urandom(3000).replace(b"\n", b"") + b"\n")
    event = b'{"event":"RTC_CHANGE","data":{"offset":0},"timestamp":{"seconds":1,"microseconds":2}}\r\n'
    async with here.proxy() as proxy, proxy.libxl.conversation() as first, proxy.libxl.conversation() as mute:
        before = facts(proxy)
        for _ in range(50):
            await here.wire.say(b"".join(noise) + event * 400)
            expect("status" in await first.execute("query-status"), "another command's reply")
        after = facts(proxy)
        expect(first.events >= 50 * 400, f"{first.events} events")
        expect(after[1] - before[1] < 6 * MOST_GROWTH_KIB, f"memory: {before[1]} KiB, then {after[1]}")
        del mute
    expect(len(proxy.log) < 1 << 14, f"{len(proxy.log)} bytes in the log")
    async with here.agent(), here.proxy() as proxy:
        await here.saves(proxy)
    return f"{after[1] - before[1]} KiB more"


async def stopped(proxy: Proxy) -> Conversation:
    """A client that has stopped the guest, as libxl does with the connection over which it saves."""
    reader, writer = await connect(proxy)
    talk = Conversation(reader, writer)
    await talk.greet()
    await talk.execute("stop")
    return talk


async def goes_on_by_itself(here: Scene, proxy: Proxy) -> float:
    """Within what the rule says."""
    start = time.monotonic()
    await proxy.said("the guest goes on", proxy.log.count("the guest goes on") + 1)
    took = time.monotonic() - start
    expect(GRACE_SECONDS - 0.5 < took < GRACE_SECONDS + SLACK_SECONDS, f"after {took:.1f} s")
    await here.guest.goes_on()
    return took


async def stays(here: Scene) -> None:
    """Longer than the rule waits."""
    await asyncio.sleep(GRACE_SECONDS + 1)
    await here.guest.monitor.expect_status("paused")
    await here.guest.monitor.execute("cont")


async def dies_after_stop(here: Scene) -> str:
    """After it, before its save, in it, and after a save that has failed: the guest goes on by itself, and
    nothing of the save is left."""
    said = list[str]()
    async with here.agent(), here.proxy() as proxy:
        talk = await stopped(proxy)
        expect(" stopped " in MARK.read_text(), MARK.read_text())
        talk.close()
        said.append(f"{await goes_on_by_itself(here, proxy):.1f} s")
        expect(not " stopped " in MARK.read_text(), MARK.read_text())
        # In the order of a save.
        await proxy.libxl.execute(LOG_DIRTY, enable=True)
        talk = await stopped(proxy)
        talk.close()
        said.append(f"{await goes_on_by_itself(here, proxy):.1f} s")
        await here.bench.nothing_left()
        talk = await stopped(proxy)
        talk.send(SAVE, filename=MEMFD, live=False)
        talk.close()
        said.append(f"{await goes_on_by_itself(here, proxy):.1f} s")
        await here.bench.nothing_left()
        here.bench.saved.unlink(missing_ok=True)
        talk = await stopped(proxy)
        await refused(talk.execute(SAVE, filename=here.bench.lab.path("elsewhere"), live=False))
        talk.close()
        said.append(f"{await goes_on_by_itself(here, proxy):.1f} s")
        await here.saves(proxy)
    return ", ".join(said)


async def stays_stopped(here: Scene) -> str:
    """After a save that its client has heard of, as `xl suspend` leaves it; if somebody else had stopped it
    before; and as long as somebody takes it over, or lives."""
    async with here.agent(), here.proxy() as proxy:
        talk = await stopped(proxy)
        await talk.execute(SAVE, filename=MEMFD, live=False)
        talk.close()
        state_in(here.taken())
        await stays(here)
        # Over two connections.
        await proxy.libxl.begin()
        await proxy.libxl.order()
        state_in(here.taken())
        await stays(here)
        # By another, before and after.
        await here.guest.monitor.execute("stop")
        (await stopped(proxy)).close()
        await stays(here)
        # Its client lives, and says nothing.
        talk = await stopped(proxy)
        await stays(here)
        talk.close()
        # Another one takes it over and lives.
        (await stopped(proxy)).close()
        talk = await stopped(proxy)
        await asyncio.sleep(GRACE_SECONDS + 1)
        await here.guest.monitor.expect_status("paused")
        await talk.execute("cont")
        await here.guest.goes_on()
        talk.close()
        # It goes on by another's hand, and is stopped by another's: that is not ours any more.
        talk = await stopped(proxy)
        await here.guest.monitor.execute("cont")
        await here.guest.monitor.execute("stop")
        talk.close()
        await stays(here)
        expect("the guest goes on" not in proxy.log, proxy.log)
    return "five times"


async def dies_while_qemu_is_lost(here: Scene) -> str:
    """The client dies, and QEMU's side with it: what is owed is said to the next connection."""
    async with here.proxy() as proxy:
        talk = await stopped(proxy)
        here.wire.drop()
        talk.close()
        return f"{await goes_on_by_itself(here, proxy):.1f} s; {proxy.log.strip()}"


CASES = (one_connection, rules, idle_others, hostile, dies_after_stop, stays_stopped, dies_while_qemu_is_lost,
         back_to_back)
