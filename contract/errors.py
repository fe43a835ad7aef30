"""The two kinds of failure that every part tells apart: never right, and not now."""


class ContractError(Exception):
    """Never right: the same input fails again. Quarantine it and say so; do not retry."""


class TryAgainError(Exception):
    """Not now: the input may be fine, the surroundings are not. Keep it and retry."""
