"""What people set for sites and doors, on its way to the door and back."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from agent.health.opening import Opening
from agent.update.wish import Wish
from cloud.fleet.rollout import Group
from cloud.store import doors as store
from cloud.store import fleet
from contract.fleet import DESIRED_LIMIT, Desired
from tests.cloud.site_kit import NOW, Site, served

OFFICE = ["08:00-18:00"] * 5 + ["", ""]
HALL = {"name": "", "line": [0.1, 0.5, 0.9, 0.5]}


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Site]:
    with served(engine, tmp_path) as one:
        one.heartbeat("front")
        yield one


def waiting(site: Site) -> list[Desired]:
    with site.engine.connect() as connection:
        return fleet.read_waiting(connection)


def confirm(site: Site, number: int) -> None:
    with site.engine.begin() as connection:
        fleet.mark_published(connection, "front", number, NOW)


def door(site: Site) -> Any:
    (one,) = site.api("/door-settings")
    return one


def make_site(site: Site, **changes: Any) -> None:
    body = {"name": "Town hall", "time_zone": "Europe/Paris", "week": OFFICE, "closed": ["2026-12-25"], **changes}
    assert site.put("/sites/hall", **body).json() == {"saved": True}


def test_a_device_that_nobody_described_is_listed_and_was_told_nothing(site: Site) -> None:
    assert {key: door(site)[key] for key in ("device", "title", "site", "lines", "sampling", "stage", "number")} == {
        "device": "front", "title": "", "site": None, "lines": [], "sampling": None, "stage": "none", "number": 0,
    }  # fmt: skip
    assert waiting(site) == []
    assert site.put("/door-settings/front", title="Front door").status_code == 200
    assert waiting(site) == []  # a title is nothing to a door
    assert door(site)["title"] == "Front door"


def test_what_is_set_reaches_the_door_and_its_word_comes_back(site: Site, tmp_path: Path) -> None:
    make_site(site)
    answer = site.put(
        "/door-settings/front", site="hall", lines=[HALL], zone=[[0, 0], [1, 0], [1, 1], [0, 1]],
        sampling={"window_s": 3600, "budget": 12},
    )  # fmt: skip
    assert answer.json() == {"saved": True}
    assert door(site)["stage"] == "sending"
    (wish,) = waiting(site)
    assert len(wish.encode()) < DESIRED_LIMIT
    device = Wish("front", tmp_path / "front")
    assert device.take(wish.encode())
    assert (device.fault, device.newest) == ("", wish)
    assert wish.door
    assert (wish.door.lines[0].line, wish.release) == ((0.1, 0.5, 0.9, 0.5), 0)
    assert wish.opening
    assert (wish.opening.open, wish.opening.time_zone) == (("mon-fri 08:00-18:00",), "Europe/Paris")
    assert Opening.planned(wish.opening)
    confirm(site, wish.number)
    assert (door(site)["stage"], waiting(site)) == ("sent", [])
    site.report("front", number=1)
    assert door(site)["stage"] == "taken"
    site.report("front", number=1, reason="cannot fetch release 3; door refused: the line lies outside; wrong")
    assert (door(site)["stage"], door(site)["reason"]) == ("refused", "door refused: the line lies outside; wrong")
    site.report("front", number=1, reason="the release's door refused to open")
    assert door(site)["stage"] == "taken"


def test_a_rollout_does_not_wipe_settings_nor_settings_a_rollout(site: Site) -> None:
    site.put("/door-settings/front", lines=[HALL], sampling={"window_s": 600, "budget": 3})
    for release in (4, 5):
        with site.engine.begin() as connection:
            fleet.write_desired(connection, ["front"], release, Group.CANARY, NOW)
    (wish,) = waiting(site)
    assert (wish.number, wish.release) == (3, 5)
    assert wish.door
    assert wish.sampling
    site.put("/door-settings/front", lines=[{**HALL, "name": "hall"}])
    (wish,) = waiting(site)
    assert (wish.number, wish.release, wish.sampling) == (4, 5, None)
    assert wish.door
    assert wish.door.lines[0].name == "hall"
    with site.engine.connect() as connection:
        site.report("front", release=5)
        (known,) = fleet.read_doors(connection, NOW, 120)
    assert (known.asked, known.group, known.since) == (5, Group.CANARY, NOW)
    assert site.client.delete("/api/v1/door-settings/front").status_code == 200
    (wish,) = waiting(site)
    assert (wish.number, wish.release, wish.door, wish.sampling) == (5, 5, None, None)


def test_a_door_with_settings_alone_is_still_asked_for_the_next_release(site: Site) -> None:
    site.put("/door-settings/front", lines=[HALL])
    site.report("front")
    with site.engine.connect() as connection:
        (known,) = fleet.read_doors(connection, NOW, 120)
    assert (known.asked, known.group) == (0, None)


def test_a_site_tells_all_its_doors_but_those_with_hours_of_their_own_and_only_of_changes(site: Site) -> None:
    site.heartbeat("side")
    site.heartbeat("back")
    make_site(site)
    site.put("/door-settings/front", site="hall")
    site.put("/door-settings/side", site="hall", week=["", "", "", "", "", "10:00-12:00", ""])
    assert [(wish.device, wish.number) for wish in waiting(site)] == [("front", 1), ("side", 1)]
    make_site(site, name="The old town hall")  # nothing that a door knows
    assert [wish.number for wish in waiting(site)] == [1, 1]
    make_site(site, week=["09:00-17:00"] * 7)
    wishes = {wish.device: wish for wish in waiting(site)}
    assert {name: wish.number for name, wish in wishes.items()} == {"front": 2, "side": 1}
    assert wishes["side"].opening
    assert wishes["side"].opening.open == ("sat 10:00-12:00",)
    assert site.client.delete("/api/v1/sites/hall").status_code == 409
    site.put("/door-settings/front")
    site.put("/door-settings/side")
    assert site.client.delete("/api/v1/sites/hall").json() == {"saved": True}
    assert [wish.opening for wish in waiting(site)] == [None, None]


def test_a_door_that_follows_a_later_word_of_a_lost_database_is_told_a_still_later_one(site: Site) -> None:
    site.report("front", number=50)
    site.put("/door-settings/front", lines=[HALL])
    assert waiting(site)[0].number == 51
    site.report("front", number=80)
    confirm(site, 51)
    assert "save once more" in door(site)["reason"]
    site.put("/door-settings/front", lines=[{**HALL, "name": "hall"}])
    assert waiting(site)[0].number == 81


@pytest.mark.parametrize(
    ("path", "body", "status", "why"),
    [
        ("/door-settings/ghost", {}, 404, "no device"),
        ("/door-settings/front", {"lines": [{"line": [0.5, 0.5, 0.5, 0.5]}]}, 422, "two different points"),
        ("/door-settings/front", {"lines": [{"line": [0, 0, 2, 0]}]}, 422, "less than or equal to 1"),
        ("/door-settings/front", {"zone": [[0, 0], [1, 0], [1, 1]]}, 422, "needs a line"),
        ("/door-settings/front", {"site": "nowhere"}, 422, "no site"),
        ("/door-settings/front", {"week": OFFICE}, 422, "whose clock"),
        ("/door-settings/front", {"sampling": {"window_s": 1, "budget": 2}}, 422, "greater than or equal to 10"),
        ("/door-settings/front", {"titel": "x"}, 422, "Extra inputs"),
        ("/door-settings/front", {"title": "a\u202eb"}, 422, "printable"),
        ("/door-settings/front", {"title": "x" * 81}, 422, "at most 80"),
        ("/door-settings/front", {"note": "a\0b"}, 422, "printable"),
        ("/sites/hall", {"name": "", "time_zone": "UTC"}, 422, "at least 1"),
        ("/sites/hall", {"name": "H", "time_zone": "../etc/passwd"}, 422, "no IANA time zone"),
        ("/sites/hall", {"name": "H", "time_zone": "UTC", "week": ["9-5"] * 7}, 422, "mon: '9-5' is no opening time"),
        ("/sites/hall", {"name": "H", "time_zone": "UTC", "closed": ["xmas"]}, 422, "valid date"),
        ("/sites/-hall", {"name": "H", "time_zone": "UTC"}, 422, "pattern"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_sent(
    site: Site, path: str, body: dict[str, Any], status: int, why: str
) -> None:
    answer = site.put(path, **body)
    assert (answer.status_code, why in answer.text) == (status, True)
    assert waiting(site) == []
    assert site.api("/sites") == []


@pytest.mark.parametrize("origin", ["", "https://elsewhere.example"])
def test_another_site_cannot_change_a_door(site: Site, origin: str) -> None:
    for request in (
        site.client.build_request(
            "PUT", "/api/v1/door-settings/front", json={"title": "x"}, headers={"Origin": origin}
        ),
        site.client.build_request("PUT", "/api/v1/sites/x", json={}, headers={"Origin": origin}),
        site.client.build_request("DELETE", "/api/v1/door-settings/front", headers={"Origin": origin}),
        site.client.build_request("DELETE", "/api/v1/sites/x", headers={"Origin": origin}),
    ):
        assert site.client.send(request).status_code == 403


def test_hostile_words_are_shown_as_words(site: Site) -> None:
    evil = "<script>alert(1)</script>\"'&"
    make_site(site, name=evil)
    site.put("/door-settings/front", title=evil, note=f"{evil}\n{{{{7*7}}}}", site="hall", lines=[HALL])
    site.report("front", reason=f"door refused: {evil}")
    for path in ("/settings", "/settings/front"):
        page = site.client.get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
    assert "{{7*7}}" in site.client.get("/settings/front").text
    assert site.client.get("/settings/ghost").status_code == 404


def test_a_door_that_joins_a_site_while_its_hours_change_is_told_the_new_ones(site: Site) -> None:
    make_site(site)
    with ThreadPoolExecutor(1) as other:
        with site.engine.begin() as connection:
            store.hold_sites(connection)
            joining = other.submit(site.put, "/door-settings/front", site="hall")
            (hall,) = store.read_sites(connection)
            store.write_site(connection, replace(hall, time_zone="Asia/Tokyo"))
            assert not wait([joining], timeout=0.5).done  # it waits for its turn
        assert joining.result(10).status_code == 200
    (wish,) = waiting(site)
    assert wish.opening is not None
    assert wish.opening.time_zone == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("path", "first", "second"),
    [
        ("/sites/hall", {"name": "Hall", "time_zone": "UTC"}, {"name": "Aula", "time_zone": "UTC"}),
        ("/door-settings/front", {"title": "Left"}, {"title": "Right", "lines": [HALL]}),
    ],
)
def test_who_changes_what_somebody_else_has_changed_since_is_told_and_changes_nothing(
    site: Site, path: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    made = site.put(path, **first)
    read = listed(site, path)["version"]
    assert made.headers["ETag"] == f'"{read}"'
    saved = site.client.put(f"/api/v1{path}", json=second, headers={"If-Match": f'"{read}"'})
    assert saved.status_code == 200
    known = listed(site, path)
    assert saved.headers["ETag"] == f'"{known["version"]}"' != made.headers["ETag"]
    late = site.client.put(f"/api/v1{path}", json=first, headers={"If-Match": f'"{read}"'})
    assert (late.status_code, late.json()["detail"].split(";")[0]) == (412, "somebody else changed it meanwhile")
    assert listed(site, path) == known
    weakened = {"If-Match": f"W/{saved.headers['ETag']}"}  # as a proxy that compresses does it
    again = site.client.put(f"/api/v1{path}", json=first, headers=weakened)
    assert again.status_code == 200
    assert listed(site, path)["version"] == read  # as it was
    for header in ({"If-Match": "*"}, {}):
        assert site.client.put(f"/api/v1{path}", json=second, headers=header).status_code == 200


def test_a_new_site_takes_no_name_that_another_has(site: Site) -> None:
    new = {"If-None-Match": "*"}
    body = {"name": "Hall", "time_zone": "UTC"}
    assert site.client.put("/api/v1/sites/hall", json=body, headers=new).status_code == 200
    second = site.client.put("/api/v1/sites/hall", json={**body, "name": "Other"}, headers=new)
    assert (second.status_code, second.json()["detail"]) == (412, "there is one of this name already")
    assert listed(site, "/sites/hall")["name"] == "Hall"
    assert site.client.put("/api/v1/sites/hall", json=body, headers={"If-None-Match": "x"}).status_code == 422


def test_of_changes_made_at_once_on_the_same_version_one_is_kept(site: Site) -> None:
    read = {"If-Match": f'"{door(site)["version"]}"'}
    with ThreadPoolExecutor(4) as others:
        answers = list(
            others.map(
                lambda title: site.client.put("/api/v1/door-settings/front", json={"title": title}, headers=read),
                ("one", "two", "three", "four"),
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    (won,) = [
        title for title, answer in zip(("one", "two", "three", "four"), answers, strict=True) if answer.is_success
    ]
    assert door(site)["title"] == won


def listed(site: Site, path: str) -> Any:
    (one,) = site.api(f"/{path.split('/')[1]}")
    return one
