"""Signed releases over HTTP: anybody may read the repository; only a machine with a token may add to it."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from cloud.fleet.releases import METADATA_LIMIT, Repository
from contract.errors import ContractError
from contract.release import LIMITS

METADATA = re.compile(r"(?:[0-9]{1,9}\.(?:root|targets|releases|snapshot)|timestamp)\.json", re.ASCII)
TARGET = re.compile(rf"[0-9a-f]{{64}}\.(?:{'|'.join(map(re.escape, LIMITS))})", re.ASCII)
ReleaseNumber = Annotated[int, Path(ge=0, lt=2**53)]
FOREVER, NEVER = "public, max-age=31536000, immutable", "no-store"


def new_tuf_files(repository: Repository) -> APIRouter:
    """`/tuf/metadata/` and `/tuf/targets/`: files by their exact names, with ranges, no listings."""
    files = APIRouter(prefix="/tuf", include_in_schema=False)

    @files.get("/metadata/{name}")
    def metadata(name: str) -> FileResponse:
        if not METADATA.fullmatch(name):
            raise HTTPException(404)
        return _file(repository.metadata / name, NEVER if name == "timestamp.json" else FOREVER)

    @files.get("/targets/releases/{release}/{name}")
    def target(release: int, name: str) -> FileResponse:
        if not 0 <= release < 2**53 or not TARGET.fullmatch(name):
            raise HTTPException(404)
        return _file(repository.targets / "releases" / str(release) / name, FOREVER)

    return files


def new_release_api(
    repository: Repository,
    require_machine: Callable[..., Any],
    *,
    published: Callable[[datetime], None],
    clock: Callable[[], datetime],
) -> APIRouter:
    """The trainer's way in. `require_machine` is a dependency that refuses strangers; `published` records what is new."""

    def require_repository() -> None:
        if not repository.is_there():
            raise HTTPException(
                503, "this server has no releases: send /tuf/ and /api/v1/releases/ to the one that has"
            )

    api = APIRouter(
        prefix="/api/v1/releases",
        tags=["releases"],
        dependencies=[Depends(require_machine), Depends(require_repository)],
    )

    @api.put("/{release}/{name}", status_code=204, summary="One file of a release that is to come")
    async def put(release: ReleaseNumber, name: str, request: Request) -> None:
        content = await _body(request, LIMITS.get(name, 0))
        await run_in_threadpool(_or_refuse, lambda: repository.stage(release, name, content))

    @api.post("/{release}/publish", summary="Publish the uploaded files under the signed releases.json in the body")
    async def publish(release: ReleaseNumber, request: Request) -> dict[str, object]:
        signed = await _body(request, METADATA_LIMIT)

        def act() -> str:
            manifest = repository.publish(release, signed, clock())
            published(clock())
            return manifest.digest

        return {"release": release, "digest": await run_in_threadpool(_or_refuse, act)}

    @api.post(
        "/prolong", status_code=204, summary="The same releases under a releases.json that lives longer",
        responses={422: {"description": "It is unsigned, old or of other releases."}},
    )  # fmt: skip
    async def prolong(request: Request) -> None:
        signed = await _body(request, METADATA_LIMIT)
        await run_in_threadpool(_or_refuse, lambda: repository.prolong(signed, clock()))

    return api


def _file(path: FilePath, caching: str) -> FileResponse:
    if not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, headers={"Cache-Control": caching}, media_type="application/octet-stream")


async def _body(request: Request, limit: int) -> bytes:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > limit:
            raise HTTPException(413, f"at most {limit} bytes are allowed here")
    return bytes(content)


def _or_refuse(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except ContractError as error:
        raise HTTPException(422, str(error)) from error
    except OSError as error:
        raise HTTPException(503, f"cannot keep it now: {error.strerror}") from error
