"""Functions that the benchmark runs on the local Lambda beside the DB proxy function."""
