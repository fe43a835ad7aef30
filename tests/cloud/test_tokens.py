"""Machines' tokens: told once, kept as a hash, with scopes, ended by name or by their date."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from cloud.__main__ import main
from cloud.store.schema import tokens
from cloud.web.roles import Machine, Scope
from cloud.web.tokens import find_machine, make_token, revoke_tokens
from contract.errors import ContractError

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def bearer(token: str) -> str:
    return f"Bearer {token}"


def test_a_token_lets_its_machine_in_until_it_is_revoked(engine: Engine) -> None:
    token, other = make_token(engine, "gpu-box", NOW), make_token(engine, "laptop", NOW)
    assert find_machine(engine, bearer(token), NOW) == Machine("gpu-box", frozenset({Scope.TRAINER}))
    assert revoke_tokens(engine, "gpu-box", NOW) == 1
    assert find_machine(engine, bearer(token), NOW) is None
    assert find_machine(engine, bearer(other), NOW) is not None


def test_a_token_has_the_scopes_it_was_made_with_and_ends_when_it_was_told_to(engine: Engine) -> None:
    ends = NOW + timedelta(days=7)
    token = make_token(engine, "graphs", NOW, scopes=[Scope.READ, Scope.METRICS], expires_at=ends)
    found = find_machine(engine, bearer(token), ends - timedelta(seconds=1))
    assert found == Machine("graphs", frozenset({Scope.READ, Scope.METRICS}))
    assert find_machine(engine, bearer(token), ends) is None


def test_a_token_from_before_there_were_scopes_is_a_trainers(engine: Engine) -> None:
    token = "mf_" + "a" * 43
    row = {"sha256": sha256(token.encode()).hexdigest(), "name": "old-box", "made_at": NOW}
    with engine.begin() as connection:
        connection.execute(tokens.insert().values(**row))
    assert find_machine(engine, bearer(token), NOW) == Machine("old-box", frozenset({Scope.TRAINER}))


def test_what_is_no_valid_token_is_nobodys(engine: Engine) -> None:
    token = make_token(engine, "gpu-box", NOW)
    for wrong in (
        "",
        token,
        f"Basic {token}",
        f"Bearer {token}x",
        f"Bearer mf_{'a' * 43}",
        f"bearer {token}",
        "Bearer \x00",
    ):
        assert find_machine(engine, wrong, NOW) is None


@pytest.mark.parametrize("wrong", [{"scopes": []}, {"expires_at": NOW}])
def test_a_token_without_scope_or_future_is_not_made(engine: Engine, wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        make_token(engine, "gpu-box", NOW, **wrong)


def test_the_token_itself_is_nowhere(engine: Engine) -> None:
    token = make_token(engine, "gpu-box", NOW)
    with engine.connect() as connection:
        (row,) = connection.execute(select(tokens)).all()
    assert token not in str(row)


def test_an_odd_name_is_refused(engine: Engine) -> None:
    with pytest.raises(ContractError, match="a token's name"):
        make_token(engine, "../x", NOW)


def test_the_command_prints_one_token_and_ends_it(
    tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--set", f"data={tmp_path}", "--set", f"database={database_url}"]
    assert main(["token", "gpu-box", *options]) == 0
    assert capsys.readouterr().out.startswith("mf_")
    assert main(["token", "gpu-box", "--scope", "read", "--scope", "metrics", "--days", "30", *options]) == 0
    assert main(["token", "gpu-box", "--revoke", *options]) == 0
    assert capsys.readouterr().out.endswith("revoked: 2\n")
