"""The topics that Home Assistant finds doors under: written by the cloud, let through by the broker, both only where asked for."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator

from contract.errors import ContractError

DEFAULT_PREFIX = "homeassistant"
_GRAMMAR = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)


def require_prefix(text: str) -> str:
    """Return `text` if it may be the first level of these topics. Raises ContractError for anything else, `mf` too."""
    if not _GRAMMAR.fullmatch(text) or text == "mf":
        raise ContractError(
            f"{text[:60]!r} cannot be the prefix: use 1 to 40 of A-Z, a-z, 0-9, '_' and '-', but not mf"
        )
    return text


def _validate(text: str) -> str:
    try:
        return require_prefix(text)
    except ContractError as error:
        raise ValueError(str(error)) from error


Prefix = Annotated[str, AfterValidator(_validate)]


def node(device: str) -> str:
    """The device's name among those of other products."""
    return f"maskfleet_{device}"


def config_topic(prefix: str, device: str, sensor: str) -> str:
    """Where one sensor of a device is announced, retained; an empty message takes it back."""
    return f"{prefix}/sensor/{node(device)}/{sensor}/config"


def base_topic(prefix: str, device: str) -> str:
    """The stem of a device's own topics: `/state` holds all its values."""
    return f"{prefix}/sensor/{node(device)}"


def status_topic(prefix: str) -> str:
    """`online` while the cloud speaks, else `offline`."""
    return f"{prefix}/maskfleet/status"


def writer_patterns(prefix: str) -> Iterator[str]:
    """The broker's access list for the cloud's user."""
    yield f"topic write {prefix}/sensor/+/+/config"
    yield f"topic write {prefix}/sensor/+/state"
    yield f"topic write {status_topic(prefix)}"


def reader_patterns(prefix: str) -> Iterator[str]:
    """The same for Home Assistant's user, which reads all below the prefix and says there that it has started."""
    yield f"topic read {prefix}/#"
    yield f"topic write {prefix}/status"
