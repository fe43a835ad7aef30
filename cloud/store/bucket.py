"""Prepares a bucket for pictures: nobody outside reads it, and old objects go even where we do not run."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cloud.store.places import Bucket
from cloud.store.s3 import why
from contract.errors import TryAgainError

RULE = "maskfleet-pictures"
CLOSED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
REFUSED = frozenset({"AccessDenied", "AllAccessDisabled", "AccessDeniedException", "403"})


class BucketRefusedError(TryAgainError):
    """The store does not let us do something; the message says what, and which right is missing."""


def set_up(client: Any, bucket: Bucket, pictures: Bucket, *, days: int, say: Callable[[str], None]) -> None:
    """Close `bucket` to the public, and let objects under `pictures` expire after `days`; what other rules say stays.

    Every step is tried. Raises BucketRefusedError at the end where one was refused.
    """
    refused: list[str] = []

    def step(right: str, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            hint = f"this identity needs the right {right}" if code in REFUSED else why(error)
            refused.append(f"cannot {what} ({hint})")
        except BotoCoreError as error:
            refused.append(f"cannot {what} ({why(error)})")
        else:
            say(f"done: {what}")

    def close() -> None:
        client.put_public_access_block(Bucket=bucket.name, PublicAccessBlockConfiguration=CLOSED)

    def expire() -> None:
        rules = [one for one in _rules(client, bucket) if one.get("ID") != RULE]
        ours = {
            "ID": RULE, "Status": "Enabled", "Filter": {"Prefix": pictures.prefix}, "Expiration": {"Days": days},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }  # fmt: skip
        client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [*rules, ours]})

    def look() -> None:
        if client.get_bucket_versioning(Bucket=bucket.name).get("Status") == "Enabled":
            say("note: versioning is on: deleting needs s3:ListBucketVersions and s3:DeleteObjectVersion too")

    step("s3:ListBucket", f"see the bucket {bucket.name}", lambda: client.head_bucket(Bucket=bucket.name))
    if refused:
        raise BucketRefusedError("; ".join(refused))
    step("s3:PutBucketPublicAccessBlock", "close the bucket to the public", close)
    step(
        "s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration",
        f"let pictures expire after {days} days",
        expire,
    )
    step("s3:GetBucketVersioning", "look at versioning", look)
    if refused:
        raise BucketRefusedError("; ".join(refused))


def _rules(client: Any, bucket: Bucket) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = client.get_bucket_lifecycle_configuration(Bucket=bucket.name)["Rules"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchLifecycleConfiguration":
            return []
        raise
    return found
