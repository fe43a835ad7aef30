"""Machines' tokens: told once, kept as a hash, ended by name."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import Engine, select

from cloud.__main__ import main
from cloud.store.schema import tokens
from cloud.web.server import WebServer, listen
from cloud.web.tokens import make_token, new_require_machine, revoke_tokens
from contract.errors import ContractError
from rehearsal.processes import wait_until

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def client(engine: Engine) -> Iterator[httpx.Client]:
    site, require = FastAPI(), new_require_machine(engine)

    @site.get("/who")
    def who(name: Annotated[str, Depends(require)]) -> str:
        return name

    door = listen("127.0.0.1", 0)
    server = WebServer(lambda _: site, door)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, within_s=10, what="the site serving")
    with httpx.Client(base_url=f"http://127.0.0.1:{door.getsockname()[1]}") as opened:
        yield opened
    server.stop()
    thread.join(10)


def ask(client: httpx.Client, authorization: str | None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    return client.get("/who", headers=headers).status_code


def test_a_token_lets_its_machine_in_until_it_is_revoked(client: httpx.Client, engine: Engine) -> None:
    token, other = make_token(engine, "gpu-box", NOW), make_token(engine, "laptop", NOW)
    assert client.get("/who", headers={"Authorization": f"Bearer {token}"}).json() == "gpu-box"
    assert revoke_tokens(engine, "gpu-box", NOW) == 1
    assert ask(client, f"Bearer {token}") == 401
    assert ask(client, f"Bearer {other}") == 200


def test_strangers_are_refused_with_a_challenge(client: httpx.Client, engine: Engine) -> None:
    token = make_token(engine, "gpu-box", NOW)
    for wrong in (None, "", token, f"Basic {token}", f"Bearer {token}x", f"Bearer mf_{'a' * 43}", f"bearer {token}"):
        assert ask(client, wrong) == 401
    assert client.get("/who").headers["www-authenticate"].startswith("Bearer")


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
    assert main(["token", "gpu-box", "--revoke", *options]) == 0
    assert capsys.readouterr().out == "revoked: 1\n"
