"""Alerts by e-mail, to a real mail server that asks for TLS and a password."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud.fleet.mailer import Mailer, NotMailedError
from provisioning.office import found_office, open_office
from rehearsal.processes import free_port
from tests.cloud.alert_kit import Watch, messages
from tests.cloud.mail_kit import Mailbox, Postoffice, authenticate
from tests.cloud.site_kit import NOW, Site, served


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Site]:
    with served(engine, tmp_path) as one:
        yield one


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """A folder with a server's key and certificate for localhost, and its authority."""
    found_office(tmp_path / "ca", "test", now=datetime.now(UTC))
    with open_office(tmp_path / "ca") as office:
        office.certify_broker(["localhost"], tmp_path / "mail", now=datetime.now(UTC))
    return tmp_path / "mail"


@pytest.fixture
def mailbox(identity: Path) -> Iterator[tuple[Mailbox, int]]:
    """A mail server that asks for STARTTLS and for a password."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(identity / "certificate.pem", identity / "key.pem")
    box, port = Mailbox(), free_port()
    server = Postoffice(
        box, hostname="127.0.0.1", port=port, tls_context=tls, require_starttls=True, authenticator=authenticate,
        auth_required=True,
    )  # fmt: skip
    server.start()
    yield box, port
    server.hang_up()
    server.stop()


def test_an_alert_goes_out_by_mail_over_starttls(
    site: Site, tmp_path: Path, identity: Path, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    (tmp_path / "password").write_text("pass word\n")
    watch = Watch(
        site, tmp_path, email_to=("ops@example.org", "night@example.org"), email_from="cloud@example.org", smtp_host="localhost",
        smtp_port=port, smtp_user="cloud", smtp_password=str(tmp_path / "password"), ca=str(identity / "ca.pem"),
    )  # fmt: skip
    site.heartbeat("front")
    site.put("/door-settings/front", title="Bcc: all@example.org \N{SNOWMAN}")
    watch.look(3)
    watch.look(3)
    assert watch.post() == 2, messages(site.engine)
    assert sorted(to for to, _ in box.taken) == [["night@example.org"], ["ops@example.org"]]
    message = box.taken[0][1]
    assert message["Subject"] == "maskfleet: Bcc: all@example.org \N{SNOWMAN}: door silent, it says nothing"
    assert (message["From"], message["Bcc"], message["Auto-Submitted"]) == ("cloud@example.org", None, "auto-generated")
    assert "Since 2026-05-04T12:36:00Z" in message.get_content()


def test_mail_without_the_right_certificate_or_password_is_not_sent(
    identity: Path, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    trusting = ssl.create_default_context(cafile=identity / "ca.pem")
    stranger = ssl.create_default_context()
    for mailer, why in (
        (Mailer("localhost", port, "starttls", "a@b.org", stranger, "cloud", "pass word"), "certificate verify failed"),
        (Mailer("localhost", port, "starttls", "a@b.org", trusting, "cloud", "wrong"), "535"),
        (Mailer("localhost", free_port(), "starttls", "a@b.org", trusting), "refused"),
    ):
        with pytest.raises(NotMailedError, match=why):
            mailer.send("ops@example.org", "subject", "text", "id", NOW)
    assert box.taken == []
