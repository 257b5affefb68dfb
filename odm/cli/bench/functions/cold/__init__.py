"""Programs whose start is measured: a function's process, and a caller's."""
