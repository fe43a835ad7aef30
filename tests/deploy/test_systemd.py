"""The service units: sound, and closed to all that their programs do not need."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.__main__ import COMMANDS
from cloud.config import CloudSettings

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
MOST_EXPOSED = 2.0


@pytest.fixture(scope="module")
def analyze() -> str:
    program = shutil.which("systemd-analyze")
    if not program:
        pytest.skip("no systemd-analyze here: deploy/setup.sh test installs it")
    return program


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_has_nothing_to_say_against_a_unit(name: str, analyze: str, tmp_path: Path) -> None:
    """Any output is a fault: an unknown key only warns. The program, which no test machine has, is replaced."""
    for unit in SERVICES:
        text = (UNITS / unit).read_text()
        (tmp_path / unit).write_text(re.sub(r"/opt/maskfleet/bin/\w+", sys.executable, text))
    said = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_an_unknown_key_would_be_found(analyze: str, tmp_path: Path) -> None:
    unit = tmp_path / "maskfleet-agent.service"
    unit.write_text(f"[Service]\nExecStart={sys.executable}\nProtectEverything=yes\n")
    said = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert "ProtectEverything" in said.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_is_closed_to_what_it_does_not_need(name: str, analyze: str) -> None:
    said = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(UNITS / name)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
    assert found
    assert float(found[1]) <= MOST_EXPOSED, said.stdout


def test_the_agent_waits_for_no_network_and_no_clock() -> None:
    text = (UNITS / "maskfleet-agent.service").read_text()
    assert not re.search(r"^(After|Wants|Requires)=.*(network|time)", text, re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_a_person_must_mend_what_a_restart_cannot(name: str) -> None:
    assert "RestartPreventExitStatus=2" in (UNITS / name).read_text().splitlines()


@pytest.mark.parametrize("name", [name for name in SERVICES if "agent" not in name and "safe" not in name])
def test_the_clouds_units_start_commands_that_exist_with_settings_that_exist(name: str) -> None:
    """The rest of the settings is the file's business."""
    words = re.search(r"^ExecStart=/opt/maskfleet/bin/cloud (.+)$", (UNITS / name).read_text(), re.MULTILINE)
    assert words
    command, *options = words[1].replace("%i", "2").split()
    assert command in COMMANDS
    assert options[:2] == ["--config", "/etc/maskfleet/cloud.toml"]
    assert set(options[2::2]) <= {"--set"}
    CloudSettings.load(None, dict(one.split("=", 1) for one in options[3::2]))
