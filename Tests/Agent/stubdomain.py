"""A stubdomain as xenstored sees it, with its permissions, that does what a test likes."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "Xenstored")]
from client import DIRECTORY, READ, WATCH, Client, Refused  # noqa: E402

VIRQ_PORT = 1  # Tests/Xenstored/shim.c
OFFER, ANSWER = "stubsave/offer", "stubsave/answer"


class StubdomainClient(Client):
    """Its connection."""

    def __init__(self, domid: int) -> None:
        super().__init__(xenstored() / str(domid))

    def offered(self) -> str:
        """Wait until dom0 offers something; its id."""
        self.request(WATCH, OFFER, "0")
        while True:
            try:
                words = self.request(READ, OFFER).split(b" ")
                if len(words) > 2:
                    return words[1].decode()
            except Refused:
                pass  # not there yet
            self.wait()


def xenstored() -> Path:
    """Its directory."""
    return Path(os.environ["STUBSAVE_XENSTORED"])


def kill_domain(domid: int) -> None:
    """Let a domain die, for ever."""
    (xenstored() / f"dead.{domid}").touch()
    with (xenstored() / "to-xenstored").open("r+b", buffering=0) as ports:
        ports.write(struct.pack("<I", VIRQ_PORT))


def nodes(domid: int) -> list[str]:
    """What there is in a domain's directory."""
    with Client(xenstored() / "dom0") as dom0:
        return dom0.request(DIRECTORY, f"/local/domain/{domid}").decode().split("\0")[:-1]
