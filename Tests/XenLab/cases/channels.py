"""QMP between libxl and a stubdomain's QEMU: old and new dom0, old and new image. A new image serves its vchan
by `stubsave-agent channel`, an old one by Xen's vchan-socket-proxy; a new dom0 has the hooks."""

from __future__ import annotations

import json
import socket

from dom0 import Score, expect, good, nothing_left
from guests import node
from hvm import HVM, all_traces
from saves import counting, restored, saved
from serials import Serials, all_serials

GREETING_SECONDS = 20  # a starved stubdomain took more than 4
CLIENTS, LOST_ENOUGH = 200, 3
NEW_IMAGE, OLD_IMAGE = "channel", ""  # words for stubdomain/init
# Without hooks, dom0's QEMU of 9 and later wants it (docs/qemu-console-report.md).
CONSOLES = 'device_model_args_pv=["-serial","null","-serial","null","-serial","null"]\n'


class Client:
    """One of libxl's connections."""

    def __init__(self, domid: int, seconds: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        self._socket.connect(f"/run/xen/qmp-libxl-{domid}")
        self._lines = self._socket.makefile("rb")

    def line(self) -> dict[str, object]:
        """The next one; TimeoutError if none comes."""
        line = self._lines.readline()
        if not line:
            raise ConnectionError("it has ended")
        return dict(json.loads(line))

    def execute(self, command: str, id: int) -> object:
        """Its reply; replies to others are none."""
        self._socket.sendall(json.dumps({"execute": command, "id": id}).encode() + b"\n")
        while (reply := self.line()).get("id") != id:
            expect("error" not in reply or "id" in reply, str(reply))
        return reply["return"]

    def close(self) -> None:
        """Let go."""
        self._lines.close()
        self._socket.close()


def served(domid: int, count: int, *, seconds: float) -> list[int]:
    """Clients without a pause between them; the numbers of those that were not greeted."""
    lost = []
    for number in range(count):
        client = Client(domid, seconds)
        try:
            expect("QMP" in client.line(), "a greeting comes first")
            client.execute("qmp_capabilities", number)
            status = client.execute("query-status", count + number)
            expect(isinstance(status, dict) and status["status"] == "running", f"client {number}: {status}")
        except (TimeoutError, ConnectionError):
            lost.append(number)
            if len(lost) == LOST_ENOUGH:
                break
        finally:
            client.close()
    return lost


def says_persistent(guest: HVM) -> bool:
    """Its agent's node."""
    return node(f"/local/domain/{guest.stubdomain}/data/stubsave-channel") == "persistent 1"


def with_hooks(serials: Serials, *, arguments: str) -> str:
    """All that libxl does over QMP, and clients one after the other."""
    with nothing_left(look=all_traces), counting("hvm", serials, arguments=arguments) as guest:
        expect(says_persistent(guest) == (arguments == NEW_IMAGE), "what its node says")
        lost = served(guest.domid, CLIENTS, seconds=GREETING_SECONDS)
        expect(not lost, f"clients {lost} of {CLIENTS} were not greeted")
        saved(guest, "-c")
        saved(guest)
        restored(guest)
        guest.wait_for_lap()
        return f"{CLIENTS} clients, none lost; save -c, save, restore; {guest.check_counting()}"


def without_hooks(serials: Serials, *, arguments: str, may_lose: bool) -> str:
    """libxl's own program as the client; there is no state without hooks."""
    good("hooks", "remove", "xl")
    try:
        with nothing_left(look=all_traces), \
                counting("hvm", serials, arguments=arguments, lines=CONSOLES) as guest:
            seconds = 2 if may_lose else GREETING_SECONDS
            lost = served(guest.domid, CLIENTS, seconds=seconds)
            expect(may_lose or not lost, f"clients {lost} of {CLIENTS} were not greeted")
            guest.wait_for_lap()
            return f"{CLIENTS} clients, not greeted: {lost or 'none'}; {guest.check_counting()}"
    finally:
        good("hooks", "install", "xl")


def channels(score: Score, _is_full: bool) -> None:
    """The four pairs."""
    serials = all_serials()
    good("hooks", "install", "xl")
    score.case("new dom0, new image", lambda: with_hooks(serials, arguments=NEW_IMAGE))
    score.case("new dom0, old image", lambda: with_hooks(serials, arguments=OLD_IMAGE))
    score.case("old dom0, new image", lambda: without_hooks(serials, arguments=NEW_IMAGE, may_lose=False))
    score.case("old dom0, old image", lambda: without_hooks(serials, arguments=OLD_IMAGE, may_lose=True))
