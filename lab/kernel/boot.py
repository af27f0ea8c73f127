"""Boots a kernel with this machine's root as its own, read-only, runs one program there and gives what it said.

No disk image is made: a small initramfs, written here, loads the modules for the 9P file system, mounts the root, lays
empty folders over what must be written, and starts the program. `-accel tcg`: no hardware help is needed, and what runs
is some 25 times slower than outside.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.packages import SEARCH_PATH
from lab.programs import LabError

__all__ = ["PACKAGES", "Booted", "archive", "boot", "newest"]

PACKAGES = (
    ("qemu-system-x86", "qemu-system-x86_64"),
    ("busybox-static", "/bin/busybox"),
    ("kmod", "modprobe"),
    ("linux-image-amd64", "/usr/share/doc/linux-image-amd64"),
)
"""(package, what shows that it is there)."""
_MODULES = ("virtio_pci", "9pnet_virtio", "9p")
_SAYS = "flowsonar-says "
"""Before each line of the program on the console, to tell it from the kernel's own."""
_INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module || echo "{says}no $module"; done
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose host /root
n=0; for at in {shown}; do
    n=$((n + 1)); /bin/busybox mkdir -p /shown/$n; /bin/busybox mount -o bind "/root$at" /shown/$n
done
for at in /tmp /run {writable}; do /bin/busybox mount -t tmpfs tmpfs "/root$at"; done
n=0; for at in {shown}; do
    n=$((n + 1)); [ -d "/root$at" ] && continue
    /bin/busybox mkdir -p "/root$at"; /bin/busybox mount -o bind /shown/$n "/root$at"
done
/bin/busybox mount -t proc proc /root/proc
/bin/busybox mount -t sysfs sys /root/sys
/bin/busybox mount -t devtmpfs dev /root/dev
exec /bin/busybox switch_root /root /bin/sh -c {command}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """What came of it."""

    lines: tuple[str, ...]
    """What the program printed."""
    finished: bool
    """Whether it came to its end in time."""
    console: str


def newest(folder: Path = Path("/boot")) -> tuple[Path, str]:
    """The newest of Debian's kernels that is installed with its modules, and its version. Raises LabError."""
    found = sorted(folder.glob("vmlinuz-*-amd64"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found:
        version = path.name.removeprefix("vmlinuz-")
        if (Path("/lib/modules") / version / "modules.dep").exists():
            return path, version
    raise LabError("no kernel of Debian's is installed: apt-get install linux-image-amd64")


def _modules(version: str) -> list[Path]:
    """The files of the modules needed, in the order of loading; what is built in has none."""
    found: list[Path] = []
    for name in _MODULES:
        words = ["modprobe", "--show-depends", "-S", version, name]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, env={**os.environ, "PATH": SEARCH_PATH}
        )
        if done.returncode != 0:
            raise LabError(f"{' '.join(words)}: {done.stderr.strip()}")
        for line in done.stdout.splitlines():
            kind, _, file = line.partition(" ")
            path = Path(file.split()[0]) if file else None
            if kind == "insmod" and path is not None and path not in found:
                found.append(path)
    return found


def archive(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """A cpio archive of the `newc` kind: {name: (mode, content)}."""
    made = bytearray()
    entries = [*files.items(), ("TRAILER!!!", (0, b""))]
    for number, (name, (mode, content)) in enumerate(entries, start=1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)
        made += b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        made += bytes(-len(made) % 4) + content
        made += bytes(-len(made) % 4)
    return bytes(made)


def boot(
    command: Sequence[str], folder: Path, *, seconds: float, writable: Sequence[str] = (), shown: Sequence[str] = ()
) -> Booted:
    """Boot, run the command, switch off. Raises LabError.

    `writable` are folders laid over with empty ones, as `/tmp` and `/run` are; `shown` are seen all the same.
    """
    kernel, version = newest()
    modules = _modules(version)
    words = f"{shlex.join(command)} 2>&1 | sed -u 's/^/{_SAYS}/'; echo; echo {_SAYS}end; "
    words += "echo o > /proc/sysrq-trigger; sleep 60"
    init = _INIT.format(
        modules=" ".join(path.name for path in modules),
        says=_SAYS,
        writable=shlex.join(writable),
        shown=shlex.join(shown),
        command=shlex.quote(words),
    )
    directory, program = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    files = {"bin": (directory, b""), "modules": (directory, b"")}
    files["init"] = (program, init.encode())
    files["bin/busybox"] = (program, Path("/bin/busybox").read_bytes())
    files |= {f"modules/{path.name}": (program, path.read_bytes()) for path in modules}
    initrd = folder / "initramfs.cpio"
    initrd.write_bytes(archive(files))
    emulator = shutil.which("qemu-system-x86_64", path=SEARCH_PATH)
    if emulator is None:
        raise LabError("no emulator: apt-get install qemu-system-x86")
    arguments = [emulator, "-accel", "tcg", "-m", "1024", "-nodefaults", "-no-reboot", "-nic", "none"]
    arguments += ["-display", "none", "-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initrd)]
    arguments += ["-append", "console=ttyS0 quiet panic=1 mitigations=off"]
    arguments += ["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"]
    arguments += ["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]
    try:
        done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=seconds)
        console = (done.stdout + done.stderr).decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        console = (late.stdout or b"").decode(errors="replace")
    lines = [line.split(_SAYS, 1)[1].rstrip() for line in console.splitlines() if _SAYS in line]
    finished = "end" in lines
    return Booted(lines=tuple(line for line in lines if line != "end"), finished=finished, console=console)
