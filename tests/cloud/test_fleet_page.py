"""The served program rolls out what lies in its repository, and its page shows and stops it."""

from datetime import UTC, datetime
from pathlib import Path

import httpx

from cloud.fleet.keys import make_keys
from rehearsal.processes import wait_until
from tests.cloud.conftest import StartCloud, page_address
from tests.cloud.release_kit import release

NOW = datetime.now(UTC)


def test_a_release_appears_and_is_paused_from_this_sites_own_page_only(tmp_path: Path, start_cloud: StartCloud) -> None:
    make_keys(tmp_path / "keys", NOW)
    release(tmp_path / "keys", 1, NOW)
    address = page_address(start_cloud("serve", releases=tmp_path / "keys")).rstrip("/")
    rollout = f"{address}/api/v1/rollout"
    wait_until(lambda: httpx.get(rollout).json()["release"] == 1, within_s=15, what="the release recorded")
    assert "Release 1 is running" in httpx.get(f"{address}/fleet").text
    page = httpx.get(f"{address}/fleet").text
    assert [one in page for one in ("71.3\u00a0%", "own crops", "64.0\u00a0%")] == [True] * 3
    for origin in ({}, {"Origin": "https://elsewhere.example"}):
        assert httpx.post(f"{rollout}/pause", headers=origin).status_code == 403
    own = {"Origin": address}
    assert httpx.post(f"{rollout}/pause", headers=own).json() == {"state": "paused"}
    assert httpx.post(f"{rollout}/pause", headers=own).status_code == 409
    assert httpx.post(f"{rollout}/revert", headers=own).status_code == 409
    assert "Resume" in httpx.get(f"{address}/fleet").text
