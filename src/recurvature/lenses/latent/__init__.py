"""Latent: which few variables carry a computation, and what perturbation and drift do to them (arXiv 2502.14337)."""
