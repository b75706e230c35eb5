"""Papers whose claims are checked: a folder each, with `spec.toml`, `claims.toml` and `run.py`."""
