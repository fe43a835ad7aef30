"""Every page over hostile texts in every field: shown as text, never as an element or an attribute."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message, open_message
from cloud.rules import PictureRules
from cloud.store.blobs import BlobFolder
from cloud.web.headers import HEADERS
from contract.fleet import Reported, Step
from contract.health import Heartbeat
from contract.topics import Channel, Topic
from tests.cloud.conftest import BOOT
from tests.cloud.people_kit import person_headers

TRICKS = (
    '"\'><evil-tag evil-attr=1>x</evil-tag>', '" evil-attr="1', "' evil-attr='1", "</title><evil-tag>", "</textarea><evil-tag>",
    "</script><evil-tag>", "--><evil-tag>", "{{ 7 * 191 }}", "\u202e<evil-tag>\u200b",
)  # fmt: skip
PAGES = (
    "/", "/fleet", "/learning", "/label", "/alerts", "/settings", "/settings/front", "/account", "/users", "/audit", "/docs",
    "/sign-in?next=/%22%3E%3Cevil-tag%3E", "/audit?who=%22%3E%3Cevil-tag%20evil-attr%3D1%3E&about=%27%20evil-attr%3D1",
    "/settings/%22%3E%3Cevil-tag%3E", "/welcome/%22%3E%3Cevil-tag%3E", "/no/%22%3E%3Cevil-tag%3E", "/account?done=%3Cevil-tag%3E",
)  # fmt: skip


class Elements(HTMLParser):
    """The tags and attributes that a browser would find, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.inline: list[str] = []
        self.text = ""
        self._script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._script = tag == "script" and not dict(attrs).get("src")
        self.text += " ".join(value or "" for _, value in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._script:
            self.inline.append(data)


@pytest.fixture
def admin(engine: Engine, address: str, tmp_path: Path) -> httpx.Client:
    """An admin of a site whose doors, sites and people bear such texts."""
    now, blobs = datetime.now(UTC), BlobFolder(tmp_path / "blobs")
    words = " ".join(TRICKS)
    beat = Heartbeat(device="front", state="online", boot=BOOT, at=now, trouble=TRICKS)
    report = Reported(
        device="front", at=now, release=0, digest="a" * 64, step=Step.ROLLED_BACK, wanted=3, reason=words[:300]
    )
    sent = [
        (Topic("front", Channel.HEALTH).text, beat.encode()),
        (Topic("front", Channel.REPORTED).text, report.encode()),
    ]
    sent += [(f"mf/v1/00/{trick}/events", trick.encode()) for trick in TRICKS]
    parcels = [open_message(Message(*one), now=now, pictures=PictureRules()) for one in sent]
    ingest(engine, blobs, parcels, now=now)
    client = httpx.Client(base_url=address, timeout=30, headers=person_headers(engine, address))
    put = client.put("/api/v1/sites/a-site", json={"name": TRICKS[0], "time_zone": "UTC"})
    assert put.status_code == 200, put.text
    put = client.put(
        "/api/v1/door-settings/front",
        json={"title": TRICKS[1], "site": "a-site", "note": words[:200].replace("\u202e", "").replace("\u200b", "")},
    )
    assert put.status_code == 200, put.text
    for trick in TRICKS:
        made = client.post(
            "/users/invite", data={"name": trick, "role": "viewer", "csrf": client.headers["X-CSRF-Token"]}
        )
        assert made.status_code in (201, 422)
    client.headers["Accept"] = "text/html"
    return client


def test_no_text_becomes_an_element_or_an_attribute(admin: httpx.Client) -> None:
    seen = ""
    for path in PAGES:
        answer = admin.get(path)
        assert answer.status_code < 500, path
        assert all(answer.headers.get(name) == value for name, value in HEADERS.items()), path
        if "html" not in answer.headers.get("content-type", ""):
            continue
        found = Elements(answer.text)
        assert "evil-tag" not in found.tags, path
        assert not [one for one in found.attributes if one.startswith(("evil", "on", "style"))], path
        assert not "".join(found.inline).strip(), path
        seen += found.text
    assert "<evil-tag" in seen  # it is there, as text
    assert 'evil-attr="1' in seen
    assert "1337" not in seen.replace(",", "")
    admin.close()


def test_an_export_is_no_formula_and_no_markup(admin: httpx.Client) -> None:
    for kind in ("csv", "json", "parquet", "../x", "html"):
        answer = admin.get(f"/api/v1/counts.{kind}", params={"from": "2026-01-01T00:00:00Z"})
        assert answer.status_code in (200, 401, 403, 404, 422), answer.text
        assert "html" not in answer.headers.get("content-type", "") or answer.status_code >= 400
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    admin.close()
