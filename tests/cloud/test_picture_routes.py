"""How pictures leave: to pages through the site, to a trainer's token by an address of the store that runs out."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from cloud.app import prepare
from cloud.config import CloudSettings
from cloud.loop import new_loop
from cloud.store.blobs import Blobs
from cloud.store.store import Store
from cloud.upkeep.housekeeper import Housekeeper
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from cloud.web.tokens import make_token
from rehearsal.processes import wait_until
from tests.cloud.keeping_kit import Site, crop, days
from tests.cloud.people_kit import signed_in
from tests.cloud.s3_kit import REGION, ObjectStore
from trainer.link import GoneError, Link

NOW = datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Served:
    """A site whose pictures lie in a bucket."""

    url: str
    token: str
    site: Site
    blobs: Blobs
    settings: CloudSettings


@pytest.fixture
def served(object_store: ObjectStore, tmp_path: Path) -> Iterator[Served]:
    bucket = object_store.bucket()
    given = {
        "data": str(tmp_path), "blobs": f"s3://{bucket.name}/{bucket.prefix}", "s3.endpoint": object_store.endpoint,
        "s3.region": REGION,
    }  # fmt: skip
    settings = CloudSettings.load(None, given)
    engine = prepare(settings)
    loop = new_loop(settings, engine)
    door = listen("127.0.0.1", 0)
    server = WebServer(partial(new_site, Store(engine), settings, loop=loop), door)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, within_s=10, what="the site serving")
    url = f"http://127.0.0.1:{door.getsockname()[1]}"
    yield Served(url, make_token(engine, "gpu-box", NOW), Site(engine, loop.blobs), loop.blobs, settings)
    server.stop()
    thread.join(10)
    engine.dispose()


def test_a_page_gets_a_picture_from_the_site_itself(served: Served) -> None:
    one = crop(NOW)
    served.site.take_crops(one, now=NOW)
    with signed_in(served.site.engine, served.url, now=NOW) as person:
        answer = person.get(f"/api/v1/crops/{one.header.jpeg_digest}.jpg")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, one.jpeg, "image/jpeg")
    assert "immutable" not in answer.headers["cache-control"]  # a browser's copy must not outlive the picture


def test_a_trainer_is_sent_to_the_store_without_its_token(served: Served, object_store: ObjectStore) -> None:
    one = crop(NOW)
    served.site.take_crops(one, now=NOW)
    bearer = {"Authorization": f"Bearer {served.token}"}
    answer = httpx.get(f"{served.url}/api/v1/crops/{one.header.jpeg_digest}.jpg", headers=bearer)
    assert answer.status_code == 307
    assert urlsplit(answer.headers["location"]).netloc == urlsplit(object_store.endpoint).netloc
    assert answer.headers["cache-control"] == "no-store"
    link = Link.open(served.url, served.token)
    assert link.picture(one.header.jpeg_digest) == one.jpeg
    link.close()


def test_a_trainer_is_told_where_a_picture_is_no_longer_kept(served: Served) -> None:
    one = crop(NOW)
    served.site.take_crops(one, now=NOW)
    Housekeeper(served.site.engine, served.blobs, served.settings.retention).turn(NOW + days(15))
    link = Link.open(served.url, served.token)
    with pytest.raises(GoneError, match="its time is over"):
        link.picture(one.header.jpeg_digest)
    link.close()
    with signed_in(served.site.engine, served.url, now=NOW) as person:
        assert person.get(f"/api/v1/crops/{one.header.jpeg_digest}.jpg").status_code == 404


def test_a_wrong_token_is_refused_and_not_sent_anywhere(served: Served) -> None:
    one = crop(NOW)
    served.site.take_crops(one, now=NOW)
    for token in ("Bearer no", "Basic bWU6bWU="):
        answer = httpx.get(f"{served.url}/api/v1/crops/{one.header.jpeg_digest}.jpg", headers={"Authorization": token})
        assert answer.status_code == 401


def test_snapshots_lie_apart_from_the_pictures_that_expire(served: Served, object_store: ObjectStore) -> None:
    one = crop(NOW)
    served.site.take_crops(one, now=NOW)
    served.site.label(one, NOW)
    loop = new_loop(served.settings, served.site.engine)
    digest = loop.snapshots.make(NOW)
    bucket = served.settings.bucket
    assert bucket is not None
    keys = {each["Key"] for each in object_store.client.list_objects_v2(Bucket=bucket.name)["Contents"]}
    picture = one.header.jpeg_digest
    assert keys == {f"site/crops/{picture[:2]}/{picture}", f"site/snapshots/{str(digest)[:2]}/{digest}"}


def test_a_store_that_does_not_answer_is_no_fault_of_the_site(tmp_path: Path, object_store: ObjectStore) -> None:
    given = {
        "data": str(tmp_path),
        "blobs": "s3://not-made-yet",
        "s3.endpoint": object_store.endpoint,
        "s3.region": REGION,
    }
    settings = CloudSettings.load(None, given)
    engine = prepare(settings)
    outcome = Site(engine, new_loop(settings, engine).blobs).take_crops(crop(NOW), now=NOW)
    assert len(outcome.postponed) == 1
    engine.dispose()
