"""An identity provider for tests that behaves: discovery, keys, codes that work once, PKCE, and signed id tokens."""

import secrets
import threading
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.datastructures import Headers

from cloud.web.server import WebServer, listen
from rehearsal.processes import wait_until

CLIENT, SECRET = "maskfleet", "a secret between two machines"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a code stands for."""

    back: str
    challenge: str
    nonce: str


@dataclass
class Provider:
    """`claims` are what it says of the one person it knows; `twist` is put over the id token, None takes a claim out."""

    claims: dict[str, Any] = field(
        default_factory=lambda: {"sub": "248289761001", "preferred_username": "Zoë", "groups": ["staff"]}
    )
    twist: dict[str, Any] = field(default_factory=dict)
    forged: bool = False  # signed by a key that it does not show
    algorithm: str = "RS256"
    name: str = ""  # as it writes itself; empty: its address

    def __post_init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self._other = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self._codes: dict[str, Asked] = {}
        door = listen("127.0.0.1", 0)
        self.issuer = f"http://127.0.0.1:{door.getsockname()[1]}"
        self._server = WebServer(lambda _: self._site(), door)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_until(lambda: self._server.started, within_s=10, what="the provider serving")

    def close(self) -> None:
        self._server.stop()
        self._thread.join(10)

    def _site(self) -> FastAPI:
        site = FastAPI()

        @site.get("/.well-known/openid-configuration")
        def discovery() -> dict[str, str]:
            return {
                "issuer": self.name or self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys",
            }  # fmt: skip

        @site.get("/keys")
        def keys() -> dict[str, Any]:
            return dict(KeySet([self.key]).as_dict(private=False))

        @site.get("/authorize")
        def authorize(request: Request) -> Response:
            """Signs its one person in without a question."""
            asked = request.query_params
            assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == (
                "code",
                CLIENT,
                "S256",
            )
            assert "openid" in asked["scope"].split()
            code = secrets.token_urlsafe(16)
            self._codes[code] = Asked(asked["redirect_uri"], asked["code_challenge"], asked["nonce"])
            return RedirectResponse(
                f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302
            )

        @site.post("/token")
        async def token(request: Request) -> Response:
            form = {key: values[0] for key, values in parse_qs((await request.body()).decode()).items()}
            return self._token(form, request.headers)

        return site

    def _token(self, form: dict[str, str], headers: Headers) -> Response:
        asked = self._codes.pop(form.get("code", ""), None)
        proof = urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        if asked is None or form.get("redirect_uri") != asked.back or proof != asked.challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        if not headers.get("authorization", "").startswith("Basic "):
            return JSONResponse({"error": "invalid_client"}, 401)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked.nonce, **self.claims}
        claims = {key: value for key, value in {**claims, **self.twist}.items() if value is not None}
        key = self._other if self.forged else self.key
        signed = jwt.encode({"alg": self.algorithm, "kid": "one"}, claims, key, algorithms=[self.algorithm])
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "expires_in": 300, "id_token": signed})
