"""What is wrong with an identity is said in words, before and after knocking."""

import shutil
from pathlib import Path

import pytest

from contract.errors import ContractError
from contract.tls import CA, CERTIFICATE, KEY, client_context, meaning, why_refused
from rehearsal.identities import Identities
from rehearsal.processes import Mosquitto, free_port


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities(tmp_path / "ours")


@pytest.mark.parametrize("missing", [KEY, CERTIFICATE, CA])
def test_a_missing_file_is_named(identities: Identities, missing: str) -> None:
    folder = identities.door("door-1")
    (folder / missing).unlink()
    with pytest.raises(ContractError, match=rf"cannot read .*{missing} \(No such file or directory\): .*enrol"):
        client_context(folder)


def test_a_key_of_another_certificate_is_refused(identities: Identities) -> None:
    one, two = identities.door("door-1"), identities.door("door-2")
    shutil.copy(two / KEY, one / KEY)
    with pytest.raises(ContractError, match="do not belong together"):
        client_context(one)


def test_a_ca_file_without_a_certificate_is_refused(identities: Identities) -> None:
    folder = identities.door("door-1")
    (folder / CA).write_text("nothing of the kind\n")
    with pytest.raises(ContractError, match=r"ca\.pem holds no certificate"):
        client_context(folder)


def test_a_broker_says_why_it_refuses(identities: Identities, tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker", configure=identities.configure_broker).start()
    try:
        door, stranger = identities.door("door-1"), Identities(tmp_path / "theirs").door("door-1")
        assert why_refused("localhost", broker.port, client_context(door)) == ""
        assert "another CA" in why_refused("localhost", broker.port, client_context(stranger))
        shutil.copy(door / CA, stranger / CA)  # it believes the broker now, but the broker does not believe it
        assert "does not know our certificate's CA" in why_refused("localhost", broker.port, client_context(stranger))
        assert "another address" in why_refused("127.0.0.1", broker.port, client_context(door))
    finally:
        broker.stop()


def test_nobody_there_and_no_tls_there_are_told_apart(identities: Identities, broker: Mosquitto) -> None:
    context = client_context(identities.door("door-1"))
    assert why_refused("127.0.0.1", free_port(), context) == "connection refused"
    assert why_refused("127.0.0.1", broker.port, None) == ""


def test_a_clock_at_1970_is_what_is_said() -> None:
    text = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid (_ssl.c:1006)"
    assert meaning(text).endswith("set the clock")
    assert meaning("something new") == "something new"
