"""Figures of the warping lens."""
