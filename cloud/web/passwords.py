"""Passwords: what a good one is, and argon2 for keeping them."""

import secrets
import threading
import unicodedata
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cloud.web.asking import say
from cloud.web.commonest import COMMONEST
from cloud.web.language import N_
from contract.errors import ContractError

LEAST, MOST = 12, 200  # characters
AT_ONCE = 2  # hashes in one process: each takes 64 MiB
FEW_SIGNS = 5  # fewer different characters are a pattern, not a password


def require_good(password: str, name: str) -> None:
    """Raises ContractError that says what is wrong with it as a password of `name`."""
    if len(password) < LEAST:
        raise ContractError(
            say("the password needs at least {number} characters; a few words in a row are fine").format(number=LEAST)
        )
    if len(password) > MOST:
        raise ContractError(say("the password has at most {number} characters").format(number=MOST))
    plain = unicodedata.normalize("NFKC", password).casefold()
    bare = "".join(sign for sign in plain if sign.isalnum())
    owner = "".join(sign for sign in unicodedata.normalize("NFKC", name).casefold() if sign.isalnum())
    if plain in COMMONEST or bare in COMMONEST:
        raise ContractError(N_("this password is one of the commonest: it would be guessed first"))
    if len(set(plain)) < FEW_SIGNS or any(bare == piece * (len(bare) // len(piece)) for piece in _pieces(bare)):
        raise ContractError(N_("this password repeats itself too much: it would be guessed soon"))
    if len(owner) >= 3 and owner in bare and len(bare) - len(owner) < LEAST // 2:
        raise ContractError(N_("this password is little more than the name: choose one that nobody connects with you"))


class Passwords:
    """Argon2id with the library's parameters; a few hashes at a time, so that guessing does not fill the memory."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def hash(self, password: str) -> str:
        """What is kept of it."""
        with self._room:
            return self._hasher.hash(_normal(password))

    def fits(self, known: str | None, password: str) -> bool:
        """Whether `password` made `known`; takes as long where nothing is known."""
        with self._room:
            try:
                return self._hasher.verify(known or self._nobodys, _normal(password)) and known is not None
            except (VerificationError, InvalidHashError):
                return False

    def is_old(self, known: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(known)

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash(secrets.token_urlsafe(32))


def _normal(password: str) -> bytes:
    """The same bytes for the same characters, however the keyboard composed them."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _pieces(text: str) -> list[str]:
    """What it may be a repetition of."""
    return [text[:size] for size in range(1, min(4, len(text) // 2) + 1) if len(text) % size == 0]
