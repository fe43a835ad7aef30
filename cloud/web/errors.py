"""What is answered where something went wrong: words to people, JSON to programs."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException

from cloud.web.gate import wants_page
from cloud.web.headers import HEADERS
from cloud.web.language import N_
from cloud.web.pages import Pages

TOLD = ("type", "loc", "msg")  # what was sent is not sent back: it may be anything, a number that is none included
WORDS: Mapping[int, tuple[str, str]] = {  # status -> what happened, what to do
    403: (N_("That is not for you"), N_("This was sent by another site's page, or by one that is no longer current. Go back and load it again.")),
    404: (N_("There is no such page"), N_("The address may be mistyped, or what stood here is gone.")),
    413: (N_("That is too much at once"), N_("Go back and send less of it.")),
    422: (N_("That cannot be understood"), N_("Something in the address or in the form has a value that is not possible. Go back and correct it.")),
    429: (N_("That is too often"), N_("Wait a little, then try once more.")),
    500: (N_("Something went wrong here"), N_("It is in the service's log, and nothing that was stored is lost. Try again; if it stays so, tell whoever runs this service.")),
}  # fmt: skip
OTHERWISE = (N_("That does not go"), N_("Go back, load the page again, and try once more."))


def answer_errors(site: FastAPI, pages: Pages, no_database: Callable[[Request], Response]) -> None:
    """Give `site` its answers to what goes wrong; `no_database` is the one while the database is away."""

    @site.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if error.status_code < 400 or not wants_page(request):
            return await http_exception_handler(request, error)
        usual = error.detail == HTTPStatus(error.status_code).phrase
        page = pages.error(error.status_code, *_words(error.status_code), "" if usual else error.detail)
        page.headers.update(error.headers or {})
        return page

    @site.exception_handler(RequestValidationError)
    def not_understood(request: Request, error: RequestValidationError) -> Response:
        if wants_page(request):
            return pages.error(422, *_words(422))
        return JSONResponse({"detail": [{key: one[key] for key in TOLD} for one in error.errors()]}, 422)

    @site.exception_handler(DataError)
    def not_storable(request: Request, _error: Exception) -> Response:
        if wants_page(request):
            return pages.error(422, *_words(422))
        return JSONResponse({"detail": "the database takes no such value"}, 422)

    @site.exception_handler(SQLAlchemyError)
    def database_away(request: Request, _error: Exception) -> Response:
        return no_database(request)

    @site.exception_handler(Exception)  # it is logged as well; this answer passes no middleware
    def broken(request: Request, _error: Exception) -> Response:
        page = (
            pages.error(500, *_words(500)) if wants_page(request) else PlainTextResponse("Internal Server Error", 500)
        )
        page.headers.update(HEADERS)
        return page


def _words(status: int) -> tuple[str, str]:
    return WORDS.get(status, OTHERWISE)
