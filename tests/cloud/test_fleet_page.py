"""The served program rolls out what lies in its repository, and its page shows and stops it."""

from datetime import UTC, datetime
from pathlib import Path

import httpx

from cloud.fleet.keys import make_keys
from cloud.store.database import open_database
from cloud.web.roles import Role
from rehearsal.processes import wait_until
from tests.cloud.conftest import StartCloud, page_address
from tests.cloud.people_kit import person_headers
from tests.cloud.release_kit import release

NOW = datetime.now(UTC)


def test_a_release_appears_and_is_paused_from_this_sites_own_page_only(tmp_path: Path, start_cloud: StartCloud) -> None:
    make_keys(tmp_path / "keys", NOW)
    release(tmp_path / "keys", 1, NOW)
    address = page_address(start_cloud("serve", releases=tmp_path / "keys")).rstrip("/")
    engine = open_database(f"sqlite:///{tmp_path / 'data' / 'maskfleet.sqlite'}")
    own = person_headers(engine, address, "Ola", Role.OPERATOR)
    engine.dispose()
    site = httpx.Client(headers=own)
    rollout = f"{address}/api/v1/rollout"
    wait_until(lambda: site.get(rollout).json()["release"] == 1, within_s=15, what="the release recorded")
    assert "Release 1 is running" in site.get(f"{address}/fleet").text
    page = site.get(f"{address}/fleet").text
    assert [one in page for one in ("71.3\u00a0%", "own crops", "64.0\u00a0%")] == [True] * 3
    for origin in ("", "https://elsewhere.example"):
        assert site.post(f"{rollout}/pause", headers={"Origin": origin}).status_code == 403
    assert httpx.post(f"{rollout}/pause", headers={"Origin": address}).status_code == 401
    assert site.post(f"{rollout}/pause").json() == {"state": "paused"}
    assert site.post(f"{rollout}/pause").status_code == 409
    assert site.post(f"{rollout}/revert").status_code == 409
    assert "Resume" in site.get(f"{address}/fleet").text
    site.close()
