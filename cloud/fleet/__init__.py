"""The fleet: signed releases, who gets them when, and what the doors say about them."""
