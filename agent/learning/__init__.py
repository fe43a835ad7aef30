"""Which passes are worth a label, and what may leave."""
