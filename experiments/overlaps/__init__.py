"""Learning reveals invisible structure in low-rank RNNs (arXiv 2605.04115)."""
