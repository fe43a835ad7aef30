"""The contract's documents are generated, complete, and never behind the code."""

import json
import runpy
from pathlib import Path

import jsonschema
import pytest

from contract.document import MESSAGES, asyncapi, json_schemas
from contract.topics import Channel

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "v1"


def test_the_generated_documents_are_up_to_date() -> None:
    documents = runpy.run_path(str(ROOT / "docs" / "generate.py"))["documents"]()
    behind = [str(path) for path, text in documents.items() if not path.exists() or path.read_text() != text]
    assert behind == [], "run `make docs`"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_messages_satisfy_the_published_schema(path: Path) -> None:
    schema = json_schemas()[path.stem.split("-")[0]]
    jsonschema.validate(json.loads(path.read_bytes()), schema)


def test_every_setting_is_explained() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    assert [row for row in rows if row.split("|")[3].strip() == ""] == []


def test_every_message_has_a_channel_in_the_asyncapi_document() -> None:
    document = asyncapi()
    assert set(document["channels"]) == {str(channel) for channel in MESSAGES}
    assert document["operations"]["receive_acks"]["action"] == "receive"
    assert document["channels"]["events"]["address"] == "mf/v1/{shard}/{device}/events"
    assert set(MESSAGES) <= set(Channel)
