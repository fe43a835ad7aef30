"""Ingest measured against what C programs need for the same bytes."""
