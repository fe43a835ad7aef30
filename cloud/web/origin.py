"""Which requests come from this site's own pages: browsers say so, and other sites cannot."""

from urllib.parse import urlsplit

from fastapi import HTTPException, Request


def require_own_page(request: Request) -> None:
    """A FastAPI dependency: 403 where `Origin` is missing or another's."""
    origin = request.headers.get("origin", "")
    if not origin or urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "only this site's own pages may do that")
