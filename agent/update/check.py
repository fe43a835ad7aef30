"""`agent update`: one release, fetched by TUF, verified, written to its slot; or a plain reason why not."""

import os
import shutil
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from tuf.api.exceptions import DownloadError, DownloadHTTPError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Timestamp
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from agent.config import FACTORY_MODEL, UpdateSettings
from agent.update.slots import Slots, State, locked, sync_folder
from agent.update.wish import DESIRED_NAME
from contract.errors import ContractError, TryAgainError
from contract.fleet import DESIRED_LIMIT, Desired, Step
from contract.golden import read_golden
from contract.release import (
    COMPILED_NAME,
    GOLDEN_NAME,
    LIMITS,
    MODEL_NAME,
    RELEASE_FILES,
    Manifest,
    compiled_digest,
    compiled_file,
    read_manifest,
    target_path,
)  # fmt: skip
from contract.tls import meaning

EARLIEST_S = 1_763_942_400.0  # no door of ours is older (24 November 2025); an earlier clock has not been set yet
_CHUNK = 64 * 1024
_SOCKET_S = 20.0


def update(
    settings: UpdateSettings, release: int | None = None, *, factory: Path = FACTORY_MODEL, now_s: float | None = None,
    edge_tpu: bool = True,
) -> str:  # fmt: skip
    """Stage `release` (by default the one that `desired.json` names); returns what was done, in words.

    `factory` is the model that the door falls back to last; `edge_tpu` is whether it may use a Coral, and so needs the
    file for it, where the release has one, beside the one for the CPU. Raises ContractError for a release that is never right,
    TryAgainError for the rest; both are also written into the state (`missed`).
    """
    slots = Slots(settings.folder, factory)
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        with locked(settings.folder / "update.lock", wait=False):
            names = (*RELEASE_FILES, COMPILED_NAME) if edge_tpu else RELEASE_FILES
            return _update(settings, slots, release, names, time.time() if now_s is None else now_s)
    except BlockingIOError as error:
        raise TryAgainError("another update is at work") from error
    except OSError as error:
        raise TryAgainError(f"cannot write {settings.folder}: {error.strerror or error}") from error


def _update(settings: UpdateSettings, slots: Slots, release: int | None, names: Sequence[str], now_s: float) -> str:
    state = slots.read()
    try:
        wanted = _desired(settings.folder) if release is None else release
        came_with = read_manifest(slots.factory).release
        known = wanted == state.wanted and state.step is not Step.IDLE
        spoiled = wanted == state.good and wanted > 0 and not slots.sound(wanted)
        if wanted == 0 or ((known or wanted == (state.good or came_with)) and not spoiled):
            return "nothing to do"
        _require_now(state, now_s)
        if not spoiled:
            _require_above(wanted, max(state.floor, came_with))
        _Fetch(settings, slots, wanted, names, now_s).run()
        slots.stage(wanted)
    except (ContractError, TryAgainError, OSError) as error:
        missed = f"release {release or 'asked for'}: {error}"[:300]
        with suppress(OSError):  # a disk without room: the error itself says so
            slots.change(lambda now: now.model_copy(update={"missed": missed}))
        raise
    return f"release {wanted} is staged"


def _require_now(state: State, now_s: float) -> None:
    if state.step is Step.TRIAL:
        raise TryAgainError(f"release {state.wanted} is on trial; one at a time")
    if now_s < max(EARLIEST_S, state.seen_s):
        raise TryAgainError("the clock is behind a time already seen: no release is judged before it is right")


def _require_above(wanted: int, floor: int) -> None:
    if wanted <= floor:
        raise ContractError(f"release {wanted} is not above {floor}, the highest that was here")


def _desired(folder: Path) -> int:
    try:
        return Desired.decode((folder / DESIRED_NAME).read_bytes(), limit=DESIRED_LIMIT).release
    except FileNotFoundError:
        return 0


class _Fetch:
    """One release's way from the repository to its slot."""

    def __init__(
        self, settings: UpdateSettings, slots: Slots, release: int, names: Sequence[str], now_s: float
    ) -> None:
        self._settings, self._slots, self._release, self._now_s = settings, slots, release, now_s
        self._names = names  # of the files that this door can use
        self._deadline = time.monotonic() + settings.deadline_s
        self._web = _Web(settings.ca, self._deadline)

    def run(self) -> None:
        targets = self._targets()
        staging = self._settings.folder / "staging" / str(self._release)
        for other in staging.parent.glob("*"):
            if other != staging:
                shutil.rmtree(other, ignore_errors=True)
        staging.mkdir(parents=True, exist_ok=True)
        needed = sum(target.length for target in targets.values()) + 1024 * 1024
        if shutil.disk_usage(staging).free < needed:
            raise TryAgainError(f"the disk needs {needed} bytes free for release {self._release}")
        for name, target in targets.items():
            self._file(staging / name, name, target)
        try:
            self._judge(staging)
        except ContractError:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        slot = self._slots.model(self._release).parent
        slot.parent.mkdir(exist_ok=True)
        shutil.rmtree(slot, ignore_errors=True)
        sync_folder(staging)
        staging.rename(slot)
        sync_folder(slot.parent)

    def _targets(self) -> dict[str, TargetFile]:
        cache = self._settings.folder / "tuf"
        cache.mkdir(exist_ok=True)
        root = _root(self._settings)
        try:
            updater = Updater(str(cache), f"{self._settings.url}/metadata/", fetcher=self._web, bootstrap=root)
            updater.refresh()
            self._remember_time(cache)
            found = {name: updater.get_targetinfo(target_path(self._release, name)) for name in self._names}
        except ExpiredMetadataError as error:
            raise TryAgainError(f"the signed list of releases has expired: {error}") from error
        except DownloadError as error:
            raise TryAgainError(f"no answer from {self._settings.url}: {meaning(str(error))}") from error
        except RepositoryError as error:
            raise ContractError(f"the list of releases is not trusted: {error}") from error
        if found.get(COMPILED_NAME, ...) is None:  # it was made where no compiler was at hand
            del found[COMPILED_NAME]
        for name, target in found.items():
            if target is None or "sha256" not in target.hashes or not 0 < target.length <= LIMITS[name]:
                raise ContractError(f"no {name} of a permitted size is signed for this release")
            if not isinstance(target.custom, dict) or target.custom.get("release") != self._release:
                raise ContractError(f"{name} is not signed as release {self._release}")
        return {name: target for name, target in found.items() if target is not None}

    def _remember_time(self, cache: Path) -> None:
        """Raise the floor of the clock, now that signed metadata was current at this time; never beyond its expiry."""
        expires = Metadata[Timestamp].from_file(str(cache / "timestamp.json")).signed.expires
        seen_s = min(self._now_s, expires.replace(tzinfo=UTC).timestamp())
        self._slots.change(lambda now: now.model_copy(update={"seen_s": max(now.seen_s, seen_s)}))

    def _file(self, path: Path, name: str, target: TargetFile) -> None:
        if path.exists() and sha256(path.read_bytes()).hexdigest() == target.hashes["sha256"]:
            return
        part = path.with_name(f"{name}.part")
        folder = f"{self._settings.url}/targets/releases/{self._release}"
        self._web.resume(f"{folder}/{target.hashes['sha256']}.{name}", part, target.length)
        if sha256(part.read_bytes()).hexdigest() != target.hashes["sha256"]:
            part.unlink()
            raise ContractError(f"{name} is not the file that was signed")
        part.rename(path)

    def _judge(self, staging: Path) -> None:
        manifest = read_manifest(staging / MODEL_NAME)
        if manifest.release != self._release:
            raise ContractError(f"the manifest is of release {manifest.release}")
        if manifest.digest in self._slots.read().denied:
            raise ContractError("this model was rolled back here before")
        golden = (staging / GOLDEN_NAME).read_bytes()
        if manifest.golden_digest != sha256(golden).hexdigest():
            raise ContractError("the golden frames are not the ones that the manifest names")
        read_golden(golden)
        if (staging / COMPILED_NAME).exists():
            _require_compiled_file(staging / MODEL_NAME, manifest)


def _require_compiled_file(model: Path, manifest: Manifest) -> None:
    if compiled_digest(manifest) is None:
        raise ContractError(f"{COMPILED_NAME} is signed, but the manifest names no file for the Edge TPU")
    compiled_file(model, manifest)


def _root(settings: UpdateSettings) -> bytes:
    if not settings.url or settings.root is None:
        raise ContractError("no releases: set update.url and update.root (docs/settings.md)")
    try:
        return settings.root.read_bytes()
    except OSError as error:
        raise ContractError(
            f"cannot read {settings.root}: {error.strerror}; set update.root to the root.json that came with the enrolment"
        ) from error


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class _Web(FetcherInterface):
    """GET over HTTP(S) with a deadline for everything together; no proxy, no redirect."""

    def __init__(self, ca: Path | None, deadline: float) -> None:
        self._deadline = deadline
        try:
            context = ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise ContractError(f"cannot read the authority's certificate {ca}: {error}") from error
        self._opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context), _NoRedirect)

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            with self._opener.open(url, timeout=_SOCKET_S) as answer:
                while chunk := answer.read1(_CHUNK):
                    self._require_time()
                    yield chunk
        except HTTPError as error:
            error.close()
            raise DownloadHTTPError(str(error), error.code) from error
        except (HTTPException, OSError) as error:
            raise DownloadError(str(error)) from error

    def resume(self, url: str, part: Path, length: int) -> None:
        """Bring `part` to `length` bytes, from where it ends; raises TryAgainError, and keeps what came, otherwise."""
        have = part.stat().st_size if part.exists() else 0
        if have >= length:
            part.unlink() if have > length else None
            have = length if have == length else 0
        if have == length:
            return
        request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - scheme checked
        try:
            with (
                self._opener.open(request, timeout=_SOCKET_S) as answer,
                part.open("ab" if answer.status == 206 else "wb") as sink,
            ):
                have = sink.tell()
                while have < length and (chunk := answer.read1(min(_CHUNK, length - have))):
                    self._require_time()
                    have += sink.write(chunk)
                sink.flush()
                os.fsync(sink.fileno())
        except HTTPError as error:
            error.close()
            raise TryAgainError(f"{url}: {error}") from error
        except URLError as error:
            raise TryAgainError(f"{url}: {meaning(str(error))}") from error
        except (HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
            raise TryAgainError(f"{url}: {error}") from error
        if have < length:
            raise TryAgainError(f"{url} ended after {have} of {length} bytes; the next try goes on from there")

    def _require_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise TryAgainError("the release did not arrive in time; the next try goes on from there")
