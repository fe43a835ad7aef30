"""`cloud user`, and the link that a first start prints."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from cloud.__main__ import main
from cloud.store import audit
from cloud.store.database import open_database
from cloud.web.roles import Role
from tests.cloud.conftest import StartCloud, page_address, wait_for_log
from tests.cloud.people_kit import PASSWORD, add_person, new_people, session_token

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """`cloud user WORDS` in this process: its exit code, and what it said."""

    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["user", *words, "--set", f"data={tmp_path / 'data'}"])
        told = capsys.readouterr()
        return code, told.out + told.err

    return run


def test_the_first_start_prints_a_link_that_makes_the_admin_and_later_starts_do_not(
    start_cloud: StartCloud, run: Run
) -> None:
    child = start_cloud("serve")
    address = page_address(child).rstrip("/")
    link = wait_for_log(child, "/welcome/").split("24 h, at ")[1].split()[0]
    assert link.startswith(f"{address}/welcome/")
    with httpx.Client(headers={"Origin": address}) as browser:
        fields = {"name": "Ada", "password": PASSWORD, "again": PASSWORD}
        assert browser.post(link, data=fields).status_code == 303
        assert browser.get(f"{address}/api/v1/me").json()["role"] == "admin"
    assert run("list") == (0, "Ada\tadmin\tactive\n")
    child.stop()
    again = start_cloud("serve")
    page_address(again)
    assert "/welcome/" not in again.log.read_text()


def test_accounts_are_invited_reset_changed_and_disabled_by_hand(run: Run, tmp_path: Path) -> None:
    code, link = run("invite", "Cem", "--role", "viewer", "--set", "accounts.address=https://cloud.example.org")
    assert (code, link.startswith("https://cloud.example.org/welcome/")) == (0, True)
    engine = open_database(f"sqlite:///{tmp_path / 'data' / 'maskfleet.sqlite'}")
    add_person(engine, "Ada")
    add_person(engine, "Bob", Role.VIEWER)
    token = session_token(engine, "Bob")
    assert run("role", "bob", "operator") == (0, "Bob is operator now\n")
    code, link = run("reset", "Bob")
    assert (code, link.startswith("http://127.0.0.1:8000/welcome/")) == (0, True)
    assert new_people(engine).whose(token, datetime.now(UTC)) is None
    assert run("disable", "Bob") == (0, "Bob cannot sign in any more\n")
    assert run("list")[1] == "Ada\tadmin\tactive\nBob\toperator\tdisabled\n"
    with engine.connect() as connection:
        who = {
            one.who
            for one in audit.read(connection)
            if one.what in ("role changed", "password reset", "account disabled")
        }
    engine.dispose()
    assert who == {"command line"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("reset", "Bob"), "nobody is called Bob"), (("disable", "Bob"), "nobody is called Bob"),
        (("invite", "<b>"), "a name is"), (("invite", "ADA"), "has an account already"),
        (("disable", "Ada"), "last admin"), (("role", "Ada", "viewer"), "last admin"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(run: Run, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    run("list")
    engine = open_database(f"sqlite:///{tmp_path / 'data' / 'maskfleet.sqlite'}")
    add_person(engine, "Ada")
    engine.dispose()
    code, told = run(*words)
    assert (code, said in told, len(told.splitlines())) == (2, True, 1), told
