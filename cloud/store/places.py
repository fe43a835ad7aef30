"""Where pictures may lie, as it is written in the settings: a folder, or `s3://BUCKET/PREFIX`."""

import re
from typing import NamedTuple

from contract.errors import ContractError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX = re.compile(r"(?:[A-Za-z0-9_.-]+/)*", re.ASCII)


class Bucket(NamedTuple):
    """A bucket, and what every key in it begins with: empty, or ending in a slash."""

    name: str
    prefix: str


def bucket_of(text: str) -> Bucket | None:
    """The bucket that `text` names; None for a folder. Raises ContractError for an address that cannot be."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return None
    name, _, prefix = rest.partition("/")
    prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
    if scheme != "s3" or not _BUCKET.fullmatch(name) or not _PREFIX.fullmatch(prefix) or "/../" in f"/{prefix}":
        raise ContractError(f"write the pictures' place as a folder or as s3://BUCKET/PREFIX, not {text[:80]!r}")
    return Bucket(name, prefix)
