"""A chaos run: many callers write over ``lambda://`` while everything behind it fails.

Afterwards a checker proves from the server's own data that what was acknowledged is there exactly
once. ``scripts/chaos --help``; docs/chaos.md.
"""
