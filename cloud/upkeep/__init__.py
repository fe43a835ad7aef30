"""Keeps what is here no longer than it may, and brings it back when it is lost."""
