"""The service: stores the events, shows the counts."""
