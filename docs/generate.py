"""Write the generated documents: JSON Schema and AsyncAPI of the contract, and every setting with its default."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agent.config import AgentSettings
from cloud.config import CloudSettings
from contract.document import asyncapi, json_schemas

ROOT = Path(__file__).resolve().parents[1]


def documents() -> dict[Path, str]:
    """Every generated file's text, by path."""
    schema = ROOT / "contract" / "schema"
    files = {schema / f"{name}.schema.json": _json(value) for name, value in json_schemas().items()}
    files[schema / "asyncapi.json"] = _json(asyncapi())
    files[ROOT / "docs" / "settings.md"] = _settings()
    return files


def main() -> int:
    """Write what differs; says which."""
    for path, text in documents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _settings() -> str:
    parts = [
        "# Settings\n",
        "One TOML file each; unknown names are errors. On the command line, `--set table.name=value` goes over the file.",
        "Written by `make docs` from the code.\n",
    ]
    for title, model in (
        ("Agent: `agent run --config agent.toml`", AgentSettings),
        ("Cloud: `cloud all --config cloud.toml`", CloudSettings),
    ):
        parts.append(f"## {title}\n")
        parts.append("| setting | default | meaning |\n|---|---|---|")
        parts += _rows(model, "")
        parts.append("")
    return "\n".join(parts)


def _rows(model: type[BaseModel], prefix: str) -> list[str]:
    rows = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += _rows(field.annotation, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else f"`{_plain(field.get_default(call_default_factory=True))}`"
        rows.append(f"| `{prefix}{name}` | {default} | {' '.join((field.description or '').split())} |")
    return rows


def _plain(value: object) -> object:
    if isinstance(value, Path) and value.is_absolute() and value.is_relative_to(ROOT):
        return value.relative_to(ROOT)
    return list(value) if isinstance(value, tuple) else value


if __name__ == "__main__":
    sys.exit(main())
