"""How this door is doing: what it measures, what it says, who restarts it, and whether its Coral and its model still work."""
