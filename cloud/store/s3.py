"""Pictures in a bucket, by boto3: encrypted, checked by the store itself, and never waited for long."""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cloud.store.blobs import Entry, is_digest, require_digest
from cloud.store.places import Bucket

CONNECT_S, READ_S, TRIES = 2, 4, 2  # one request waits 12 s at most, and a pause of under 1 s between
REST_S = 20.0  # after a failure nothing is asked for so long: the consumer goes on with passes meanwhile
ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
THERE = frozenset({"PreconditionFailed", "412"})  # the same bytes, for the name is their digest


class BucketError(OSError):
    """The bucket does not answer now, or refuses us; the message says which and why."""


def new_client(endpoint: str = "", region: str = "") -> Any:
    """A client with short timeouts; credentials by boto3's own chain (environment, files, the machine's role)."""
    return boto3.session.Session().client(
        "s3", endpoint_url=endpoint or None, region_name=region or None,
        config=Config(
            connect_timeout=CONNECT_S, read_timeout=READ_S, signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": TRIES},
            s3={"addressing_style": "path" if endpoint else "auto"},
        ),
    )  # fmt: skip


class S3Blobs:
    """Blobs as objects `PREFIX + ab/abcdef...` in a bucket; safe in any thread."""

    def __init__(
        self, client: Any, bucket: Bucket, *, encryption: str = "AES256", kms_key: str = "", media_type: str = "image/jpeg",
        presign_s: int = 0, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._client, self._bucket, self._presign_s, self._clock = client, bucket, presign_s, clock
        self._extra: dict[str, str] = {"ContentType": media_type}
        if encryption != "none":
            self._extra["ServerSideEncryption"] = encryption
        if kms_key:
            self._extra["SSEKMSKeyId"] = kms_key
        self._rests_until, self._why = 0.0, ""

    def put(self, data: bytes) -> str:
        raw = sha256(data).digest()
        digest = raw.hex()
        with self._asking():
            try:
                self._client.put_object(
                    Bucket=self._bucket.name, Key=self._key(digest), Body=data, IfNoneMatch="*",
                    ChecksumAlgorithm="SHA256", ChecksumSHA256=b64encode(raw).decode(), **self._extra,
                )  # fmt: skip
            except ClientError as error:
                if _code(error) not in THERE:
                    raise
        return digest

    def get(self, digest: str) -> bytes:
        key = self._key(digest)
        with self._asking():
            try:
                answer = self._client.get_object(Bucket=self._bucket.name, Key=key)
                data: bytes = answer["Body"].read()
            except ClientError as error:
                if _code(error) in ABSENT:
                    raise KeyError(digest) from error
                raise
        return data

    def delete(self, digest: str) -> None:
        key = self._key(digest)
        with self._asking():
            answer = self._client.delete_object(Bucket=self._bucket.name, Key=key)
            if "VersionId" in answer:  # versioning is on, so that was only a mark over what is still there
                self._delete_versions(key)

    def entries(self) -> Iterator[Entry]:
        begin: dict[str, str] = {}
        while True:
            with self._asking():
                page = self._client.list_objects_v2(Bucket=self._bucket.name, Prefix=self._bucket.prefix, **begin)
            for one in page.get("Contents", ()):
                digest = one["Key"].rpartition("/")[2]
                if is_digest(digest) and one["Key"] == self._key(digest):
                    yield Entry(digest, one["LastModified"])
            if not page.get("IsTruncated"):
                return
            begin = {"ContinuationToken": page["NextContinuationToken"]}

    def address(self, digest: str) -> str | None:
        if not self._presign_s:
            return None
        wanted = {"Bucket": self._bucket.name, "Key": self._key(digest)}
        with self._asking():
            signed: str = self._client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=self._presign_s)
        return signed

    def _delete_versions(self, key: str) -> None:
        there = self._client.list_object_versions(Bucket=self._bucket.name, Prefix=key)
        for one in (*there.get("Versions", ()), *there.get("DeleteMarkers", ())):
            self._client.delete_object(Bucket=self._bucket.name, Key=one["Key"], VersionId=one["VersionId"])

    def _key(self, digest: str) -> str:
        require_digest(digest)
        return f"{self._bucket.prefix}{digest[:2]}/{digest}"

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """What goes wrong is an OSError; after one that may last, the next ones come at once for a while."""
        if self._clock() < self._rests_until:
            raise BucketError(self._why)
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            self._why = f"the bucket {self._bucket.name} cannot be used now: {why(error)}"
            if isinstance(error, BotoCoreError) or _status(error) >= 500:  # a refusal comes at once, and stalls nobody
                self._rests_until = self._clock() + REST_S
            raise BucketError(self._why) from error


def why(error: Exception) -> str:
    """A botocore error in few words, without addresses that may carry a signature."""
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        return f"{_code(error)}: {' '.join(str(told.get('Message', '')).split())[:200]}"
    return type(error).__name__


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
