"""The rollout for people: what is moving, and three buttons."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Header, HTTPException, Request
from sqlalchemy import Connection, Engine

from cloud.fleet.rollout import Rules, ending
from cloud.fleet.steward import change_by_hand
from cloud.store import fleet
from contract.errors import ContractError, TryAgainError


def rollout_view(engine: Engine, now: datetime, rules: Rules, present_s: float) -> dict[str, Any]:
    """Releases, the newest first, and every door that reports, with what became of it."""
    with engine.connect() as connection:
        rollout, rows = fleet.read_rollout(connection), fleet.read_releases(connection)
        doors, reasons = fleet.read_doors(connection, now, present_s), fleet.read_reasons(connection)
    release = rollout.release if rollout else 0
    return {
        "release": release,
        "state": rollout.state if rollout else None,
        "group": rollout.group if rollout else None,
        "reason": rollout.reason if rollout else "",
        "doors": [
            {
                "name": door.device, "running": door.running, "wanted": door.asked, "step": door.step,
                "group": door.group if door.asked == release else None, "present": door.present,
                "outcome": ending(now, door, release, rules), "reason": reasons.get(door.device, ""),
            }
            for door in doors
        ],
        "releases": [
            {
                "number": row["number"], "digest": row["digest"], "published_at": row["published_at"],
                "state": row["state"], "reason": row["reason"], "metrics": row["manifest"].get("metrics", {}),
            }
            for row in rows
        ],
    }  # fmt: skip


def new_rollout_api(
    engine: Engine,
    view: Callable[[], dict[str, Any]],
    republish: Callable[[Connection, int], object],
) -> APIRouter:
    """`GET /api/v1/rollout`, and pause, resume, revert for pages of this site only."""
    api = APIRouter(prefix="/api/v1/rollout", tags=["releases"])

    @api.get("", summary="The newest rollout, door by door, and all releases")
    def rollout() -> dict[str, Any]:
        return view()

    @api.post("/{verb}", summary="Pause, resume or revert; from this site's own pages")
    def change(
        verb: Literal["pause", "resume", "revert"], request: Request, origin: Annotated[str, Header()] = ""
    ) -> dict[str, str]:
        if not origin or urlsplit(origin).netloc != request.headers.get("host"):
            raise HTTPException(403, "only this site's own pages may do that")
        try:
            return {"state": change_by_hand(engine, verb, republish)}
        except (ContractError, TryAgainError) as error:
            raise HTTPException(409, str(error)) from error

    return api
