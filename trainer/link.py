"""The trainer's side of the wire: one cloud, one token, everything checked by digest."""

import ssl
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit
from uuid import UUID

import httpx

from contract.crops import CROP_LIMIT
from contract.dataset import SNAPSHOT_LIMIT, Snapshot
from contract.errors import ContractError, TryAgainError
from contract.jobs import JOB_LIMIT, Claim, Job, Outcome, Progress

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class LeaseLostError(ContractError):
    """The job was given to another, or is over."""


class GoneError(ContractError):
    """There is nothing of this name, or no longer."""


class Link:
    """Requests to one cloud; each raises TryAgainError where it does not answer, ContractError where it refuses."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @classmethod
    def open(cls, url: str, token: str, ca: Path | None = None) -> Self:
        """Raises ContractError for an address that would show the token to others, or a `ca` that is no certificate."""
        parts = urlsplit(url)
        if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in LOOPBACK):
            raise ContractError(f"the cloud's address is https://HOST[:PORT], or http:// on this machine, not {url!r}")
        try:
            trusted: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca)) if ca else True
        except OSError as error:
            raise ContractError(f"cannot use the authority's certificate {ca}: {error}") from error
        machine = {"Authorization": f"Bearer {token}"}
        return cls(httpx.Client(base_url=url.rstrip("/"), headers=machine, verify=trusted, timeout=60, trust_env=False))

    def claim(self, worker: str) -> Job | None:
        """The job that waits, now ours; None where there is none."""
        answer = self._send("POST", "/api/v1/jobs/claim", Claim(worker=worker).encode())
        return None if answer.status_code == 204 else Job.decode(answer.content, limit=JOB_LIMIT)

    def progress(self, job: UUID, word: Progress) -> None:
        """A sign of life. Raises LeaseLostError where the job is no longer ours."""
        self._send("POST", f"/api/v1/jobs/{job}/progress", word.encode())

    def end(self, job: UUID, outcome: Outcome) -> None:
        """How it ended; the same word may be sent again."""
        self._send("POST", f"/api/v1/jobs/{job}/outcome", outcome.encode())

    def snapshot(self, digest: str) -> Snapshot:
        """The snapshot of this name, checked."""
        return Snapshot.decode(self._named(f"/api/v1/snapshots/{digest}", digest), limit=SNAPSHOT_LIMIT)

    def picture(self, digest: str) -> bytes:
        """The crop of this name, checked; the cloud may send us to its store for it. Raises GoneError."""
        content = self._named(f"/api/v1/crops/{digest}.jpg", digest)
        if len(content) > CROP_LIMIT:
            raise ContractError(f"the crop {digest[:12]}... has {len(content)} bytes; at most {CROP_LIMIT} are allowed")
        return content

    def metadata(self, name: str) -> bytes:
        """A file of the served TUF metadata."""
        return self._send("GET", f"/tuf/metadata/{name}").content

    def target(self, release: int, digest: str, name: str) -> bytes:
        """A file of a published release, checked."""
        return self._named(f"/tuf/targets/releases/{release}/{digest}.{name}", digest)

    def upload(self, release: int, name: str, content: bytes) -> None:
        """One file of a release that is to come."""
        self._send("PUT", f"/api/v1/releases/{release}/{name}", content)

    def publish(self, release: int, signed: bytes) -> None:
        """The signed list that names the uploaded files."""
        self._send("POST", f"/api/v1/releases/{release}/publish", signed)

    def prolong(self, signed: bytes) -> None:
        """The same list, signed for longer."""
        self._send("POST", "/api/v1/releases/prolong", signed)

    def close(self) -> None:
        self._client.close()

    def _named(self, path: str, digest: str) -> bytes:
        content = self._send("GET", path).content
        if sha256(content).hexdigest() != digest:
            raise ContractError(f"{path} is not what its name says: its SHA-256 is another")
        return content

    def _send(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
        try:
            answer = self._client.request(method, path, content=content)
            if answer.status_code == 307 and method == "GET":
                answer = _fetch_elsewhere(answer.headers.get("location", ""))
        except httpx.HTTPError as error:
            raise TryAgainError(f"the cloud does not answer: {error}") from error
        if answer.is_success:
            return answer
        said = _detail(answer)
        if answer.status_code == 409:
            raise LeaseLostError(said)
        if answer.status_code == 401:
            raise ContractError(f"the cloud refuses our token: {said}; make one with `cloud token NAME`")
        if answer.status_code == 404:
            raise GoneError(f"{method} {path}: the cloud answers 404: {said}")
        if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
            raise TryAgainError(f"the cloud answers {answer.status_code}: {said}")
        raise ContractError(f"{method} {path}: the cloud answers {answer.status_code}: {said}")


def _fetch_elsewhere(url: str) -> httpx.Response:
    """By an address that carries its own right, so without our token; what comes is checked by its name."""
    parts = urlsplit(url)
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in LOOPBACK):
        raise ContractError("the cloud sends us to an address that is not https")
    return httpx.get(url, timeout=60, trust_env=False)


def patiently(act: Callable[[], None], *, wait: Callable[[float], bool], tries: int = 8) -> None:
    """`act` until it does not raise TryAgainError, `tries` times with growing pauses; `wait` answers True to give up."""
    for number in range(tries):
        try:
            act()
        except TryAgainError:
            if number == tries - 1 or wait(min(30.0, 0.5 * 2**number)):
                raise
        else:
            return


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
