"""What the lab boots, made from Debian's packages: Xen, dom0's kernel and root, a guest's kernel and root.

Made once for a folder: a stamp holds a digest of this file and of what it copies.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUITE = "bookworm"
LZ4 = b"\x02\x21\x4c\x18"  # the legacy frame, as the cloud kernel has it; the other one has xz
KERNEL, GUEST_KERNEL, XEN = (
    "linux-image-amd64", "linux-image-cloud-amd64", "xen-hypervisor-4.17-amd64")
# The cloud kernel runs as a PV guest and has blkfront, but cannot be dom0.
DOM0_PACKAGES = (
    "xen-utils-4.17", "xenstore-utils", "qemu-system-xen", "busybox-static", "kmod", "bash",
    "coreutils", "util-linux", "mount", "procps", "udev", "lvm2", "mdadm", "e2fsprogs", "python3",
    "strace", "base-passwd", "libc-bin")
DOM0_MODULES = (
    "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs", "xen-blkback", "loop",
    "virtio_pci", "virtio_console", "9p", "9pnet_virtio", "dm-mod", "md-mod", "raid1")
GUEST_MODULES = ("xen-blkfront", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs")
# What nobody here reads, and what is large.
NOT_IN_DOM0 = (
    "usr/share/locale", "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/perl",
    "usr/share/perl5", "usr/share/zoneinfo", "usr/share/bash-completion", "usr/share/qemu/*.lid",
    "usr/share/qemu/openbios*", "usr/share/qemu/u-boot*", "usr/share/qemu/opensbi*",
    "usr/share/qemu/edk2*", "usr/share/qemu/slof*", "usr/share/qemu/s390*", "usr/share/qemu/hppa*",
    "usr/share/qemu/palcode*", "usr/bin/perl*", "usr/lib/x86_64-linux-gnu/perl*", "var/cache/apt",
    "var/lib/apt", "usr/lib/xen-4.17/boot/xen-shim*", "usr/lib/x86_64-linux-gnu/gconv", "lib/udev/hwdb.d",
    "usr/lib/udev/hwdb.d", "usr/lib/python3*/test", "usr/lib/python3*/idlelib", "lib/modules",
    "usr/lib/locale", "usr/share/i18n", "boot", "usr/lib/systemd", "usr/share/xml", "usr/share/iso-codes")
QEMU = "usr/libexec/xen-qemu-system-i386"
XENSTORE = "usr/bin/xenstore"
# A guest's Python needs no more than what python3-minimal has.
GUEST_PROGRAMS = ("usr/bin/python3.11", "usr/bin/strace")
STUBDOMAIN_PROGRAMS = ("usr/lib/xen-4.17/bin/vchan-socket-proxy", "usr/bin/strace")


def run(*words: str | Path, **options: object) -> str:
    """A program's output."""
    return subprocess.run([str(word) for word in words], check=True, text=True,  # type: ignore
                          stdout=subprocess.PIPE, **options).stdout


def sources() -> list[str]:
    """Where this machine has its packages from."""
    places = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))
    return [str(place) for place in places if place.exists() and place.read_text().strip()]


def versions() -> str:
    """Of all that is wanted, so that a newer one is noticed."""
    return run("apt-cache", "policy", KERNEL, GUEST_KERNEL, XEN, *DOM0_PACKAGES)


class Images:
    """The folder, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.xen, self.kernel, self.root = folder / "xen", folder / "vmlinux", folder / "dom0.cpio"
        self.guest_kernel, self.guest_root = folder / "guest-vmlinux", folder / "guest.cpio"
        self.stubdomain_root = folder / "stubdomain.cpio"
        self._packages = folder / "packages"

    def make(self) -> None:
        """Make what is not there yet."""
        parts = [HERE / "images.py", *sorted((HERE / "dom0").iterdir())]
        digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts))
        digest.update(versions().encode())
        stamp = self.folder / "stamp"
        if stamp.exists() and stamp.read_text() == digest.hexdigest():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self._packages.mkdir(parents=True)
        kernel, cloud, xen = (self._package(name) for name in (KERNEL, GUEST_KERNEL, XEN))
        debian = self._debian()
        with (next((xen / "boot").glob("xen-*.gz"))).open("rb") as packed, self.xen.open("wb") as out:
            subprocess.run(["gzip", "-dc"], check=True, stdin=packed, stdout=out)
        self.kernel.write_bytes(elf(next((kernel / "boot").glob("vmlinuz-*")).read_bytes()))
        # Unpacked here: libxl would do it for each guest, under emulation.
        self.guest_kernel.write_bytes(elf(next((cloud / "boot").glob("vmlinuz-*")).read_bytes()))
        self._make_guest(debian, cloud)
        self._make_stubdomain(debian, cloud)
        self._make_dom0(debian, kernel)
        shutil.rmtree(self._packages)
        stamp.write_text(digest.hexdigest())

    def _package(self, name: str) -> Path:
        """One, unpacked; of a meta package the one that it stands for."""
        if name.startswith("linux-image"):
            depends = run("apt-cache", "depends", "--important", name).splitlines()
            name = next(line.split()[1] for line in depends if "Depends:" in line)
        run("apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", name, cwd=self._packages)
        place = self._packages / name
        run("dpkg-deb", "-x", next(self._packages.glob(f"{name}_*.deb")), place)
        for version in place.glob("lib/modules/*"):
            run("depmod", "-b", place, version.name)
        return place

    def _debian(self) -> Path:
        place = self._packages / "debian"
        run("mmdebstrap", "--quiet", "--variant=extract", "--include=" + ",".join(DOM0_PACKAGES),
            SUITE, place, *sources())
        return place

    def _make_dom0(self, root: Path, kernel: Path) -> None:
        groups = root / "usr/share/base-passwd"
        shutil.copy(groups / "passwd.master", root / "etc/passwd")
        shutil.copy(groups / "group.master", root / "etc/group")
        for pattern in NOT_IN_DOM0:
            for found in root.glob(pattern):
                shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()
        version = next((kernel / "lib/modules").iterdir()).name
        copy_modules(kernel, DOM0_MODULES, root / "lib/modules" / version, keeping=kernel)
        for name in "builtin", "order", "builtin.modinfo":
            shutil.copy(kernel / "lib/modules" / version / f"modules.{name}",
                        root / "lib/modules" / version)
        run("depmod", "-b", root, version)
        busybox(root)
        compile_library(root)
        for name in "proc", "sys", "dev", "run", "tmp", "mnt", "var/lib/xen", "var/log/xen/console":
            (root / name).mkdir(parents=True, exist_ok=True)
        for name in "run", "lock":
            shutil.rmtree(root / "var" / name, ignore_errors=True)
            (root / "var" / name).unlink(missing_ok=True)
        (root / "var/run").symlink_to("/run")
        (root / "var/lock").symlink_to("/run/lock")
        run("ldconfig", "-r", root)
        for file in (HERE / "dom0").iterdir():
            shutil.copy(file, root / file.name)
            (root / file.name).chmod(0o755)
        pack(root, self.root)

    def _make_guest(self, debian: Path, kernel: Path) -> None:
        """For the guests that stand for stubdomains: with Python."""
        root = small_root(debian, kernel, GUEST_PROGRAMS, self._packages / "guest")
        (root / "usr/bin/python3").symlink_to("python3.11")
        copy_standard_library(debian, root)
        compile_library(root)
        pack(root, self.guest_root)

    def _make_stubdomain(self, debian: Path, kernel: Path) -> None:
        """For stubdomains: as small as may be, it is unpacked at each create and restore."""
        root = small_root(debian, kernel, STUBDOMAIN_PROGRAMS, self._packages / "stubdomain")
        pack(root, self.stubdomain_root)


def small_root(debian: Path, kernel: Path, programs: Iterable[str], root: Path) -> Path:
    """What guests with a QEMU have in common, and these programs."""
    for name in "proc", "sys", "dev", "tmp", "run", "bin", "usr/bin", "mnt":
        (root / name).mkdir(parents=True)
    shutil.copy(debian / "bin/busybox", root / "bin")
    busybox(root)
    for program in (QEMU, XENSTORE, *programs):
        copy_with_libraries(debian, program, root)
    for name in "read", "write", "list", "rm", "watch":
        (root / f"usr/bin/xenstore-{name}").symlink_to("xenstore")
    for name in "usr/share/seabios", "usr/share/qemu/keymaps":
        shutil.copytree(debian / name, root / name)
    for name in "kvmvapic.bin", "linuxboot_dma.bin", "efi-e1000.rom", "efi-virtio.rom", \
            "efi-rtl8139.rom", "vgabios-stdvga.bin", "vgabios-cirrus.bin", "vgabios-qxl.bin":
        for place in "usr/share/qemu", "usr/lib/ipxe/qemu":
            if (debian / place / name).exists():
                (root / place).mkdir(parents=True, exist_ok=True)
                shutil.copy(debian / place / name, root / place / name)
    copy_modules(kernel, GUEST_MODULES, root / "lib/modules", keeping=None)
    return root


def copy_modules(kernel: Path, names: Iterable[str], target: Path, *, keeping: Path | None) -> None:
    """Modules and what they stand on, in their folders below `keeping` or all in one; in `load-order`
    the order in which they are to be loaded."""
    version = next((kernel / "lib/modules").iterdir()).name
    order = list[Path]()
    for name in names:
        lines = run("modprobe", "-d", kernel, "-S", version, "--show-depends", name).splitlines()
        order += [Path(line.split()[1]) for line in lines if line.startswith("insmod")]
    order = list(dict.fromkeys(order))
    base = kernel / "lib/modules" / version
    target.mkdir(parents=True, exist_ok=True)
    for module in order:
        place = target / (module.relative_to(base) if keeping else module.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(module, place)
    (target / "load-order").write_text("".join(f"{module.name}\n" for module in order))


def busybox(root: Path) -> None:
    """Links for what no real program does there."""
    places = [root / name for name in ("bin", "sbin", "usr/bin", "usr/sbin")]
    for name in run("busybox", "--list").split():
        if not any(os.path.lexists(place / name) for place in places):
            (root / "bin" / name).symlink_to("/bin/busybox")


def copy_with_libraries(root: Path, program: str, target: Path) -> None:
    """A program and the libraries that its loader finds below `root`."""
    listed = run("chroot", root, "/lib64/ld-linux-x86-64.so.2", "--list", f"/{program}")
    libraries = [word for word in listed.split() if word.startswith("/") and ".so" in word]
    for name in program, *(library.lstrip("/") for library in libraries):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            shutil.copy((root / name).resolve() if not (root / name).is_symlink()
                        else within(root, name), place)


def within(root: Path, name: str) -> Path:
    """What a link below `root` leads to, there."""
    path = root / name
    while path.is_symlink():
        link = os.readlink(path)
        path = root / link.lstrip("/") if link.startswith("/") else path.parent / link
    return path


def copy_standard_library(debian: Path, root: Path) -> None:
    """Python's, without what a guest has no use for."""
    library = "usr/lib/python3.11"
    shutil.copytree(debian / library, root / library, symlinks=True, ignore=shutil.ignore_patterns(
        "test", "idlelib", "lib2to3", "ensurepip", "tkinter", "pydoc_data", "distutils", "email",
        "unittest", "xml", "sqlite3", "dbm", "curses", "html", "http", "urllib", "multiprocessing",
        "dist-packages", "*.a", "config-*", "_codecs_*", "encodings", "asyncio", "concurrent"))
    places = ("__init__", "aliases", "utf_8", "ascii", "latin_1", "idna")
    (root / library / "encodings").mkdir()
    for name in places:
        shutil.copy(debian / library / f"encodings/{name}.py", root / library / "encodings")


def compile_library(root: Path) -> None:
    """Python's, ahead: to compile it at each start takes seconds under emulation. For the same
    version as this machine's, which Debian 12 has."""
    run("/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
        "-s", root, "-p", "/", root / "usr/lib/python3.11")


def pack(root: Path, archive: Path) -> None:
    """A folder, as the kernel takes it for its first root."""
    names = run("find", ".", cwd=root)
    with archive.open("wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], check=True, cwd=root,
                       input=names.encode(), stdout=out)


def elf(image: bytes) -> bytes:
    """The kernel in a bzImage, unpacked: this Xen does not unpack xz (linux/Documentation/x86/boot.rst)."""
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    packed = image[start:start + length]
    if packed.startswith(LZ4):
        # The last four bytes are the length when unpacked.
        return subprocess.run(["lz4", "-dc"], check=True, input=packed[:-4], stdout=subprocess.PIPE).stdout
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed)
