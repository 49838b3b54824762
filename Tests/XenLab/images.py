"""What the lab boots, made from a Debian release's packages: Xen, dom0's kernel and root, a guest's kernel
and root.

Made once for a release: a stamp holds a digest of this file and of what it copies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "Releases"))

from releases import Archive, Release  # noqa: E402

# How a kernel may be packed: its first bytes, what unpacks it, and whether the length when unpacked follows, which a
# bzImage has behind all but xz (scripts/Makefile.lib). LZ4 is the legacy frame.
PACKED = (
    (b"\x02\x21\x4c\x18", ("lz4", "-dc"), 4),
    (b"\x28\xb5\x2f\xfd", ("zstd", "-dc"), 4),
    (b"\x1f\x8b", ("gzip", "-dc"), 4),
    (b"\xfd7zXZ", ("xz", "-dc", "--single-stream"), 0))
# The cloud kernel runs as a PV guest and has blkfront, but cannot be dom0.
KERNEL, GUEST_KERNEL = "linux-image-amd64", "linux-image-cloud-amd64"
DOM0_PACKAGES = (
    "xen-utils", "xenstore-utils", "qemu-system-xen", "busybox-static", "kmod", "bash",
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
    "var/lib/apt", "usr/lib/xen-*/boot/xen-shim*", "usr/lib/x86_64-linux-gnu/gconv", "lib/udev/hwdb.d",
    "usr/lib/udev/hwdb.d", "usr/lib/python3*/test", "usr/lib/python3*/idlelib", "lib/modules",
    "usr/lib/locale", "usr/share/i18n", "boot", "usr/share/xml", "usr/share/iso-codes")
QEMU = "usr/libexec/xen-qemu-system-i386"
XENSTORE = "usr/bin/xenstore"
# Of systemd's folder; since Debian 13 udev's daemon is in it.
KEPT_OF_SYSTEMD = "systemd-udevd"


def run(*words: str | Path, **options: object) -> str:
    """A program's output."""
    return subprocess.run([str(word) for word in words], check=True, text=True,  # type: ignore
                          stdout=subprocess.PIPE, **options).stdout


class Images:
    """The folder, and what is in it."""

    def __init__(self, release: Release, folder: Path) -> None:
        self.release, self.folder = release, folder
        self.xen, self.kernel, self.root = folder / "xen", folder / "vmlinux", folder / "dom0.cpio"
        self.guest_kernel, self.guest_root = folder / "guest-vmlinux", folder / "guest.cpio"
        self.stubdomain_root = folder / "stubdomain.cpio"
        self._packages = folder / "packages"
        self._archive = Archive(release, folder.with_name(f"{folder.name}-apt"))

    def _versions(self) -> str:
        """Of all that is wanted, so that a newer one is noticed."""
        names = map(self.release.package, ("xen-hypervisor", *DOM0_PACKAGES))
        return self._archive.policy(KERNEL, GUEST_KERNEL, *names)

    def make(self) -> None:
        """Make what is not there yet."""
        parts = [HERE / "images.py", *sorted((HERE / "dom0").iterdir())]
        digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts))
        digest.update(f"{self.release}\n{self._versions()}".encode())
        stamp = self.folder / "stamp"
        if stamp.exists() and stamp.read_text() == digest.hexdigest():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self._packages.mkdir(parents=True)
        kernel, cloud = (self._kernel(name) for name in (KERNEL, GUEST_KERNEL))
        xen = self._archive.download(self.release.package("xen-hypervisor"), self._packages / "xen")
        debian = self._archive.bootstrap(
            self._packages / "debian", map(self.release.package, DOM0_PACKAGES), "--variant=extract")
        compile_library(debian, self.release)
        with (next((xen / "boot").glob("xen-*.gz"))).open("rb") as packed, self.xen.open("wb") as out:
            subprocess.run(["gzip", "-dc"], check=True, stdin=packed, stdout=out)
        self.kernel.write_bytes(elf(image(kernel)))
        # Unpacked here: libxl would do it for each guest, under emulation.
        self.guest_kernel.write_bytes(elf(image(cloud)))
        self._make_guest(debian, cloud)
        self._make_stubdomain(debian, cloud)
        self._make_dom0(debian, kernel)
        shutil.rmtree(self._packages)
        stamp.write_text(digest.hexdigest())

    def _kernel(self, name: str) -> Path:
        """One, unpacked, whose modules are where `modprobe -d` looks for them."""
        place = self._archive.kernel(name, self._packages / name)
        if not (place / "lib").exists():
            (place / "lib").symlink_to("usr/lib")  # since Debian 13 they are there
        for version in place.glob("lib/modules/*"):
            run("depmod", "-b", place, version.name)
        return place

    def _make_dom0(self, root: Path, kernel: Path) -> None:
        groups = root / "usr/share/base-passwd"
        shutil.copy(groups / "passwd.master", root / "etc/passwd")
        shutil.copy(groups / "group.master", root / "etc/group")
        for pattern in NOT_IN_DOM0:
            for found in root.glob(pattern):
                remove(found)
        for found in (root / "usr/lib/systemd").iterdir():
            if found.name != KEPT_OF_SYSTEMD:
                remove(found)
        version = next((kernel / "lib/modules").iterdir()).name
        copy_modules(kernel, DOM0_MODULES, root / "lib/modules" / version, keeping=kernel)
        for list_of in (kernel / "lib/modules" / version).glob("modules.*"):
            if list_of.name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
                shutil.copy(list_of, root / "lib/modules" / version)
        run("depmod", "-b", root, version)
        busybox(root)
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
        python = self.release.python_program
        root = small_root(debian, kernel, (f"usr/bin/{python}", "usr/bin/strace"), self._packages / "guest")
        (root / "usr/bin/python3").symlink_to(python)
        copy_standard_library(debian, root, f"usr/lib/{python}")
        pack(root, self.guest_root)

    def _make_stubdomain(self, debian: Path, kernel: Path) -> None:
        """For stubdomains: as small as may be, it is unpacked at each create and restore."""
        proxy = f"{self.release.xen_folder}/vchan-socket-proxy"
        root = small_root(debian, kernel, (proxy, "usr/bin/strace"), self._packages / "stubdomain")
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
        if module.suffix == ".xz":  # since Debian 13; busybox takes none
            place.with_suffix("").write_bytes(unpacked(module.read_bytes(), "xz", "-dc"))
        else:
            shutil.copy(module, place)
    names = [module.name.removesuffix(".xz") for module in order]
    (target / "load-order").write_text("".join(f"{name}\n" for name in names))


def remove(path: Path) -> None:
    """A file, a link, or a folder with all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


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


def copy_standard_library(debian: Path, root: Path, library: str) -> None:
    """Python's, without what a guest has no use for; python3-minimal would do."""
    shutil.copytree(debian / library, root / library, symlinks=True, ignore=shutil.ignore_patterns(
        "test", "idlelib", "lib2to3", "ensurepip", "tkinter", "pydoc_data", "distutils", "email",
        "unittest", "xml", "sqlite3", "dbm", "curses", "html", "http", "urllib", "multiprocessing",
        "dist-packages", "*.a", "config-*", "_codecs_*", "encodings", "asyncio", "concurrent"))
    places = ("__init__", "aliases", "utf_8", "ascii", "latin_1", "idna")
    (root / library / "encodings/__pycache__").mkdir(parents=True)
    for name in places:
        for file in (debian / library / "encodings").glob(f"**/{name}.*py*"):
            shutil.copy(file, root / file.relative_to(debian))


def compile_library(root: Path, release: Release) -> None:
    """Python's, ahead: to compile it at each start takes seconds under emulation. By that root's own Python:
    this machine's may be of another version."""
    run("chroot", root, f"/usr/bin/{release.python_program}", "-m", "compileall", "-q",
        "--invalidation-mode", "unchecked-hash", f"/usr/lib/{release.python_program}")


def pack(root: Path, archive: Path) -> None:
    """A folder, as the kernel takes it for its first root."""
    names = run("find", ".", cwd=root)
    with archive.open("wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], check=True, cwd=root,
                       input=names.encode(), stdout=out)


def image(kernel: Path) -> bytes:
    """A kernel's bzImage, of a package that is unpacked there."""
    (found,) = (*kernel.glob("boot/vmlinuz-*"), *kernel.glob("usr/lib/modules/*/vmlinuz"))
    return found.read_bytes()


def elf(image: bytes) -> bytes:
    """The kernel in a bzImage, unpacked: this Xen does not unpack xz (linux/Documentation/x86/boot.rst)."""
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    packed = image[start:start + length]
    for magic, words, rest in PACKED:
        if packed.startswith(magic):
            return unpacked(packed[:len(packed) - rest], *words)
    raise ValueError(f"a kernel that is packed with {packed[:8].hex()}")


def unpacked(data: bytes, *words: str) -> bytes:
    """What such a program makes of it."""
    return subprocess.run(words, check=True, input=data, stdout=subprocess.PIPE).stdout
