"""Stubdomains: a PV guest with a real QEMU and the agent."""

from __future__ import annotations

from guests import Guest, Target, node, run

QEMU = "/usr/libexec/xen-qemu-system-i386"
QMP, SECOND_QMP = "/tmp/qmp", "/tmp/qmp2"
MAX_STATE = 1 << 29
# As under Xen: no configuration section, no footers, no description.
MACHINE = (
    "-M pc,accel=qtest,suppress-vmdesc=on -m 64 -nodefaults -display none -S "
    "-rtc base=2000-01-01,clock=vm -global migration.send-section-footer=off "
    "-global migration.send-configuration=off -global migration.store-global-state=off")
DEVICES = {
    "e1000": "-device e1000",
    "ahci, xhci, cirrus": "-device ich9-ahci -device qemu-xhci -device cirrus-vga",
    "virtio, AC97": "-device virtio-net-pci -device virtio-blk-pci,drive=d "
                    "-drive if=none,id=d,driver=null-co -audiodev none,id=a -device AC97,audiodev=a",
}


def qemu_version() -> str:
    """Of dom0's, which the stubdomains have too."""
    return run(QEMU, "--version").split()[3]


class Stub(Guest):
    """One, and the guest whose QEMU it has."""

    def __init__(self, name: str, target: Target, lines: str = "") -> None:
        super().__init__(name, target, lines=lines)
        self.target = target
        run("xenstore-write", f"/local/domain/{target.domid}/image/device-model-domid",
            str(self.domid))

    def start_qemu(self, devices: str, incoming: bool = False) -> None:
        """Anew, and the agent beside it; the guest runs. Its clock stands: two states are the same."""
        self.stop()
        while self.target.is_paused():
            run("xl", "unpause", self.target.name)
        self.sh(f"{QEMU} {MACHINE} {devices} "
                f"{'-incoming defer ' if incoming else ''}"
                f"-qmp unix:{QMP},server=on,wait=off -qmp unix:{SECOND_QMP},server=on,wait=off "
                # In the foreground until its monitors answer.
                "-daemonize >/tmp/qemu.log 2>&1 || { cat /tmp/qemu.log; false; }")
        self.start_agent()

    def start_agent(self) -> None:
        """Beside the QEMU that there is."""
        self.sh("xenstore-rm data/stubsave 2>/dev/null; "
                f"stubsave-agent serve {QMP} xenstore {MAX_STATE} /dev 60000 >/tmp/agent.log 2>&1 &")
        # It says who it is once it listens.
        self.sh("n=0; until xenstore-read data/stubsave >/dev/null 2>&1; do "
                "sleep 0.1; n=$((n+1)); [ $n -lt 300 ] || { cat /tmp/agent.log; exit 1; }; done")

    def wait_for_disk(self, name: str) -> None:
        """dom0's side has connected before the device is there (blkfront)."""
        self.sh(f"n=0; until [ -b /dev/{name} ]; do sleep 0.05; n=$((n+1)); [ $n -lt 400 ] || exit 1; done")

    def start_inside(self, what: str) -> None:
        """Something of inside.py, beside the shell; what it prints is in /tmp/inside.log."""
        self.start("rm -f /tmp/inside.log; "
                   f'python3 -B -c "import sys; sys.path.append(\'/bin\'); import inside; '
                   f'inside.{what}" >/tmp/inside.log 2>&1 &')
        self.sh("n=0; until grep -q listening /tmp/inside.log; do "
                "sleep 0.1; n=$((n+1)); [ $n -lt 300 ] || { cat /tmp/inside.log; exit 1; }; done")

    def stop(self) -> None:
        """QEMU and agent."""
        self.sh("killall -9 stubsave-agent xen-qemu-system-i386; rm -f /tmp/qmp*; true",
                must=False)

    def inside(self, python: str, timeout: float = 120) -> str:
        """What a line of Python prints, with inside.py."""
        return self.sh(f'python3 -B -c "import sys; sys.path.append(\'/bin\'); import inside; {python}"',
                       timeout=timeout).strip()

    def saved(self) -> str:
        """Length and digest of what QEMU saves by itself."""
        return self.inside(f"inside.saved('{SECOND_QMP}')")

    def status(self) -> str:
        """What QEMU says of its guest."""
        return self.inside(f"inside.status('{SECOND_QMP}')")

    def hint(self) -> str | None:
        """What the agent says of itself."""
        return node(f"/local/domain/{self.domid}/data/stubsave")
