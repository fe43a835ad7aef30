"""From rows to numbers that may be shown."""
