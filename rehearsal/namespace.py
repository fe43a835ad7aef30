"""Run a program of another processor in a folder that is its root: `python namespace.py QEMU ROOT WORK PROGRAM ARGUMENTS...`.

In namespaces of its own (user, mount, process ids) with a binfmt_misc of its own, so that nothing of this machine changes;
needs root and Linux 6.7. It imports nothing of ours: it is a program, not a module.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

NAMESPACES = 0x20000 | 0x10000000 | 0x20000000  # CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
# 64-bit little-endian ELF, an executable or a shared object, for machine 183 (aarch64); O, C and F: opened before the root changes
MAGIC = (
    r":aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{qemu}:OCF"
)
libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Returns the program's exit code."""
    qemu, root, work, *program = sys.argv[1:]
    entered, mapped = os.pipe(), os.pipe()

    def enter() -> NoReturn:
        _checked(libc.unshare(NAMESPACES), "a namespace")
        os.write(entered[1], b"x")
        os.read(mapped[0], 1)
        os.setgid(0)
        os.setuid(0)
        libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)  # new credentials forget it
        sys.exit(_wait(_fork(lambda: _become(qemu, Path(root), work, program))))

    child = _fork(enter)
    os.close(entered[1])
    if os.read(entered[0], 1):
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{name}").write_text("0 0 4294967295")
    os.write(mapped[1], b"x")
    return _wait(child)


def _become(qemu: str, root: Path, work: str, program: list[str]) -> NoReturn:
    _mount("none", "/", None, RECURSIVE | PRIVATE)
    _mount("proc", "/proc", "proc")
    _mount("binfmt_misc", "/proc/sys/fs/binfmt_misc", "binfmt_misc")
    Path("/proc/sys/fs/binfmt_misc/register").write_text(MAGIC.format(qemu=qemu))
    _mount(work, root / "work", None, BIND)  # and neither /proc nor /sys: they speak of the other processor

    def start() -> NoReturn:
        os.chroot(root)
        os.chdir("/work")
        os.execv(program[0], program)  # noqa: S606 - there is no shell in there

    sys.exit(_wait(_fork(start)))  # not the first process of its namespace, which no signal of its own can end


def _fork(then: Callable[[], NoReturn]) -> int:
    child = os.fork()
    if child == 0:
        libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)
        then()
    return child


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF


def _mount(source: str, target: str | Path, kind: str | None, flags: int = 0) -> None:
    done = libc.mount(source.encode(), str(target).encode(), kind and kind.encode(), flags, None)
    _checked(done, f"{source} on {target}")


def _checked(result: int, what: str) -> None:
    if result:
        sys.exit(f"cannot make {what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    sys.exit(main())
