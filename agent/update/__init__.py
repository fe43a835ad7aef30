"""Releases on the door: fetched, verified, kept in slots, tried."""
