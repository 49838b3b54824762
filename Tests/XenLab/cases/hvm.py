"""HVM guests with a Linux stubdomain, or without one: made, saved, restored and migrated by xl."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from dom0 import Outcome, Wrong, expect, traces
from guests import CARRIED, LOCAL, node, run
from serials import Serials
from xenstore import Xenstore

MIB = 1 << 20
# Of hvm/boot.S.
SECTOR, LAPS, BANNER = 64, b"LAPS", b"BOOT "
BOOT_SECONDS, SAVE_SECONDS, COMMAND_SECONDS = 120, 120, 60
LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CONFIG = """name="{name}"
type="hvm"
memory=64
vcpus=1
hap=1
disk=["format=raw,vdev=hda,access=rw,{backend},target={disk}"]
boot="c"
serial="pty"
vga="none"
vnc=0
on_crash="destroy"
on_poweroff="destroy"
device_model_version="qemu-xen"
"""
# A QEMU in dom0 opens the file itself: with a script libxl gives the guest no emulated disk then.
IN_DOM0, IN_STUBDOMAIN = "backendtype=qdisk", "script=/run/lab/hotplug"
STUBDOMAIN = """device_model_stubdomain_override=1
stubdomain_kernel="/run/lab/guest-vmlinux"
stubdomain_ramdisk="/run/lab/stubdomain-ramdisk"
stubdomain_memory={memory}
stubdomain_cmdline="console=hvc0 quiet cryptomgr.notests{arguments}"
"""
MEMORY = 256


def xl(*words: str, timeout: float = SAVE_SECONDS) -> Outcome:
    """Run it; its output and errors are the message."""
    start = time.monotonic()
    done = subprocess.run(["xl", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout, check=False)
    return Outcome(done.returncode, b"", done.stdout.decode(errors="replace").strip(),
                   time.monotonic() - start)


def good_xl(*words: str, timeout: float = SAVE_SECONDS) -> Outcome:
    """The same, which must end well."""
    outcome = xl(*words, timeout=timeout)
    expect(outcome.code == 0, f"xl {words}: {outcome}")
    return outcome


def errors(said: str) -> list[str]:
    """Lines of libxl's that tell of one. Since 4.20 it starts a QEMU to ask it for its options, and kills it: what
    that brings is none."""
    harmless = ("qmp_ev_fd_callback", "probe already exited")
    return [line for line in said.splitlines() if "error" in line and not any(word in line for word in harmless)]


def all_traces() -> dict[str, str]:
    """Those of dom0, and what libxl and its proxies have for a stubdomain."""
    return traces() | {
        "state files": "\n".join(sorted(map(str, Path("/var/lib/xen").glob("qemu-*")))),
        "sockets": "\n".join(sorted(map(str, Path("/run/xen").glob("qmp-*")))),
        "domains": "\n".join(line.split()[0] for line in run("xl", "list").splitlines()[1:]),
    }


class HVM:
    """One, whose boot sector counts on its serial port and on its disk."""

    def __init__(self, name: str, serials: Serials, *, has_stubdomain: bool = True,
                 memory: int = MEMORY, lines: str = "", arguments: str = "",
                 disk: Path | None = None, is_new: bool = True) -> None:
        """With a disk of its own, which is made anew."""
        self.name, self.file = name, LOCAL / f"{name}.save"
        self.disk = disk or LOCAL / f"{name}.disk"
        self.has_stubdomain, self._serials, self._commands = has_stubdomain, serials, 0
        if is_new:
            boot = (CARRIED / "hvm-boot").read_bytes()
            self.disk.write_bytes(boot + bytes(MIB - len(boot)))
        self._lines, self._memory, self._arguments = lines, memory, arguments
        self.config = LOCAL / f"{name}.cfg"
        self._write_config()
        self.domid = self.stubdomain = 0
        self._past = b""
        self._last: Outcome | None = None

    def _write_config(self) -> None:
        text = CONFIG.format(name=self.name, disk=self.disk,
                             backend=IN_STUBDOMAIN if self.has_stubdomain else IN_DOM0) + self._lines
        if self.has_stubdomain:
            arguments = f" {self._arguments}" if self._arguments else ""
            text += STUBDOMAIN.format(memory=self._memory, arguments=arguments)
        self.config.write_text(text)

    def move_to_dom0(self, is_there: bool) -> None:
        """Where its QEMU is to be from its next restore on, with `config`."""
        self._past = self.said()
        self.has_stubdomain, self.stubdomain, self.domid = not is_there, 0, 0
        self._write_config()

    def add_to_command_line(self, word: str) -> None:
        """Of its stubdomain's kernel, from its next restore on, with `config`."""
        self._arguments = word
        self._write_config()

    def goes_on_from(self, said: bytes) -> None:
        """It has said this in another machine."""
        self._past = said

    # The life of a guest.

    def create(self) -> Outcome:
        """Returns once xl has; the guest boots then."""
        outcome = good_xl("create", str(self.config))
        # It says 0 too if QEMU could not be told to let the guest run.
        expect(not errors(outcome.message), f"{outcome}\n{self.proxy_log()[-2000:]}")
        self.look()
        return outcome

    def save(self, *flags: str) -> Outcome:
        """To `file`. What it has said is still there afterwards, its domains may not be."""
        self._last = xl("save", *flags, self.name, str(self.file))
        return self._last

    def restore(self, *flags: str) -> Outcome:
        """From `file`."""
        outcome = xl("restore", *flags, str(self.file))
        if outcome.code == 0:
            self.look()
        return outcome

    def migrate(self) -> Outcome:
        """To the same machine, without ssh."""
        outcome = xl("migrate", "-s", "", self.name, "xl migrate-receive")
        if outcome.code == 0:
            self.look()
        return outcome

    def destroy(self) -> None:
        """If it is there."""
        run("xl", "destroy", self.name, must=False)
        self.file.unlink(missing_ok=True)

    def look(self) -> None:
        """It has new domains after each create, restore and migration."""
        self._past = self.said()
        self.domid = int(run("xl", "domid", self.name))
        if self.has_stubdomain:
            self.stubdomain = int(node(f"/local/domain/{self.domid}/image/device-model-domid") or 0)
            expect(self.stubdomain, f"{self.name} has no stubdomain")

    # What it says.

    @property
    def port(self) -> int:
        """The domain that has its serial port."""
        return self.stubdomain if self.has_stubdomain else self.domid

    def said(self) -> bytes:
        """All in its life, whatever domains it has had."""
        return self._past + self._serials.heard(self.port)

    def longest_silence(self) -> float:
        """Seconds, since it has had these domains."""
        return self._serials.longest_silence(self.port)

    def wait_until_counting(self) -> None:
        """Until it has said a few letters more."""
        start = max(len(self._serials.heard(self.port)), 0 if self._past else len(BANNER))
        try:
            self._serials.wait(self.port, rb"[A-Z]{4}", BOOT_SECONDS, start)
        except TimeoutError as error:
            # xl says nothing of it if it cannot let a guest go on that it has saved with -c.
            raise TimeoutError(f"{error}\nthe last xl save: {self._last}\n{run('xl', 'list', must=False)}"
                               f"{self.proxy_log()[-1000:] if self.stubdomain else ''}") from None

    def check_counting(self) -> str:
        """It has booted once, has left out no letter since, and has written to its disk as often as it
        has said Z; the last of them may still be under way."""
        laps, said = self.laps(), self.said()
        expect(said.startswith(BANNER), f"began with {said[:20]!r}")
        letters = said[len(BANNER):]
        wanted = (LETTERS * (len(letters) // len(LETTERS) + 1))[:len(letters)]
        if letters != wanted:
            place = next(place for place, pair in enumerate(zip(letters, wanted)) if pair[0] != pair[1])
            raise Wrong(f"...{letters[max(place - 30, 0):place].decode()} and then "
                        f"{letters[place:place + 30]!r}")
        expect(letters.count(b"Z") - laps in (0, 1), f"{laps} laps, but {letters.count(b'Z')} times Z")
        return f"{len(letters)} letters, {laps} laps"

    def laps(self) -> int:
        """That it has written to its disk, as dom0 sees it."""
        with self.disk.open("rb") as disk:
            disk.seek(SECTOR * 512)
            found = disk.read(8)
        return int.from_bytes(found[4:], "little") if found.startswith(LAPS) else 0

    def wait_for_lap(self) -> int:
        """Until it has written once more."""
        before, deadline = self.laps(), time.monotonic() + BOOT_SECONDS
        while self.laps() == before:
            expect(time.monotonic() < deadline, f"{self.name} writes no more: {before} laps")
            time.sleep(0.05)
        return self.laps()

    # Its stubdomain.

    def sh(self, line: str, seconds: float = COMMAND_SECONDS, must: bool = True) -> str:
        """What a line prints that the stubdomain's shell runs; the last 1500 bytes."""
        self._commands += 1
        answer, number = f"/local/domain/{self.stubdomain}/data/lab", str(self._commands)
        xenstore = Xenstore()
        try:
            xenstore.watch(answer)
            xenstore.write(f"/local/domain/{self.stubdomain}/lab/command", f"{number} {line}")
            deadline = time.monotonic() + seconds
            while True:
                words = (xenstore.read(answer) or "").split(" ", 2)
                if words[0] == number:
                    break
                if xenstore.event(deadline - time.monotonic()) is None:
                    raise TimeoutError(f"{self.name}'s stubdomain, {line}: {self.log()[-2000:]}")
        finally:
            xenstore.close()
        if must and words[1] != "0":
            raise RuntimeError(f"{self.name}'s stubdomain, {line}: exit {words[1]}: {words[2]}")
        return words[2]

    def log(self) -> str:
        """What its stubdomain says."""
        file = Path(f"/var/log/xen/qemu-dm-{self.name}.log")
        return file.read_text(errors="replace") if file.exists() else ""

    def proxy_log(self) -> str:
        """What stands in the place of libxl's proxy says."""
        file = Path(f"/var/log/xen/qmp-proxy-{self.name}-dm.log")
        return file.read_text(errors="replace") if file.exists() else ""
