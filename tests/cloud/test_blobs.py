"""Pictures by the digest of their bytes."""

from hashlib import sha256
from pathlib import Path

import pytest

from cloud.store.blobs import BlobFolder
from contract.errors import ContractError


def test_what_was_put_is_got_back_by_its_digest(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    assert blobs.put(b"picture") == sha256(b"picture").hexdigest()
    assert blobs.get(sha256(b"picture").hexdigest()) == b"picture"


def test_the_same_bytes_twice_are_one_file_and_no_draft_stays(tmp_path: Path) -> None:
    blobs = BlobFolder(tmp_path)
    blobs.put(b"picture")
    blobs.put(b"picture")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [sha256(b"picture").hexdigest()]


def test_an_unknown_digest_is_a_key_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        BlobFolder(tmp_path).get("0" * 64)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "/" * 64])
def test_a_name_that_is_no_digest_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ContractError):
        BlobFolder(tmp_path).get(name)
