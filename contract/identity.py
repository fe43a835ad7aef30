"""A device's name: its grammar, checked at enrolment by provisioning and again on every message by the cloud."""

import re
from typing import Annotated

from pydantic import AfterValidator

from contract.errors import ContractError

_GRAMMAR = re.compile(r"[a-z0-9][a-z0-9-]{1,38}", re.ASCII)


def require_device_id(text: str) -> str:
    """Return `text` if it may name a device; raises ContractError otherwise.

    2 to 39 characters of a-z, 0-9 and `-`, the first no `-`: nothing that means anything to a topic filter, a path or a
    shell.
    """
    if not _GRAMMAR.fullmatch(text):
        raise ContractError(
            f"{text[:60]!r} cannot name a device: use 2 to 39 characters of a-z, 0-9 and '-', not starting with '-'"
        )
    return text


def _validate(text: str) -> str:
    try:
        return require_device_id(text)
    except ContractError as error:
        raise ValueError(str(error)) from error


DeviceId = Annotated[str, AfterValidator(_validate)]
