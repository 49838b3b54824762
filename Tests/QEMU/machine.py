"""A machine that counts: what the tests with a real QEMU share.

The guest is one boot sector. It counts the timer's ticks in a CPU register, keeps the count in
RAM and sends a letter for each; it goes on only if CPU, PIC, PIT and UART are as they were. Its
RAM is a file that outlives QEMU, as Xen keeps a guest's RAM: only device state is carried.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, closing, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

# Of this machine, or of another release (Tests/Releases/qemu.py).
QEMU = "qemu-system-x86_64"
XEN_QEMU = os.environ.get("STUBSAVE_XEN_QEMU", "/usr/libexec/xen-qemu-system-i386")
# Stands in for Xen's settings: no footers, no configuration section, no machine description.
XEN_LIKE = """
    -nodefaults -no-user-config -display none -rtc clock=vm -global apic.vapic=off
    -global migration.send-section-footer=off -global migration.send-configuration=off
    -global migration.store-global-state=off
""".split()
# What QEMU warns of, because of the network that leads nowhere.
OF_THE_NETWORK = ("warning: hub 0 is not connected to host network", "net has no peer")
INCOMING = ("-incoming", "defer")
SAVE = "xen-save-devices-state"
RAM_MIB = 32
DEADLINE_SECONDS = 30  # for one case, of which the slowest takes about 3 s

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LETTERS_MORE = 6  # by which a guest shows that it goes on
BOOTED = "@"  # what the boot sector sends before the first letter, once
COUNT_ADDRESS = 0x600  # 32 bits, in memory that the BIOS leaves alone
BOOT_SECTOR = bytes.fromhex(
    "fa 31c0 8ed8 8ed0 bc007c"  # 7C00  cli;  xor ax, ax;  mov ds, ax;  mov ss, ax;  mov sp, 7C00h
    "b034 e643"       #       PIT channel 0: both bytes, mode 2 (the BIOS sets mode 3)
    "b09c e640 b02e e640"   # 2E9Ch: 100 Hz instead of 18.2
    "6631ff"          #       xor  edi, edi           ; the count
    "b341"            #       mov  bl, 'A'            ; the next letter
    "baf803"          #       mov  dx, 3F8h           ; COM1
    "b040 ee"         #       mov  al, BOOTED;  out  dx, al
    "8b366c04"        #       mov  si, [046Ch]        ; the BIOS counts its ticks there, on IRQ 0
    "fb"              #       sti
    "f4"              # 7C26  hlt                     ; until any interrupt
    "a16c04"          #       mov  ax, [046Ch]
    "39f0 74f8"       #       cmp  ax, si;  je  7C26  ; not by a tick
    "89c6 6647"       #       mov  si, ax;  inc  edi
    "66893e0006"      #       mov  [COUNT_ADDRESS], edi
    "88d8 ee"         #       mov  al, bl;  out  dx, al
    "fec3 80fb5a 76e5"      # inc  bl;  cmp  bl, 'Z';  jbe  7C26
    "b341 ebe1"       #       mov  bl, 'A';  jmp  7C26
).ljust(510, b"\0") + b"\x55\xaa"

FOOTER = struct.Struct("<16sIIQQ16s")  # formats/save-disk.md, section 10; 8 bytes of hash follow
FOOTER_MAGIC = b"\x89STUBTRLR\r\n\x1a\n\0\0\0"


class Failure(Exception):
    """What a case found to be wrong."""


def expect(holds: bool, what: str) -> None:
    """Fail the case, saying what is wrong, unless that holds."""
    if not holds:
        raise Failure(what)


class Score:
    """Prints a line for each case and counts them."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    async def case(self, name: str, work: Awaitable[str],
                   seconds: float = DEADLINE_SECONDS) -> bool:
        """Whether the work ends in time and without a failure; it gives back what it found."""
        begin = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                detail = await work
        except TimeoutError:
            detail, holds = f"no end after {seconds} s", False
        except (Failure, OSError, EOFError) as error:
            detail, holds = str(error) or repr(error), False
        else:
            holds = True
        self.passed, self.failed = self.passed + holds, self.failed + (not holds)
        print(f"{'ok    ' if holds else 'FAILED'} {name}: {detail} "
              f"({time.monotonic() - begin:.1f} s)", flush=True)
        return holds


@asynccontextmanager
async def running(*command: str, **options: Any) -> AsyncIterator[Process]:
    """A process that does not outlive the block, stopped or not."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)  # process.kill() may reap, as asyncio does
        await process.wait()


class Outcome(NamedTuple):
    """How a stubsave command ended."""

    code: int
    output: bytes
    message: str
    command: str

    def __str__(self) -> str:
        return f"`{self.command}` gave exit {self.code}: {self.message or 'no message'}"


class Monitor:
    """QMP: one JSON object a line, replies and events mixed. Deadlines are the caller's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._migration = "none"

    async def receive(self) -> Any:
        """The next object that QEMU sends; ConnectionError if it has gone."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("QEMU has gone")
        message = json.loads(line)
        if message.get("event") == "MIGRATION":
            self._migration = message["data"]["status"]
        return message

    async def execute(self, command: str, **arguments: Any) -> Any:
        """What a command gives back; ConnectionError also if it is refused."""
        message = {"execute": command, "arguments": arguments}
        self._writer.write(json.dumps(message).encode() + b"\n")
        while "return" not in (reply := await self.receive()):
            if "error" in reply:
                raise ConnectionError(f"{command}: {reply['error']['desc']}")
        return reply["return"]

    async def expect_status(self, *wanted: str) -> str:
        """See that QEMU's run state is one of these; which it is."""
        status = (await self.execute("query-status"))["status"]
        expect(status in wanted, f"QEMU is {status} where it should be {' or '.join(wanted)}")
        return str(status)

    async def expect_no_fdsets(self) -> None:
        """See that no descriptor was left with QEMU. A set that is empty is QEMU's: 7.2 loses track
        of the one it was writing to when a save fails."""
        left = [fdset for fdset in await self.execute("query-fdsets") if fdset["fds"]]
        expect(not left, f"fdsets left: {left}")

    async def loaded(self) -> None:
        """Wait until a state has been loaded; only with `-global migration.x-events=on`."""
        while self._migration != "completed":
            await self.receive()


class Console:
    """What the guest sent to COM1."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader, self.text = reader, ""

    async def more(self, letters: int) -> None:
        """Wait for so many more letters."""
        self.text += (await self._reader.readexactly(letters)).decode("ascii", "replace")

    async def rest(self) -> None:
        """Everything that QEMU still sends until it ends."""
        self.text += (await self._reader.read()).decode("ascii", "replace")


class Guest(NamedTuple):
    """A QEMU: its monitor for the test, the path of the one for stubsave, the guest's COM1, RAM, and
    QEMU's standard error."""

    process: Process
    monitor: Monitor
    qmp: str
    console: Console
    ram: Path
    errors: Path

    def expect_quiet(self) -> None:
        """See that QEMU had nothing to say: of what it will refuse in its next version, this one warns."""
        said = [line for line in self.errors.read_text(encoding="utf-8", errors="replace").splitlines()
                if not line.endswith(OF_THE_NETWORK)]
        expect(not said, f"QEMU says {said}")

    async def goes_on(self, at_once: bool = True) -> None:
        """See that a guest that booted here runs: letters for later counts than now's arrive."""
        if at_once:
            await self.monitor.expect_status("running")
        sent = len(BOOTED) + counted(self.ram) + LETTERS_MORE
        await self.console.more(sent - len(self.console.text))
        await self.monitor.expect_status("running")

    async def end(self) -> None:
        """Let QEMU quit, and take in what the guest sent."""
        with suppress(ConnectionError):
            await self.monitor.execute("quit")
        await self.process.wait()
        await self.console.rest()


class Machine(NamedTuple):
    """A set of devices. `disk` makes the boot disk, a drive named `boot`, a device."""

    name: str
    devices: str
    disk: str = "ide-hd"
    program: str = QEMU
    accelerator: str = "tcg"


class Lab:
    """A directory, and the programs that are run in it."""

    def __init__(self, stubsave: str, directory: Path) -> None:
        self.program, self.directory, self._numbers = stubsave, directory, count()
        # Padded: an AHCI disk of one sector does not boot.
        (directory / "boot").write_bytes(BOOT_SECTOR.ljust(1 << 20, b"\0"))

    def path(self, name: str) -> str:
        """A path in the directory that was not given before."""
        return str(self.directory / f"{next(self._numbers):04}-{name}")

    def new_ram(self) -> Path:
        """The file that holds a guest's RAM."""
        ram = Path(self.path("ram"))
        with ram.open("xb") as file:
            file.truncate(RAM_MIB << 20)
        return ram

    @asynccontextmanager
    async def guest(self, machine: Machine, ram: Path, *options: str,
                    keep_ram: bool = False) -> AsyncIterator[Guest]:
        """A QEMU on that RAM, which it leaves as it is with `keep_ram`."""
        qmp, share = self.path("qmp"), "off" if keep_ram else "on"
        errors = Path(self.path("errors"))
        control, control_end = socket.socketpair()
        serial, serial_end = socket.socketpair()
        command = (
            f"{machine.program} -M pc,suppress-vmdesc=on,memory-backend=ram "
            f"-accel {machine.accelerator} -m {RAM_MIB} "
            f"-object memory-backend-file,id=ram,size={RAM_MIB}M,mem-path={ram},share={share} "
            f"-drive file={self.directory}/boot,format=raw,if=none,id=boot,snapshot=on "
            f"-netdev hubport,id=net,hubid=0 {machine.devices} "
            f"-device {machine.disk},drive=boot,bootindex=1 "
            f"-chardev socket,id=stubsave,path={qmp},server=on,wait=off "
            f"-qmp chardev:stubsave "
            f"-chardev socket,id=com1,fd={serial_end.fileno()} -serial chardev:com1 "
            f"-chardev socket,id=test,fd={control_end.fileno()} -qmp chardev:test").split()
        ends = (control_end.fileno(), serial_end.fileno())
        control_streams = await asyncio.open_unix_connection(sock=control)
        serial_streams = await asyncio.open_unix_connection(sock=serial)
        with (closing(control_streams[1]), closing(serial_streams[1]), control_end, serial_end,
              errors.open("wb") as said):
            async with running(*command, *XEN_LIKE, *options, stdin=DEVNULL, stdout=DEVNULL,
                               stderr=said, pass_fds=ends) as process:
                control_end.close()  # QEMU's ends are now the only ones
                serial_end.close()
                monitor = Monitor(*control_streams)
                await monitor.receive()  # the greeting: both monitors are there
                await monitor.execute("qmp_capabilities")
                yield Guest(process, monitor, qmp, Console(serial_streams[0]), ram, errors)

    async def stubsave(self, *arguments: str, source: bytes | None = None) -> Outcome:
        """Run a stubsave command, with `source` in a pipe as its standard input."""
        async with running(self.program, *arguments, stdin=DEVNULL if source is None else PIPE,
                           stdout=PIPE, stderr=PIPE) as process:
            output, message = await process.communicate(source)
        assert process.returncode is not None
        lines = message.decode("ascii", "replace").splitlines()
        command = " ".join(("stubsave", *arguments))
        return Outcome(process.returncode, output, *(
            text.replace(f"{self.directory}/", "") for text in (" / ".join(lines), command)))

    async def good(self, *arguments: str, source: bytes | None = None) -> bytes:
        """The output of a stubsave command that must not fail."""
        outcome = await self.stubsave(*arguments, source=source)
        expect(outcome.code == 0, str(outcome))
        return outcome.output

    async def refused(self, code: int, *arguments: str, source: bytes | None = None) -> Outcome:
        """A stubsave command that must fail with that exit code, a message and no output."""
        outcome = await self.stubsave(*arguments, source=source)
        expect(outcome.code == code, f"{outcome}; exit {code} was to be expected")
        expect(outcome.message.isascii() and outcome.message.isprintable() and
               outcome.message != "" and outcome.output == b"", f"{outcome}; output, or no message")
        return outcome


def counted(ram: Path) -> int:
    """The guest's count, as it stands in its RAM."""
    with ram.open("rb") as file:
        file.seek(COUNT_ADDRESS)
        return int.from_bytes(file.read(4), "little")


def expect_count(text: str, number: int, what: str) -> None:
    """See that `text` is what a guest sends that booted once and counted to `number`.

    Keeping a number and sending its letter is one of TCG's blocks: it is not stopped in between.
    """
    wanted = BOOTED + (LETTERS * (number // len(LETTERS) + 1))[:number]
    expect(text == wanted, f"{what} counted to {number}, sent {text!r}")


def state_in(file: bytes) -> bytes:
    """The state in a state file, after a check of its trailer that does not ask stubsave."""
    expect(len(file) >= 64, f"a state file of {len(file)} bytes")
    magic, version, features, state_bytes, metadata_bytes, digest = FOOTER.unpack_from(file[-64:])
    expect((magic, version, features) == (FOOTER_MAGIC, 1, 0), "no trailer of version 1")
    expect(state_bytes + metadata_bytes + 64 == len(file), "the trailer's lengths are wrong")
    metadata, state = file[state_bytes:-64], file[:state_bytes]
    expect(xxhash.xxh3_128_digest(state) == digest, "the state's digest is wrong")
    expect(xxhash.xxh3_64_digest(metadata + file[-48:-8]) == file[-8:], "the hash is wrong")
    expect(state.startswith(b"QEVM\0\0\0\3"), f"a state that begins with {state[:8].hex()}")
    return state
