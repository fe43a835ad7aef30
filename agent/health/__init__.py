"""How the device itself is doing: its accelerator, and whether the model still finds what it should."""
