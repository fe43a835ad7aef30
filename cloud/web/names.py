"""What a person may be called: a name that looks like what it is, and no two that look alike."""

import unicodedata

from cloud.web.asking import say
from contract.errors import ContractError

LONGEST = 60
MARKS = frozenset(" .-_'@+")


def require_name(text: str) -> str:
    """The name as it is kept, composed and trimmed. Raises ContractError."""
    name = unicodedata.normalize("NFKC", text[: 4 * LONGEST]).strip()
    sound = all(sign in MARKS or unicodedata.category(sign)[0] in "LMN" for sign in name)
    if not name or len(name) > LONGEST or not sound or not name[0].isalnum() or "  " in name:
        raise ContractError(
            say(
                "a name is 1 to {number} letters, digits, spaces and . - _ ' @ +, and begins with a letter or a digit"
            ).format(number=LONGEST)
        )
    return name


def name_key(name: str) -> str:
    """By what names are compared: without case; for any text at all, so that a wrong name is just unknown."""
    folded = unicodedata.normalize("NFKC", name[: 4 * LONGEST]).strip().casefold()
    return unicodedata.normalize("NFKC", folded)[:200].encode("utf-8", "replace").decode().replace("\x00", "?")
