"""Figures of the superposition lens."""
