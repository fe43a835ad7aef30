"""From labelled photographs to the file that runs on the door."""
