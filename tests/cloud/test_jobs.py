"""Jobs: claimed by one, told about under a lease, ended once; in the table and over HTTP."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import Engine

from cloud.config import CloudSettings
from cloud.learning.jobs import BusyError, Jobs, LeaseLostError, Retraining
from cloud.learning.retraining import Labels
from cloud.loop import new_loop
from cloud.rules import RetrainingRules
from cloud.store.store import Store
from cloud.web.roles import Role, Scope
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from contract.errors import ContractError
from contract.jobs import JOB_LIMIT, Job, JobKind, JobState, Outcome, Point, Progress
from rehearsal.processes import wait_until
from tests.cloud.people_kit import machine_headers, person_headers

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
RULES = RetrainingRules()
DIGEST = "a" * 64


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def table(engine: Engine) -> Jobs:
    return Jobs(engine, RULES)


def claimed(table: Jobs, now: datetime = NOW) -> Job:
    job = table.claim("gpu-box", now)
    assert job is not None
    return job


def test_a_job_is_claimed_told_about_and_ended(table: Jobs) -> None:
    table.add(JobKind.RETRAIN, "300 new labels", NOW, snapshot=DIGEST)
    job = claimed(table)
    assert (job.release, job.champion, job.attempt, job.snapshot, job.lease_s) == (1, 0, 1, DIGEST, 120)
    assert table.claim("other", NOW) is None
    curve = (Point(epoch=1, loss=2.5, map50=0.4),)
    table.progress(job.id, Progress(lease=job.lease, stage="train", done=0.5, curve=curve), later(10))
    table.progress(job.id, Progress(lease=job.lease, stage="train", done=0.6), later(20))
    (row,) = table.latest()
    assert (row.state, row.stage, row.done, row.curve, row.worker) == (JobState.CLAIMED, "train", 0.6, curve, "gpu-box")
    outcome = Outcome(lease=job.lease, state=JobState.REFUSED, objections=("not better",))
    table.end(job.id, outcome, later(30))
    table.end(job.id, outcome, later(31))  # its first answer may have been lost
    with pytest.raises(LeaseLostError):
        table.end(job.id, Outcome(lease=job.lease, state=JobState.PUBLISHED), later(32))
    (row,) = table.latest()
    assert (row.state, row.outcome, row.ended_at) == (JobState.REFUSED, outcome, later(30))


def test_only_one_job_is_in_flight_and_numbers_only_grow(table: Jobs) -> None:
    table.add(JobKind.RETRAIN, "one", NOW, snapshot=DIGEST)
    with pytest.raises(BusyError, match="in flight"):
        table.add(JobKind.RETRAIN, "two", NOW, snapshot=DIGEST)
    for release, champion, state in ((1, 0, JobState.REFUSED), (2, 0, JobState.PUBLISHED), (3, 2, JobState.FAILED)):
        job = claimed(table)
        assert (job.release, job.champion) == (release, champion)
        table.end(job.id, Outcome(lease=job.lease, state=state), NOW)
        table.add(JobKind.REPUBLISH, "again", NOW, again=2)
    assert (claimed(table).again, table.past().tried_at, table.past().judged_at) == (2, NOW, NOW)


def test_a_release_published_meanwhile_moves_the_number_up(engine: Engine) -> None:
    newest = [0]
    table = Jobs(engine, RULES, lambda: newest[0])
    table.add(JobKind.RETRAIN, "labels", NOW, snapshot=DIGEST)
    newest[0] = 7
    assert (claimed(table).release, table.latest()[0].champion) == (8, 7)


def test_a_silent_trainer_loses_the_job_and_after_three_it_failed(table: Jobs) -> None:
    table.add(JobKind.RETRAIN, "labels", NOW, snapshot=DIGEST)
    first = claimed(table)
    assert table.claim("other", later(119)) is None
    second = claimed(table, later(121))
    assert (second.id, second.attempt) == (first.id, 2)
    with pytest.raises(LeaseLostError, match="given to another"):
        table.progress(first.id, Progress(lease=first.lease, stage="train", done=1), later(122))
    claimed(table, later(300))
    assert table.claim("gpu-box", later(500)) is None
    (row,) = table.latest()
    assert row.state is JobState.FAILED
    assert row.outcome is not None
    assert "last of 3 attempts" in row.outcome.objections[0]
    table.add(JobKind.RETRAIN, "labels", later(500), snapshot=DIGEST)


def test_a_lease_that_ran_out_unnoticed_is_still_good(table: Jobs) -> None:
    table.add(JobKind.RETRAIN, "labels", NOW, snapshot=DIGEST)
    job = claimed(table)
    table.progress(job.id, Progress(lease=job.lease, stage="train", done=1), later(1_000))
    assert table.claim("other", later(1_100)) is None


def test_of_many_that_ask_at_once_one_gets_it(table: Jobs) -> None:
    table.add(JobKind.RETRAIN, "labels", NOW, snapshot=DIGEST)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda index: table.claim(f"box-{index}", NOW), range(8)))
    assert len([job for job in got if job is not None]) == 1


def test_of_many_that_add_at_once_one_does(table: Jobs) -> None:
    def add(_: int) -> bool:
        try:
            table.add(JobKind.RETRAIN, "labels", NOW, snapshot=DIGEST)
        except BusyError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(8))) == 1


def test_a_job_cannot_end_as_waiting(table: Jobs) -> None:
    table.add(JobKind.RETRAIN, "labels", NOW, snapshot=DIGEST)
    job = claimed(table)
    with pytest.raises(ContractError, match="cannot end as 'waiting'"):
        table.end(job.id, Outcome(lease=job.lease, state=JobState.WAITING), NOW)


def test_the_trigger_makes_one_job_and_then_cools_down(table: Jobs) -> None:
    labels, snapshots = [Labels(300, 300)], [DIGEST]
    retraining = Retraining(
        table, RULES, labels_since=lambda _: labels[0], make_snapshot=lambda _: snapshots[0] if snapshots else None
    )
    assert retraining.consider(NOW) is not None
    assert retraining.consider(NOW) is None
    job = claimed(table)
    table.end(job.id, Outcome(lease=job.lease, state=JobState.PUBLISHED), later(60))
    assert retraining.consider(later(3_600)) is None
    snapshots.clear()
    assert retraining.consider(later(100_000)) is None  # nothing to learn from
    snapshots.append(DIGEST)
    assert retraining.consider(later(100_000)) is not None


class Site:
    """A served site whose labels are always enough."""

    def __init__(self, engine: Engine, door: socket.socket) -> None:
        self.now = NOW
        settings = CloudSettings.load(None, {})
        loop = new_loop(settings, engine)
        retraining = Retraining(loop.jobs, RULES, labels_since=lambda _: Labels(), make_snapshot=lambda _: DIGEST)
        loop = replace(loop, retraining=retraining)
        make = partial(new_site, Store(engine), settings, clock=lambda: self.now, loop=loop)
        self.server = WebServer(make, door)
        address = f"http://127.0.0.1:{door.getsockname()[1]}"
        self.operator = person_headers(engine, address, "Ola", Role.OPERATOR, NOW)
        self.client = httpx.Client(base_url=f"{address}/api/v1", timeout=30)
        self.client.headers.update(self.operator)
        self.token = machine_headers(engine, Scope.TRAINER, now=NOW)

    def post(self, path: str, content: bytes, **headers: str) -> httpx.Response:
        return self.client.post(f"/jobs{path}", content=content, headers=headers or self.token)


@pytest.fixture
def site(engine: Engine) -> Iterator[Site]:
    served = Site(engine, listen("127.0.0.1", 0))
    thread = threading.Thread(target=served.server.run)
    thread.start()
    wait_until(lambda: served.server.started, within_s=10, what="the site serving")
    yield served
    served.client.close()
    served.server.stop()
    thread.join(10)


def test_the_whole_way_over_http(site: Site) -> None:
    assert site.post("/claim", b'{"worker": "gpu-box"}').status_code == 204
    made = site.client.post("/jobs", json={"kind": "retrain"})
    assert made.status_code == 201
    assert site.client.post("/jobs", json={}).status_code == 409
    job = Job.decode(site.post("/claim", b'{"worker": "gpu-box"}').content, limit=JOB_LIMIT)
    assert job.id == UUID(made.json()["id"])
    word = Progress(lease=job.lease, stage="data", done=0.2)
    assert site.post(f"/{job.id}/progress", word.encode()).status_code == 204
    assert site.post(f"/{uuid4()}/progress", word.encode()).status_code == 404
    stale = Progress(lease=uuid4(), stage="data", done=0.2)
    refused = site.post(f"/{job.id}/progress", stale.encode())
    assert (refused.status_code, "given to another" in refused.json()["detail"]) == (409, True)
    outcome = Outcome(lease=job.lease, state=JobState.REFUSED, objections=("not better",))
    assert site.post(f"/{job.id}/outcome", outcome.encode()).status_code == 204
    (listed,) = site.client.get("/jobs").json()
    assert (listed["state"], listed["outcome"]["objections"], listed["stage"]) == ("refused", ["not better"], "data")
    assert str(job.lease) not in site.client.get("/jobs").text


@pytest.mark.parametrize("path", ["/claim", f"/{UUID(int=1)}/progress", f"/{UUID(int=1)}/outcome"])
def test_machines_need_a_token_and_a_message_of_the_contract(site: Site, path: str) -> None:
    assert site.post(path, b"{}", Authorization="Bearer no").status_code == 401
    assert site.post(path, b"{}").status_code == 422
    assert site.post(path, b" " * (JOB_LIMIT + 1)).status_code == 413


def test_a_training_is_asked_for_by_this_sites_own_pages_or_a_machine_with_a_token(site: Site) -> None:
    for headers, answer in (
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-CSRF-Token": "0" * 64}, 403),
        ({"Cookie": ""}, 401),
        ({"Authorization": "Bearer no"}, 401),
        ({"Origin": "https://elsewhere.example", **site.token}, 201),
    ):
        assert site.client.post("/jobs", json={}, headers=headers).status_code == answer, headers


@pytest.mark.parametrize(
    "wish",
    [{"kind": "republish"}, {"kind": "republish", "again": 2**80}, {"again": 3}, {"kind": "dance"}, {"kinds": 1}],
)
def test_a_wish_that_makes_no_sense_is_refused(site: Site, wish: dict[str, Any]) -> None:
    assert site.client.post("/jobs", json=wish).status_code == 422
