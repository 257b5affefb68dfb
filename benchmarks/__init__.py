"""Measurements and proofs that take longer than a test. Not shipped."""
