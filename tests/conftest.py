"""Fixtures that several parts' tests share: real services, real photographs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.processes import Mosquitto

ROOT = Path(__file__).resolve().parents[1]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show why a test was run again: that it then passed makes it no smaller fault, of the test or of the product."""
    first_tries = terminalreporter.getreports("rerun")
    if first_tries:
        terminalreporter.section("RUN AGAIN, AND WHY", red=True)
    for report in first_tries:
        terminalreporter.line(report.nodeid, red=True)
        terminalreporter.line(report.longreprtext)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A real mosquitto on a free loopback port, with its own data folder."""
    server = Mosquitto(tmp_path / "mosquitto").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder of real photographs and clips; the test is skipped, saying so, where it is absent."""
    folder = Path(os.environ.get("MASKFLEET_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real photographs at {folder} (set MASKFLEET_DATA)")
    return folder
