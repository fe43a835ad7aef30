"""The rollout for people: what is moving, and three buttons."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from sqlalchemy import Connection, Engine

from cloud.fleet.rollout import Ending, Group, Rules, ending
from cloud.fleet.steward import change_by_hand
from cloud.store import fleet
from cloud.web.asking import note
from contract.errors import ContractError, TryAgainError


def rollout_view(engine: Engine, now: datetime, rules: Rules, present_s: float) -> dict[str, Any]:
    """Releases, the newest first, and every door that reports, with what became of it."""
    with engine.connect() as connection:
        rollout, rows = fleet.read_rollout(connection), fleet.read_releases(connection)
        doors, reasons = fleet.read_doors(connection, now, present_s), fleet.read_reasons(connection)
    release = rollout.release if rollout else 0
    endings = {door.device: ending(now, door, release, rules) for door in doors}
    return {
        "release": release,
        "state": rollout.state if rollout else None,
        "group": rollout.group if rollout else None,
        "reason": rollout.reason if rollout else "",
        "doors": [
            {
                "name": door.device, "running": door.running, "wanted": door.asked, "step": door.step, "step_of": door.wanted,
                "group": door.group if door.asked == release else None, "present": door.present,
                "outcome": endings[door.device], "reason": reasons.get(door.device, ""),
            }
            for door in doors
        ],
        "groups": [
            _tally(group, [endings[door.device] for door in doors if door.asked == release and door.group is group])
            for group in Group
        ],
        "releases": [
            {
                "number": row["number"], "digest": row["digest"], "published_at": row["published_at"],
                "state": row["state"], "reason": row["reason"], "metrics": row["manifest"].get("metrics", {}),
                "job": row["job"], "again": row["again"],
            }
            for row in rows
        ],
    }  # fmt: skip


def map50_by_split(metrics: dict[str, Any]) -> dict[str, float]:
    """The splits a manifest was scored on with their mAP50; what is no score is left out."""
    scores = {split: told.get("map50") for split, told in metrics.items() if isinstance(told, dict)}
    return {split: float(one) for split, one in scores.items() if isinstance(one, int | float)}


def _tally(group: Group, endings: list[Ending | None]) -> dict[str, Any]:
    counts = {one.value: endings.count(one) for one in Ending}
    return {"group": group, "doors": len(endings), "under_way": endings.count(None), **counts}


def new_rollout_api(
    engine: Engine,
    view: Callable[[], dict[str, Any]],
    republish: Callable[[Connection, int], object],
) -> APIRouter:
    """`GET /api/v1/rollout`, and pause, resume, revert for people."""
    api = APIRouter(prefix="/api/v1/rollout", tags=["releases"])

    @api.get("", summary="The newest rollout, door by door, and all releases")
    def rollout() -> dict[str, Any]:
        return view()

    @api.post(
        "/{verb}",
        summary="Pause, resume or revert; from this site's own pages",
    )
    def change(verb: Literal["pause", "resume", "revert"]) -> dict[str, str]:
        note(verb)
        try:
            return {"state": change_by_hand(engine, verb, republish)}
        except (ContractError, TryAgainError) as error:
            raise HTTPException(409, str(error)) from error

    return api
