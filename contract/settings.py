"""How every part reads its settings: one TOML file, documented at the field, frozen, and a typo is an error."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from contract.errors import ContractError
from contract.wire import first_fault

MqttProtocol = Literal[
    "5", "3.1.1"
]  # of MQTT; 5 adds expiry, receive maximum and reasons to the same topics and payloads
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Settings(BaseModel):
    """Base of every settings table."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    @classmethod
    def load(cls, path: Path | None, overrides: dict[str, Any] | None = None) -> Self:
        """Read `path` (all defaults without one), then put `overrides` over it.

        Raises ContractError that names the file, the field and what is known there.
        """
        values: dict[str, Any] = {}
        if path is not None:
            try:
                values = tomllib.loads(path.read_text())
            except OSError as error:
                raise ContractError(f"cannot read the settings {path}: {error.strerror}") from error
            except (ValueError, RecursionError) as error:
                raise ContractError(f"{path} is not TOML: {error}") from error
        for key, value in (overrides or {}).items():
            _put(values, key.split("."), value)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ContractError(f"settings {path or '(defaults)'}: {_explain(cls, error)}") from error


class BrokerAddress(NamedTuple):
    """Where the broker listens, and whether by TLS."""

    host: str
    port: int
    tls: bool


def broker_address(url: str) -> BrokerAddress:
    """The parts of `mqtts://HOST[:PORT]`, or of `mqtt://` on this machine; raises ContractError for anything else."""
    try:
        parts = urlsplit(url)
        default = 8883 if parts.scheme == "mqtts" else 1883
        host, port = parts.hostname, default if parts.port is None else parts.port
    except ValueError:
        host, port = None, 0
    scheme, _, rest = url.partition("://")
    if not host or not 0 < port < 65536 or scheme not in ("mqtt", "mqtts") or rest != parts.netloc or "@" in url:
        raise ContractError(f"write the broker as mqtts://HOST:PORT, for example mqtts://broker:8883, not {url[:80]!r}")
    if scheme == "mqtt" and host not in LOOPBACK:
        raise ContractError(
            f"{url[:80]} is not encrypted, which is for this machine alone: use mqtts://{host}:8883 and an identity"
        )
    return BrokerAddress(host, port, scheme == "mqtts")


def _require_broker_url(url: str) -> str:
    try:
        broker_address(url)
    except ContractError as error:
        raise ValueError(str(error)) from error
    return url


BrokerUrl = Annotated[str, AfterValidator(_require_broker_url)]


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ContractError(f"cannot set {'.'.join(path)}: {part} is one value and has no parts")
    values[path[-1]] = value


def _explain(settings: type[BaseModel], error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    fault = next(
        (one for one in faults if one["type"] == "extra_forbidden"), faults[0]
    )  # a typo explains what is missing
    if fault["type"] != "extra_forbidden":
        return first_fault(error)
    table: Any = settings
    for part in fault["loc"][:-1]:
        field = table.model_fields.get(str(part)) if isinstance(table, type) and issubclass(table, BaseModel) else None
        table = field.annotation if field else None
    known = (
        ", ".join(table.model_fields) if isinstance(table, type) and issubclass(table, BaseModel) else "see the docs"
    )
    return f"unknown setting '{'.'.join(map(str, fault['loc']))}'; known here: {known}"
