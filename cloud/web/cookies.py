"""The cookies, of a language and of a session: `__Host-` and Secure over HTTPS; over plain HTTP only on this machine, by another name."""

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

SECURE, PLAIN = "__Host-maskfleet", "maskfleet-here"
LANGUAGE, A_YEAR_S = "maskfleet-language", 365 * 86_400
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def is_secure(scope: Scope) -> bool:
    """Whether the browser came by HTTPS, as a proxy on this machine may say."""
    return bool(scope["scheme"] == "https")


def may_sign_in(scope: Scope) -> bool:
    """Whether a password may travel: by HTTPS, or from this machine to this machine."""
    return is_secure(scope) or (_is_loopback(client_address(scope)) and _host(scope) in LOCAL_NAMES)


def client_address(scope: Scope) -> str:
    """From where somebody comes; a proxy on this machine is believed when it names its own client."""
    client = scope.get("client")
    return str(client[0])[:45] if client else "unknown"


def session_token(scope: Scope) -> str | None:
    """The token that the browser shows, where it may show one."""
    if not may_sign_in(scope):
        return None
    return HTTPConnection(scope).cookies.get(SECURE if is_secure(scope) else PLAIN) or None


def set_session(response: Response, scope: Scope, token: str, life_s: int) -> None:
    """Give the browser a token."""
    secure = is_secure(scope)
    response.set_cookie(
        SECURE if secure else PLAIN, token, max_age=life_s, path="/", secure=secure, httponly=True, samesite="lax"
    )


def clear_session(response: Response, scope: Scope) -> None:
    """Take it back."""
    secure = is_secure(scope)
    response.delete_cookie(SECURE if secure else PLAIN, path="/", secure=secure, httponly=True, samesite="lax")


def set_language(response: Response, scope: Scope, code: str) -> None:
    """Keep the language that somebody chose."""
    response.set_cookie(
        LANGUAGE, code, max_age=A_YEAR_S, path="/", secure=is_secure(scope), httponly=True, samesite="lax"
    )


def _host(scope: Scope) -> str | None:
    try:
        return urlsplit(f"//{HTTPConnection(scope).headers.get('host', '')}").hostname
    except ValueError:
        return None


def _is_loopback(address: str) -> bool:
    try:
        known = ip_address(address)
    except ValueError:
        return False
    mapped = known.ipv4_mapped if isinstance(known, IPv6Address) else None
    return (mapped or known).is_loopback
