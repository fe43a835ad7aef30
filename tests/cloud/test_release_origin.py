"""A recorded release names the job that made it, and the release whose bytes it brings back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from cloud.fleet.keys import make_keys
from cloud.fleet.releases import Repository
from cloud.fleet.rollout import Rules
from cloud.fleet.steward import record_releases
from cloud.learning.jobs import Jobs
from cloud.rules import RetrainingRules
from cloud.web.rollouts import rollout_view
from contract.jobs import JobKind, JobState, Outcome
from tests.cloud.release_kit import release

NOW = datetime.now(UTC)


def test_a_release_names_its_job_and_what_it_brings_back(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "releases"
    make_keys(folder, NOW)
    repository = Repository(folder)
    release(folder, 1, NOW)  # by hand, before there was any job
    record_releases(engine, repository, NOW)
    table = Jobs(engine, RetrainingRules(), newest_release=lambda: max(repository.numbers()))
    ids = []
    for number, kind, again in ((2, JobKind.RETRAIN, None), (3, JobKind.REPUBLISH, 1)):
        ids.append(table.add(kind, "a test", NOW + timedelta(seconds=number), again=again))
        job = table.claim("gpu-box", NOW)
        assert job is not None
        assert job.release == number
        release(folder, number, NOW)
        record_releases(engine, repository, NOW)
        table.end(job.id, Outcome(lease=job.lease, state=JobState.PUBLISHED), NOW)
    view = rollout_view(engine, NOW, Rules(silent_after_s=60, canary_soak_s=0), 60)
    assert [(one["number"], one["job"], one["again"]) for one in view["releases"]] == [
        (3, ids[1], 1), (2, ids[0], None), (1, None, None),
    ]  # fmt: skip
    assert [(one["group"], one["doors"], one["ok"]) for one in view["groups"]] == [("canary", 0, 0), ("rest", 0, 0)]
