from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from odm.collecting import collector_paused


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    was_on = gc.isenabled()
    yield
    (gc.enable if was_on else gc.disable)()


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_left_as_it_was(on: bool) -> None:
    (gc.enable if on else gc.disable)()
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled() is on
    with pytest.raises(ValueError), collector_paused():
        raise ValueError
    assert gc.isenabled() is on


def test_the_outermost_break_ends_it() -> None:
    gc.enable()
    with collector_paused():
        with collector_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_breaks_that_overlap_leave_the_collector_on() -> None:
    gc.enable()
    one, other = collector_paused(), collector_paused()
    one.__enter__()
    other.__enter__()
    one.__exit__()
    other.__exit__()
    assert gc.isenabled()
