"""Putting a door into service: which line counts there, how well, and a signed word of it."""
