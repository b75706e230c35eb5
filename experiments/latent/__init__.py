"""RNNs perform task computations by dynamically warping neural representations (arXiv 2512.04310)."""
