"""Latent computing by biological neural networks: a dynamical systems framework (arXiv 2502.14337)."""
