"""Figures of what a system settles into."""
