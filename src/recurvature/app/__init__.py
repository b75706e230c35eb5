"""The command line and the report."""
