from pathlib import Path

import pytest

from contract.errors import ContractError
from contract.settings import Settings, broker_address


class Table(Settings):
    speed: int = 3
    """How fast."""


class Whole(Settings):
    name: str
    """What it is called."""
    table: Table = Table()


def test_a_file_is_read_and_the_command_line_goes_over_it(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('name = "x"\n[table]\nspeed = 4\n')
    assert Whole.load(path).table.speed == 4
    assert Whole.load(path, {"table.speed": "5"}).table.speed == 5


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nme = 1", "unknown setting 'nme'; known here: name, table"),
        ('name = "x"\n[table]\nsped = 4', "unknown setting 'table.sped'; known here: speed"),
        ("", "name: Field required"),
        ('name = "x"\n[table]\nspeed = "fast"', "table.speed: "),
        ("name = ", "is not TOML"),
    ],
)
def test_a_mistake_is_named_with_what_is_known(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(ContractError, match=fault) as caught:
        Whole.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"cannot read the settings .*none.toml: No such file"):
        Whole.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://127.0.0.1:1884", ("127.0.0.1", 1884, False)),
        ("mqtt://localhost", ("localhost", 1883, False)),
        ("mqtts://broker.example", ("broker.example", 8883, True)),
        ("mqtts://10.0.0.7:9000", ("10.0.0.7", 9000, True)),
        ("mqtt://[::1]:1883", ("::1", 1883, False)),
    ],
)
def test_a_broker_is_written_as_host_and_port(url: str, address: tuple[str, int, bool]) -> None:
    assert broker_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker",
        "http://broker:1883",
        "mqtt://",
        "mqtt://broker:0",
        "mqtt://broker:70000",
        "mqtt://broker:x",
        "mqtt://a/b",
        "mqtt://user@host",
    ],
)
def test_what_is_no_broker_is_refused(url: str) -> None:
    with pytest.raises(ContractError, match="mqtts://HOST:PORT"):
        broker_address(url)


def test_an_open_line_is_for_this_machine_alone() -> None:
    with pytest.raises(ContractError, match=r"use mqtts://broker\.example:8883 and an identity"):
        broker_address("mqtt://broker.example")
