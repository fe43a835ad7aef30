"""An OpenID Connect provider, by Authlib: the code flow with PKCE, and an id token that is believed only when all fits."""

import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import authlib.deprecate  # noqa: F401 - sets the filter that the next lines narrow
import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cloud.rules import OidcRules
from cloud.web.oidc import Stranger
from contract.errors import ContractError, TryAgainError

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "The httpx module is deprecated", DeprecationWarning)
    from authlib.integrations.base_client import OAuthError
    from authlib.integrations.httpx_client import OAuth2Client

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384")  # signed by the provider's key, never by a shared secret
LEEWAY_S, ANSWER_S = 60, 10
SUBJECT_LIMIT = 255


class AuthlibProvider:
    """Asks the provider anew at each sign-in, so that its keys are today's."""

    def __init__(self, rules: OidcRules, back: str, secret: str | None) -> None:
        self._rules, self._back, self._secret = rules, back, secret

    def address(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes. Raises TryAgainError where the provider does not answer as it should."""
        with self._client() as client:
            where = self._document(client)["authorization_endpoint"]
            address, _ = client.create_authorization_url(where, state=state, nonce=nonce, code_verifier=verifier)
        return str(address)

    def stranger(self, code: str, *, nonce: str, verifier: str, now: datetime) -> Stranger:
        """Who came back with `code`. Raises ContractError for what is not to be believed, else TryAgainError."""
        with self._client() as client:
            document = self._document(client)
            try:
                answer = client.fetch_token(document["token_endpoint"], code=code, code_verifier=verifier)
            except OAuthError as error:
                raise ContractError("the provider does not know this code") from error
            except httpx.HTTPError as error:
                raise TryAgainError("the identity provider does not answer") from error
            keys = self._get(client, document["jwks_uri"])
        claims = self._claims(answer.get("id_token"), keys, nonce, now)
        return self._stranger(claims)

    def _claims(self, token: object, keys: Mapping[str, Any], nonce: str, now: datetime) -> Mapping[str, Any]:
        rules = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()), leeway=LEEWAY_S,
            iss={"essential": True, "value": self._rules.issuer}, aud={"essential": True, "value": self._rules.client_id},
            exp={"essential": True}, iat={"essential": True}, sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )  # fmt: skip
        try:
            claims = jwt.decode(str(token), KeySet.import_key_set(dict(keys)), algorithms=ALGORITHMS).claims  # type: ignore[arg-type]
            rules.validate(claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise ContractError("the provider's word about you cannot be believed") from error
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != self._rules.client_id:
            raise ContractError("the provider's word about you is meant for another site")
        return claims

    def _stranger(self, claims: Mapping[str, Any]) -> Stranger:
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_LIMIT or not subject.isprintable():
            raise ContractError("the provider's word about you has no subject")
        told = claims.get(self._rules.role_claim)
        values = [told] if isinstance(told, str) else told if isinstance(told, list) else []
        name = claims.get(self._rules.name_claim)
        return Stranger(
            f"{self._rules.issuer} {subject}", name if isinstance(name, str) else "",
            frozenset(one for one in values if isinstance(one, str)),
        )  # fmt: skip

    def _client(self) -> Any:
        return OAuth2Client(
            self._rules.client_id, self._secret, scope="openid profile email", redirect_uri=self._back,
            token_endpoint_auth_method="client_secret_basic" if self._secret else "none",
            code_challenge_method="S256", timeout=ANSWER_S, trust_env=False,
        )  # fmt: skip

    def _document(self, client: Any) -> Mapping[str, Any]:
        document = self._get(client, f"{self._rules.issuer.rstrip('/')}/.well-known/openid-configuration")
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if document.get("issuer") != self._rules.issuer or not all(
            isinstance(document.get(one), str) for one in needed
        ):
            raise TryAgainError("the identity provider describes itself as another: see oidc.issuer")
        return document

    @staticmethod
    def _get(client: Any, address: str) -> Mapping[str, Any]:
        try:
            answer = client.request("GET", address, withhold_token=True).raise_for_status().json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise TryAgainError("the identity provider does not answer") from error
        if not isinstance(answer, dict):
            raise TryAgainError("the identity provider does not answer as it should")
        return answer


def open_provider(rules: OidcRules, address: str) -> AuthlibProvider:
    """The provider of the settings. Raises ContractError where the secret cannot be read."""
    try:
        secret = rules.secret_file.read_text().strip() if rules.secret_file else None
    except (OSError, ValueError) as error:
        raise ContractError(f"cannot read oidc.secret_file {rules.secret_file}: {error}") from error
    return AuthlibProvider(rules, f"{address}/sign-in/oidc/back", secret)
