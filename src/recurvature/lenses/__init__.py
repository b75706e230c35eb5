"""The theories."""
