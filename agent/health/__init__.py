"""How this door is doing: what it measures, what it says, and who restarts it."""
