"""The messages that broke the contract: what each kind means, what came, and forgetting it by hand."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import RedirectResponse, Response

from cloud.store import writing
from cloud.store.refused import Refused, Which, count_refused, forget, read_refused
from cloud.store.store import Store
from cloud.web.asking import note, require_person
from cloud.web.codes import FAULTS
from cloud.web.forms import form_of
from cloud.web.pages import Pages
from contract.topics import Channel

PER_PAGE = 50
HEAD_SHOWN = 300  # characters
LONG_RUN = re.compile(r"[A-Za-z0-9+/=_-]{40,}")  # longer than an id: it may be a picture in base64
Text = Annotated[str, Query(max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")]
Digest = Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$")]


def new_quarantine(store: Store, pages: Pages, *, days: int, clock: Callable[[], datetime]) -> APIRouter:
    """`/quarantine` and `/quarantine/forget`; after `days` everything there goes by itself."""
    site = APIRouter(include_in_schema=False)

    @site.get("/quarantine")
    def quarantine(kind: Text = "", door: Text = "", page: Text = "", gone: Text = "") -> Response:
        which = Which(kind, door)
        with store.engine.connect() as connection:
            number = count_refused(connection, which)
            wanted = int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1
            last = max(1, -(-number // PER_PAGE))
            shown = min(max(1, wanted), last)
            rows = read_refused(connection, which, skip=(shown - 1) * PER_PAGE, limit=PER_PAGE)
        now = clock()
        return pages.plain(
            "quarantine.html", now=now, rows=rows, number=number, page=shown, pages=last, which=which,
            kinds=store.quarantine_counts(), meaning=FAULTS, first_line=first_line, days=days,
            gone=int(gone) if gone.isascii() and gone.isdigit() and len(gone) < 10 else None,
            to=lambda **changes: address(**{"kind": kind, "door": door, **changes}),
            ask=lambda **changes: address("/quarantine/forget", until=now.isoformat(), **changes),
        )  # fmt: skip

    @site.get("/quarantine/forget")
    def ask(kind: Text = "", door: Text = "", digest: Digest = "", until: Text = "") -> Response:
        which = which_of(kind, door, digest, until)
        with store.engine.connect() as connection:
            number = count_refused(connection, which)
        fields = {"kind": kind, "door": door, "digest": digest, "until": until}
        return pages.plain(
            "forget.html", meaning=FAULTS, number=number, which=which, fields=fields, back=address(kind=kind, door=door)
        )

    @site.post("/quarantine/forget")
    def do(form: Annotated[dict[str, str], Depends(form_of)]) -> Response:
        require_person()
        kind, door = form.get("kind", "")[:80], form.get("door", "")[:80]
        which = which_of(kind, door, form.get("digest", ""), form.get("until", ""))
        with store.engine.begin() as connection:
            number = forget(connection, which)
            writing.mark_change(connection)
        note("quarantine", messages=number, kind=kind or "any", door=door or "any", digest=form.get("digest", "")[:16])
        return RedirectResponse(address(kind=kind, door=door, gone=number), 303)

    return site


def which_of(kind: str, door: str, digest: str, until: str) -> Which:
    """What is to be forgotten: always with the moment at which the page was seen. Raises HTTPException."""
    try:
        seen = datetime.fromisoformat(until)
        known = bytes.fromhex(digest) if digest else None
    except ValueError as error:
        raise HTTPException(422, "this is no form of this site") from error
    if seen.tzinfo is None:
        raise HTTPException(422, "this is no form of this site")
    return Which(kind, door, known, seen.astimezone(UTC))


def address(path: str = "/quarantine", **told: object) -> str:
    """With what is not empty."""
    query = urlencode({name: str(value) for name, value in told.items() if value not in ("", None)})
    return f"{path}?{query}" if query else path


def first_line(one: Refused) -> str | None:
    """How the message begins, for people who mend doors; None where it is no JSON text.

    Only the first line: after it a crop has its picture. Nor are long runs without a space shown, which may be a picture
    in base64, and never more than a few hundred characters.
    """
    if one.topic.rpartition("/")[2] not in set(Channel):
        return None
    line = one.head.partition(b"\n")[0]
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        if error.end < len(line) or len(line) < len(one.head):
            return None
        text = line[: error.start].decode()  # cut within a character
    if not text.lstrip().startswith(("{", "[")) or any(not sign.isprintable() for sign in text):
        return None
    short = LONG_RUN.sub(lambda run: json.dumps(f"({len(run[0])})").strip('"'), text)
    return short if len(short) <= HEAD_SHOWN else short[:HEAD_SHOWN] + "…"
