"""The fleet without hardware: generated doors, and the whole system on one machine."""
