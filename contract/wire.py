"""What every message on the wire has in common: frozen, bounded, forward-compatible, and one way to decode it."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from contract.errors import ContractError

SchemaVersion = Literal[1]
SCHEMA_VERSION: SchemaVersion = 1

FIRST_YEAR, LAST_YEAR = 2, 9998  # so that a zone's shift, and days added, stay within what a calendar holds

Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]


def _to_utc(value: datetime) -> datetime:
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        utc = None
    if utc is None or not FIRST_YEAR <= utc.year <= LAST_YEAR:
        raise ValueError(f"a year from {FIRST_YEAR} to {LAST_YEAR} is expected")
    return utc


def _legible(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_to_utc),
    PlainSerializer(lambda value: value.isoformat().replace("+00:00", "Z"), return_type=str),
]

Words = Annotated[
    str, AfterValidator(_legible)
]  # for people; what cannot be printed (NUL, breaks, reversals) becomes `?`


class Wire(BaseModel):
    """Base of everything that travels: unknown fields are ignored, so that old devices and new clouds can meet."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def encode(self) -> bytes:
        """The message as UTF-8 JSON."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def decode(cls, payload: bytes, *, limit: int) -> Self:
        """The inverse of `encode`, for bytes from outside: size before parse.

        Raises ContractError, with the first fault found, for anything over `limit` bytes or not of this shape.
        """
        if len(payload) > limit:
            raise ContractError(f"{len(payload)} bytes, but at most {limit} are allowed")
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            raise ContractError(first_fault(error)) from error

    @classmethod
    def from_parsed(cls, value: Any) -> Self:
        """Check an already parsed JSON value; raises ContractError."""
        try:
            return cls.model_validate(value, strict=False)
        except ValidationError as error:
            raise ContractError(first_fault(error)) from error


def first_fault(error: ValidationError) -> str:
    """`where: what` of the first thing wrong, without repeating the payload."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or "message"
    return f"{where}: {fault['msg']}"
