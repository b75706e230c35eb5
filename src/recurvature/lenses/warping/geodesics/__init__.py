"""Geodesics of a state manifold: from a start and a velocity, between two points, and between all pairs of points."""
