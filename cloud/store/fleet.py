"""The statements about releases and rollouts: what was published, asked, confirmed and reported."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud.fleet.rollout import Door, Group, Rollout, State
from cloud.store.schema import devices, doors_desired, jobs, releases, reported, rollouts
from contract.fleet import Desired, DoorPlan, OpeningPlan, Reported, SamplingPlan, Step
from contract.release import Manifest


def write_reported(connection: Connection, report: Reported, now: datetime) -> None:
    """Keep what a door says of itself; an older report does not replace a newer one."""
    insert = _insert(connection, reported)
    row = report.model_dump(exclude={"schema_version"})
    row |= {"at": report.at, "step": report.step.value, "received_at": now}
    statement = insert.values(**row).on_conflict_do_update(
        index_elements=[reported.c.device],
        set_={key: value for key, value in row.items() if key != "device"},
        where=reported.c.at <= insert.excluded.at,
    )
    connection.execute(statement)


def write_release(connection: Connection, manifest: Manifest, now: datetime) -> bool:
    """Record a published release, with the job that made it, and begin its rollout; False where it was recorded before."""
    maker = select(jobs.c.id, jobs.c.again).where(jobs.c.release == manifest.release)
    job = connection.execute(maker.order_by(jobs.c.made_at.desc()).limit(1)).first()
    row = {"number": manifest.release, "digest": manifest.digest, "published_at": now}
    if job is not None:
        row |= {"job": job.id, "again": job.again}
    insert = _insert(connection, releases).values(**row, manifest=manifest.model_dump(mode="json"))
    new = connection.execute(insert.on_conflict_do_nothing().returning(releases.c.number)).scalar_one_or_none()
    if new is None:
        return False
    for state, instead, why in (
        (State.DONE, State.REPLACED, f"release {manifest.release} came"),
        (State.RUNNING, State.HALTED, f"release {manifest.release} came first"),
        (State.PAUSED, State.HALTED, f"release {manifest.release} came first"),
    ):
        connection.execute(update(rollouts).where(rollouts.c.state == state).values(state=instead.value, reason=why))
    start = {"release": manifest.release, "state": "running", "group": "canary", "began_at": now, "group_began_at": now}
    connection.execute(rollouts.insert().values(**start, reason=""))
    return True


def read_releases(connection: Connection) -> list[dict[str, Any]]:
    """Every release with its rollout, the newest first."""
    joined = releases.outerjoin(rollouts, rollouts.c.release == releases.c.number)
    columns = (rollouts.c.state, rollouts.c.group, rollouts.c.began_at, rollouts.c.settled_at, rollouts.c.reason)
    query = select(releases, *columns).select_from(joined).order_by(releases.c.number.desc())
    return [dict(row) for row in connection.execute(query).mappings()]


def read_rollout(connection: Connection) -> Rollout | None:
    """The newest rollout."""
    row = connection.execute(select(rollouts).order_by(rollouts.c.release.desc()).limit(1)).mappings().first()
    if row is None:
        return None
    return Rollout(
        row["release"],
        State(row["state"]),
        Group(row["group"]),
        row["group_began_at"],
        row["settled_at"],
        row["reason"],
    )


def write_rollout(connection: Connection, rollout: Rollout, before: Rollout) -> bool:
    """Keep where it stands now; False, and nothing kept, where it no longer stands where it did `before`."""
    values = {
        "state": rollout.state.value, "group": rollout.group.value, "group_began_at": rollout.group_began_at,
        "settled_at": rollout.settled_at, "reason": rollout.reason,
    }  # fmt: skip
    same = (rollouts.c.release == before.release) & (rollouts.c.state == before.state.value)
    same &= rollouts.c.group == before.group.value
    return bool(connection.execute(update(rollouts).where(same).values(**values)).rowcount)


def last_good(connection: Connection, below: int) -> int | None:
    """The newest release under `below` whose rollout was once done."""
    good = (State.DONE.value, State.REPLACED.value)
    query = select(rollouts.c.release).where(rollouts.c.release < below, rollouts.c.state.in_(good))
    return connection.execute(query.order_by(rollouts.c.release.desc()).limit(1)).scalar_one_or_none()


def read_doors(connection: Connection, now: datetime, present_s: float) -> list[Door]:
    """Every door that ever reported what it runs: others cannot be asked."""
    joined = reported.join(devices, devices.c.name == reported.c.device).outerjoin(
        doors_desired, doors_desired.c.device == reported.c.device
    )
    asked = (doors_desired.c.release.label("asked"), doors_desired.c.since, doors_desired.c.group)
    query = select(reported, devices.c.last_seen, devices.c.state, *asked).select_from(joined)
    return [
        Door(
            device=row["device"],
            present=row["state"] != "offline" and now - row["last_seen"] <= timedelta(seconds=present_s),
            asked=row["asked"] or 0,
            since=row["since"],
            group=Group(row["group"]) if row["group"] else None,
            running=row["release"],
            wanted=row["wanted"],
            step=Step(row["step"]),
            heard_at=row["received_at"],
        )
        for row in connection.execute(query.order_by(reported.c.device)).mappings()
    ]


def write_desired(connection: Connection, names: Iterable[str], release: int, group: Group, now: datetime) -> None:
    """Ask doors for a release; the consumer sends it, with the settings that `cloud.store.doors` keeps in the same row."""
    insert = _insert(connection, doors_desired)
    values = {"release": release, "group": group.value, "since": now}
    statement = insert.on_conflict_do_update(
        index_elements=[doors_desired.c.device], set_=values | {"number": doors_desired.c.number + 1}
    )
    rows = [{"device": name, "number": 1, **values} for name in sorted(names)]
    if rows:
        connection.execute(statement, rows)


def read_waiting(connection: Connection, limit: int = 100) -> list[Desired]:
    """What the broker has not confirmed."""
    query = select(doors_desired).where(doors_desired.c.published_number < doors_desired.c.number)
    return [
        Desired(
            device=row["device"],
            number=row["number"],
            release=row["release"],
            sampling=SamplingPlan.from_parsed(row["sampling"]) if row["sampling"] else None,
            door=DoorPlan.from_parsed(row["door"]) if row["door"] else None,
            opening=OpeningPlan.from_parsed(row["opening"]) if row["opening"] else None,
        )
        for row in connection.execute(query.order_by(doors_desired.c.device).limit(limit)).mappings()
    ]


def mark_published(connection: Connection, device: str, number: int, now: datetime) -> None:
    """The broker has it."""
    chosen = (doors_desired.c.device == device) & (doors_desired.c.published_number < number)
    connection.execute(update(doors_desired).where(chosen).values(published_number=number, published_at=now))


def read_reasons(connection: Connection) -> dict[str, str]:
    """By door: why it does not run what it should."""
    return {row.device: row.reason for row in connection.execute(select(reported.c.device, reported.c.reason))}


def _insert(connection: Connection, table: Any) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
