"""When to train again, and who does it."""
