"""Pixels to passes."""
