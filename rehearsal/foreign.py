"""A 64-bit ARM Debian 13, as a Raspberry Pi has it, on any Linux machine: its own files, this kernel, an emulated processor."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from rehearsal.processes import RehearsalError
from trainer.environment import home

SUITE, MIRROR, PYTHON = "trixie", "http://deb.debian.org/debian", "3.13"
PACKAGES = ("python3", "libstdc++6", "zlib1g", "tzdata")
PROCESSOR = "cortex-a72"  # of a Pi 4
QEMU = Path("/usr/bin/qemu-aarch64-static")
# What `pip install maskfleet[agent]` brings along; the versions are those of constraints.txt, but where it has none for this Python.
WHEELS = (
    "ai-edge-litert", "numpy", "opencv-python-headless", "paho-mqtt", "pydantic", "pydantic_core", "annotated-types",
    "typing-inspection", "typing_extensions", "tuf", "securesystemslib", "urllib3",
)  # fmt: skip
OTHERWISE = {"numpy": "2.2.6"}
TAGS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
_CHECKOUT = Path(__file__).resolve().parents[1]


def require_able() -> None:
    """Raises RehearsalError, with what to do, where this machine cannot run arm64 programs in a namespace of their own."""
    major, minor = (int(part) for part in re.findall(r"\d+", platform.release())[:2])
    if sys.platform != "linux" or (major, minor) < (6, 7):
        raise RehearsalError(
            f"arm64 needs Linux 6.7 or newer (binfmt_misc in a namespace); this is {platform.release()}"
        )
    if os.geteuid():
        raise RehearsalError("arm64 needs root to unpack and enter another system: sudo make test-arm64")
    if not QEMU.exists() or shutil.which("mmdebstrap") is None:
        raise RehearsalError("qemu-user-static or mmdebstrap is missing: deploy/setup.sh arm64")


def install() -> Path:
    """The system's folder, outside the checkout; made if missing, which downloads some 130 MB. Raises RehearsalError."""
    wheels = _pinned()
    told = "\n".join([SUITE, MIRROR, PYTHON, *PACKAGES, *wheels, *TAGS])
    where = home().parent / "arm64" / sha256(told.encode()).hexdigest()[:12]
    if where.is_dir():
        return where
    print(f"unpacking Debian {SUITE} for arm64 and the agent's wheels into {where} (once)", flush=True)
    where.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where.parent, prefix="unfinished-") as scratch:
        root = Path(scratch) / "root"
        _do("mmdebstrap", "--mode=root", "--skip=check/qemu", "--variant=extract", "--architectures=arm64",
            f"--include={','.join(PACKAGES)}", SUITE, root, MIRROR)  # fmt: skip
        for name in ("bin", "sbin", "lib"):  # nothing was configured, and this is what merges /usr
            if not (root / name).exists():
                (root / name).symlink_to(f"usr/{name}")
        for name in ("proc", "sys", "tmp", "work"):
            (root / name).mkdir(exist_ok=True)
        _do(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
            *(f"--platform={tag}" for tag in TAGS), "--implementation=cp", f"--python-version={PYTHON}",
            "--target", root / "wheels", *wheels)  # fmt: skip
        root.chmod(0o755)
        root.rename(where)
    return where


def run(root: Path, work: Path, module: str, arguments: Sequence[str], *, timeout_s: float) -> str:
    """Run `python3 -m module` on the emulated processor in `root`, in folder `work` (seen as /work); returns its stdout.

    The agent and the contract are this checkout's. Raises RehearsalError with its last words where it fails.
    """
    for part in ("agent", "contract"):
        shutil.copytree(_CHECKOUT / part, work / part, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        Path(__file__).with_name("namespace.py"),
        QEMU,
        root,
        work,
        "/usr/bin/python3",
        "-m",
        module,
    ]
    settings = {
        "PYTHONPATH": "/work:/wheels",
        "PYTHONDONTWRITEBYTECODE": "1",
        "QEMU_CPU": PROCESSOR,
        "PATH": "/usr/bin",
    }
    try:
        done = subprocess.run(
            [str(part) for part in [*command, *arguments]], env=settings, capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RehearsalError(f"arm64: {module} took longer than {timeout_s:g} s") from error
    if done.returncode:
        raise RehearsalError(f"arm64: {module} ended with code {done.returncode}:\n{done.stderr[-1500:]}")
    return done.stdout


def _pinned() -> list[str]:
    known = (
        dict(re.findall(r"^([\w.-]+)==([\w.]+)", (_CHECKOUT / "constraints.txt").read_text(), re.MULTILINE)) | OTHERWISE
    )
    return [f"{name}=={known[name]}" for name in WHEELS]


def _do(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RehearsalError(f"{command[0]} failed:\n{done.stderr[-1500:]}")
