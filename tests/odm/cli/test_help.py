from __future__ import annotations

from odm.cli.help import flowing


def test_paragraphs_flow_and_examples_stand_in_lines_of_their_own() -> None:
    assert flowing("One.\n\nTwo\nlines.\n\nExamples:\n  odm a\n\n  odm b --c") == (
        "One.\n\nTwo lines.\n\n\b\nExamples:\n  odm a\n  odm b --c"
    )


def test_examples_come_together() -> None:
    assert flowing("One.\n\nExample: odm a\n\nExample: odm b") == (
        "One.\n\n\b\nExamples:\n  odm a\n  odm b"
    )


def test_a_sentence_about_examples_is_none() -> None:
    assert flowing("Examples are below,\nall of them.") == "Examples are below, all of them."
