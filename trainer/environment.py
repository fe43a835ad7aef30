"""The trainer's two heavy environments, kept outside the checkout: training (torch) and conversion (TensorFlow)."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from contract.errors import ContractError

NAMES = ("train", "export")
_ROOT = Path(__file__).resolve().parents[1]
_FINISHED = "installed"


def home() -> Path:
    """Where environments live: `MASKFLEET_CACHE`, or `~/.cache/maskfleet`."""
    return Path(os.environ.get("MASKFLEET_CACHE", Path.home() / ".cache" / "maskfleet")) / "environments"


def folder(name: str) -> Path:
    """The environment's folder; another requirements file or Python is another folder."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = sha256(_requirements(name).read_bytes() + version.encode()).hexdigest()[:12]
    return home() / f"{name}-{digest}"


def install(name: str) -> Path:
    """Install the environment unless it is there; returns its folder. A half-finished one is started anew."""
    where = folder(name)
    if (where / _FINISHED).exists():
        return where
    print(f"installing the {name} environment into {where} (once; this takes minutes)", flush=True)
    shutil.rmtree(where, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", where], check=True)
    pip: list[str | Path] = [
        where / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "-q",
        "--no-deps",
    ]
    subprocess.run([*pip, "-r", _requirements(name)], check=True)
    (where / _FINISHED).touch()
    return where


def run(
    name: str, module: str, arguments: Sequence[str | Path], *, quiet: bool = False,
    wanted: Callable[[], bool] = lambda: True,
) -> None:  # fmt: skip
    """Run `python -m module arguments` in the environment, its output passing through, and as long as it is `wanted`.

    With `quiet`, what it says on stderr (TensorFlow says much) is shown only when it fails.
    Raises ContractError where the environment is missing, the program fails, or it was not wanted any more.
    """
    where = folder(name)
    if not (where / _FINISHED).exists():
        raise ContractError(
            f"the {name} environment is not installed: run `trainer environments` (or `make trainer-environments`)"
        )
    command = [where / "bin" / "python", "-W", "ignore", "-m", module, *arguments]
    settings = {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "YOLO_OFFLINE": "true"}
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            [str(part) for part in command], env=os.environ | settings, stderr=errors if quiet else None
        )
        try:
            while child.poll() is None and wanted():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(0.5)
        finally:
            unwanted = child.poll() is None
            child.kill()
            child.wait()
        if unwanted:
            raise ContractError(f"{module} was stopped: nobody wants its result any more")
        if child.returncode:
            errors.seek(0)
            print(errors.read(), end="", file=sys.stderr)
            raise ContractError(f"{module} ended with code {child.returncode}; its reason stands above")


def _requirements(name: str) -> Path:
    return _ROOT / "trainer" / "environments" / f"{name}.txt"
