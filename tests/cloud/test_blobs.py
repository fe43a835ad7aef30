"""Pictures by the digest of their bytes, in a folder and in a bucket."""

import socket
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.config import CloudSettings
from cloud.store.blobs import BlobFolder, Blobs
from cloud.store.bucket import CLOSED, RULE, BucketRefusedError, set_up
from cloud.store.places import Bucket, bucket_of
from cloud.store.s3 import BucketError, S3Blobs, new_client
from contract.errors import ContractError
from tests.cloud.s3_kit import REGION, ObjectStore

DIGEST = sha256(b"picture").hexdigest()


def test_what_was_put_is_got_back_by_its_digest(blobs: Blobs) -> None:
    assert blobs.put(b"picture") == DIGEST
    assert blobs.get(DIGEST) == b"picture"


def test_the_same_bytes_twice_are_kept_once(blobs: Blobs) -> None:
    assert blobs.put(b"picture") == blobs.put(b"picture")
    assert [one.digest for one in blobs.entries()] == [DIGEST]


def test_an_unknown_digest_is_a_key_error(blobs: Blobs) -> None:
    with pytest.raises(KeyError):
        blobs.get("0" * 64)


def test_what_was_deleted_is_gone_and_deleting_it_again_is_nothing(blobs: Blobs) -> None:
    blobs.put(b"picture")
    blobs.put(b"another")
    for _ in range(2):
        blobs.delete(DIGEST)
    with pytest.raises(KeyError):
        blobs.get(DIGEST)
    assert blobs.get(sha256(b"another").hexdigest()) == b"another"
    blobs.put(b"picture")
    assert blobs.get(DIGEST) == b"picture"


def test_everything_is_listed_with_the_moment_it_came(blobs: Blobs) -> None:
    names = {blobs.put(bytes([number])) for number in range(20)}
    listed = list(blobs.entries())
    assert {one.digest for one in listed} == names
    assert all(abs(datetime.now(UTC) - one.kept_at) < timedelta(minutes=5) for one in listed)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "/" * 64, "0" * 63 + "\n"])
def test_a_name_that_is_no_digest_never_becomes_a_path_or_a_key(blobs: Blobs, name: str) -> None:
    """Fault 83."""
    for verb in (blobs.get, blobs.delete):
        with pytest.raises(ContractError):
            verb(name)


def test_a_folder_keeps_no_draft(tmp_path: Path) -> None:
    BlobFolder(tmp_path).put(b"picture")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [DIGEST]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert list(BlobFolder(tmp_path / "none").entries()) == []


def test_an_object_is_encrypted_checked_and_typed(object_store: ObjectStore) -> None:
    bucket = object_store.bucket()
    object_store.blobs(bucket).put(b"picture")
    wanted = {"Bucket": bucket.name, "Key": f"site/{DIGEST[:2]}/{DIGEST}"}
    head = object_store.client.head_object(**wanted)
    assert (head["ServerSideEncryption"], head["ContentType"]) == ("AES256", "image/jpeg")
    told = object_store.client.get_object_attributes(**wanted, ObjectAttributes=["Checksum"])
    assert b64decode(told["Checksum"]["ChecksumSHA256"]).hex() == DIGEST


def test_a_key_of_the_owners_own_encrypts(object_store: ObjectStore) -> None:
    bucket = object_store.bucket()
    object_store.blobs(bucket, encryption="aws:kms", kms_key="alias/pictures").put(b"picture")
    head = object_store.client.head_object(Bucket=bucket.name, Key=f"site/{DIGEST[:2]}/{DIGEST}")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/pictures")


def test_a_listing_of_many_pages_is_whole_and_only_of_its_prefix(object_store: ObjectStore) -> None:
    bucket = object_store.bucket()
    client = object_store.client
    names = {sha256(bytes([number])).hexdigest() for number in range(7)}
    for name in names:
        client.put_object(Bucket=bucket.name, Key=f"site/{name[:2]}/{name}", Body=b"x")
    client.put_object(Bucket=bucket.name, Key=f"elsewhere/{DIGEST[:2]}/{DIGEST}", Body=b"x")
    client.put_object(Bucket=bucket.name, Key="site/notes.txt", Body=b"x")
    paged = S3Blobs(_SmallPages(client), bucket)
    assert sorted(one.digest for one in paged.entries()) == sorted(names)


class _SmallPages:
    """The client, with pages of two."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def list_objects_v2(self, **wanted: Any) -> Any:
        return self._client.list_objects_v2(**wanted, MaxKeys=2)


def test_what_was_deleted_is_gone_with_its_versions_where_the_bucket_keeps_them(object_store: ObjectStore) -> None:
    """Fault 103."""
    bucket, client = object_store.bucket(), object_store.client
    client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    pictures = object_store.blobs(bucket)
    for data in (b"picture", b"another"):
        pictures.put(data)
    pictures.delete(DIGEST)
    left = client.list_object_versions(Bucket=bucket.name)
    assert [one["Key"].rpartition("/")[2] for one in left["Versions"]] == [sha256(b"another").hexdigest()]
    assert "DeleteMarkers" not in left


def test_a_machine_may_fetch_a_picture_by_an_address_that_runs_out(object_store: ObjectStore) -> None:
    pictures = object_store.blobs(presign_s=60)
    pictures.put(b"picture")
    address = pictures.address(DIGEST)
    assert address is not None
    assert "Expires=60" in address
    assert httpx.get(address).content == b"picture"
    assert object_store.blobs().address(DIGEST) is None


def test_a_bucket_that_is_not_there_is_named(object_store: ObjectStore) -> None:
    nowhere = object_store.blobs(Bucket("no-such-bucket-here", ""))
    with pytest.raises(BucketError, match="no-such-bucket-here cannot be used now: NoSuchBucket"):
        nowhere.put(b"picture")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a store that takes connections and never says a word."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        held: list[socket.socket] = []

        def hold() -> None:
            while not stop.is_set():
                try:
                    held.append(listener.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=hold)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()
        thread.join()
        for one in held:
            one.close()


def test_a_store_that_stalls_costs_seconds_once_and_nothing_for_a_while(object_store: ObjectStore, silent: str) -> None:
    now = [0.0]
    stalled = S3Blobs(new_client(silent, REGION), Bucket("pictures", ""), clock=lambda: now[0])
    began = time.monotonic()
    with pytest.raises(BucketError, match="ReadTimeout"):
        stalled.put(b"picture")
    assert time.monotonic() - began < 20
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(BucketError):
            stalled.put(b"picture")
    assert time.monotonic() - began < 10  # one that was asked takes seconds
    now[0] = 21.0
    with pytest.raises(BucketError, match="ReadTimeout"):
        stalled.get(DIGEST)


def test_setting_up_closes_the_bucket_lets_pictures_expire_and_leaves_other_rules(object_store: ObjectStore) -> None:
    bucket = object_store.bucket()
    client = object_store.client
    other = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 3}}
    client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [other]})
    said: list[str] = []
    for days in (15, 31):
        set_up(client, bucket, Bucket(bucket.name, "site/crops/"), days=days, say=said.append)
    rules = {one["ID"]: one for one in client.get_bucket_lifecycle_configuration(Bucket=bucket.name)["Rules"]}
    assert set(rules) == {"logs", RULE}
    assert (rules[RULE]["Expiration"]["Days"], rules[RULE]["Filter"]["Prefix"]) == (31, "site/crops/")
    assert client.get_public_access_block(Bucket=bucket.name)["PublicAccessBlockConfiguration"] == CLOSED
    assert any("31 days" in one for one in said)


def test_setting_up_a_bucket_that_is_not_there_is_refused_in_plain_words(object_store: ObjectStore) -> None:
    with pytest.raises(BucketRefusedError, match="cannot see the bucket nowhere-at-all"):
        set_up(object_store.client, Bucket("nowhere-at-all", ""), Bucket("nowhere-at-all", ""), days=31, say=print)


class _WithoutRights:
    """A client whose owner may look and nothing else."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def head_bucket(self, **wanted: Any) -> Any:
        return self._client.head_bucket(**wanted)

    def __getattr__(self, verb: str) -> Any:
        def refuse(**_: Any) -> None:
            raise self._client.exceptions.ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, verb)

        return refuse


def test_setting_up_without_rights_says_which_are_missing(object_store: ObjectStore) -> None:
    bucket = object_store.bucket()
    with pytest.raises(BucketRefusedError, match=r"s3:PutBucketPublicAccessBlock.*s3:PutLifecycleConfiguration"):
        set_up(_WithoutRights(object_store.client), bucket, bucket, days=31, say=lambda _: None)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/srv/pictures", None),
        ("pictures", None),
        ("s3://pictures", Bucket("pictures", "")),
        ("s3://pictures/", Bucket("pictures", "")),
        ("s3://pictures/site/one", Bucket("pictures", "site/one/")),
    ],
)
def test_a_place_is_a_folder_or_a_bucket(text: str, place: Bucket | None) -> None:
    assert bucket_of(text) == place


@pytest.mark.parametrize(
    "text", ["s3://", "s3:///x", "s3://UPPER/x", "s3://pictures/a b", "gs://pictures", "s3://pictures/../x", "s3://a/x"]
)
def test_a_place_that_cannot_be_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ContractError, match="s3://BUCKET/PREFIX"):
        CloudSettings.load(None, {"blobs": text})
