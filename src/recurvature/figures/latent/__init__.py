"""Figures of the latent lens."""
