"""Temporal superposition and feature geometry of RNNs under memory demands (OpenReview 7cMzTpbJHC)."""
