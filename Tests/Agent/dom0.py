"""dom0's side of the rendezvous, written from formats/rendezvous.md: a second implementation.

It speaks both versions: 2 unless it is told otherwise, and 1 with an agent that knows no more.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from pathlib import Path

MILLISECONDS = 30_000
FINAL = {"ready", "committed", "loaded", "failed", "unsupported"}
VERSIONS = 1, 2
MOST_BYTES, MOST_WORDS = 255, 120  # of a message, and of what an agent says in its own words
READ, WATCH, WRITE, MKDIR, RM, SET_PERMS, EVENT, ERROR = 2, 4, 11, 12, 13, 14, 15, 16


class Offers:
    """Makes offers and waits for answers. `argument` names the carrier to the agent."""

    argument: str
    inherited: tuple[int, ...] = ()
    version = VERSIONS[-1]
    words = ""  # of the last failure

    async def say(self, offer: bytes) -> None:
        """Put an offer into dom0's cell."""
        raise NotImplementedError

    async def put(self, offer: bytes) -> None:
        """The same, and nothing else: the answer stays as it is."""
        await self.say(offer)

    async def look(self) -> bytes:
        """What is in the agent's cell, once it may have changed; EOFError if the agent is gone."""
        raise NotImplementedError

    async def idle(self) -> None:
        """Withdraw whatever has been offered."""
        await self.say(b"%d idle" % self.version)

    async def offer(self, *words: object, id: str | None = None, disk: str | None = None,
                    milliseconds: int = MILLISECONDS) -> str:
        """Offer something, with time enough; its id, which here is that of the disk too."""
        id = id or secrets.token_hex(16)
        if str(words[0]).partition(",")[0] in ("save", "take", "load"):
            words = (*words[:2], disk or id, *words[2:])
        message = " ".join(map(str, (self.version, id, *words, milliseconds))).encode()
        assert len(message) <= MOST_BYTES and message.count(b" ") < 8, message
        await self.say(message)
        return id

    async def answer(self, id: str, *wanted: str) -> list[str]:
        """Wait for a final answer to that offer, or for one of those words. What the agent says of a
        failure in its own words is in `words`."""
        while True:
            message = await self.look()
            assert len(message) <= MOST_BYTES and all(0x20 <= byte < 0x7F for byte in message), message
            fields = message.decode("ascii").split(" ", 7)
            assert all(fields) or not message, message
            if len(fields) < 3 or fields[1] != id or fields[2] not in (set(wanted) or FINAL):
                continue
            if fields[2] != "unsupported":
                assert fields[0] == str(self.version), f"offered in {self.version}: {message!r}"
            if fields[2] == "failed":
                self.words = fields[7] if len(fields) > 7 else ""
                assert (not self.words or self.version > 1) and len(self.words) <= MOST_WORDS, message
                assert self.version > 1 or fields[6] != "blocked", message
                assert self.words == " ".join(self.words.split(" ")), message
                return fields[2:7]
            return fields[2:] if fields[2] != "unsupported" else [*fields[2:], fields[0]]

    async def ask(self, *words: object, id: str | None = None) -> list[str]:
        """Offer something, and wait for the final answer; to an older agent in its version, then."""
        answer = await self.answer(await self.offer(*words, id=id))
        if answer[0] == "unsupported" and int(answer[1]) in VERSIONS[:self.version - 1]:
            self.version = int(answer[1])
            answer = await self.answer(await self.offer(*words, disk=id))
        return answer


class SocketOffers(Offers):
    """Over a pair of sockets that keep packets apart."""

    def __init__(self) -> None:
        self._socket, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._theirs.setblocking(False)
        self.inherited = (self._theirs.fileno(),)
        self.argument = f"fd:{self._theirs.fileno()}"

    def started(self) -> None:
        """The agent's end is now the only one."""
        self._theirs.close()

    def close(self) -> None:
        """As if dom0's side had died."""
        self._socket.close()

    async def say(self, offer: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, offer)

    async def look(self) -> bytes:
        packet = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
        if not packet:
            raise EOFError("the agent is gone")
        return packet


class XenstoreOffers(Offers):
    """In a real xenstored, that Tests/Xenstored/xenstored.py runs."""

    def __init__(self, domid: int) -> None:
        self._directory = Path(os.environ["STUBSAVE_XENSTORED"])
        self._domid, self._node = domid, f"/local/domain/{domid}/stubsave"
        self.argument = f"xenstore:{self._directory}/{domid}"
        self._changed, self._replies = asyncio.Event(), asyncio.Queue[tuple[int, bytes]]()

    async def open(self) -> None:
        """Connect, and make the nodes as section 7.2 says."""
        self._reader, self._writer = await asyncio.open_unix_connection(
            str(self._directory / "dom0"))
        self._task = asyncio.create_task(self._receive())
        for node, access in ("", "r"), ("/offer", "r"), ("/answer", "b"):
            await self._request(MKDIR, self._node + node)
            await self._request(SET_PERMS, self._node + node, "n0", f"{access}{self._domid}")
        await self._request(WATCH, f"{self._node}/answer", "0")

    async def close(self) -> None:
        """Remove the nodes."""
        await self._request(RM, self._node)
        self._task.cancel()
        self._writer.close()

    async def _receive(self) -> None:
        while True:
            kind, _, _, count = struct.unpack("<4I", await self._reader.readexactly(16))
            payload = await self._reader.readexactly(count)
            if kind == EVENT:
                self._changed.set()
            else:
                self._replies.put_nowait((kind, payload))

    async def _request(self, kind: int, *words: str, value: bytes = b"") -> bytes:
        payload = b"".join(word.encode() + b"\0" for word in words) + value
        self._writer.write(struct.pack("<4I", kind, 0, 0, len(payload)) + payload)
        found, reply = await self._replies.get()
        if found == ERROR:
            raise OSError(f"xenstore: {words}: {reply!r}")
        return reply

    async def say(self, offer: bytes) -> None:
        # The answer is made anew before each offer: an old one, and what is below it, are gone.
        if b"idle" not in offer:
            await self._request(RM, f"{self._node}/answer")
            await self._request(MKDIR, f"{self._node}/answer")
            await self._request(SET_PERMS, f"{self._node}/answer", "n0", f"b{self._domid}")
        await self.put(offer)

    async def put(self, offer: bytes) -> None:
        await self._request(WRITE, f"{self._node}/offer", value=offer)

    async def look(self) -> bytes:
        await self._changed.wait()
        self._changed.clear()
        return await self._request(READ, f"{self._node}/answer")
