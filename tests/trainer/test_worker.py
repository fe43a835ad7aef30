"""The trainer's worker against a real site: an earlier release again, a lease that is lost, a list that was set back."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.config import CloudSettings
from cloud.fleet.keys import make_keys
from cloud.fleet.releases import Repository
from cloud.loop import new_loop
from cloud.store.database import migrate, open_database
from cloud.store.store import Store
from cloud.web.server import WebServer, listen
from cloud.web.site import new_site
from cloud.web.tokens import make_token
from contract.errors import ContractError, TryAgainError
from contract.jobs import Job, JobKind, JobState
from contract.release import GOLDEN_NAME, MANIFEST_NAME, MODEL_NAME, Manifest
from rehearsal.processes import free_port, wait_until
from tests.cloud.release_kit import release_files
from trainer.lease import Lease
from trainer.link import LeaseLostError, Link, patiently
from trainer.release import Signer
from trainer.worker import Verdict, Worker


class Site:
    """A served cloud with a repository, and a link to it."""

    def __init__(self, folder: Path) -> None:
        settings = CloudSettings.load(None, {"data": str(folder), "retraining.lease_s": "6"})
        self.engine = open_database(settings.database_url)
        migrate(self.engine)
        self.releases = settings.release_folder
        make_keys(self.releases, datetime.now(UTC))
        self.loop = new_loop(settings, self.engine)
        door = listen("127.0.0.1", 0)
        self._server = WebServer(partial(new_site, Store(self.engine), settings, loop=self.loop), door)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_until(lambda: self._server.started, within_s=10, what="the site serving")
        self.url = f"http://127.0.0.1:{door.getsockname()[1]}"
        self.link = Link.open(self.url, make_token(self.engine, "gpu-box", datetime.now(UTC)))
        self.signer = Signer(self.releases / "trainer", folder / "work")

    @property
    def numbers(self) -> list[int]:
        return Repository(self.releases).numbers()

    def close(self) -> None:
        self.link.close()
        self._server.stop()
        self._thread.join(10)
        self.engine.dispose()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    served = Site(tmp_path)
    yield served
    served.close()


class Canned:
    """A training that is over at once: its candidate and the gate's word are the test's."""

    def __init__(self, objections: tuple[str, ...] = ()) -> None:
        self.objections = objections
        self.champions: list[Mapping[str, bytes] | None] = []
        self.meanwhile: Callable[[Lease], object] = lambda _: None

    def candidate(
        self, job: Job, link: Link, lease: Lease, champion: Mapping[str, bytes] | None, folder: Path
    ) -> Verdict:
        self.champions.append(champion)
        lease.stage("train")
        self.meanwhile(lease)
        lease.require()
        files = release_files(job.release)
        digest = Manifest.decode(files[MANIFEST_NAME], limit=10**6).digest
        return Verdict(files, self.objections, (), ("no images",), digest)


def work(site: Site, folder: Path, trains: Any) -> None:
    Worker(site.link, site.signer, folder, "gpu-box", trains).run(once=True, done=threading.Event())


def ask(site: Site, kind: JobKind = JobKind.RETRAIN, **values: Any) -> None:
    given = {"snapshot": "a" * 64} if kind is JobKind.RETRAIN else {}
    site.loop.jobs.add(kind, "because", datetime.now(UTC), **{**given, **values})


def test_a_candidate_without_objections_is_published_and_is_the_next_champion(site: Site, tmp_path: Path) -> None:
    trains = Canned()
    for _ in range(2):
        ask(site)
        work(site, tmp_path, trains)
    assert site.numbers == [1, 2]
    assert [row.state for row in site.loop.jobs.latest()] == [JobState.PUBLISHED] * 2
    assert trains.champions == [None, release_files(1)]


def test_a_candidate_with_objections_is_a_normal_outcome(site: Site, tmp_path: Path) -> None:
    ask(site)
    work(site, tmp_path, Canned(("it is worse",)))
    (row,) = site.loop.jobs.latest()
    assert (row.state, row.outcome and row.outcome.objections) == (JobState.REFUSED, ("it is worse",))
    assert site.numbers == []


def test_an_earlier_release_comes_back_under_a_higher_number(site: Site, tmp_path: Path) -> None:
    for _ in range(2):
        ask(site)
        work(site, tmp_path, Canned())
    ask(site, JobKind.REPUBLISH, again=1)
    work(site, tmp_path, Canned())
    assert site.numbers == [1, 2, 3]
    files = site.signer.files(site.link, 3)
    assert (files[MODEL_NAME], files[GOLDEN_NAME]) == tuple(
        release_files(1)[name] for name in (MODEL_NAME, GOLDEN_NAME)
    )
    told = Manifest.decode(files[MANIFEST_NAME], limit=10**6)
    assert (told.release, told.trained_on["again"]) == (3, 1)
    ask(site, JobKind.REPUBLISH, again=9)
    work(site, tmp_path, Canned())
    row = site.loop.jobs.latest()[0]
    assert row.state is JobState.FAILED
    assert row.outcome is not None
    assert "release 9 is not in the repository" in row.outcome.objections[0]


def test_a_worker_whose_job_went_to_another_publishes_nothing(site: Site, tmp_path: Path) -> None:
    ask(site)
    trains = Canned()

    def lose(lease: Lease) -> None:
        later = datetime.now(UTC).timestamp() + 1000
        assert site.loop.jobs.claim("another", datetime.fromtimestamp(later, UTC)) is not None
        wait_until(lambda: not lease.alive, within_s=10, what="the loss being noticed")

    trains.meanwhile = lose
    work(site, tmp_path, trains)
    assert site.numbers == []
    assert site.loop.jobs.latest()[0].worker == "another"


def test_a_long_stage_does_not_lose_the_lease(site: Site, tmp_path: Path) -> None:
    ask(site)
    trains = Canned()

    def take_long(_lease: Lease) -> None:
        first = site.loop.jobs.latest()[0].lease_until
        assert first is not None
        wait_until(lambda: datetime.now(UTC) > first, within_s=15, what="the end of the first lease")

    trains.meanwhile = take_long
    work(site, tmp_path, trains)
    (row,) = site.loop.jobs.latest()
    assert (row.state, row.attempt) == (JobState.PUBLISHED, 1)


def test_publishing_twice_is_one_release_and_other_bytes_are_refused(site: Site) -> None:
    now = datetime.now(UTC)
    site.signer.publish(site.link, 4, release_files(4), now)
    site.signer.publish(site.link, 4, release_files(4), now)
    assert site.numbers == [4]
    with pytest.raises(ContractError, match="with other files"):
        site.signer.publish(site.link, 4, {**release_files(4), MODEL_NAME: b"other"}, now)


def test_nothing_is_signed_on_top_of_a_list_that_was_set_back(site: Site, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    metadata = site.releases / "repository" / "metadata"
    site.signer.publish(site.link, 1, release_files(1), now)
    backup = tmp_path / "backup"
    shutil.copytree(metadata, backup)
    site.signer.publish(site.link, 2, release_files(2), now)
    site.signer.publish(site.link, 3, release_files(3), now)
    shutil.rmtree(metadata)
    shutil.copytree(backup, metadata)
    with pytest.raises(ContractError, match="set back"):
        site.signer.publish(site.link, 4, release_files(4), now)


def test_an_old_list_is_prolonged_a_fresh_one_is_left_alone(site: Site) -> None:
    now = datetime.now(UTC)
    assert not site.signer.prolong(site.link, now)
    shutil.rmtree(site.releases)
    make_keys(site.releases, now - timedelta(days=11))
    signer = Signer(site.releases / "trainer", site.releases.parent)
    listed = signer.served(site.link).signed
    assert signer.prolong(site.link, now)
    assert not signer.prolong(site.link, now)
    assert signer.served(site.link).signed.version == listed.version + 1


def test_a_list_of_another_key_is_not_continued(site: Site, tmp_path: Path) -> None:
    make_keys(tmp_path / "other", datetime.now(UTC))
    with pytest.raises(ContractError, match="not of our signing"):
        Signer(tmp_path / "other" / "trainer", tmp_path).publish(site.link, 1, release_files(1), datetime.now(UTC))


def test_a_wrong_token_says_what_to_do(site: Site) -> None:
    stranger = Link.open(site.url, "mf_" + "x" * 43)
    with pytest.raises(ContractError, match="cloud token NAME"):
        stranger.claim("gpu-box")
    stranger.close()


def test_a_cloud_that_is_away_is_asked_again_and_a_token_never_travels_in_the_open() -> None:
    away = Link.open(f"http://127.0.0.1:{free_port()}", "t")
    tries = []

    def act() -> None:
        tries.append(1)
        away.claim("gpu-box")

    with pytest.raises(TryAgainError, match="does not answer"):
        patiently(act, wait=lambda _: False, tries=3)
    assert len(tries) == 3
    away.close()
    with pytest.raises(ContractError, match="https"):
        Link.open("http://example.org", "t")


def test_pictures_and_snapshots_must_be_what_their_names_say(site: Site) -> None:
    digest = site.loop.blobs.put(b"picture")
    assert site.link.picture(digest) == b"picture"
    (blob,) = [path for path in (site.releases.parent / "blobs").rglob(digest) if path.is_file()]
    blob.write_bytes(b"spoiled")
    with pytest.raises(ContractError, match="SHA-256"):
        site.link.picture(digest)
    with pytest.raises(ContractError, match="404"):
        site.link.snapshot("f" * 64)
    assert httpx.get(f"{site.url}/api/v1/snapshots/{digest}").status_code == 401


def test_a_lease_that_cannot_be_renewed_ends_the_work(site: Site) -> None:
    ask(site)
    job = site.link.claim("gpu-box")
    assert job is not None
    stop = threading.Event()
    with Lease(site.link, job, stop) as lease:
        lease.stage("train")
        stop.set()
        with pytest.raises(LeaseLostError, match="being stopped"):
            lease.require()
