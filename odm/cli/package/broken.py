"""What a check of a bundle says when it fails."""

from __future__ import annotations

from odm.cli.failures import CommandFailed, ExitCode


class BrokenBundle(CommandFailed):
    """A check failed; the message says which and what is wrong."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the bundle is broken, and was not written: {what}", ExitCode.CHECK_FAILED
        )
