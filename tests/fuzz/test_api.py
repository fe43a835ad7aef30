"""The API under generated requests of everybody who may knock: never a 5xx, and nothing but documented answers."""

from collections import Counter
from typing import Any, cast

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.failures import Failure, FailureGroup
from sqlalchemy import Engine

from cloud.web.roles import Role, Scope
from tests.cloud.people_kit import machine_headers, person_headers
from tests.fuzz.conftest import MORE

ENDLESS = "/api/v1/live"
VISITORS = ("nobody", "viewer", "admin", "machine")


def headers_of(visitor: str, engine: Engine, address: str) -> dict[str, str]:
    match visitor:
        case "nobody":
            return {}
        case "machine":
            return machine_headers(engine, *Scope)
        case role:
            return person_headers(engine, address, role.capitalize(), Role(role))


@pytest.mark.parametrize("visitor", VISITORS)
def test_no_generated_request_is_answered_by_5xx_or_undocumented(visitor: str, engine: Engine, address: str) -> None:
    reader = person_headers(engine, address)
    schema = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json", headers=reader)
    wrong: Counter[str] = Counter()
    asked = 0
    with httpx.Client(base_url=address, timeout=30, headers=headers_of(visitor, engine, address)) as client:
        for found in schema.get_all_operations():
            operation: Any = cast("Any", found).ok()
            if operation.path != ENDLESS:
                asked += _knock(operation, client, wrong)
    assert asked > 50
    assert not wrong


def _knock(operation: Any, client: httpx.Client, wrong: Counter[str]) -> int:
    """Generated requests to one operation; returns how many could be sent."""
    documented = {int(one) for one in operation.definition.raw["responses"] if one.isdigit()}
    asked = 0

    @settings(
        max_examples=int(10 * MORE), deadline=None, database=None, phases=[Phase.generate], derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy())
    def once(case: Any) -> None:
        nonlocal asked
        made = case.as_transport_kwargs(base_url=str(client.base_url).rstrip("/"))
        body = {"content" if key == "data" else key: made[key] for key in ("json", "data") if made.get(key) is not None}
        if not isinstance(body.get("content", b""), bytes | str):
            return
        try:
            answer = client.request(made["method"], made["url"], params=made.get("params"), **body)
        except (httpx.InvalidURL, UnicodeError, ValueError):
            return  # no client can send that
        asked += 1
        try:
            operation.validate_response(answer)
        except (Failure, FailureGroup) as error:
            wrong[f"{operation.method.upper()} {operation.path} {answer.status_code}: {str(error)[:200]}"] += 1
        if answer.status_code not in documented or answer.status_code >= 500:
            wrong[f"{operation.method.upper()} {operation.path} {answer.status_code}"] += 1

    once()
    return asked
