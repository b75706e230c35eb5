"""Figures of the overlap lens."""
