"""One door for each foreign format."""
