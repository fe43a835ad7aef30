"""Which requests come from this site's own pages: browsers say so, and other sites cannot."""

from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import HTTPException, Request


def require_own_page(request: Request) -> None:
    """A FastAPI dependency: 403 where `Origin` is missing or another's."""
    origin = request.headers.get("origin", "")
    if not origin or urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "only this site's own pages may do that")


def new_require_person(require_machine: Callable[[Request], object]) -> Callable[[Request], None]:
    """A dependency for what people do on pages and machines may do with their token."""

    def require_person(request: Request) -> None:
        if "authorization" in request.headers:
            require_machine(request)
        else:
            require_own_page(request)

    return require_person
