"""What a machine says of itself, read from made trees of files."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.health.board import ask, read_board

FLAGS = "sys/devices/platform/soc/soc:firmware/get_throttled"


def machine(folder: Path, files: dict[str, str]) -> Path:
    """A root with those files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def silent(_command: Sequence[str]) -> str:
    return ""


def test_a_machine_that_says_nothing_has_nothing_invented(tmp_path: Path) -> None:
    board = read_board(tmp_path, tmp_path / "nowhere", ask=silent)
    assert board.model_dump(exclude_none=True) == {}


def test_a_warm_pi_is_read_from_its_files(tmp_path: Path) -> None:
    root = machine(tmp_path, {
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n", "sys/class/thermal/thermal_zone0/temp": "48312\n",
        FLAGS: "50005\n",
    })  # fmt: skip
    board = read_board(root, tmp_path, ask=silent)
    assert board.temperature_c == 48.3
    assert (board.under_voltage, board.throttled) == (True, True)
    assert (board.under_voltage_since_boot, board.throttled_since_boot) == (True, True)
    assert board.disk_free_bytes is not None


@pytest.mark.parametrize(
    ("files", "celsius"),
    [
        ({"0/type": "acpitz", "0/temp": "27800", "1/type": "x86_pkg_temp", "1/temp": "51000"}, 51.0),
        ({"0/type": "acpitz", "0/temp": "27800"}, 27.8),
        ({"0/type": "cpu-thermal", "0/temp": "-274000"}, None),
        ({"0/type": "cpu-thermal", "0/temp": ""}, None),
        ({"0/type": "cpu-thermal"}, None),
        ({"0/type": "cpu0-thermal", "0/temp": "61000", "1/type": "cpu1-thermal", "1/temp": "63000"}, 63.0),
    ],
)
def test_the_temperature_is_the_processors_own(tmp_path: Path, files: dict[str, str], celsius: float | None) -> None:
    root = machine(tmp_path, {f"sys/class/thermal/thermal_zone{name}": text for name, text in files.items()})
    assert read_board(root, tmp_path, ask=silent).temperature_c == celsius


def test_where_the_kernel_has_no_flags_the_firmware_is_asked_by_its_own_program(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def firmware(command: Sequence[str]) -> str:
        asked.append(command)
        return "throttled=0x50000\n"

    board = read_board(machine(tmp_path, {"dev/vcio": ""}), tmp_path, ask=firmware)
    assert asked == [["vcgencmd", "get_throttled"]]
    assert (board.under_voltage, board.under_voltage_since_boot, board.throttled_since_boot) == (False, True, True)


def test_the_kernels_watch_on_the_supply_is_better_than_nothing(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon3"
    root = machine(tmp_path, {f"{chip}/name": "rpi_volt\n", f"{chip}/in0_lcrit_alarm": "1\n"})
    board = read_board(root, tmp_path, ask=silent)
    assert (board.under_voltage, board.throttled) == (True, None)


@pytest.mark.parametrize("command", [["/nowhere/vcgencmd"], ["false"], ["sleep", "5"]])
def test_a_program_that_is_missing_fails_or_hangs_says_nothing(command: list[str]) -> None:
    assert ask(command) == ""
