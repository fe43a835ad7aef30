"""The switch of the pages' language: a form on every page that sets a cookie."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from cloud.web.cookies import set_language
from cloud.web.forms import form_of
from cloud.web.language import NAMES

LONGEST = 2_000


def new_speaking() -> APIRouter:
    """`POST /language`; it changes nothing but the browser's cookie, so that it needs no account."""
    site = APIRouter(include_in_schema=False)

    @site.post("/language")
    def choose_language(request: Request, form: Annotated[dict[str, str], Depends(form_of)]) -> Response:
        code = form.get("language", "")
        if code not in NAMES:
            raise HTTPException(422, "these pages do not speak that language")
        answer = RedirectResponse(page_here(form.get("next", "")), 303, headers={"Cache-Control": "no-store"})
        set_language(answer, request.scope, code)
        return answer

    return site


def page_here(address: str) -> str:
    """Path and query of a page of this site; the first page where it is anything else."""
    if not address.startswith("/") or len(address) > LONGEST or not address.isascii() or not address.isprintable():
        return "/"
    if "\\" in address or "//" in address.partition("?")[0]:
        return "/"
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    return "/" if parts.scheme or parts.netloc or parts.fragment else address
