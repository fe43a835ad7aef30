"""From a message at the broker to a row in the database."""
