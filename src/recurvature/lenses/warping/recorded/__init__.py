"""The metric of recorded activity: tangents by regression on coordinates, products over disjoint trials."""
