"""What the server sees of many callers, directly and through the DB proxy function, over time.

The experiments of the article of 2020 with hundreds of real processes: ``python -m
benchmarks.connections --help``; docs/connections.md.
"""
