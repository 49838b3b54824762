"""Xen under emulation: one machine whose dom0 runs what a folder holds that it shares with us.

Its clock counts instructions, one a nanosecond, and time passes besides only when all its domains wait. So
deadlines of seconds, of libxl's as of ours, are as far away on a busy machine as on a quiet one, and times on that
clock are the same again. QEMU has one thread for all processors then: there is one.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from images import Images, pack

MACHINE_MIB, DOM0_MIB = 6144, 2048
# `max` crashes dom0, and Xen does not start under KVM here.
PROCESSOR = "qemu64,+svm,+npt"
INSTRUCTIONS = "shift=0,sleep=on"
LINE_BYTES = 1 << 20  # of what dom0 says, at most
SMALL_ROOT, BOOT_SECTOR = "small-ramdisk", "hvm-boot"
SMALL_INIT = "#!/bin/busybox sh\nwhile :; do /bin/busybox sleep 1000; done\n"


def ramdisk(root: Path, target: Path, files: dict[str, Path], scratch: Path) -> None:
    """A guest's root: the one that is made once, and what is the project's behind it, which the kernel
    unpacks after it."""
    for name, file in files.items():
        place = scratch / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
        place.chmod(0o755)
    own = scratch.with_suffix(".cpio")
    pack(scratch, own)
    with target.open("wb") as out:
        for part in root, own:
            subprocess.run(["cat", part], check=True, stdout=out)


def compile_c(source: Path, program: Path, *options: str) -> None:
    """By Swift's own compiler."""
    subprocess.run(["clang", "-O2", "-Wall", "-Werror", *options, "-o", program, source], check=True)


def boot_sector(source: Path, share: Path, scratch: Path) -> None:
    """What an HVM guest boots from its disk; the BIOS loads it to 7C00."""
    subprocess.run(["as", "--32", "-o", scratch, source], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o",
                    share / BOOT_SECTOR, scratch], check=True)


def small_ramdisk(share: Path, scratch: Path) -> None:
    """The root of a guest that only has to be there."""
    (scratch / "bin").mkdir(parents=True)
    (scratch / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (scratch / "init").write_text(SMALL_INIT)
    for name in "bin/busybox", "init":
        (scratch / name).chmod(0o755)
    pack(scratch, share / SMALL_ROOT)


def processor_seconds(pid: int) -> float:
    """Of a process that runs (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Join(NamedTuple):
    """With another machine: a folder that both have, and the end of a socket pair, which is this one's port `peer`."""

    share: Path
    line: int


class Machine:
    """Boots, says on standard output what dom0 writes to its port `results`, and ends."""

    def __init__(self, images: Images, share: Path, root: Path, log: Path, before: str, *,
                 xenstored: str = "xenstored", join: Join | None = None) -> None:
        """`root` is dom0's first; what stands before each line that is said is `before`."""
        self._log, self._before, self._passed = log, before, (join.line,) if join else ()
        self.times: list[tuple[float, float]] = []  # for each line: this machine's clock, and QEMU's processor time
        self.said: list[str] = []
        self._words = [
            "qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-cpu", PROCESSOR,
            "-icount", INSTRUCTIONS, "-smp", "1", "-m", str(MACHINE_MIB), "-nodefaults", "-display", "none",
            "-no-reboot", "-serial", f"file:{log}",
            "-kernel", str(images.xen), "-append",
            f"console=com1 com1=115200,8n1 dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M "
            "dom0_max_vcpus=1 noreboot=0 bootscrub=0",
            "-initrd", f"{images.kernel} console=hvc0 quiet cryptomgr.notests lab.xenstored={xenstored},{root}",
            "-fsdev", f"local,id=share,path={share},security_model=none",
            # Of a PV dom0 the device must not take the addresses for the machine's.
            "-device", "virtio-9p-pci,disable-legacy=on,iommu_platform=on,fsdev=share,mount_tag=lab",
            "-device", "virtio-serial-pci,disable-legacy=on,iommu_platform=on", "-chardev", "stdio,id=results,signal=off",
            "-device", "virtserialport,chardev=results,name=results"]
        if join:
            self._words += [
                "-fsdev", f"local,id=joined,path={join.share},security_model=none",
                "-device", "virtio-9p-pci,disable-legacy=on,iommu_platform=on,fsdev=joined,mount_tag=joined",
                "-chardev", f"socket,id=peer,fd={join.line}", "-device", "virtserialport,chardev=peer,name=peer"]

    async def run(self, timeout_seconds: float) -> bool:
        """Whether it ended by itself, in time."""
        # Whose standard input has ended counts as nobody to a virtio port.
        process = await asyncio.create_subprocess_exec(
            *self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=LINE_BYTES,
            pass_fds=self._passed)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._listen(process)
                return await process.wait() == 0
        except TimeoutError:
            return False
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            self.said.append(line.decode(errors="replace").rstrip("\n"))
            self.times.append((time.monotonic(), processor_seconds(process.pid)))
            print(f"{self._before}{self.said[-1]}", flush=True)

    def exit_code(self) -> int | None:
        """Of what dom0 has run; None if it did not come to its end."""
        for line in self._log.read_text(errors="replace").splitlines():
            if line.startswith("LAB: exit "):
                return int(line.split()[2])
        return None
