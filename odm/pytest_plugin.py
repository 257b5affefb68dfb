"""The pytest plugin: an open connection on a database of its own, for every test that asks."""

from __future__ import annotations
