"""What the quarantine page shows of a message, and forgetting it."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud.ingest.parcels import Fault
from cloud.store.refused import Refused
from cloud.web.codes import FAULTS
from cloud.web.quarantine import first_line
from cloud.web.roles import Role
from contract.topics import Channel
from tests.cloud.people_kit import signed_in
from tests.cloud.site_kit import NOW, served


def refused(head: bytes, topic: str = "mf/v1/0/front/events") -> Refused:
    return Refused(b"d" * 32, NOW, NOW, 1, topic, "front", "malformed", "not JSON", 1, len(head), head)


@pytest.mark.parametrize(
    ("head", "shown"),
    [
        (b'{"door": 1', '{"door": 1'),
        (b'{"role": "control"}\n\xff\xd8\xff\xe0 a picture', '{"role": "control"}'),
        (b"\xff\xd8\xff\xe0", None),  # a bare picture
        (b"not JSON", None),
        (b'{"x": "\x07"}', None),
        (b'{"jpeg": "' + b"/9j/4AAQ" * 50 + b'"}', '{"jpeg": "(400)"}'),
        ('{"x": "ä'.encode()[:-1], '{"x": "'),  # cut within a letter
        (b'{"x": "\xc3", 1', None),
        (b'{"x": "' + b"a b " * 200, '{"x": "' + "a b " * 73 + "a" + "…"),
    ],
)
def test_a_message_begins_with_words_or_not_at_all(head: bytes, shown: str | None) -> None:
    assert first_line(refused(head)) == shown


def test_nothing_of_a_foreign_topic_is_shown() -> None:
    assert first_line(refused(b"{}", "cameras/front/picture")) is None


def test_every_kind_has_a_meaning() -> None:
    assert set(FAULTS) == set(Fault)


def test_an_admin_forgets_what_the_page_showed_and_the_log_knows(engine: Engine, tmp_path: Path) -> None:
    with served(engine, tmp_path) as site:
        site.take("front", Channel.EVENTS, b"{<script>alert(1)</script>")
        site.take("gate", Channel.EVENTS, b"{more")
        page = site.client.get("/quarantine").text
        assert "{&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "after 30\N{NO-BREAK SPACE}days" in page
        assert "gate" not in re.sub(r"<form.*?</form>", "", site.client.get("/quarantine?door=front").text, flags=re.S)
        question = site.client.get(re.findall(r'href="(/quarantine/forget[^"]*)"', page)[-1].replace("&amp;", "&")).text
        assert "2\N{NO-BREAK SPACE}messages" in question
        fields = dict(re.findall(r'name="(kind|door|digest|until)" value="([^"]*)"', question))
        site.now += timedelta(minutes=1)
        site.take("late", Channel.EVENTS, b"{late")
        answer = site.client.post("/quarantine/forget", data=fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/quarantine?gone=2")
        left = site.client.get("/quarantine").text
        assert "{late" in left
        assert "{more" not in left
        assert "quarantine forgotten" in site.client.get("/audit").text
        assert site.client.post("/quarantine/forget", data={"until": "yesterday"}).status_code == 422


def test_a_viewer_sees_what_was_refused_but_not_how_it_begins(engine: Engine, tmp_path: Path) -> None:
    with served(engine, tmp_path) as site:
        site.take("front", Channel.EVENTS, b"{secret")
        with signed_in(engine, site.address, Role.VIEWER, NOW) as viewer:
            page = viewer.get("/quarantine").text
            refusal = viewer.get("/quarantine/forget")
        assert "front" in page
        assert "{secret" not in page
        assert "/quarantine/forget" not in page
        assert refusal.status_code == 403
