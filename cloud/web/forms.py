"""Forms of this site's own pages: small, plain, and never more than what a browser sends."""

from urllib.parse import parse_qsl

from fastapi import HTTPException, Request
from starlette.types import Message, Receive

BODY_LIMIT = 2 * 1024 * 1024  # of any request but those that bring a release's files, which have limits of their own
FORM, FORM_LIMIT, FIELDS = "application/x-www-form-urlencoded", 64_000, 50


async def form_of(request: Request) -> dict[str, str]:
    """A FastAPI dependency: the fields of a form, each once. Raises HTTPException."""
    if not is_form(request):
        raise HTTPException(415, "this takes a form")
    return parse_form(await read_body(request))


def is_form(request: Request) -> bool:
    """Whether the body is one."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def parse_form(body: bytes) -> dict[str, str]:
    """The fields, each once. Raises HTTPException for what no browser sends."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS, encoding="utf-8", errors="strict"
        )
    except ValueError as error:
        raise HTTPException(422, "this is no form of this site") from error
    if any("\x00" in name + value for name, value in pairs):
        raise HTTPException(422, "this is no form of this site")
    return dict(pairs)


async def read_body(request: Request) -> bytes:
    """The whole body. Raises HTTPException for too much of it."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > FORM_LIMIT:
            raise HTTPException(413, f"a form has at most {FORM_LIMIT} bytes")
    return bytes(content)


def bounded(receive: Receive) -> Receive:
    """The same body, which ends with HTTPException where it has more than BODY_LIMIT bytes."""
    heard = 0

    async def hear() -> Message:
        nonlocal heard
        message = await receive()
        heard += len(message.get("body", b""))
        if heard > BODY_LIMIT:
            raise HTTPException(413, f"at most {BODY_LIMIT} bytes are allowed here")
        return message

    return hear


def again(body: bytes, receive: Receive) -> Receive:
    """The same body once more, then whatever else is heard."""
    told = False

    async def hear() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return hear
