"""The repository over HTTP, and the trainer's way in."""

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request

from cloud.fleet.keys import make_keys
from cloud.fleet.releases import Repository
from cloud.web.server import WebServer, listen
from cloud.web.tuf import new_release_api, new_tuf_files
from contract.release import MODEL_LIMIT
from rehearsal.processes import wait_until
from tests.cloud.release_kit import release_files, signed

NOW = datetime.now(UTC)
TOKEN = {"Authorization": "Bearer sesame"}


def require_machine(request: Request) -> None:
    if request.headers.get("authorization") != TOKEN["Authorization"]:
        raise HTTPException(401)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys", NOW)
    return tmp_path / "keys"


@pytest.fixture
def client(folder: Path) -> Iterator[httpx.Client]:
    repository, door = Repository(folder), listen("127.0.0.1", 0)
    site = FastAPI()
    site.include_router(new_release_api(repository, require_machine, published=lambda _: None, clock=lambda: NOW))
    site.include_router(new_tuf_files(repository))
    server = WebServer(lambda _: site, door)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, within_s=10, what="the site serving")
    with httpx.Client(base_url=f"http://127.0.0.1:{_port(door)}") as opened:
        yield opened
    server.stop()
    thread.join(10)


def _port(door: socket.socket) -> int:
    return int(door.getsockname()[1])


def test_a_trainer_uploads_and_publishes_and_doors_read_parts(client: httpx.Client, folder: Path) -> None:
    files = release_files(1)
    for name, content in files.items():
        assert client.put(f"/api/v1/releases/1/{name}", content=content, headers=TOKEN).status_code == 204
    metadata = signed(folder, 1, files, NOW)
    answer = client.post("/api/v1/releases/1/publish", content=metadata, headers=TOKEN)
    assert answer.json()["release"] == 1
    name = next((folder / "repository" / "targets" / "releases" / "1").glob("*.model.tflite")).name
    part = client.get(f"/tuf/targets/releases/1/{name}", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, files["model.tflite"][5:10])
    assert "immutable" in part.headers["cache-control"]
    assert client.get("/tuf/metadata/timestamp.json").headers["cache-control"] == "no-store"
    again = client.post("/api/v1/releases/1/publish", content=metadata, headers=TOKEN)
    assert (again.status_code, "version 2, but 3" in again.json()["detail"]) == (422, True)


def test_strangers_oversized_files_and_odd_names_are_refused(client: httpx.Client) -> None:
    assert client.put("/api/v1/releases/1/model.tflite", content=b"x").status_code == 401
    big = b"x" * (MODEL_LIMIT + 1)
    assert client.put("/api/v1/releases/1/model.tflite", content=big, headers=TOKEN).status_code == 413
    for path in (
        "/tuf/metadata/",
        "/tuf/metadata/..%2f..%2flock",
        "/tuf/metadata/9.root.json",
        "/tuf/targets/releases/1/x",
    ):
        assert client.get(path).status_code == 404
