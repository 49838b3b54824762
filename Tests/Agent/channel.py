#!/usr/bin/python3 -IS
"""Stands in for libxl's vchan-socket-proxy: its command line, and what it does to who sees it.

Of it there is what counts here: it binds the socket and fails if the name is taken, then writes
`running` into the node that libxl watches, then serves one client at a time, by a new connection to
$CHANNEL_QMP for each, and it leaves the socket's name behind. It appends its process id to
$CHANNEL_STARTS first; with a FIFO $CHANNEL_GATE it binds nothing before somebody opens that, and with
$CHANNEL_STAYS it does not end when it is told to.
"""

import getopt
import os
import select
import signal
import socket
import struct
import sys

WRITE = 11


def say(path: str) -> None:
    """Write a node of xenstore's."""
    payload = path.encode() + b"\0running"
    with socket.socket(socket.AF_UNIX) as xenstore:
        xenstore.connect(os.environ["STUBSAVE_XENSTORED"] + "/dom0")
        xenstore.sendall(struct.pack("<4I", WRITE, 1, 0, len(payload)) + payload)
        xenstore.recv(64)


def relay(client: socket.socket, server: socket.socket) -> None:
    """Until one of the two ends."""
    others = {client: server, server: client}
    try:
        while True:
            for ready in select.select(list(others), [], [])[0]:
                data = ready.recv(1 << 16)
                if not data:
                    return
                others[ready].sendall(data)
    except ConnectionError:
        pass


def main() -> int:
    options, words = getopt.getopt(sys.argv[1:], "vm:s:", ("verbose", "mode=", "state-path="))
    _, node, path = words
    with open(os.environ["CHANNEL_STARTS"], "a", encoding="ascii") as starts:
        starts.write(f"{os.getpid()} {node}\n")
    if os.environ.get("CHANNEL_STAYS"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if gate := os.environ.get("CHANNEL_GATE"):
        with open(gate, "wb"):
            pass
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        for name, value in options:
            if name in ("--state-path", "-s"):
                say(value)
        while True:
            client, _ = listener.accept()
            with client, socket.socket(socket.AF_UNIX) as server:
                server.connect(os.environ["CHANNEL_QMP"])
                relay(client, server)


if __name__ == "__main__":
    sys.exit(main())
