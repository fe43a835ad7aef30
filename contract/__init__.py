"""What the parts agree on; imports nothing of ours."""
