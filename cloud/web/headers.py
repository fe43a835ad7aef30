"""The headers that every answer carries: nothing inline, nothing from elsewhere, nothing framed."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: dict[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers would hide the origin of our own forms
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


ONLY_HTTPS = ("Strict-Transport-Security", f"max-age={365 * 24 * 3600}")


class SecurityHeaders:
    """ASGI middleware that adds HEADERS, to streams as well; over HTTPS also that it stays so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [_raw(name, value) for name, value in HEADERS.items()]
        self._secure = [*self._headers, _raw(*ONLY_HTTPS)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = self._secure if scope.get("scheme") == "https" else self._headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _raw(name: str, value: str) -> tuple[bytes, bytes]:
    return name.lower().encode(), value.encode()
